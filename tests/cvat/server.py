"""A small server that answers as CVAT does, with the traps of the real one.

Compared with the public source of CVAT 2.73 (`cvat/apps/engine/views.py`, `serializers.py`,
`dataset_manager/task.py`) and with answers of real 2.15 servers: lists come in pages; labels have
ids and attributes with ids; a job's `data/meta` begins with the job's first frame, and a video's
has one entry for all frames; `PATCH …/annotations?action=create` refuses an id, and the whole
request where a label, an attribute or a coordinate is unknown; shapes get ids that rise; an
unknown field (`score` before 2.56) is dropped; an attribute that was not sent has its default in
answers; points keep their digits; deleting what is gone does
nothing; a shape that a person moves keeps its id; a job does not tell the name of its task to those
who may not see that. What it does on request is what networks
do: `lose_answers` (carried out, no answer), `busy` (503), `slow`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.cvat import annotations, exports
from tests.cvat.around import Around
from tests.cvat.talk import RefusedError, Talk

KINDS = ("shapes", "tracks", "tags")
PAGE = 3
"""Items in a page, however many are asked for: a client must follow `next`."""
USER, PASSWORD, TOKEN = "labeller", "correct horse", "quorate-test-token"


@dataclass(frozen=True)
class Someone:
    """An account: the tasks that it may change, the jobs alone, the tasks that it may look at."""

    id: int
    password: str
    token: str
    tasks: frozenset[int] | None = None
    jobs: frozenset[int] = frozenset()
    reads: frozenset[int] = frozenset()


class Cvat:
    """The state of a server; tests look into it and change it."""

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, dict[str, Any]] = {}
        self.labels: dict[int, dict[str, Any]] = {}
        self.files: dict[int, list[Path]] = {}
        self.shapes: dict[int, list[dict[str, Any]]] = {}
        self.tracks: dict[int, list[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.lose_answers = 0
        self.busy = 0
        self.exporting = 0
        self.export_fails = ""
        self.clouds: dict[int, str] = {}
        self.clouds_lead_elsewhere = False
        self.forbidden: set[str] = set()
        self.url = ""
        self.people = {USER: Someone(1, PASSWORD, TOKEN)}
        self.sessions: dict[str, str] = {}
        self._ids = 1000
        self._lock = threading.RLock()
        self.talk = Talk(self.next_id)
        self.around = Around()

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def add_task(
        self,
        files: list[Path],
        labels: list[dict[str, Any]] | list[str],
        *,
        names: list[str] | None = None,
        segment: int | None = None,
        overlap: int = 0,
        video: bool = False,
        step: int = 1,
        start: int = 0,
        deleted: tuple[int, ...] = (),
        project: int | None = None,
        size: tuple[int, int] = (0, 0),
    ) -> int:
        number = self.next_id()
        self.files[number] = files
        self.tasks[number] = {
            "id": number, "name": f"Task {number}", "dimension": "2d", "subset": "",
            "mode": "interpolation" if video else "annotation", "project_id": project,
            "size": len(files), "bug_tracker": "", "owner": {"id": 1}, "assignee": None,
        }  # fmt: skip
        self.tasks[number]["_meta"] = {
            "names": names or [file.name for file in files], "deleted": list(deleted),
            "step": step, "start": start, "size": size,
        }  # fmt: skip
        for label in labels:
            self.add_label(number, {"name": label} if isinstance(label, str) else label)
        segment = segment or len(files)
        first = 0
        while first < len(files):
            last = min(first + segment, len(files)) - 1
            self.add_job(number, first, last)
            if last == len(files) - 1:
                break
            first = last + 1 - overlap
        return number

    def add_label(self, task: int, label: dict[str, Any]) -> int:
        made = {"color": "#336699", "type": "any", "has_parent": False} | label
        made |= {"id": label.get("id") or self.next_id(), "_task": task}
        made["attributes"] = [
            {"input_type": "text", "values": ["1"], "default_value": "1", "mutable": False}
            | attribute
            | {"id": attribute.get("id") or self.next_id()}
            for attribute in label.get("attributes", [])
        ]
        self.labels[made["id"]] = made
        return int(made["id"])

    def add_job(self, task: int, first: int, last: int, type: str = "annotation") -> int:
        number = self.next_id()
        self.jobs[number] = {
            "id": number, "task_id": task, "start_frame": first, "stop_frame": last,
            "type": type, "state": "new", "stage": "annotation", "dimension": "2d",
            "assignee": None, "organization": None, "task_name": None,
            "project_id": self.tasks[task]["project_id"],
        }  # fmt: skip
        self.shapes[number], self.tracks[number] = [], []
        return number

    def draw(self, task: int, **shape: Any) -> dict[str, Any]:
        """A person draws a shape."""
        job = next(
            job for job in self.jobs.values()
            if job["task_id"] == task and job["type"] == "annotation"
            and job["start_frame"] <= shape["frame"] <= job["stop_frame"]
        )  # fmt: skip
        whole = {"type": "rectangle", "source": "manual", "attributes": [], "rotation": 0} | shape
        whole["id"] = self.next_id()
        self.shapes[job["id"]].append(whole)
        return whole

    def move(self, shape: dict[str, Any], points: list[float]) -> None:
        """A person moves a shape."""
        shape["points"] = points

    def drawn(self, task: int) -> list[dict[str, Any]]:
        """All shapes of a task's jobs."""
        own = [job["id"] for job in self.jobs.values() if job["task_id"] == task]
        return [shape for job in own for shape in self.shapes[job]]

    # Who may do what.

    def asker(self, authorization: str, cookie: str) -> str | None:
        """The name of who asks, as CVAT's ways to say it tell."""
        kind, _, rest = authorization.partition(" ")
        for name, one in self.people.items():
            basic = base64.b64encode(f"{name}:{one.password}".encode()).decode()
            if (kind, rest) in (("Bearer", one.token), ("Basic", basic)):
                return name
        session = re.search(r"sessionid=(\w+)", cookie)
        return self.sessions.get(session[1]) if session else None

    def sign_in(self, body: dict[str, str]) -> str:
        """A session for a name and password."""
        one = self.people.get(body["username"])
        if one is None or one.password != body["password"]:
            said = "Unable to log in with provided credentials."
            raise RefusedError(400, {"non_field_errors": [said]})
        number = f"s{self.next_id()}"
        self.sessions[number] = body["username"]
        return number

    def check(self, who: str, method: str, path: str) -> None:
        """Refuse what somebody may not see (404 or 403 as CVAT) or not change (403)."""
        one = self.people[who]
        found = re.match(r"(tasks|jobs)/(\d+)", path)
        if one.tasks is None or found is None:
            return
        number = int(found[2])
        if found[1] == "jobs" and number in one.jobs:
            return
        task = number if found[1] == "tasks" else self.jobs.get(number, {}).get("task_id", 0)
        if task not in one.tasks | one.reads or (method != "GET" and task not in one.tasks):
            said = "You do not have permission to perform this action."
            raise RefusedError(403, {"detail": said})

    def visible(self, who: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of a list of jobs that somebody may see."""
        one = self.people[who]
        if one.tasks is None:
            return jobs
        seen = one.tasks | one.reads
        return [job for job in jobs if job["id"] in one.jobs or job["task_id"] in seen]

    # What the API does.

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        self.requests.append(f"{method} {path}")
        if path in self.forbidden or any(path.startswith(f"{p}/") for p in self.forbidden):
            raise RefusedError(403, {"detail": "not authorized"})
        with self._lock:
            if self.exporting and path.endswith("/dataset/export"):
                self.exporting -= 1
                raise RefusedError(409, "Export process is already in progress")
            if (said := exports.answer(self, method, path, query)) is not None:
                return said
            if (said := self.around.answer(self, method, path, query, body)) is not None:
                return said
            if path == "server/about":
                return {"name": "CVAT", "version": "2.73.0"}
            if match := re.fullmatch(r"(tasks|jobs|labels)", path):
                return self._list(match[1], query)
            if path == "issues" and method == "POST":
                return self.talk.open(body, self.jobs.get(body["job"]))
            if path in ("issues", "comments"):
                return self._pages(path, self.talk.those(path, query), query)
            if match := re.fullmatch(r"issues/(\d+)", path):
                return self.talk.change(int(match[1]), method, body)
            if match := re.fullmatch(r"(tasks|projects)/(\d+)", path):
                if method == "PATCH":
                    self._change_labels(match[1], int(match[2]), body["labels"])
                return self._one(self.tasks, int(match[2])) if match[1] == "tasks" else {}
            if match := re.fullmatch(r"tasks/(\d+)/annotations", path):
                self._one(self.tasks, int(match[1]))
                assert not body["shapes"], "the task is only asked whether somebody may"
                return body
            if match := re.fullmatch(r"jobs/(\d+)(/.*)?", path):
                job = self._one(self.jobs, int(match[1]))
                if not match[2]:
                    return job
                if match[2] == "/data/meta":
                    return self._meta(job)
                if match[2] == "/data":
                    return self._frame(job, int(query["number"]))
                if match[2] == "/annotations":
                    return self._annotations(method, job, query, body)
        raise RefusedError(404, {"detail": "Not found."})

    def _one(self, table: dict[int, dict[str, Any]], number: int) -> dict[str, Any]:
        if number not in table:
            raise RefusedError(404, {"detail": "Not found."})
        return {k: v for k, v in table[number].items() if not k.startswith("_")}

    def _list(self, what: str, query: dict[str, str]) -> dict[str, Any]:
        table = getattr(self, what)
        keep = [*table]
        if what == "tasks" and "project_id" in query:
            keep = [n for n in keep if table[n]["project_id"] == int(query["project_id"])]
        if what == "jobs" and "task_id" in query:
            keep = [n for n in keep if table[n]["task_id"] == int(query["task_id"])]
        if what == "labels":
            task = int(query["task_id"]) if "task_id" in query else None
            task = self.jobs[int(query["job_id"])]["task_id"] if task is None else task
            keep = [n for n in keep if table[n]["_task"] == task]
        return self._pages(what, [self._one(table, n) for n in keep], query)

    def _pages(self, what: str, items: list[Any], query: dict[str, str]) -> dict[str, Any]:
        first = (int(query.get("page", 1)) - 1) * PAGE
        more = first + PAGE < len(items)
        return {
            "count": len(items),
            "next": f"{self.url}/api/{what}?page=2" if more else None,
            "previous": None,
            "results": items[first : first + PAGE],
        }

    def _change_labels(self, what: str, number: int, labels: list[dict[str, Any]]) -> None:
        owners = [n for n, t in self.tasks.items() if what == "tasks" or t["project_id"] == number]
        task = number if what == "tasks" else owners[0]
        for label in labels:
            old = self.labels.get(label.get("id", 0))
            if old is None:
                self.add_label(task, label)
            else:
                for attribute in label["attributes"]:
                    old["attributes"].append(attribute | {"id": self.next_id()})

    def _meta(self, job: dict[str, Any]) -> dict[str, Any]:
        meta = self.tasks[job["task_id"]]["_meta"]
        numbers = range(job["start_frame"], job["stop_frame"] + 1)
        width, height = meta["size"]
        video = self.tasks[job["task_id"]]["mode"] == "interpolation"
        names = ["clip.mp4"] if video else [meta["names"][n] for n in numbers]
        return {
            "size": len(numbers),
            "start_frame": meta["start"] + job["start_frame"] * meta["step"],
            "stop_frame": meta["start"] + job["stop_frame"] * meta["step"],
            "frame_filter": f"step={meta['step']}" if meta["step"] > 1 else "",
            "frames": [{"name": name, "width": width, "height": height} for name in names],
            "deleted_frames": [n for n in meta["deleted"] if n in numbers],
            "included_frames": None,
        }

    def _frame(self, job: dict[str, Any], number: int) -> bytes:
        if not job["start_frame"] <= number <= job["stop_frame"]:
            raise RefusedError(400, [f"The frame number {number} doesn't belong to the job"])
        return self.files[job["task_id"]][number].read_bytes()

    def _annotations(self, method: str, job: dict[str, Any], query: Any, body: Any) -> Any:
        known = {n: v for n, v in self.labels.items() if v["_task"] == job["task_id"]}
        shapes, tracks = self.shapes[job["id"]], self.tracks[job["id"]]
        if method == "GET":
            return {
                "version": 0,
                "tags": [],
                "shapes": [annotations.whole_shape(one, known) for one in shapes],
                "tracks": [annotations.whole_track(one, known) for one in tracks],
            }
        if query.get("action") == "delete":
            for things, kind in ((shapes, "shapes"), (tracks, "tracks")):
                gone = {thing["id"] for thing in body[kind]}
                things[:] = [thing for thing in things if thing["id"] not in gone]
            return body
        if query.get("action") != "create":
            raise RefusedError(400, ["Please specify a correct 'action' for the request"])
        made = [annotations.new_shape(one, known, self.next_id) for one in body["shapes"]]
        joined = [annotations.new_track(one, known, self.next_id) for one in body["tracks"]]
        shapes.extend(made)
        tracks.extend(joined)
        return {"version": 0, "tags": [], "shapes": made, "tracks": joined}


@contextmanager
def serving(cvat: Cvat):  # type: ignore[no-untyped-def]
    """Serve a CVAT on a free port of this machine; its address goes into `cvat.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _go(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            split = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            path = unquote(split.path).removeprefix("/api/").rstrip("/")
            if cvat.busy:
                cvat.busy -= 1
                self._say(503, {"detail": "busy"})
                return
            try:
                if path == "auth/login":
                    session = cvat.sign_in(json.loads(raw))
                    self._say(200, {"key": "of old"}, [f"sessionid={session}; HttpOnly"])
                    return
                given = (self.headers.get("Authorization", ""), self.headers.get("Cookie", ""))
                who = cvat.asker(*given)
                if who is None and path != "server/about":
                    self._say(401, {"detail": "Invalid token."})
                    return
                if path == "auth/logout":
                    session = given[1].partition("sessionid=")[2].partition(";")[0]
                    cvat.sessions.pop(session, None)
                    self._say(200, {})
                    return
                if who and path == "users/self":
                    self._say(200, {"id": cvat.people[who].id, "username": who})
                    return
                if who:
                    cvat.check(who, self.command, path)
                said = cvat.answer(self.command, path, query, json.loads(raw) if raw else None)
                if who and path == "jobs" and "results" in said:
                    said["results"] = cvat.visible(who, said["results"])
            except RefusedError as refused:
                self._say(refused.status, refused.body)
                return
            asks = query.get("action") == "create" and not any(json.loads(raw)[k] for k in KINDS)
            if self.command != "GET" and cvat.lose_answers and not asks:
                cvat.lose_answers -= 1
                self.close_connection = True
                self.connection.close()
                return
            self._say({"POST": 201, "DELETE": 204}.get(self.command, 200), said)

        def _say(self, status: int, body: Any, cookies: Sequence[str] = ()) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            data = b"" if status == 204 else data
            self.send_response(status)
            for cookie in cookies:
                self.send_header("Set-Cookie", cookie)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_POST = do_DELETE = _go  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cvat.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cvat
    finally:
        server.shutdown()
        server.server_close()
