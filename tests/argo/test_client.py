import http.server
import os
import socket
import threading

import pytest

from quorate.argo.cluster.client_server import ArgoServer, address
from quorate.argo.cluster.connect import connect
from quorate.argo.cluster.rest import ConflictError, refusal
from quorate.errors import AccessError, ClusterError, InputError

ARGO = ["SERVER", "SECURE", "TOKEN", "NAMESPACE", "BASE_HREF", "INSECURE_SKIP_VERIFY"]


@pytest.fixture(autouse=True)
def nobodys(monkeypatch, tmp_path):
    """No cluster that this machine knows."""
    for name in ("KUBECONFIG", *(f"ARGO_{name}" for name in ARGO)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("server", "environment", "url"),
    [
        ("argo:2746", {}, "https://argo:2746"),
        ("argo:2746", {"ARGO_SECURE": "false"}, "http://argo:2746"),
        ("http://argo:2746/", {"ARGO_SECURE": "true"}, "http://argo:2746"),
        ("argo", {"ARGO_BASE_HREF": "/argo/"}, "https://argo/argo"),
        ("https://argo/here", {"ARGO_BASE_HREF": "/argo/"}, "https://argo/here"),
    ],
)
def test_the_address_of_argo_server(server, environment, url):
    assert address(server, environment) == url


def test_another_scheme_is_refused():
    with pytest.raises(InputError, match="no address of an argo-server"):
        address("grpc://argo:2746", {})


@pytest.mark.parametrize(
    ("status", "body", "kind", "says", "remedy"),
    [
        (401, b'{"code":16,"message":"token not valid"}', AccessError, "token not valid", "renew"),
        (403, b'{"message":"workflows is forbidden: User \\"x\\" cannot list"}', AccessError,
         'User "x" cannot list', "quorate doctor"),
        (404, b'{"message":"workflowtemplates.argoproj.io \\"x\\" not found"}', InputError,
         '"x" not found', "quorate list"),
        (404, b"404 page not found\n", InputError, "no Argo Workflows", "install Argo"),
        (409, b'{"message":"the object has been modified"}', ConflictError, "modified", "again"),
        (500, b'data: {"error":{"message":"failed to marshal"}}', ClusterError,
         r"\(500\): failed to marshal", None),
        (503, b"", ClusterError, "503", None),
        (422, b'{"message":"spec.x: Invalid value."}', InputError, "spec.x: Invalid value", None),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_a_sentence_and_a_remedy(status, body, kind, says, remedy):
    error = refusal(status, body, where="argo-server", renew="renew it")
    assert type(error) is kind
    assert error.exit_code == (75 if issubclass(kind, ClusterError) else 2)
    with pytest.raises(kind, match=says):
        raise error
    assert remedy is None or remedy in error.hint


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_server_that_is_not_there():
    server = ArgoServer.at(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ClusterError, match="refuses the connection"):
        server.version()


def test_a_host_that_is_not_there():
    with pytest.raises(ClusterError, match="no host of that name"):
        ArgoServer.at("http://nowhere.invalid:2746").version()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_page_is_no_answer(page):
    with pytest.raises(InputError, match="something else than JSON") as error:
        ArgoServer.at(f"http://127.0.0.1:{page}").version()
    assert "ARGO_BASE_HREF" in error.value.hint


def test_https_to_a_server_that_speaks_http(page):
    with pytest.raises(AccessError, match="speaks plain HTTP") as error:
        ArgoServer.at(f"127.0.0.1:{page}").version()
    assert "ARGO_SECURE=false" in error.value.hint


def test_without_a_kubeconfig_the_error_names_both_ways():
    with pytest.raises(AccessError, match="no kubeconfig") as error:
        connect()
    assert "KUBECONFIG" in error.value.hint
    assert "ARGO_SERVER" in error.value.hint


def test_a_kubeconfig_that_is_none(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("kind: Config\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(AccessError, match="no kubeconfig that leads to a cluster") as error:
        connect()
    assert str(tmp_path) in error.value.message
    assert "kubectl" in error.value.hint


def test_a_kubeconfig_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(AccessError, match="none: no kubeconfig"):
        connect()


def test_the_servers_variable_counts_before_the_kubeconfig(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("ARGO_SERVER", "argo:2746")
    assert connect(namespace="mine").where == "argo-server at https://argo:2746, namespace mine"
    assert os.environ["ARGO_SERVER"] not in connect(server="http://other:1").where
