"""Shapes and tracks in a job: what is there, which of it a run made, creating and deleting.

Nothing is created twice: where an answer is lost, what arrived is looked up before the rest is
sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from quorate.cvat.client import Client, once
from quorate.cvat.publishing.journal import Journal, Kind, Line, Sent, add
from quorate.cvat.publishing.shapes import Made, Shape, Specs, digest, maker
from quorate.cvat.publishing.tracks import Track
from quorate.cvat.task import Job, Label
from quorate.errors import InputError

AT_ONCE = 5000
"""Boxes in one request: of 100 each, 5,000 took a real server 24 times as long as at once."""
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


def ask_right(client: Client, place: str) -> None:
    """Raise AccessError where shapes may not be changed in a place such as `jobs/34`.

    CVAT is asked to create nothing: it checks the right, and changes nothing, not even the time of
    the last change.
    """
    body = _body("shapes", [])
    client.send("PATCH", f"{place}/annotations", body, msgspec.Raw, action="create")


def check_rights(client: Client, jobs: Iterable[Job]) -> None:
    """Raise AccessError where shapes of a job may not be changed, before any work."""
    for job in jobs:
        once(partial(ask_right, client, f"jobs/{job.id}"))


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
        number: (one.run, form) for one in known for number, form in one.of(kind, job.id).items()
    }
    sent = [(one.run, asked) for one in known if (asked := one.asked(kind, job.id))]
    ours, touched = [], 0
    for thing in things:
        made = maker(thing, specs) or by_id.get(thing.id or 0) or _arrived(thing, sent, specs)
        if made is None or not meant(made[0]):
            continue
        if digest(thing, specs) == made[1]:
            ours.append(thing)
        else:
            touched += 1
    return ours, touched


def _arrived(thing: Made, sent: Iterable[tuple[str, Sent]], specs: Specs) -> tuple[str, str] | None:
    """The run that asked for it, and its digest, where the run was ended before the answer."""
    form = digest(thing, specs)
    return next(
        ((run, form) for run, one in sent if (thing.id or 0) > one.after and form in one.digests),
        None,
    )


def create(
    client: Client,
    job: Job,
    kind: Kind,
    things: Sequence[Made],
    journal: Journal,
    labels: Sequence[Label],
    *,
    there: Sequence[Made],
) -> Iterator[int]:
    """Create shapes or tracks; gives how many are done, from request to request.

    What is asked for is in the journal first: a run that is killed can be undone whole. `there` is
    all of the kind that the job has.
    """
    done = 0
    specs = Specs.of(labels)
    if asked := journal.asked(kind, job.id):
        sent = [(journal.run, asked)]
        came = [(one.id, found[1]) for one in there if (found := _arrived(one, sent, specs))]
        add(journal, Line(kind, job.id, made={number: form for number, form in came if number}))
    after = max((one.id or 0 for one in there), default=0)
    for part in _parts(things):
        asked = Sent(after, frozenset(digest(thing, specs) for thing in part))
        add(journal, Line(kind, job.id, sent=asked))
        if _create(client, job, kind, part, journal, specs) > 1:
            add(journal, Line(kind, job.id, sent=asked))  # the first request may still come
        done += len(part)
        yield done


def _create(
    client: Client,
    job: Job,
    kind: Kind,
    missing: Sequence[Made],
    journal: Journal,
    specs: Specs,
) -> int:
    """Create them; how often they were asked for."""
    times = 0

    def write(made: Iterable[Made]) -> None:
        ids = {thing.id: digest(thing, specs) for thing in made if thing.id is not None}
        add(journal, Line(kind, job.id, made=ids))

    def send() -> None:
        nonlocal times
        times += 1
        body = _body(kind, missing)
        path = f"jobs/{job.id}/annotations"
        try:
            made = client.send("PATCH", path, body, Drawn, action="create")
        except InputError as error:
            error.hint = error.hint or (
                "were labels or frames of the task changed meanwhile? The same command again goes "
                "by what is there now"
            )
            raise
        write(made.of(kind))

    def arrived() -> bool:
        nonlocal missing
        there = {thing.key: thing for thing in drawn(client, job).of(kind)}
        write([there[thing.key] for thing in missing if thing.key in there])
        missing = [thing for thing in missing if thing.key not in there]
        return not missing

    once(send, arrived)
    return times


def doubled(things: Iterable[M]) -> list[M]:
    """Those of which there is an older one that is the same."""
    seen: set[Hashable] = set()
    found = []
    for one in sorted(things, key=lambda thing: thing.id or 0):
        if one.key in seen:
            found.append(one)
        seen.add(one.key)
    return found


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
