"""Tasks on a real CVAT, the one that CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD lead to.

Where CVAT_SHARE is set, it is the folder of this machine that the server has as its share; where
CVAT_S3 is set, it is the address of an S3 store that both the server and this machine reach.
"""

from __future__ import annotations

import io
import json
import os
import time
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import urllib3

from quorate.cvat import Client

needs_cvat = pytest.mark.skipif(not os.environ.get("CVAT_URL"), reason="no CVAT: set CVAT_URL")
ATTRIBUTES = ("votes", "confidence", "run")
TOLD = {"mutable": False, "input_type": "text", "default_value": "1", "values": ["1"]}
WAIT = 300.0
"""Seconds for a request that a worker of the server carries out."""


def labels(names: Iterable[str]) -> list[dict[str, Any]]:
    """Labels as CVAT takes them, with the attributes that ours bear."""
    return [
        {"name": name, "attributes": [{"name": a, **TOLD} for a in ATTRIBUTES]} for name in names
    ]


class Refused(Exception):  # noqa: N818
    """What the server says where it refuses a request, or ends one as failed."""


class Real:
    """A real server; what is made here goes away with `close`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._made: list[str] = []

    def close(self) -> None:
        for path in reversed(self._made):
            self.send("DELETE", path)

    def raw(self, method: str, path: str, **sent: Any) -> urllib3.BaseHTTPResponse:
        headers = dict(self.client.headers) | sent.pop("headers", {})
        if isinstance(sent.get("body"), dict):
            sent["body"] = json.dumps(sent["body"])
            headers["Content-Type"] = "application/json"
        url = path if path.startswith("http") else f"{self.client.server}/api/{path}"
        return urllib3.request(method, url, headers=headers, timeout=WAIT, **sent)

    def send(self, method: str, path: str, **sent: Any) -> Any:
        answer = self.raw(method, path, **sent)
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {answer.data[:500]!r}")
        return json.loads(answer.data or b"null")

    def get(self, path: str) -> Any:
        return self.send("GET", path)

    def made(self, kind: str, **body: Any) -> int:
        """Make something that goes away again, such as a task; its number."""
        number = int(self.send("POST", kind, body=body)["id"])
        self._made.append(f"{kind}/{number}")
        return number

    def done(self, request: str) -> dict[str, Any]:
        """Wait for a request that a worker carries out; Refused where it fails."""
        end = time.monotonic() + WAIT
        while (told := self.get(f"requests/{request}"))["status"] != "finished":
            if told["status"] == "failed":
                raise Refused(told["message"])
            assert time.monotonic() < end, told
            time.sleep(0.2)
        return told

    def task(
        self,
        names: Iterable[str] = ("red", "green"),
        *,
        files: Sequence[tuple[str, bytes]] = (),
        data: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> int:
        """A task with its pictures.

        files   name and bytes of each file that is sent, as the browser's dialog sends them
        data    more fields of the request, such as `server_files`
        fields  of the task, such as `segment_size`; a task of a project has the project's labels
        """
        if "project_id" not in fields:
            fields["labels"] = labels(names)
        number = self.made("tasks", name="quorate test", **fields)
        asked: dict[str, Any] = {"image_quality": 70, **(data or {})}
        if files:
            form: list[tuple[str, Any]] = [(key, str(value)) for key, value in asked.items()]
            form += [(f"client_files[{n}]", file) for n, file in enumerate(files)]
            told = self.send("POST", f"tasks/{number}/data", fields=form)
        else:
            told = self.send("POST", f"tasks/{number}/data", body=asked)
        self.done(told["rq_id"])
        return number

    def bring(self, of: str, format: str, file: Path) -> None:
        """Import a file of annotations; `of` is such as 'tasks/12'. Refused says what is wrong."""
        form = {"annotation_file": (file.name, file.read_bytes(), "application/octet-stream")}
        query = f"format={format.replace(' ', '%20')}"
        told = self.send("POST", f"{of}/annotations?{query}", fields=form)
        self.done(told["rq_id"])

    def export(self, of: str, format: str, *, pictures: bool = False) -> bytes:
        """The archive of an export; `of` is such as 'projects/3'."""
        query = f"format={format.replace(' ', '%20')}&save_images={str(pictures).lower()}"
        told = self.done(self.send("POST", f"{of}/dataset/export?{query}")["rq_id"])
        answer = self.raw("GET", told["result_url"])
        assert answer.status == 200, answer.data[:300]
        return answer.data

    def shapes(self, task: int) -> list[dict[str, Any]]:
        return list(self.get(f"tasks/{task}/annotations")["shapes"])

    def frame(self, task: int, number: int) -> bytes:
        """The picture that the server shows as a frame."""
        where = f"tasks/{task}/data?type=frame&quality=original&number={number}"
        answer = self.raw("GET", where)
        assert answer.status == 200, answer.data[:300]
        return answer.data


def zipped(root: Path) -> tuple[str, bytes]:
    """A folder as a ZIP archive, with its sub-folders."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(root).as_posix())
    return f"{root.name}.zip", packed.getvalue()


def unique() -> str:
    return f"quorate-{uuid.uuid4().hex[:8]}"
