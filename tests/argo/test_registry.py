"""A registry is asked for an image as the Distribution Specification has it."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from quorate.argo.cluster.registry import has, parts
from quorate.argo.doctor import ensemble as doctor_spec


@contextmanager
def registry(*, private=False, status=None):
    """One that has street/yolo:1; `private` gives a token first; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            name = self.path.removeprefix("/v2/")
            if private and self.headers.get("Authorization") != "Bearer t0ken":
                at = f"http://{self.headers['Host']}/token"
                self.send_response(401)
                self.send_header("WWW-Authenticate", f'Bearer realm="{at}",service="registry"')
            elif status:
                self.send_response(status)
            else:
                assert "oci.image.index" in self.headers["Accept"]
                self.send_response(200 if name == "street/yolo/manifests/1" else 404)
            self.end_headers()

        def do_GET(self):
            assert self.path == "/token?service=registry"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": "t0ken"}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("quorate-cpu:0.1.0", ("docker.io", "library/quorate-cpu", "0.1.0")),
        ("team/yolo", ("docker.io", "team/yolo", "latest")),
        ("localhost/yolo:1", ("localhost", "yolo", "1")),
        ("registry.example:5000/a/b:v1", ("registry.example:5000", "a/b", "v1")),
        ("r.example/a@sha256:00", ("r.example", "a", "sha256:00")),
        ("r.example/a:v1@sha256:00", ("r.example", "a", "sha256:00")),
    ],
)
def test_the_parts_of_a_name(image, expected):
    assert parts(image) == expected


@pytest.mark.parametrize("private", [False, True])
def test_an_image_is_there_or_not(private):
    with registry(private=private) as where:
        assert has(f"{where}/street/yolo:1") is True
        assert has(f"{where}/street/yolo:2") is False


def test_a_registry_that_does_not_say():
    with registry(status=403) as where:
        assert has(f"{where}/street/yolo:1") == f"{where} does not tell everybody (status 403)"
    assert has(f"{where}/street/yolo:1") == f"{where} cannot be reached from here"


def test_doctor_names_an_image_that_nobody_can_pull():
    def looked_at(image):
        template = {"spec": {"templates": [{"container": {"image": image}}]}}
        node = {"status": {"images": [{"names": ["docker.io/library/known:1"]}]}}
        (finding,) = doctor_spec._images(template, [node])
        return finding.state, finding.found

    with registry() as where:
        assert looked_at("known:1") == ("ok", "known:1: a node has it")
        assert looked_at(f"{where}/street/yolo:1")[0] == "ok"
        state, said = looked_at(f"{where}/street/yolo:2")
    assert state == "fail"
    assert said.endswith(f"no node has it, and {where} has not")
    state, said = looked_at(f"{where}/street/yolo:2")
    assert state == "warn"
    assert "cannot be reached from here" in said
