"""What goes wrong around a run on a real CVAT: a clear message, and what people drew stays."""

import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from quorate.cvat import Client, annotate, client, undo
from quorate.cvat.publishing import writing
from quorate.ensemble import DetectionEnsemble
from quorate.errors import AccessError, InputError, ServerError
from tests.cvat.real import Real, labels, needs_cvat, unique, zipped
from tests.spots import Spots, pool

pytestmark = needs_cvat
PASSWORD = "quite-a-long-password-1"
CLOUD = (
    "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 3\nHEIGHT 1\n"
    "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\nDATA ascii\n0 0 0\n1 1 1\n2 1 0\n"
)


@pytest.fixture
def pictures(tmp_path):
    return zipped(pool(tmp_path / "pool", 6))


@pytest.fixture
def run(real, tmp_path):
    """Annotate a task; how many boxes are new."""

    def run(task, who=None, **more):
        detectors = (Spots(name="a", kind="spots"), Spots(name="b", kind="spots"))
        ensemble = DetectionEnsemble(name="spots", detectors=detectors)
        who = who or real.client
        (done,) = annotate(str(task), ensemble, client=who, out=tmp_path / "out", **more)
        return done.published

    return run


def drawn_by_hand(real, task):
    """A box that a person draws on the first frame."""
    label = real.get(f"labels?task_id={task}")["results"][0]["id"]
    shape = {"type": "rectangle", "frame": 0, "points": [1.0, 2.0, 9.0, 12.0], "label_id": label}
    body = {"version": 0, "tags": [], "tracks": [], "shapes": [shape]}
    real.send("PATCH", f"tasks/{task}/annotations?action=create", body=body)
    return shape["points"]


def after(stage, do):
    """A progress that does something once, when a stage is done."""
    left = [do]

    def progress(name, done, total):
        if name == stage and done == total and left:
            left.pop()()

    return progress


def stranger(real):
    """Somebody who is no one's colleague; None where the server lets nobody register."""
    name = unique()
    body = {
        "username": name, "email": f"{name}@example.com", "first_name": "A", "last_name": "B",
        "password1": PASSWORD, "password2": PASSWORD, "confirmations": [],
    }  # fmt: skip
    answer = real.raw("POST", "auth/register", body=body)
    if answer.status >= 300:
        pytest.skip("the server lets nobody register")
    me = Client(real.client.server, urllib3.make_headers(basic_auth=f"{name}:{PASSWORD}"))
    number = Real(me).get("users/self")["id"]
    real._made.insert(0, f"users/{number}")
    return me


@pytest.mark.parametrize("what", ["revoked", "expired", "read only"])
def test_a_token_that_does_not_do(real, pictures, run, what):
    expires = "2020-01-01T00:00:00Z" if what == "expired" else None
    body = {"name": unique(), "expiry_date": expires, "read_only": what == "read only"}
    made = real.send("POST", "auth/access_tokens", body=body)
    who = Client.connect(access_token=made["value"])
    task = real.task(files=[pictures])
    try:
        if what == "revoked":
            assert who.get(f"tasks/{task}", dict)["id"] == task
            real.send("DELETE", f"auth/access_tokens/{made['id']}")
        said = "you may not do that" if what == "read only" else "does not know you"
        with pytest.raises(AccessError, match=said) as error:
            run(task, who)
        assert "token" in error.value.hint
    finally:
        real.raw("DELETE", f"auth/access_tokens/{made['id']}")
    assert real.shapes(task) == []


def test_who_has_no_rights_is_told(real, pictures, run):
    task = real.task(files=[pictures])
    mine = drawn_by_hand(real, task)
    who = stranger(real)
    with pytest.raises(AccessError, match=f"you may not do that with task {task}"):
        run(task, who)
    organization = real.made("organizations", slug=unique()[:16])
    slug = real.get(f"organizations/{organization}")["slug"]
    with pytest.raises(AccessError, match=f"in the organization '{slug}'"):
        run(task, Client(who.server, {**who.headers, "X-Organization": slug}, slug))
    with pytest.raises(InputError, match=r"there is no task \d+ in the organization 'nowhere'"):
        run(task, Client.connect(organization="nowhere"))
    assert [shape["points"] for shape in real.shapes(task)] == [mine]


def test_what_holds_no_pictures_is_told(real, run):
    with pytest.raises(InputError, match="has no pictures"):
        run(real.made("tasks", name="empty", labels=labels(("red", "green"))))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.pcd", CLOUD)
        archive.writestr("b.pcd", CLOUD)
    with pytest.raises(InputError, match="holds 3D data"):
        run(real.task(files=[("clouds.zip", packed.getvalue())]))


def test_a_task_that_is_deleted_meanwhile(real, pictures, run):
    task = real.task(files=[pictures])

    def delete():
        real.send("DELETE", f"tasks/{task}")
        real._made.remove(f"tasks/{task}")

    with pytest.raises(InputError, match="there is no job"):
        run(task, progress=after("download", delete))


def test_labels_that_are_renamed_or_deleted_meanwhile(real, pictures, run):
    task = real.task(files=[pictures])
    mine = drawn_by_hand(real, task)
    told = real.get(f"labels?task_id={task}")["results"]
    ids = {label["name"]: label["id"] for label in told}

    def rename():
        real.send("PATCH", f"labels/{ids['green']}", body={"name": "lime"})

    done = run(task, progress=after("download", rename))
    assert done.created == 12  # under the new name: the label is the same
    assert undo(done.run, client=real.client).removed == 12

    def delete():
        real.send("DELETE", f"labels/{ids['green']}")

    real.send("PATCH", f"labels/{ids['green']}", body={"name": "green"})
    with pytest.raises(InputError, match="invalid") as error:
        run(task, progress=after("download", delete))
    assert "changed meanwhile" in error.value.hint
    assert [shape["points"] for shape in real.shapes(task)] == [mine]


class Stopping:
    """Stands before the server, and is gone for ever once it has passed on some changes."""

    def __init__(self, changes):
        self.left = changes
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _go(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                changes = self.command == "PATCH"
                if outer.left <= 0:
                    self.close_connection = True
                    return
                kept = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                url = os.environ["CVAT_URL"].rstrip("/") + self.path
                answer = urllib3.request(self.command, url, headers=kept, body=body or None)
                outer.left -= changes
                if changes and outer.left == 0:  # the last is carried out, and nobody hears of it
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_PATCH = _go  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def test_a_server_that_stops_while_boxes_are_published(real, pictures, run, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 5)
    monkeypatch.setattr(client, "TRIES", 1)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    task = real.task(files=[pictures])
    mine = drawn_by_hand(real, task)
    stopping = Stopping(changes=3)  # the first asks whether one may, and creates nothing
    try:
        with pytest.raises(ServerError, match="no answer"):
            run(task, Client(stopping.url, real.client.headers))
    finally:
        stopping.server.shutdown()
        stopping.server.server_close()
    assert len(real.shapes(task)) == 1 + 10  # two requests of five arrived
    done = run(task)
    assert (done.created, done.there) == (2, 10)
    points = [shape["points"] for shape in real.shapes(task)]
    assert len(points) == 13
    assert mine in points
