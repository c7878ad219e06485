"""What runs made: their names, and a journal of each on this machine.

A journal is lines of JSON that are only added to: the run, then what each request created. So its
cost is that of what was created, however many jobs a task has.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

import msgspec

from quorate.errors import InputError, file_error
from quorate.storage.owner import owned

Kind = Literal["shapes", "tracks"]


class Sent(msgspec.Struct, frozen=True):
    """A request on its way: what it creates has higher ids than `after`, and these digests."""

    after: int
    digests: frozenset[str]


class Journal(msgspec.Struct, omit_defaults=True):
    """What a run made on a server.

    task    its number
    made    by job, the id of each shape and the digest of what it was
    tracks  likewise of tracks, whose ids are numbers of their own
    sent    by kind and job, what the server was asked to create and has not answered
    open    whether the run has not come to its end
    """

    run: str
    ensemble: str
    server: str
    task: int
    made: dict[int, dict[int, str]] = {}
    tracks: dict[int, dict[int, str]] = {}
    sent: dict[str, Sent] = {}
    open: bool = False

    def of(self, kind: Kind, job: int) -> dict[int, str]:
        """What the run made of one kind in a job: id and digest."""
        return (self.made if kind == "shapes" else self.tracks).setdefault(job, {})

    def asked(self, kind: Kind, job: int) -> Sent | None:
        """What the server was asked to create in a job and has not answered."""
        return self.sent.get(f"{kind} {job}")

    def take(self, line: Line) -> None:
        """Take up what a line of its file tells."""
        if line.kind is None:
            self.open = False
        elif line.sent:
            self.sent[f"{line.kind} {line.job}"] = line.sent
        else:
            self.of(line.kind, line.job).update(line.made)
            self.sent.pop(f"{line.kind} {line.job}", None)


class Line(msgspec.Struct, omit_defaults=True):
    """What came to a journal: a request, its answer, or, without a kind, the end of the run."""

    kind: Kind | None = None
    job: int = 0
    made: dict[int, str] = {}
    sent: Sent | None = None


_DECODER = msgspec.json.Decoder(Line)


def run_name(ensemble: str) -> str:
    """A name for a new run: the ensemble's, the time, and what tells apart those of one second."""
    return f"{ensemble}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def ensemble_of(run: str) -> str:
    """The ensemble's name in a run's."""
    return run.rsplit("-", 3)[0]


def lock(server: str, task: int) -> AbstractContextManager[object]:
    """Let no other process of this machine write to a task; BusyError where one does."""
    return owned(_folder(server) / str(task) / "lock", of=Path(f"task {task} of {server}"))


def _root() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "quorate" / "cvat"


def _folder(server: str) -> Path:
    return _root() / urlsplit(server).netloc.replace(":", "_")


def _place(journal: Journal) -> Path:
    place = _folder(journal.server) / str(journal.task) / f"{journal.run}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def journals(server: str, task: int) -> list[Journal]:
    """The journals of a task's runs that lie on this machine, the oldest first."""
    return [_read(place) for place in sorted(_files(_folder(server), str(task)))]


def _files(root: Path, below: str) -> Iterator[Path]:
    """The files of journals; one whose first line has no end is of a run that made nothing."""
    for place in root.glob(f"{below}/*.json"):
        with place.open("rb") as file:
            if file.readline().endswith(b"\n"):
                yield place


def begun(name: str | None, ensemble: str, server: str, task: int) -> Journal:
    """The journal of a run that begins, or goes on where an earlier part of it was ended.

    Without a name, the last run of the ensemble on the task goes on that did not come to its end
    here; else a new one begins.
    """
    known = [one for one in journals(server, task) if one.ensemble == ensemble]
    known = [one for one in known if (one.run == name if name else one.open)]
    journal = known[-1] if known else Journal(name or run_name(ensemble), ensemble, server, task)
    journal.open = True
    return journal


def find(run: str, server: str | None, task: int | None = None) -> Journal:
    """The journal of a run; InputError where this machine has none, or several tasks have."""
    root = _root() if server is None else _folder(server)
    below = f"{'*' if server is None else '.'}/{'*' if task is None else task}"
    found = [place for place in _files(root, below) if place.stem == run]
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
            journal.take(line)
        return journal
    except (msgspec.DecodeError, OSError) as error:
        raise InputError(
            f"{place}: is no journal of a run ({error}).",
            hint="move it away: boxes of that run are then known by their attribute 'run' alone",
        ) from None


def add(journal: Journal, line: Line) -> None:
    """Tell a journal, and its file, what came to it; StorageError where the disk is full."""
    place = _place(journal)
    try:
        with place.open("a+b") as file:
            first = () if _cut(file) else (journal,)
            file.write(b"".join(msgspec.json.encode(one) + b"\n" for one in (*first, line)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise file_error(error) or InputError(f"{place}: {error.strerror}.") from None
    journal.take(line)


def ended(journal: Journal) -> None:
    """Let a run be at its end: the next one is another."""
    if _place(journal).exists():
        add(journal, Line())


def _cut(file: BinaryIO) -> int:
    """Take away a line that a killed process, or a full disk, left without its end.

    Returns how many bytes are left.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - 1, 0))
    if file.read() in (b"", b"\n"):
        return length
    file.seek(0)
    return file.truncate(file.read().rfind(b"\n") + 1)


def forget(journal: Journal) -> None:
    """Remove the journal of a run that was undone."""
    _place(journal).unlink(missing_ok=True)
