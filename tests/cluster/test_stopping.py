"""Runs that are stopped and go on, alone and with children: on a real controller."""

import json
import os
import time

import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.rendering import children
from tests.cluster.runs import annotations, files_of, local_demo, nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")

WAYS = ["server", "kubeconfig"]
NAMES = ("yolo", "frcnn")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Through argo-server, or with the kubeconfig alone: what the commands then do is the same."""
    if request.param == "kubeconfig":
        monkeypatch.delenv("ARGO_SERVER", raising=False)
    elif not os.environ.get("ARGO_SERVER"):
        pytest.skip("no argo-server is named: ARGO_SERVER is not set")
    return request.param


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The files of the same run on this machine."""
    folder = tmp_path_factory.mktemp("here")
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(_small(local_demo())), encoding="utf-8")
    quorate("run", path, "--out", folder / "out")
    return annotations(files_of(folder / "out"))


def _small(spec):
    chosen = [one for one in spec["detectors"] if one["name"] in NAMES]
    return spec | {"detectors": chosen, "quorum": 2, "fusion": {"method": "unanimous"}}


def _spec(runs, name, **changes):
    path = runs.spec(name, **changes)
    spec = _small(yaml.safe_load(path.read_text(encoding="utf-8")))
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def _at_work(workflow):
    """Whether a shard is done and a detector looks at pictures of another."""
    shards = [one for one in nodes(workflow, "shard", kind="DAG") if one["phase"] == "Succeeded"]
    busy = [one for one in nodes(workflow) if one["phase"] == "Running"]
    return shards and [one for one in busy if one["displayName"].startswith("detect-")]


@pytest.mark.parametrize("pool", [None, "stopping"])
def test_a_stopped_run_goes_on_to_the_same_end(runs, pool_of, here, way, pool):
    """Where a pool is full, detectors wait without a pod; after the stop they are not lost."""
    changes = {"workflow": {"parallelism": 4}}
    if pool:
        changes = {"workflow": {"pool": pool_of(pool, 2)}, "pools": {pool: {"parallelism": 2}}}
    template = runs.template(_spec(runs, f"stop-{way}-{pool or 'none'}", **changes))
    name = runs.create(template, shard_size=10, one_pod=0)
    runs.wait(name, until=_at_work)
    assert f"{name} stops" in quorate("stop", name).stderr
    stopped = runs.wait(name)
    assert stopped["status"]["phase"] == "Failed"
    done = {one["id"] for one in nodes(stopped, "shard", kind="DAG") if one["phase"] == "Succeeded"}
    assert f"{name} runs again" in quorate("retry", name).stderr
    finished = runs.wait(name)
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    outputs = {one["name"]: one["value"] for one in finished["status"]["outputs"]["parameters"]}
    assert outputs["degraded"] == "false"
    assert annotations(runs.results(name)) == here
    kept = {one["id"]: one for one in nodes(finished, "shard", kind="DAG")}
    before = {one["id"]: one for one in nodes(stopped, "shard", kind="DAG")}
    assert all(kept[key]["finishedAt"] == before[key]["finishedAt"] for key in done)


@pytest.fixture
def large(runs, monkeypatch):
    """A template whose workflows hold three shards, so that twelve take four children."""
    monkeypatch.setattr(children, "most", lambda ensemble, given: 3)

    def make(name, **settings):
        ensemble = DetectionEnsemble.from_yaml(_spec(runs, name, workflow=settings))
        manifest = ensemble.workflow_template().to_dict()
        runs.kubectl.apply(manifest)
        runs.made.append(f"workflowtemplate/{name}")
        return manifest

    return make


def _children(kubectl, name):
    found = kubectl("get", "workflows", f"--selector=quorate/parent={name}", "--output=json")
    return {one["metadata"]["name"]: one for one in json.loads(found)["items"]}


def _until(ask, seconds=240):
    limit = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < limit
        time.sleep(1)
    return found


def test_children_are_alike_and_keep_the_template_that_the_run_began_with(
    runs, kubectl, here, large
):
    manifest = large("stop-kept", parallelism=2)
    name = runs.create("stop-kept", shard_size=5, one_pod=0)
    _until(lambda: len(_children(kubectl, name)) == 2)
    # From here on nothing would work with the template itself.
    for one in manifest["spec"]["templates"]:
        if "container" in one and one["name"].startswith(("detect", "fuse")):
            one["container"]["command"] = ["quorate", "no-such-command"]
    kubectl.apply(manifest)
    finished = runs.wait(name, seconds=900)
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert annotations(runs.results(name)) == here
    found = _children(kubectl, name)
    assert sorted(found) == [f"{name}-{number:05d}" for number in range(4)]
    for one in found.values():
        assert len(nodes(one, "shard", kind="DAG")) == 3
        assert one["status"]["storedWorkflowTemplateSpec"]["parallelism"] == 1
    kept = kubectl.get("workflowtemplate", name)
    assert kept["metadata"]["ownerReferences"][0]["name"] == name
    assert "used-by" not in kept["metadata"]["labels"]
    kubectl("delete", "workflow", name)
    _until(lambda: kubectl("get", "wftmpl", name, check=False).returncode)
    _until(lambda: not _children(kubectl, name))


def test_children_are_stopped_shown_and_tried_again_with_their_run(runs, kubectl, here, large, way):
    large(f"stop-large-{way}", parallelism=4)
    name = runs.create(f"stop-large-{way}", shard_size=5, one_pod=0)
    _until(lambda: any(_at_work(one) for one in _children(kubectl, name).values()))
    status = json.loads(quorate("status", name, "--json").stdout)
    tasks = {one["task"]: one for one in status["tasks"]}
    detectors = [one for one in tasks if "/shard " in one and "/detect-yolo" in one]
    assert detectors
    assert all(one.startswith("child 0") for one in detectors), detectors
    assert tasks["child 00000"]["progress"].endswith("/3"), tasks["child 00000"]
    said = quorate("logs", name).stdout
    assert "prepare: " in said
    (row,) = [one for one in json.loads(quorate("list", "--json").stdout) if one["name"] == name]
    assert "running" in row["children"]

    said = quorate("stop", name).stderr
    begun = _children(kubectl, name)
    assert all(f"{child} stops" in said for child in begun), said
    assert runs.wait(name)["status"]["phase"] == "Failed"
    _until(
        lambda: all(one["status"].get("finishedAt") for one in _children(kubectl, name).values())
    )
    # A stopped run is told of once, by its own exit handler.
    done = quorate("status", name, check=False)
    assert "failed" in done.stdout.lower() or "✖" in done.stdout

    said = quorate("retry", name).stderr.splitlines()
    assert said[-1].startswith(name + " ")
    finished = runs.wait(name, seconds=900)
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert annotations(runs.results(name)) == here


def test_a_child_that_failed_is_named_and_tried_again_before_its_run(runs, kubectl, here, large):
    large("stop-child", parallelism=4)
    name = runs.create("stop-child", shard_size=5, one_pod=0)
    _until(lambda: any(_at_work(one) for one in _children(kubectl, name).values()))
    child = next(key for key, one in _children(kubectl, name).items() if _at_work(one))
    quorate("stop", child)
    finished = runs.wait(name, seconds=900)
    assert finished["status"]["phase"] == "Failed"
    done = quorate("watch", name, check=False)
    assert done.returncode == 1
    assert "workflow shutdown" in done.stderr or "Stopped with strategy" in done.stderr, done.stderr
    assert "exit status 64" not in done.stderr.splitlines()[-2]
    said = quorate("retry", name).stderr.splitlines()
    assert [line.split()[0] for line in said] == [child, name]
    finished = runs.wait(name, seconds=900)
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert annotations(runs.results(name)) == here
