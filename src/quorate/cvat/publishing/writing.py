"""Shapes and tracks in a job: what is there, which of it a run made, creating and deleting.

Nothing is created twice: where an answer is lost, what arrived is looked up before the rest is
sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from quorate.cvat.client import Client, once
from quorate.cvat.publishing.drawn import Drawn, Made, Specs, Track, digest, maker
from quorate.cvat.publishing.journal import Journal, Kind, Line, Sent, add
from quorate.cvat.task import Job
from quorate.errors import InputError

AT_ONCE = 5000
"""Boxes in one request: of 100 each, 5,000 took a real server 24 times as long as at once."""
M = TypeVar("M", bound=Made)
T = TypeVar("T")


def in_job(client: Client, job: int) -> Drawn:
    """What is drawn in a job, by its number."""
    return client.get(f"jobs/{job}/annotations", Drawn, slow=True)


def ask_right(client: Client, place: str) -> None:
    """Raise AccessError where shapes may not be changed in a place such as `jobs/34`.

    CVAT is asked to create nothing: it checks the right, and changes nothing, not even the time of
    the last change.
    """
    _change(client, place, "create", "shapes", [], msgspec.Raw)


@dataclass(frozen=True)
class Drawing:
    """One kind of what is drawn in a job: its shapes, or its tracks.

    specs  what the task's labels declare of attributes
    """

    client: Client
    job: Job
    kind: Kind
    specs: Specs

    def made_by(
        self, things: Iterable[M], known: Iterable[Journal], meant: Callable[[str], bool]
    ) -> tuple[list[M], int]:
        """Those that runs made and nobody touched, and how many somebody did touch.

        Args:
            things: those of the job.
            known: journals of runs.
            meant: whether a run of this name is asked for.
        """
        kind, job = self.kind, self.job.id
        by_id = {
            number: (one.run, form) for one in known for number, form in one.of(kind, job).items()
        }
        sent = [(one.run, asked) for one in known if (asked := one.asked(kind, job))]
        ours, touched = [], 0
        for thing in things:
            made = (
                maker(thing, self.specs)
                or by_id.get(thing.id or 0)
                or _arrived(thing, sent, self.specs)
            )
            if made is None or not meant(made[0]):
                continue
            if digest(thing, self.specs) == made[1]:
                ours.append(thing)
            else:
                touched += 1
        return ours, touched

    def create(
        self, things: Sequence[Made], journal: Journal, *, there: Sequence[Made]
    ) -> Iterator[int]:
        """Create shapes or tracks; gives how many are done, from request to request.

        What is asked for is in the journal first: a run that is killed can be undone whole. `there`
        is all of the kind that the job has.
        """
        kind, job, specs = self.kind, self.job.id, self.specs
        done = 0
        if asked := journal.asked(kind, job):
            sent = [(journal.run, asked)]
            came = [(one.id, found[1]) for one in there if (found := _arrived(one, sent, specs))]
            add(journal, Line(kind, job, made={number: form for number, form in came if number}))
        after = max((one.id or 0 for one in there), default=0)
        for part in _parts(things):
            asked = Sent(after, frozenset(digest(thing, specs) for thing in part))
            add(journal, Line(kind, job, sent=asked))
            if self._create(part, journal) > 1:
                add(journal, Line(kind, job, sent=asked))  # the first request may still come
            done += len(part)
            yield done

    def _create(self, missing: Sequence[Made], journal: Journal) -> int:
        """Create them; how often they were asked for."""
        times = 0

        def write(made: Iterable[Made]) -> None:
            ids = {thing.id: digest(thing, self.specs) for thing in made if thing.id is not None}
            add(journal, Line(self.kind, self.job.id, made=ids))

        def send() -> None:
            nonlocal times
            times += 1
            try:
                made = self._change("create", missing, Drawn)
            except InputError as error:
                error.hint = error.hint or (
                    "were labels or frames of the task changed meanwhile? The same command again "
                    "goes by what is there now"
                )
                raise
            write(made.of(self.kind))

        def arrived() -> bool:
            nonlocal missing
            there = {thing.key: thing for thing in in_job(self.client, self.job.id).of(self.kind)}
            write([there[thing.key] for thing in missing if thing.key in there])
            missing = [thing for thing in missing if thing.key not in there]
            return not missing

        once(send, arrived)
        return times

    def delete(self, things: Sequence[Made]) -> None:
        """Delete them; to delete what is gone already does nothing."""
        for part in _parts(things):
            once(partial(self._change, "delete", part, msgspec.Raw))

    def _change(self, action: str, things: Sequence[Made], answer: type[T]) -> T:
        return _change(self.client, f"jobs/{self.job.id}", action, self.kind, things, answer)


def _change(
    client: Client, place: str, action: str, kind: Kind, things: Sequence[Made], answer: type[T]
) -> T:
    body = {"version": 0, "tags": [], "shapes": [], "tracks": [], kind: things}
    return client.send("PATCH", f"{place}/annotations", body, answer, action=action)


def _arrived(thing: Made, sent: Iterable[tuple[str, Sent]], specs: Specs) -> tuple[str, str] | None:
    """The run that asked for it, and its digest, where the run was ended before the answer."""
    form = digest(thing, specs)
    return next(
        ((run, form) for run, one in sent if (thing.id or 0) > one.after and form in one.digests),
        None,
    )


def doubled(things: Iterable[M]) -> list[M]:
    """Those of which there is an older one that is the same."""
    seen: set[Hashable] = set()
    found = []
    for one in sorted(things, key=lambda thing: thing.id or 0):
        if one.key in seen:
            found.append(one)
        seen.add(one.key)
    return found


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
