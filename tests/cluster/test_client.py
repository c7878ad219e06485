"""Both ways to the cluster: the same questions, the same answers, the same tree."""

import io
import json
import os
import time
import uuid

import pytest

from quorate.argo.cluster.connect import connect
from quorate.argo.runs.submit import start, submit_from
from quorate.argo.runs.watch import Lines, check, explained, follow
from quorate.cli import main
from quorate.errors import AccessError, InputError, WorkflowError

pytestmark = pytest.mark.usefixtures("argo")


@pytest.fixture(scope="module")
def executor(kubectl):
    """Argo's own executor image: a program that ends at once, on every node that ran a pod."""
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    known = [name for n in nodes for one in n["status"]["images"] for name in one["names"] or ()]
    for name in known:
        if "argoexec:" in name:
            return name
    pytest.skip("no node has Argo's executor image")


def template(name, executor):
    """prepare → two parts of (detect-a beside detect-b, which fails) → fuse → publish; exit."""

    def pod(task, argument, **more):
        container = {"image": executor, "command": ["argoexec"], "args": [argument]}
        return {"name": task, "container": container, **more}

    shard = [
        {"name": "detect-a", "template": "detect"},
        {"name": "detect-b", "template": "broken"},
        {
            "name": "fuse",
            "template": "fuse",
            "depends": "detect-a.Succeeded && (detect-b.Succeeded || detect-b.Failed)",
        },
    ]
    where = {"kubernetes.io/os": "{{workflow.parameters.node}}"}
    part = {"name": "shard", "template": "shard", "depends": "prepare"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": name, "labels": {"quorate/ensemble": name}},
        "spec": {
            "entrypoint": "ensemble",
            "onExit": "exit",
            "workflowMetadata": {"labels": {"quorate/ensemble": name}},
            "arguments": {
                "parameters": [
                    {"name": "node", "value": "linux", "enum": ["linux", "plan9"]},
                ]
            },
            "templates": [
                {"name": "ensemble", "dag": {"tasks": [
                    {"name": "prepare", "template": "prepare"},
                    {**part, "withSequence": {"count": "2", "format": "%05d"}},
                    {"name": "publish", "template": "publish", "depends": "shard"},
                ]}},
                {"name": "shard", "dag": {"failFast": False, "tasks": shard}},
                # Alone at work when it is given up: Argo 4.1.2 may take a pod that it gave up
                # for pending again, while it looks at the workflow for another pod's sake.
                pod("prepare", "version", nodeSelector=where, pendingTimeout="30s"),
                pod("detect", "version"),
                pod("broken", "nonsense"),
                pod("fuse", "version"),
                pod("publish", "version"),
                pod("exit", "version"),
            ],
        },
    }  # fmt: skip


@pytest.fixture(params=["server", "kubeconfig"])
def cluster(request, kubectl, monkeypatch):
    if request.param == "server":
        if not os.environ.get("ARGO_SERVER"):
            pytest.skip("no argo-server is named: ARGO_SERVER is not set")
        return connect(namespace=kubectl.namespace)
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    return connect(namespace=kubectl.namespace)


@pytest.fixture
def made(cluster, executor):
    """A template of a name of its own, and all its runs removed at the end."""
    name = f"client-{uuid.uuid4().hex[:6]}"
    assert cluster.apply(template(name, executor)) == "created"
    time.sleep(3)  # until the controller knows it; `submit` waits for that itself
    yield name
    for workflow in cluster.workflows(f"workflows.argoproj.io/workflow-template={name}"):
        cluster.delete(workflow["metadata"]["name"])
    cluster.delete(name, "workflow-templates")


def test_a_template_is_made_once_and_keeps_what_others_put_on_it(cluster, made, executor, kubectl):
    assert cluster.apply(template(made, executor)) == "unchanged"
    kubectl("label", "workflowtemplate", made, "team=vision")
    changed = template(made, executor)
    changed["spec"]["parallelism"] = 3
    assert cluster.apply(changed) == "updated"
    there = cluster.template(made)
    assert there["spec"]["parallelism"] == 3
    assert there["metadata"]["labels"]["team"] == "vision"


def test_a_run_is_shown_until_it_ends(cluster, made):
    run = submit_from(cluster, made)
    said = io.StringIO()
    workflow, branch = follow(cluster, run.name, Lines(said))
    check(branch)  # a failed detector is no failure
    assert workflow["spec"]["workflowTemplateRef"] == {"name": made}
    assert "templates" not in workflow["spec"]
    paths = {path: one for path, one in branch.paths() if one.pods}
    assert set(paths) == {"prepare", "publish", "exit handler"} | {
        f"shard {part}/{task}" for part in ("00000", "00001")
        for task in ("detect-a", "detect-b", "fuse")
    }  # fmt: skip
    assert "nonsense" in paths["shard 00001/detect-b"].message
    lines = said.getvalue().splitlines()
    assert any("prepare  Succeeded" in line for line in lines)
    assert lines[-1].split("  ")[1:3] == [run.name, "Succeeded"]

    read = list(cluster.logs(run.name, pods=list(paths["prepare"].pods)))
    assert any(line.text.startswith("argoexec: v") for line in read)
    assert not any(line.of_argo for line in read)
    assert {line.pod for line in cluster.logs(run.name)} >= set(paths["publish"].pods)
    assert run.name in {one["metadata"]["name"] for one in cluster.workflows()}
    with pytest.raises(InputError, match="has ended already"):
        cluster.stop(run.name)


def test_a_pod_without_a_node_says_why(cluster, made):
    run = submit_from(cluster, made, parameters={"node": "plan9"})
    workflow, branch = follow(cluster, run.name, lambda branch: None)
    reason = r"prepare: given up .*: cannot be scheduled: 0/\d+ nodes .*: .*(affinity|selector)"
    with pytest.raises(WorkflowError, match=reason):
        check(branch)
    # Later too, when the pod is gone.
    with pytest.raises(WorkflowError, match=reason):
        check(explained(cluster, workflow))


def test_an_image_that_cannot_be_had_says_so(cluster, made, executor):
    broken = template(made, executor)
    for one in broken["spec"]["templates"]:
        if one["name"] == "prepare":
            one["container"]["image"] = "localhost/nobody-has-this:1"
    assert cluster.apply(broken) == "updated"
    run = start(cluster, broken, {}, applied="updated")
    said = []
    until = time.monotonic() + 60
    for _ in cluster.changes(run.name):
        said = [one.message for one in explained(cluster, cluster.workflow(run.name)).walk()]
        if any("nobody-has-this" in message for message in said) or time.monotonic() > until:
            break
    assert any("nobody-has-this" in message for message in said), said
    cluster.stop(run.name, now=True)
    _, branch = follow(cluster, run.name, lambda branch: None)
    assert branch.phase == "Failed"


def test_logs_are_followed_until_the_end(cluster, made):
    run = submit_from(cluster, made)
    lines = list(cluster.logs(run.name, follow=True))
    ended = cluster.workflow(run.name)["status"]
    assert ended["phase"] in ("Succeeded", "Running"), ended
    assert sum(line.text.startswith("argoexec: v") for line in lines) >= 5


def test_what_is_not_there(cluster):
    for ask in (cluster.workflow, cluster.template, cluster.stop, cluster.delete):
        with pytest.raises(InputError, match="not found"):
            ask("no-such-thing")
    with pytest.raises(InputError, match="no WorkflowTemplate is called 'no-such-thing'"):
        submit_from(cluster, "no-such-thing")


def test_a_run_that_failed_is_run_again(cluster, made):
    run = submit_from(cluster, made, parameters={"node": "plan9"})
    failed, _ = follow(cluster, run.name, lambda branch: None)
    cluster.retry(failed)
    again, branch = follow(cluster, run.name, lambda branch: None)
    assert branch.phase == "Failed"
    assert again["status"]["finishedAt"] > failed["status"]["finishedAt"]


def test_a_token_that_the_cluster_does_not_know(kubectl, monkeypatch, tmp_path):
    config = kubectl("config", "view", "--minify", "--raw", "--output=json")
    value = json.loads(config)
    value["users"][0]["user"] = {"token": "expired"}
    (tmp_path / "config").write_text(json.dumps(value))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with pytest.raises(AccessError, match="does not know who you are") as error:
        connect(namespace=kubectl.namespace).workflows()
    assert "log in again" in error.value.hint


def test_the_commands(made, cluster, kubectl, monkeypatch, capsys):
    """submit --from, status, list, logs: what they print, for people and for programs."""
    monkeypatch.setenv("ARGO_NAMESPACE", kubectl.namespace)
    assert main(["submit", "--from", made, "--watch"]) == 0
    said = capsys.readouterr().err
    assert f"template: {made}" in said
    assert "the run left no results" in said
    assert main(["list", "--ensemble", made, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["ensemble"], row["phase"]) == (made, "Succeeded")
    assert main(["status", row["name"], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["phase"] == "Succeeded"
    assert {"shard 00000/fuse", "publish"} <= {task["task"] for task in found["tasks"]}
    assert main(["status", row["name"]]) == 0
    assert "✔ publish" in capsys.readouterr().out
    assert main(["logs", row["name"], "prepare"]) == 0
    assert capsys.readouterr().out.startswith("argoexec: v")
    assert main(["logs", row["name"], "prepar"]) == 2
    assert "did you mean 'prepare'?" in capsys.readouterr().err
    assert main(["submit", "--from", made, "-p", "node=plan9", "--watch"]) == 1
    assert "error: The workflow" in (error := capsys.readouterr().err)
    assert "cannot be scheduled" in error
