"""What runs made: their names, and a journal of each on this machine.

A journal is lines of JSON that are only added to: the run, then what each request created. So its
cost is that of what was created, however many jobs a task has.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from quorate.errors import InputError
from quorate.storage.owner import owned

Kind = Literal["shapes", "tracks"]


class Journal(msgspec.Struct, omit_defaults=True):
    """What a run made on a server.

    task    its number
    made    by job, the id of each shape and the digest of what it was
    tracks  likewise of tracks, whose ids are numbers of their own
    """

    run: str
    ensemble: str
    server: str
    task: int
    made: dict[int, dict[int, str]] = {}
    tracks: dict[int, dict[int, str]] = {}

    def of(self, kind: Kind, job: int) -> dict[int, str]:
        """What the run made of one kind in a job: id and digest."""
        return (self.made if kind == "shapes" else self.tracks).setdefault(job, {})


class _Line(msgspec.Struct):
    kind: Kind
    job: int
    made: dict[int, str]


_DECODER = msgspec.json.Decoder(_Line)


def run_name(ensemble: str) -> str:
    """A name for a new run: the ensemble's, the time, and what tells apart those of one second."""
    return f"{ensemble}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def ensemble_of(run: str) -> str:
    """The ensemble's name in a run's."""
    return run.rsplit("-", 3)[0]


def lock(server: str, task: int) -> AbstractContextManager[None]:
    """Let no other process of this machine write to a task; BusyError where one does."""
    return owned(_folder(server) / str(task) / "lock", of=Path(f"task {task} of {server}"))


def _root() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "quorate" / "cvat"


def _folder(server: str) -> Path:
    return _root() / urlsplit(server).netloc.replace(":", "_")


def _place(server: str, task: int, run: str) -> Path:
    place = _folder(server) / str(task) / f"{run}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def journals(server: str, task: int) -> list[Journal]:
    """The journals of a task's runs that lie on this machine, the oldest first."""
    return [_read(place) for place in sorted((_folder(server) / str(task)).glob("*.json"))]


def begun(journal: Journal) -> Journal:
    """What an earlier part of the same run wrote on this machine, else the journal itself."""
    place = _place(journal.server, journal.task, journal.run)
    return _read(place) if place.exists() else journal


def find(run: str, server: str | None, task: int | None = None) -> Journal:
    """The journal of a run; InputError where this machine has none, or several tasks have."""
    root = _root() if server is None else _folder(server)
    below = f"{'*' if server is None else '.'}/{'*' if task is None else task}"
    found = [p for p in root.glob(f"{below}/*.json") if p.stem == run]
    if not found:
        where = f" of task {task}" if task is not None else ""
        raise InputError(
            f"There is no run '{run}'{where} in {root}.",
            hint="name the task too (--task 12): shapes whose label has an attribute 'run' are "
            "found by it",
        )
    if len(found) > 1:
        raise InputError(
            f"The run '{run}' is in {len(found)} tasks.", hint="name one with --server and --task"
        )
    return _read(found[0])


def _read(place: Path) -> Journal:
    try:
        first, *rest = place.read_bytes().split(b"\n")
        journal = msgspec.json.decode(first, type=Journal)
        # What stands after the last line's end is of a process that was killed.
        for line in map(_DECODER.decode, rest[:-1]):
            journal.of(line.kind, line.job).update(line.made)
        return journal
    except (msgspec.DecodeError, OSError) as error:
        raise InputError(f"{place}: is no journal of a run ({error}).") from None


def add(journal: Journal, kind: Kind, job: int, made: dict[int, str]) -> None:
    """Tell a journal, and its file, what was created in a job."""
    place = _place(journal.server, journal.task, journal.run)
    lines = [] if place.exists() else [journal]
    journal.of(kind, job).update(made)
    with place.open("ab") as file:
        for line in (*lines, _Line(kind, job, made)):
            file.write(msgspec.json.encode(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def forget(journal: Journal) -> None:
    """Remove the journal of a run that was undone."""
    _place(journal.server, journal.task, journal.run).unlink(missing_ok=True)
