"""A task as CVAT itself exports it: with its pictures, in a format of the server's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from quorate.cvat.client import Client
from quorate.errors import BusyError, InputError, ServerError

ASK_AGAIN = 1.0
"""Seconds between two questions how far an export is."""
QUEUED = 900.0
"""Seconds that an export may wait before it is taken up."""

Told = Callable[[int, int], None]


class _Begun(msgspec.Struct):
    rq_id: str


class _Request(msgspec.Struct):
    status: str
    message: str = ""
    progress: float | None = None
    result_url: str | None = None


class _Storage(msgspec.Struct):
    provider_type: str
    resource: str


def check_format(client: Client, name: str) -> None:
    """InputError for a format that the server, as it is set up, does not export in."""
    found = client.get("server/annotation/formats", dict[str, list[dict[str, Any]]])
    known = [str(one["name"]) for one in found.get("exporters", ()) if one.get("enabled", True)]
    if name not in known:
        raise InputError(
            f"{client.server}: exports in no format '{name}'.", hint=f"it has {', '.join(known)}"
        )


def export(
    client: Client, task: int, format: str, file: BinaryIO, *, exported: Told, fetched: Told
) -> None:
    """Export a task with its pictures, and write the archive into a file.

    Args:
        client: the server.
        task: the task's number.
        format: CVAT's name of the format.
        file: empty, to be written to.
        exported: told percent.
        fetched: told bytes; the total is 0 where the server does not say it.

    Raises:
        InputError: the server refuses the export, or it fails.
        ServerError: the server does not answer, or nothing takes the export up.
    """
    # Said, for a task may have a cloud storage of its own as the place of its exports.
    query = {"format": format, "save_images": "true", "location": "local"}
    done = _until_done(client, task, query, exported)
    split = urlsplit(done.result_url or "")
    # Only the path counts: the address may be the server's own name for itself, behind a proxy.
    if not split.path.startswith("/api/"):
        raise ServerError(f"{client.server}: the export of task {task} left no file.")
    path = split.path.removeprefix("/api/")
    client.save(path, file, progress=fetched, **dict(parse_qsl(split.query)))


def export_to(
    client: Client, task: int, format: str, storage: int, key: str, *, exported: Told
) -> None:
    """Let CVAT itself write a task's export into a cloud storage that it knows, as `key` there."""
    query = {"format": format, "save_images": "true", "filename": key}
    query |= {"location": "cloud_storage", "cloud_storage_id": str(storage)}
    _until_done(client, task, query, exported)


def check_storage(client: Client, storage: int, bucket: str) -> None:
    """InputError where one of CVAT's cloud storages is not a bucket in S3."""
    known = client.get(f"cloudstorages/{storage}", _Storage)
    if known.provider_type != "AWS_S3_BUCKET" or known.resource != bucket:
        raise InputError(
            f"CVAT's cloud storage {storage} is {known.resource} ({known.provider_type}), and the "
            f"pods read the bucket {bucket} in S3.",
            hint="name a cloud storage of that bucket, or none: the export then goes through here",
        )


def _until_done(client: Client, task: int, query: dict[str, str], exported: Told) -> _Request:
    until = time.monotonic() + QUEUED
    while True:
        try:
            path = f"tasks/{task}/dataset/export"
            begun = client.send("POST", path, {}, _Begun, **query)
            break
        except BusyError:  # the same person exports the same, maybe to elsewhere
            if time.monotonic() > until:
                raise
            time.sleep(ASK_AGAIN)
    until = time.monotonic() + QUEUED
    while True:
        now = client.get(f"requests/{quote(begun.rq_id, safe='')}", _Request)
        if now.status == "finished":
            exported(100, 100)
            return now
        if now.status == "failed":
            said = now.message.strip().splitlines()
            raise InputError(
                f"{client.server}: the export of task {task} as '{query['format']}' failed: "
                f"{said[-1] if said else 'it does not say why'}"
            )
        if now.status == "queued" and time.monotonic() > until:
            raise ServerError(
                f"{client.server}: the export of task {task} is not taken up.",
                hint="is CVAT's export worker running?",
            )
        exported(round(100 * (now.progress or 0)), 100)
        time.sleep(ASK_AGAIN)
