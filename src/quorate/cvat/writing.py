"""Shapes and tracks in a job: what is there, which of it a run made, creating and deleting.

Nothing is created twice: where an answer is lost, what arrived is looked up before the rest is
sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

import msgspec

from quorate.cvat.client import Client, once
from quorate.cvat.journal import Journal, keep
from quorate.cvat.shapes import Made, Shape, Specs, digest, maker
from quorate.cvat.task import Job, Label
from quorate.cvat.tracks import Track

AT_ONCE = 5000
"""Boxes in one request: of 100 each, 5,000 took a real server 24 times as long as at once."""
Kind = Literal["shapes", "tracks"]
M = TypeVar("M", bound=Made)


class Drawn(msgspec.Struct):
    """What is in a job."""

    shapes: list[Shape] = []
    tracks: list[Track] = []

    def of(self, kind: Kind) -> Sequence[Made]:
        """One kind of it."""
        return self.shapes if kind == "shapes" else self.tracks


def drawn(client: Client, job: Job) -> Drawn:
    """What is in a job."""
    return client.get(f"jobs/{job.id}/annotations", Drawn, slow=True)


def made_by(
    things: Iterable[M],
    kind: Kind,
    job: Job,
    labels: Iterable[Label],
    known: Iterable[Journal],
    meant: Callable[[str], bool],
) -> tuple[list[M], int]:
    """Those that runs made and nobody touched, and how many somebody did touch.

    Args:
        things: shapes or tracks of a job.
        kind: which of the two.
        job: the job.
        labels: the task's.
        known: journals of runs.
        meant: whether a run of this name is asked for.
    """
    specs = Specs.of(labels)
    by_id = {
        number: (one.run, form)
        for one in known
        for number, form in _kept(one, kind).get(job.id, {}).items()
    }
    ours, touched = [], 0
    for thing in things:
        made = maker(thing, specs) or by_id.get(thing.id or 0)
        if made is None or not meant(made[0]):
            continue
        if digest(thing, specs) == made[1]:
            ours.append(thing)
        else:
            touched += 1
    return ours, touched


def create(
    client: Client,
    job: Job,
    kind: Kind,
    things: Sequence[Made],
    journal: Journal,
    labels: Sequence[Label],
) -> Iterator[int]:
    """Create shapes or tracks; gives how many are done, from request to request."""
    done = 0
    for part in _parts(things):
        _create(client, job, kind, part, journal, labels)
        done += len(part)
        yield done


def _create(
    client: Client,
    job: Job,
    kind: Kind,
    missing: Sequence[Made],
    journal: Journal,
    labels: Sequence[Label],
) -> None:
    specs = Specs.of(labels)

    def write(made: Iterable[Made]) -> None:
        kept = _kept(journal, kind).setdefault(job.id, {})
        kept.update({thing.id: digest(thing, specs) for thing in made if thing.id is not None})
        keep(journal)

    def send() -> None:
        body = _body(kind, missing)
        made = client.send("PATCH", f"jobs/{job.id}/annotations", body, Drawn, action="create")
        write(made.of(kind))

    def arrived() -> bool:
        nonlocal missing
        there = {thing.key: thing for thing in drawn(client, job).of(kind)}
        write([there[thing.key] for thing in missing if thing.key in there])
        missing = [thing for thing in missing if thing.key not in there]
        return not missing

    once(send, arrived)


def delete(client: Client, job: Job, kind: Kind, things: Sequence[Made]) -> None:
    """Delete shapes or tracks; to delete what is gone already does nothing."""
    for part in _parts(things):
        body = _body(kind, part)
        once(
            lambda body=body: client.send(  # type: ignore[misc]
                "PATCH", f"jobs/{job.id}/annotations", body, msgspec.Raw, action="delete"
            )
        )


def _parts(things: Sequence[Made]) -> Iterator[list[Made]]:
    """Things in requests of about `AT_ONCE` boxes."""
    part: list[Made] = []
    boxes = 0
    for thing in things:
        more = len(thing.shapes) if isinstance(thing, Track) else 1
        if part and boxes + more > AT_ONCE:
            yield part
            part, boxes = [], 0
        part.append(thing)
        boxes += more
    if part:
        yield part


def _body(kind: Kind, things: Sequence[Made]) -> dict[str, object]:
    return {"version": 0, "tags": [], "shapes": [], "tracks": [], kind: things}


def _kept(journal: Journal, kind: Kind) -> dict[int, dict[int, str]]:
    return journal.made if kind == "shapes" else journal.tracks
