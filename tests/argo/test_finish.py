"""`quorate step finish` away from a cluster; with one, see tests/cluster/test_finish.py."""

import json

import pytest

from quorate.cli import main
from tests.notifications.receivers import web

SPEC = """
kind: DetectionEnsemble
name: street
detectors: [{name: yolo, kind: onnx, weights: yolo.onnx}]
notify: [{kind: webhook, url: %s, when: [started, succeeded, degraded, failed]}]
"""
SUMMARY = {
    "method": "wbf",
    "images": 60,
    "published": 12,
    "degraded": False,
    "detectors": [{"name": "yolo", "boxes": 20, "failed": ""}],
}
FAILURES = [
    {"displayName": "detect-a", "message": "no weights", "finishedAt": "2026-01-01T00:00"},
    {"displayName": "fuse", "message": "0 of 1 detectors", "finishedAt": "2026-01-01T00:01"},
]


@pytest.fixture
def server():
    with web() as given:
        yield given


@pytest.fixture
def finish(tmp_path, server, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("QUORATE_BUCKET", raising=False)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC % server.url)

    def call(status, *more, spec=spec, summary=None):
        if summary is not None:
            path = tmp_path / "summary.json"
            path.write_text(summary if isinstance(summary, str) else json.dumps(summary))
            more = (*more, "--summary", str(path))
        named = ["--workflow", "street-x", "--namespace", "argo", "--status", status]
        assert main(["step", "finish", str(spec), *named, *more]) == 0
        return [json.loads(body) for _, _, body in server.came]

    return call


@pytest.mark.parametrize(
    ("status", "degraded", "event"),
    [
        ("Running", None, "started"),
        ("Succeeded", False, "succeeded"),
        ("Succeeded", True, "degraded"),
        ("Succeeded", None, "succeeded"),
        ("Failed", None, "failed"),
        ("Error", False, "failed"),
    ],
)
def test_which_event_it_is(finish, status, degraded, event):
    summary = None if degraded is None else SUMMARY | {"degraded": degraded}
    (told,) = finish(status, summary=summary)
    assert told["type"] == f"run.{event}"
    assert told["data"]["run"] == "argo/street-x"
    assert (told["data"]["counts"] is None) == (degraded is None)


@pytest.mark.parametrize("wrap", [json.dumps, lambda x: json.dumps(json.dumps(x))])
def test_failures_as_argo_lists_them(finish, wrap, capsys):
    (told,) = finish("Failed", "--failures", wrap(FAILURES))
    assert told["data"]["failures"][0] == {"node": "fuse", "message": "0 of 1 detectors"}
    assert "street-x failed: 0 of 1 detectors" in capsys.readouterr().out


@pytest.mark.parametrize(
    "failures", ["", "null", "{{workflow.failures}}", "[1, null]", "{}", "7", '"x', "[[[["]
)
def test_failures_that_are_no_list(finish, failures):
    (told,) = finish("Failed", "--failures", failures)
    assert told["type"] == "run.failed"


def test_very_many_failures(finish):
    (told,) = finish("Failed", "--failures", json.dumps(FAILURES * 400))
    assert len(told["data"]["failures"]) == 800


def test_links_lead_to_the_results_and_the_workflow(finish, monkeypatch):
    monkeypatch.setenv("QUORATE_BUCKET", "pool")
    monkeypatch.setenv("QUORATE_ARGO_URL", "https://argo.example/")
    (told,) = finish("Succeeded", "--results", "argo/out/street-x/results/", summary=SUMMARY)
    assert told["data"]["links"] == [
        {"title": "Results", "url": "s3://pool/argo/out/street-x/results/"},
        {"title": "Workflow", "url": "https://argo.example/workflows/argo/street-x"},
    ]


@pytest.mark.parametrize("summary", ["", "{", "[]", '{"images": "many"}'])
def test_a_summary_that_cannot_be_read_is_said(finish, summary, capsys):
    (told,) = finish("Succeeded", summary=summary)
    assert told["type"] == "run.succeeded"
    assert "summary.json cannot be read" in capsys.readouterr().err


def test_a_spec_that_cannot_be_read_is_said(finish, tmp_path, capsys):
    assert finish("Failed", spec=tmp_path / "none.yaml") == []
    said = capsys.readouterr()
    assert "warning: the spec cannot be read" in said.err
    assert "street-x failed" in said.out


def test_a_receiver_that_refuses_is_said(finish, server, capsys):
    server.statuses = [403]
    finish("Failed")
    assert "warning: webhook was not told: it answered 403." in capsys.readouterr().err


def test_a_pod_whose_api_server_is_gone_still_tells(finish, monkeypatch, tmp_path, capsys):
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("t")
    monkeypatch.setattr("quorate.argo.cluster.client_kube.ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT_HTTPS", "9")
    (told,) = finish("Succeeded", summary=SUMMARY | {"degraded": True})
    assert told["type"] == "run.degraded"
    assert "cannot be" in capsys.readouterr().err
