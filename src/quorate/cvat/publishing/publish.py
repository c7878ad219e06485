"""Creating shapes and tracks in a task's jobs, replacing those of earlier runs, undoing a run.

What people drew stays: nothing is deleted that a run did not make, or that somebody has touched
since. What a run made is told by the label attribute 'run' where labels declare it, else by the
run's journal on this machine, which has the ids.

The same shape or track (its `key`) is never created twice in a job. So a publish that failed can
be repeated: what is there already is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from quorate.cvat.client import Client
from quorate.cvat.publishing.drawn import Made, Shape, Specs, Track
from quorate.cvat.publishing.issues import Issues
from quorate.cvat.publishing.journal import Journal, Kind, ensemble_of, journals
from quorate.cvat.publishing.tracks import Joined, track_of
from quorate.cvat.publishing.writing import Drawing, doubled, in_job
from quorate.cvat.task import Job, Label, Task


@dataclass(kw_only=True)
class Counts:
    """What became of shapes, or of tracks.

    created  how many are new
    there    how many were there already
    removed  how many of earlier runs were replaced
    touched  how many of earlier runs stay, for somebody changed them
    earlier  how many of earlier runs are there beside
    """

    created: int = 0
    there: int = 0
    removed: int = 0
    touched: int = 0
    earlier: int = 0


@dataclass
class Published(Counts):
    """What publishing did, in shapes.

    run     the name of the run; `quorate cvat undo` takes it
    tracks  what became of tracks; one that two jobs show is two
    issues  what became of the issues on frames that need a person; None: not asked for
    """

    run: str
    tracks: Counts = field(default_factory=Counts)
    issues: Issues | None = None
    notes: list[str] = field(default_factory=list)


def publish(
    client: Client,
    task: Task,
    found: Joined,
    journal: Journal,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Published:
    """Create shapes and tracks in a task's jobs, those that are not there yet.

    Args:
        client: the server.
        task: the task; only its jobs are touched, and of them only its frames.
        found: the shapes of each frame, and the boxes of each track; every job gets the part that
            it shows.
        journal: of this run; what is created is written into it, job by job.
        replace: whether what earlier runs of the same ensemble made, on the task's frames, and
            nobody touched since, goes where it is not among the wanted.
        progress: told how many shapes and tracks are done.

    Raises:
        ServerError: the server went away. What was created is in the journal, or is found on the
            server by the next call.
    """
    result = Published(journal.run)
    known, specs = journals(client.server, task.id), Specs.of(task.labels)
    frames = {frame.number for frame in task.frames}
    total = sum(map(len, found.single.values())) + len(found.tracks) * len(task.jobs)
    done = 0
    seen: set[int] = set()

    def settle(kind: Kind, job: Job, here: Sequence[Made], there: Sequence[Made]) -> None:
        """Bring a job to what is wanted of one kind."""

        def count(things: Iterable[Made]) -> int:
            """How many, where a shape on a frame that an earlier job shows too counts once."""
            return sum(not isinstance(one, Shape) or one.frame not in seen for one in things)

        nonlocal done
        drawing = Drawing(client, job, kind, specs)
        ours, touched = drawing.made_by(
            there, known, lambda run: journal.run == run or ensemble_of(run) == journal.ensemble
        )
        if twice := doubled(ours):
            drawing.delete(twice)
            ours = [one for one in ours if one not in twice]
            result.notes.append(
                f"job {job.id}: {len(twice):,} {kind} of earlier runs that were there twice are "
                "removed: a request of theirs came late, or two machines were at work."
            )
        keys, wanted = {one.key for one in there}, {one.key for one in here}
        missing = [one for one in here if one.key not in keys]
        old = [one for one in ours if one.key not in wanted]
        counts = result if kind == "shapes" else result.tracks
        counts.touched += touched
        counts.created += count(missing)
        counts.there += count(here) - count(missing)
        for created in drawing.create(missing, journal, there=all_of.of(kind)):
            progress(done + created, total)
        if replace:
            drawing.delete(old)
            counts.removed += count(old)
        else:
            counts.earlier += count(old)
        done += count(here)

    for job in task.jobs:
        own = [number for number in job.numbers if number in frames]
        all_of = in_job(client, job.id)
        shapes = [shape for number in own for shape in found.single.get(number, ())]
        settle("shapes", job, shapes, [shape for shape in all_of.shapes if shape.frame in frames])
        parts = [track_of(boxes, job, task.labels, journal.run) for boxes in found.tracks]
        settle("tracks", job, [one for one in parts if one], _within(all_of.tracks, frames))
        seen |= {*own}
        progress(done, total)
    progress(total, total)
    return result


def _within(tracks: Iterable[Track], frames: set[int]) -> list[Track]:
    """Tracks with all their boxes on these frames: others cannot be replaced by them."""
    return [t for t in tracks if all(one.outside or one.frame in frames for one in t.shapes)]


def undo(
    client: Client, journal: Journal, jobs: Iterable[Job], labels: Sequence[Label]
) -> Published:
    """Delete what a run made and nobody touched since."""
    result = Published(journal.run)
    specs = Specs.of(labels)
    kinds: tuple[tuple[Kind, Counts], ...] = (("shapes", result), ("tracks", result.tracks))
    for job in jobs:
        there = in_job(client, job.id)
        for kind, counts in kinds:
            drawing = Drawing(client, job, kind, specs)
            ours, touched = drawing.made_by(
                there.of(kind), [journal], lambda run: run == journal.run
            )
            drawing.delete(ours)
            counts.removed += len(ours)
            counts.touched += touched
    return result
