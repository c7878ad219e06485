"""The exit handler's command against a real API server, with the rights of its own account."""

import json
import os
import uuid

import pytest

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.names import DEGRADED
from quorate.cli import main
from quorate.errors import AccessError, InputError
from tests.argo.test_finish import SPEC, SUMMARY
from tests.notifications.receivers import web


@pytest.fixture
def pod(kubectl, installed, tmp_path, monkeypatch):
    """What a pod of an account finds: its token, the certificate, the API server's address."""
    config = json.loads(kubectl("config", "view", "--minify", "--raw", "--output=json"))
    cluster = config["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").rstrip("/").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT_HTTPS", port or "443")
    authority = cluster.get("certificate-authority")
    if authority is None:
        pytest.skip("the kubeconfig holds its certificates itself, not as files")

    def of(account):
        folder = tmp_path / account
        folder.mkdir()
        (folder / "token").write_text(kubectl("create", "token", account, "--duration=10m"))
        os.symlink(authority, folder / "ca.crt")
        monkeypatch.setattr("quorate.argo.cluster.client_kube.ACCOUNT", folder)
        return folder

    return of


@pytest.fixture
def workflow(kubectl):
    """Makes workflows that do nothing: a controller, if there is one, leaves them alone."""
    made = []

    def make(status=None, **labels):
        """`status` is a function of the name that the workflow gets."""
        name = f"finish-{uuid.uuid4().hex[:8]}"
        nothing = {"name": "nothing", "suspend": {}}
        value = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "labels": labels},
            "spec": {"suspend": True, "entrypoint": "nothing", "templates": [nothing]},
            "status": status(name) if status else {},
        }
        kubectl.apply(value)
        made.append(name)
        return name

    yield make
    if made:
        kubectl("delete", "workflow", "--wait=false", *made)


@pytest.fixture
def finish(kubectl, tmp_path):
    def call(name, status, *, degraded=None):
        spec = tmp_path / "spec.yaml"
        more = []
        if degraded is not None:
            (tmp_path / "summary.json").write_text(json.dumps(SUMMARY | {"degraded": degraded}))
            more = ["--summary", str(tmp_path / "summary.json")]
        with web() as server:
            spec.write_text(SPEC % server.url)
            named = ["--workflow", name, "--namespace", kubectl.namespace, "--status", status]
            assert main(["step", "finish", str(spec), *named, *more]) == 0
        return [json.loads(body)["data"] for _, _, body in server.came]

    return call


def labels(kubectl, name):
    return kubectl.get("workflow", name)["metadata"].get("labels", {})


def test_a_degraded_run_is_marked(kubectl, pod, workflow, finish, capsys):
    pod("quorate-exit")
    name = workflow(**{"quorate/ensemble": "street"})
    (told,) = finish(name, "Succeeded", degraded=True)
    assert labels(kubectl, name)[DEGRADED] == "true"
    assert "warning" not in capsys.readouterr().err
    assert told["ensemble"] == "street"
    assert told["uid"] == kubectl.get("workflow", name)["metadata"]["uid"]


def test_a_run_that_went_well_is_not(kubectl, pod, workflow, finish):
    pod("quorate-exit")
    name = workflow()
    finish(name, "Succeeded", degraded=False)
    assert DEGRADED not in labels(kubectl, name)


def failed(name):
    """The status of a workflow whose fuse step failed, for a detector had failed in two shards."""

    def pod(number, task, message):
        ids = {"id": f"{name}-{number}", "name": f"{name}.{task}({number})", "displayName": task}
        at = f"2026-01-01T00:00:0{number}Z"
        ended = {"phase": "Failed", "finishedAt": at, "message": message}
        return {**ids, "type": "Pod", "boundaryID": name, **ended}

    root = {"id": name, "name": name, "displayName": name, "type": "DAG", "phase": "Failed"}
    fuse = pod(3, "fuse", "main: Error (exit code 3): 1 of 3 detectors succeeded, need 2")
    lost = [pod(number, "detect-a", "its weights are gone") for number in (1, 2)]
    # While the exit handler is at work, so is the workflow.
    return {"phase": "Running", "nodes": {one["id"]: one for one in (root, *lost, fuse)}}


def test_what_failed_is_asked_of_the_api_server(pod, workflow, finish):
    pod("quorate-exit")
    (told,) = finish(workflow(status=failed), "Failed")
    assert told["failures"] == [
        {"node": "fuse", "message": "1 of 3 detectors succeeded, need 2 (exit status 3)"},
        {"node": "detect-a", "message": "its weights are gone"},
    ]


def test_why_a_pod_waited_is_asked_of_the_events(kubectl, pod, workflow, finish):
    def given_up(name):
        status = failed(name)
        fuse = status["nodes"][f"{name}-3"]
        fuse |= {"message": "timeout", "templateName": "fuse"}
        return status

    pod("quorate-exit")
    name = workflow(status=given_up)
    happened = "2026-01-01T00:00:00Z"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": kubectl.namespace},
        "involvedObject": {"kind": "Pod", "name": f"{name}-fuse-3", "namespace": kubectl.namespace},
        "reason": "FailedScheduling",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        "type": "Warning",
        "firstTimestamp": happened,
        "lastTimestamp": happened,
    }
    kubectl.apply(event)
    told, *_ = finish(name, "Failed")
    assert told["failures"][0] == {
        "node": "fuse",
        "message": "given up while it waited for a node: cannot be scheduled: 0/3 nodes are "
        "available: 3 Insufficient nvidia.com/gpu",
    }


def test_an_account_that_may_not_is_said_and_all_are_told(kubectl, pod, workflow, finish, capsys):
    pod("quorate")
    name = workflow()
    (told,) = finish(name, "Succeeded", degraded=True)
    assert told["event"] == "degraded"
    assert DEGRADED not in labels(kubectl, name)
    said = capsys.readouterr().err
    assert "warning: the workflow cannot be read" in said
    assert "warning: the workflow cannot be marked as degraded" in said


def test_the_errors_of_the_api_server(kubectl, pod):
    pod("quorate-exit")
    with pytest.raises(InputError):
        Kube.of_pod(kubectl.namespace).workflow("none-of-that-name")
    folder = pod("quorate")
    with pytest.raises(AccessError):
        Kube.of_pod(kubectl.namespace).workflow("any")
    (folder / "token").write_text("not a token")
    with pytest.raises(AccessError, match="does not know who you are"):
        Kube.of_pod(kubectl.namespace).workflow("any")
