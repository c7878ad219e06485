"""The demo's ensemble as a DAG on a real Argo Workflows, against the same ensemble run here."""

from __future__ import annotations

import json
import time
import uuid

import pytest
import yaml

from tests.cluster.runs import PARTS, annotations, files_of, local_demo, messages, nodes, quorate

pytestmark = pytest.mark.usefixtures("argo", "installed")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What `quorate run` publishes of the demo on this machine."""
    out = tmp_path_factory.mktemp("here")
    quorate("run", PARTS / "spec.yaml", "--out", out)
    return out


@pytest.fixture(scope="module")
def template(runs):
    return runs.template(runs.spec("parts"))


@pytest.fixture(scope="module")
def finished(runs, template):
    """The demo, run on the cluster once."""
    return runs.wait(runs.create(template))


def test_the_cluster_publishes_the_same_bytes_as_this_machine(runs, here, finished):
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    published = runs.results(finished["metadata"]["name"])
    assert annotations(published) == annotations(files_of(here))
    assert {"summary.json", "report.html"} < set(published)


def test_a_full_quorum_is_said_not_to_be_degraded(finished):
    outputs = finished["status"]["outputs"]["parameters"]
    assert {"name": "degraded", "value": "false"} in [
        {"name": one["name"], "value": one["value"]} for one in outputs
    ]


def test_its_pods_are_admitted_where_the_restricted_standard_is_enforced(kubectl, finished):
    selector = f"workflows.argoproj.io/workflow={finished['metadata']['name']}"
    pods = json.loads(kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    assert len(pods) >= 5
    strict = f"restricted-{uuid.uuid4().hex[:8]}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace",
                   "metadata": {"name": strict, "labels": enforced}})  # fmt: skip
    try:
        for pod in pods:
            for own in ("nodeName", "serviceAccountName", "serviceAccount"):
                pod["spec"].pop(own, None)
            pod["metadata"] = {"name": pod["metadata"]["name"], "namespace": strict}
            given = json.dumps(pod)
            kubectl("create", "--dry-run=server", "--filename=-", given=given)
            for container in pod["spec"]["initContainers"]:
                container.pop("securityContext", None)
            denied = kubectl("create", "--dry-run=server", "--filename=-",
                             given=json.dumps(pod), check=False)  # fmt: skip
            assert "violates PodSecurity" in denied.stderr
    finally:
        kubectl("delete", "namespace", strict, "--wait=false")


def test_the_label_tells_cvat_which_templates_are_for_it(kubectl, template):
    listed = kubectl("get", "workflowtemplates", "--selector=used-by=cvat", "--output=name")
    assert f"workflowtemplate.argoproj.io/{template}" in listed.split()
    parameters = {
        one["name"]: one
        for one in kubectl.get("workflowtemplate", template)["spec"]["arguments"]["parameters"]
    }
    assert {"cvat-annotation-path", "cvat-output-path", "dump-format", "ensemble-option"} <= set(
        parameters
    )
    assert all(one.get("description") for one in parameters.values())


def test_the_ensemble_option_and_the_paths_are_what_the_bridge_fills(runs, template, tmp_path):
    quorate("run", _as_demo(tmp_path, fusion="affirmative"), "--out", tmp_path / "out")
    name = runs.create(
        template,
        cvat_annotation_path=f"{runs.prefix}/images",
        cvat_output_path="somewhere/else",
        ensemble_option="affirmative",
        dump_format="COCO 1.0",
    )
    finished = runs.wait(name)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    where = f"{runs.kubectl.namespace}/somewhere/else/{name}/results/"
    here = files_of(tmp_path / "out")
    assert annotations(runs.bucket.folder(where)) == annotations(here)


def _as_demo(folder, **changes):
    """The demo's spec with other settings; its weights' own parameters carry over."""
    spec = local_demo()
    method = changes.pop("fusion")
    spec["fusion"] |= {"method": method}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec | changes), encoding="utf-8")
    return path


def _broken(runs, name, **changes):
    """The demo with one detector whose weights are no model."""
    runs.bucket.put(f"{runs.prefix}/models/broken.onnx", b"no model at all")
    path = runs.spec(name, **changes)
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"][1]["weights"] = f"s3://{runs.bucket.name}/{runs.prefix}/models/broken.onnx"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def test_a_detector_that_fails_costs_its_votes_and_the_run_is_marked(runs):
    finished = runs.wait(runs.create(runs.template(_broken(runs, "degraded", quorum=2))))
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    outputs = {one["name"]: one["value"] for one in finished["status"]["outputs"]["parameters"]}
    assert outputs["degraded"] == "true"
    name = finished["metadata"]["name"]
    summary = json.loads(runs.results(name)["summary.json"])
    assert summary["degraded"]
    failed = {one["name"]: one["failed"] for one in summary["detectors"]}
    assert "broken.onnx" in failed["detr"]
    assert not failed["yolo"]
    assert not failed["frcnn"]
    # Bad weights stay bad: the exit code says not to try again.
    assert len([n for n in nodes(finished) if "detr" in n["displayName"]]) == 1
    assert "broken.onnx" in messages(finished)
    labelled = runs.kubectl.get("workflow", name)["metadata"]["labels"]
    assert labelled["quorate/degraded"] == "true"


def test_a_lost_quorum_fails_with_one_sentence(runs):
    finished = runs.wait(runs.create(runs.template(_broken(runs, "lost", quorum=3))))
    assert finished["status"]["phase"] == "Failed"
    assert "2 of 3 detectors succeeded, need 3" in messages(finished)
    # The shard failed, not publish: a retry runs the detector again.
    assert [one["phase"] for one in nodes(finished, "shard", kind="DAG")] == ["Failed"]
    assert not runs.results(finished["metadata"]["name"])


def test_a_picture_folder_that_is_not_there_is_said_by_the_node(runs, template):
    missing = f"s3://{runs.bucket.name}/{runs.prefix}/no-such-folder/"
    finished = runs.wait(runs.create(template, cvat_annotation_path=missing))
    assert finished["status"]["phase"] == "Failed"
    assert f"{runs.prefix}/no-such-folder" in messages(finished)
    assert len(nodes(finished)) <= 2, "a wrong key is not tried again"


def _fused_apart(templates):
    """As prepare asks for where there are more pictures: a fusion step for each shard."""
    steps = [one for group in templates["ensemble"]["steps"] for one in group]
    (shards,) = [one for one in steps if one["name"] == "shards"]
    (fuse,) = [p for p in shards["arguments"]["parameters"] if p["name"] == "fuse"]
    fuse["value"] = "true"


def test_twenty_shards_decide_as_one(runs, here):
    template = runs.template(runs.spec("twenty"), _fused_apart)
    finished = runs.wait(runs.create(template, shard_size=3), seconds=900)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    assert [one["phase"] for one in nodes(finished, "fuse")] == ["Succeeded"] * 20
    published = runs.results(finished["metadata"]["name"])
    assert annotations(published) == annotations(files_of(here))


def test_shards_that_publish_fuses_decide_as_one(runs, here, template):
    finished = runs.wait(runs.create(template, shard_size=20), seconds=900)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    assert not nodes(finished, "fuse")
    published = runs.results(finished["metadata"]["name"])
    assert annotations(published) == annotations(files_of(here))


def test_a_pod_deleted_in_the_middle_goes_on_from_its_last_part(runs, tmp_path):
    """Over many copies of the pictures, so that there is a middle."""
    for copy in range(4):
        for path in (PARTS / "images").rglob("*.jpg"):
            runs.bucket.put(
                f"{runs.prefix}/many/{copy}-{path.parent.name}-{path.name}", path.read_bytes()
            )
    where = f"s3://{runs.bucket.name}/{runs.prefix}/many/"
    spec = runs.spec("killed", data=where, labels=["bolt", "nut", "washer", "screw"])
    template = runs.template(spec)
    undisturbed = runs.wait(runs.create(template))
    assert undisturbed["status"]["phase"] == "Succeeded", messages(undisturbed)
    name = runs.create(template)
    checkpoints = f"{runs.kubectl.namespace}/quorate/{name}/checkpoints/"
    limit = time.monotonic() + 240
    while not any("frcnn" in key for key in runs.bucket.keys(checkpoints)):
        assert time.monotonic() < limit, "no part was finished"
        time.sleep(0.5)
    pods = runs.kubectl(
        "get", "pods", f"--selector=workflows.argoproj.io/workflow={name}", "--output=json"
    )
    victims = [
        pod["metadata"]["name"]
        for pod in json.loads(pods)["items"]
        if "frcnn" in pod["metadata"]["name"] and pod["status"]["phase"] == "Running"
    ]
    assert victims, "the detector was done before it could be disturbed"
    runs.kubectl("delete", "pod", *victims, "--grace-period=0", "--force")
    finished = runs.wait(name)
    assert finished["status"]["phase"] == "Succeeded", messages(finished)
    mine, other = (runs.results(one["metadata"]["name"]) for one in (finished, undisturbed))
    assert annotations(mine) == annotations(other)
    assert not runs.bucket.keys(checkpoints), "what is done needs no checkpoint"
