"""Creating shapes in the jobs of a task, replacing those of earlier runs, and undoing a run.

What people drew stays: nothing is deleted that a run did not make, or that somebody has touched
since. What a run made is told by the label attribute 'run' where labels declare it, else by the
run's journal on this machine, which has the shapes' ids.

The same shape (`Key`) is never created twice in a job. So a publish that failed can be repeated:
what is there already is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from quorate.cvat.client import Client, once
from quorate.cvat.issues import Issues
from quorate.cvat.journal import Journal, ensemble_of, journals, keep
from quorate.cvat.shapes import Key, Shape, digest, maker, run_specs
from quorate.cvat.task import Job, Label, Task

AT_ONCE = 5000
"""Shapes in one request: of 100 each, 5,000 took a real server 24 times as long as at once."""


class _Drawn(msgspec.Struct):
    shapes: list[Shape] = []


@dataclass
class Published:
    """What publishing did, in shapes.

    run      the name of the run; `quorate cvat undo` takes it
    created  how many are new
    there    how many were there already
    removed  how many of earlier runs were replaced
    touched  how many of earlier runs stay, for somebody changed them
    earlier  how many of earlier runs are there beside
    issues   what became of the issues on frames that need a person; None: not asked for
    """

    run: str
    created: int = 0
    there: int = 0
    removed: int = 0
    touched: int = 0
    earlier: int = 0
    issues: Issues | None = None
    notes: list[str] = field(default_factory=list)


def publish(
    client: Client,
    task: Task,
    wanted: Mapping[int, Sequence[Shape]],
    journal: Journal,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Published:
    """Create shapes in a task's jobs, those that are not there yet.

    Args:
        client: the server.
        task: the task; only its jobs are touched, and of them only its frames.
        wanted: the shapes of each frame, by its number.
        journal: of this run; what is created is written into it, job by job.
        replace: whether shapes that earlier runs of the same ensemble made, on the task's frames,
            and that nobody touched since, go where they are not among the wanted.
        progress: told how many shapes are done.

    Raises:
        ServerError: the server went away. What was created is in the journal, or is found on the
            server by the next call.
    """
    frames = {frame.number for frame in task.frames}
    known = journals(client.server, task.id)

    def earlier(run: str) -> bool:
        return run != journal.run and ensemble_of(run) == journal.ensemble

    result = Published(journal.run)
    total, done = sum(len(shapes) for shapes in wanted.values()), 0
    seen: set[int] = set()
    for job in task.jobs:
        own = [n for n in range(job.start_frame, job.stop_frame + 1) if n in frames]
        here = [shape for number in own for shape in wanted.get(number, ())]
        drawn = [shape for shape in _drawn(client, job) if shape.frame in frames]
        ours, touched = _made(drawn, job, task.labels, known, earlier)
        result.touched += touched
        there = {Key.of(shape) for shape in drawn}
        keys = [Key.of(shape) for shape in here]
        missing = [shape for shape, key in zip(here, keys, strict=True) if key not in there]
        # A frame that two jobs share is counted once.
        fresh = set(own) - seen
        new, asked = _on(fresh, missing), _on(fresh, here)
        result.created += new
        result.there += asked - new
        for start in range(0, len(missing), AT_ONCE):
            _create(client, job, missing[start : start + AT_ONCE], journal, task.labels)
            progress(done + start, total)
        wanted_still = set(keys)
        old = [shape for shape in ours if Key.of(shape) not in wanted_still]
        if replace:
            _delete(client, job, old)
            result.removed += _on(fresh, old)
        else:
            result.earlier += _on(fresh, old)
        seen |= fresh
        done += asked
        progress(done, total)
    return result


def undo(
    client: Client, journal: Journal, jobs: Iterable[Job], labels: Sequence[Label]
) -> Published:
    """Delete the shapes that a run made and that nobody touched since."""
    result = Published(journal.run)
    for job in jobs:
        ours, touched = _made(
            _drawn(client, job), job, labels, [journal], lambda run: run == journal.run
        )
        _delete(client, job, ours)
        result.removed += len(ours)
        result.touched += touched
    return result


def _on(frames: set[int], shapes: Iterable[Shape]) -> int:
    """How many shapes are on these frames."""
    return sum(shape.frame in frames for shape in shapes)


def _drawn(client: Client, job: Job) -> list[Shape]:
    return client.get(f"jobs/{job.id}/annotations", _Drawn, slow=True).shapes


def _made(
    drawn: Iterable[Shape],
    job: Job,
    labels: Iterable[Label],
    known: Iterable[Journal],
    meant: Callable[[str], bool],
) -> tuple[list[Shape], int]:
    """The shapes that runs made and nobody touched, and how many somebody did touch.

    `meant` says of a run's name whether it is one of those asked for.
    """
    specs = run_specs(labels)
    by_id = {i: (one.run, form) for one in known for i, form in one.made.get(job.id, {}).items()}
    ours, touched = [], 0
    for shape in drawn:
        made = maker(shape, specs) or by_id.get(shape.id or 0)
        if made is None or not meant(made[0]):
            continue
        if digest(shape, specs) == made[1]:
            ours.append(shape)
        else:
            touched += 1
    return ours, touched


def _create(
    client: Client,
    job: Job,
    missing: Sequence[Shape],
    journal: Journal,
    labels: Sequence[Label],
) -> None:
    """Create shapes; where the answer is lost, those that arrived are not sent again."""

    def send() -> None:
        body = {"version": 0, "tags": [], "tracks": [], "shapes": missing}
        made = client.send("PATCH", f"jobs/{job.id}/annotations", body, _Drawn, action="create")
        _write(journal, job, made.shapes, labels)

    def arrived() -> bool:
        nonlocal missing
        there = {Key.of(shape): shape for shape in _drawn(client, job)}
        _write(journal, job, [there[k] for k in map(Key.of, missing) if k in there], labels)
        missing = [shape for shape in missing if Key.of(shape) not in there]
        return not missing

    once(send, arrived)


def _delete(client: Client, job: Job, shapes: Sequence[Shape]) -> None:
    """Delete shapes; to delete what is gone already does nothing."""
    for start in range(0, len(shapes), AT_ONCE):
        body = {"version": 0, "tags": [], "tracks": [], "shapes": shapes[start : start + AT_ONCE]}
        once(
            lambda body=body: client.send(  # type: ignore[misc]
                "PATCH", f"jobs/{job.id}/annotations", body, msgspec.Raw, action="delete"
            )
        )


def _write(journal: Journal, job: Job, made: Iterable[Shape], labels: Iterable[Label]) -> None:
    kept, specs = journal.made.setdefault(job.id, {}), run_specs(labels)
    kept.update({shape.id: digest(shape, specs) for shape in made if shape.id is not None})
    keep(journal)
