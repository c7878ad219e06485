"""What each way to a cluster asks of it: verb, path, query and body of every request.

A cluster tells Stop from Terminate, retry from resubmit, and a workflow from a template by these
alone, and no other test without a cluster would notice one in the place of another.
"""

import http.server
import json
import threading
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.client_server import ArgoServer
from quorate.argo.cluster.rest import Rest
from quorate.errors import InputError

ARGO = "/apis/argoproj.io/v1alpha1/namespaces/vision"
CORE = "/api/v1/namespaces/vision"


class Recorder(http.server.ThreadingHTTPServer):
    """Keeps what it is asked; answers with what a path is given, else with {}."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked, self.answers, self.statuses = [], {}, {}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    def handle_any(self):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = json.loads(body) if body else None
        self.server.asked.append((self.command, parts.path, dict(parse_qsl(parts.query)), given))
        self.server.kind = self.headers.get("Content-Type")
        answer = self.server.answers.get((self.command, parts.path), b"{}")
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        found = 404 if answer is None else 200
        self.send_response(self.server.statuses.get(parts.path, found))
        self.end_headers()
        self.wfile.write(data if answer is not None else b'{"message": "x not found"}')

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815  http.server's words

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, args=(0.01,), daemon=True).start()
        yield recorder
        recorder.shutdown()


@pytest.fixture
def kube(server):
    pool = urllib3.PoolManager()
    return Kube(Rest(pool, server.address, lambda: None, "the cluster", "log in"), "vision")


@pytest.fixture
def argo(server, monkeypatch):
    for name in ("ARGO_TOKEN", "ARGO_BASE_HREF", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return ArgoServer.at(server.address, namespace="vision")


def changes(server):
    return [one for one in server.asked if one[0] != "GET"]


@pytest.mark.parametrize(
    ("now", "shutdown", "verb"), [(False, "Stop", "stop"), (True, "Terminate", "terminate")]
)
def test_a_run_is_stopped_so_that_its_exit_handler_runs_unless_now(
    server, kube, argo, now, shutdown, verb
):
    kube.stop("street-x", now=now)
    assert changes(server) == [
        ("PATCH", f"{ARGO}/workflows/street-x", {}, {"spec": {"shutdown": shutdown}})
    ]
    assert server.kind == "application/merge-patch+json"
    server.asked.clear()
    argo.stop("street-x", now=now)
    path, body = "/api/v1/workflows/vision/street-x", {"namespace": "vision", "name": "street-x"}
    assert changes(server) == [("PUT", f"{path}/{verb}", {}, body)]


def test_a_run_that_has_ended_is_not_stopped(server, kube, argo):
    ended = {"status": {"finishedAt": "2026-01-01T00:00:00Z"}}
    server.answers["GET", f"{ARGO}/workflows/street-x"] = ended
    server.answers["GET", "/api/v1/workflows/vision/street-x"] = ended
    for cluster in (kube, argo):
        with pytest.raises(InputError, match="has ended already"):
            cluster.stop("street-x")
    assert changes(server) == []


def failed():
    """A workflow of one pod, which failed."""
    node = {"id": "x-1", "name": "x", "type": "Pod", "phase": "Failed", "templateName": "only"}
    metadata = {"name": "x", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Failed", "nodes": {"x-1": node}}}


def test_a_retry_is_argo_servers_own_or_the_workflow_as_it_goes_on(server, kube, argo):
    argo.retry(failed())
    body = {"namespace": "vision", "name": "x"}
    assert server.asked == [("PUT", "/api/v1/workflows/vision/x/retry", {}, body)]
    server.asked.clear()
    kube.retry(failed())
    (gone, put) = server.asked
    assert gone[:2] == ("DELETE", f"{CORE}/pods/x")
    assert put[:2] == ("PUT", f"{ARGO}/workflows/x")
    assert put[3]["metadata"]["resourceVersion"] == "7"
    assert "phase" not in put[3]["status"]


def test_a_pod_that_is_gone_is_no_hindrance(server, kube):
    server.answers["DELETE", f"{CORE}/pods/x"] = None
    kube.retry(failed())
    assert server.asked[-1][0] == "PUT"


def test_of_many_workflows_the_metadata_alone_is_asked_for(server, kube, argo):
    items = {"items": [{"metadata": {"name": "x"}}]}
    server.answers["GET", f"{ARGO}/workflows"] = items
    server.answers["GET", "/api/v1/workflows/vision"] = items
    assert kube.labelled("a=b") == argo.labelled("a=b") == items["items"]
    assert [query for _, _, query, _ in server.asked] == [
        {"labelSelector": "a=b"},
        {"listOptions.labelSelector": "a=b", "fields": "items.metadata"},
    ]


@pytest.mark.parametrize(
    ("kind", "of_kube", "of_argo"),
    [
        ("workflows", f"{ARGO}/workflows/x", "/api/v1/workflows/vision/x"),
        (
            "workflow-templates",
            f"{ARGO}/workflowtemplates/x",
            "/api/v1/workflow-templates/vision/x",
        ),
    ],
)
def test_what_is_removed(server, kube, argo, kind, of_kube, of_argo):
    kube.delete("x", kind)
    argo.delete("x", kind)
    assert server.asked == [("DELETE", of_kube, {}, None), ("DELETE", of_argo, {}, None)]


def test_a_workflow_is_created_in_the_namespace(server, kube, argo):
    given = {"metadata": {"generateName": "street-"}, "spec": {}}
    placed = {"metadata": {"generateName": "street-", "namespace": "vision"}, "spec": {}}
    kube.create(given)
    argo.create(given)
    header = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
    assert server.asked == [
        ("POST", f"{ARGO}/workflows", {}, header | placed),
        ("POST", "/api/v1/workflows/vision", {}, {"namespace": "vision", "workflow": placed}),
    ]
    assert given["metadata"] == {"generateName": "street-"}


TEMPLATE = {"metadata": {"name": "street", "labels": {"a": "ours"}}, "spec": {"parallelism": 1}}


@pytest.mark.parametrize("way", ["kube", "argo"])
def test_a_template_that_is_not_there_is_created(server, request, way):
    cluster = request.getfixturevalue(way)
    every, path = {
        "kube": (f"{ARGO}/workflowtemplates", f"{ARGO}/workflowtemplates/street"),
        "argo": ("/api/v1/workflow-templates/vision", "/api/v1/workflow-templates/vision/street"),
    }[way]
    server.answers["GET", path] = None
    assert cluster.apply(TEMPLATE) == "created"
    ((verb, where, _, body),) = changes(server)
    assert (verb, where) == ("POST", every)
    assert (body if way == "kube" else body["template"])["metadata"]["namespace"] == "vision"
    assert way == "argo" or body["kind"] == "WorkflowTemplate"


@pytest.mark.parametrize("way", ["kube", "argo"])
@pytest.mark.parametrize(("generation", "became"), [(3, "unchanged"), (4, "updated")])
def test_a_template_that_is_there_keeps_what_others_put_on_it(
    server, request, way, generation, became
):
    cluster = request.getfixturevalue(way)
    path = {
        "kube": f"{ARGO}/workflowtemplates/street",
        "argo": "/api/v1/workflow-templates/vision/street",
    }[way]
    there = {"labels": {"a": "old", "b": "theirs"}, "resourceVersion": "7", "generation": 3}
    server.answers["GET", path] = {"metadata": there, "spec": {}}
    server.answers["PUT", path] = {"metadata": {"generation": generation}}
    assert cluster.apply(TEMPLATE) == became
    ((verb, where, _, body),) = changes(server)
    assert (verb, where) == ("PUT", path)
    metadata = (body if way == "kube" else body["template"])["metadata"]
    assert metadata["labels"] == {"a": "ours", "b": "theirs"}
    assert metadata["resourceVersion"] == "7"


def test_a_label_leaves_the_others(server, kube):
    kube.label("street-x", "quorate/degraded", "true")
    body = {"metadata": {"labels": {"quorate/degraded": "true"}}}
    assert server.asked == [("PATCH", f"{ARGO}/workflows/street-x", {}, body)]
    assert server.kind == "application/merge-patch+json"


def test_workflows_of_some_labels_come_newest_first(server, kube, argo):
    items = [
        {"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"name": "new", "creationTimestamp": "2026-01-02T00:00:00Z"}},
    ]
    server.answers["GET", f"{ARGO}/workflows"] = {"items": items}
    server.answers["GET", "/api/v1/workflows/vision"] = {"items": items}
    for cluster in (kube, argo):
        found = cluster.workflows("a=b,!c")
        assert [one["metadata"]["name"] for one in found] == ["new", "old"]
    assert [query for _, _, query, _ in server.asked] == [
        {"labelSelector": "a=b,!c"},
        {"listOptions.labelSelector": "a=b,!c"},
    ]


def stream(*values, sse=False):
    start = "data: " if sse else ""
    return "".join(f"{start}{json.dumps(value)}\n" for value in values).encode()


@pytest.mark.parametrize("way", ["kube", "argo"])
def test_a_run_is_watched_until_it_is_deleted(server, request, way):
    cluster = request.getfixturevalue(way)
    one = {"metadata": {"name": "x"}, "status": {"phase": "Running"}}
    events = [{"type": "MODIFIED", "object": one}, {"type": "DELETED", "object": one}]
    selected = {"fieldSelector": "metadata.name=x", "timeoutSeconds": "15"}
    if way == "kube":
        path, query = f"{ARGO}/workflows", selected | {"watch": "true"}
        server.answers["GET", path] = stream(*events)
    else:
        path = "/api/v1/workflow-events/vision"
        query = {f"listOptions.{key}": value for key, value in selected.items()}
        server.answers["GET", path] = stream(*({"result": event} for event in events), sse=True)
    seen = cluster.changes("x")
    assert [next(seen), next(seen)] == [{}, one]
    with pytest.raises(InputError, match="was deleted"):
        next(seen)
    assert server.asked[1][1:3] == (path, query)


def test_the_events_are_those_of_pods(server, kube, argo):
    event = {"involvedObject": {"name": "x-1"}, "message": "no"}
    server.answers["GET", f"{CORE}/events"] = {"items": [event]}
    server.answers["GET", "/api/v1/stream/events/vision"] = stream({"result": event})
    assert kube.events("x") == argo.events("x") == [event]
    assert [query for _, _, query, _ in server.asked] == [
        {"fieldSelector": "involvedObject.kind=Pod"},
        {"listOptions.fieldSelector": "involvedObject.kind=Pod"},
    ]


@pytest.mark.parametrize("status", [403, 500])
def test_events_that_argo_server_does_not_give_end_nothing(server, argo, monkeypatch, status):
    monkeypatch.setenv("KUBECONFIG", "/there/is/none")
    server.statuses["/api/v1/stream/events/vision"] = status
    assert argo.events("x") == []


def test_logs_are_the_steps_own(server, kube, argo):
    pods = [
        {"metadata": {"name": name, "creationTimestamp": at}}
        for name, at in (("x-2", "2026-01-02"), ("x-1", "2026-01-01"))
    ]
    server.answers["GET", f"{CORE}/pods"] = {"items": pods}
    text = b"hello\ntime=now level=info argo=true\n"
    server.answers["GET", f"{CORE}/pods/x-1/log"] = text
    server.answers["GET", f"{CORE}/pods/x-2/log"] = text
    assert list(kube.logs("x")) == [("x-1", "hello"), ("x-2", "hello")]
    assert server.asked[0][2] == {"labelSelector": "workflows.argoproj.io/workflow=x"}
    assert {query["container"] for _, path, query, _ in server.asked if "log" in path} == {"main"}

    lines = [{"result": {"podName": f"x-{i}", "content": "hello"}} for i in (1, 2)]
    server.answers["GET", "/api/v1/workflows/vision/x/log"] = stream(*lines)
    server.asked.clear()
    assert list(argo.logs("x", pods=["x-1"], follow=True)) == [("x-1", "hello")]
    wanted = {"logOptions.container": "main", "logOptions.follow": "true", "podName": "x-1"}
    assert server.asked[0][2] == wanted
