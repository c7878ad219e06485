"""The whole way: a task's pictures to an ensemble that runs here, and its boxes into the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from quorate.annotations import Annotations
from quorate.cvat.client import Client, once
from quorate.cvat.pictures import IMAGES, check_labels, download
from quorate.cvat.publishing.issues import open_issues, remove_issues
from quorate.cvat.publishing.journal import Journal, begun, ended, ensemble_of, find, forget, lock
from quorate.cvat.publishing.publish import Published, publish
from quorate.cvat.publishing.publish import undo as undo_published
from quorate.cvat.publishing.shapes import ADDED, shapes
from quorate.cvat.publishing.tracks import joined
from quorate.cvat.publishing.writing import ask_right
from quorate.cvat.task import Frame, Job, Place, Task, jobs_of, labels_of, tasks
from quorate.detections import Detections
from quorate.ensemble import DetectionEnsemble
from quorate.errors import AccessError, InputError, QuorateError
from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec
from quorate.steps import Summary, Work
from quorate.steps.results import Results
from quorate.steps.review import Rule, doubts


@dataclass(frozen=True)
class Annotated:
    """What was done to one task.

    task       its number
    published  what became of its shapes
    summary    what the run says of itself
    """

    task: int
    published: Published
    summary: Summary


def annotate(
    place: str | Place,
    ensemble: DetectionEnsemble,
    *,
    client: Client | None = None,
    out: str | Path | None = None,
    frames: str | None = None,
    replace: bool = False,
    add_labels: bool = False,
    review: Rule | None = None,
    tracks: bool = False,
    workers: int | None = None,
    name: str | None = None,
    progress: Progress = silent,
    done: list[Annotated] | None = None,
) -> list[Annotated]:
    """Let an ensemble annotate a task, a job, or each task of a project; one `Annotated` a task.

    The pictures are downloaded, the ensemble runs here, and its boxes are created beside what
    people drew. The same call again goes on where a killed one stopped, and creates no box twice.

    Args:
        place: such as 12, 'job:34', 'project:5', or an address in CVAT.
        ensemble: its `data` is not used; the labels are the task's.
        client: default: of the place's address and the environment, see `Client.connect`.
        out: folder for pictures and results; default: `out/cvat-task-12`. Of a project each task
            has a folder below it.
        frames: ranges such as '0-99,150' of a task's frames, as the API numbers them.
        replace: whether shapes that earlier runs of this ensemble made, and that nobody touched
            since, make way.
        add_labels: whether labels of the spec that the task lacks are added to it, and to the
            labels the attributes 'votes', 'confidence' and 'run'.
        review: on which frames an issue is opened; default: as the spec's `publish: {review: …}`
            says.
        tracks: whether boxes of a video are joined to tracks; needs the extra `tracks`.
        workers: threads; default: one for each processor.
        name: of the run, as `journal.run_name` makes one; the same again goes on with a run, so
            that it is undone as one. Default: that of the last run, where it did not come to its
            end, else a new one.
        progress: told how far it is.
        done: a list that has what is done of a project, where an error ends it; it is returned.

    Tasks of a project that cannot be annotated are left out; the last one's notes say so.

    Raises:
        LabelError: labels that do not fit, before any work.
        InputError: nothing to annotate there; tracks in a task that is no video.
        AccessError, ServerError: the server refuses, or does not answer.
        BusyError: another run of this machine is at work on the task.
        QuorateError: what `DetectionEnsemble.run` raises.
    """
    place = Place.parse(place) if isinstance(place, str) else place
    client = client or Client.connect(place.server)
    done = [] if done is None else done
    rule = review or Rule.of(ensemble)
    left: list[str] = []
    for task in tasks(client, place, frames, left, videos=tracks):
        task = fitting(client, task, ensemble, add_labels=add_labels)
        folder = Path(out or "out") / (
            f"cvat-task-{task.id}" if out is None or place.what == "project" else ""
        )
        with lock(client.server, task.id):
            pictures = download(
                client, task, folder / "task", progress=partial(progress, "download")
            )
            summary = ensemble.run(folder / "task", folder, workers=workers, progress=progress)
            kept, results = decided(ensemble, Work(folder / "work"))
            journal = begun(name, ensemble.name, client.server, task.id)
            numbers = {image.id: pictures[image.name].number for image in results.images}
            task = _seen(task, folder / "task" / IMAGES, pictures, results)
            found = shapes(kept, results.labels, task.labels, numbers, run=journal.run)
            wanted = joined(found, task, tracks=tracks)
            try:
                told = partial(progress, "publish")
                published = publish(client, task, wanted, journal, replace=replace, progress=told)
                if rule:
                    doubtful = {numbers[d.image.id]: d for d in doubts(results, ensemble, rule)}
                    published.issues = open_issues(
                        client, task, doubtful, journal.run, replace=replace
                    )
            except QuorateError as error:
                if journal.made or journal.tracks or journal.sent:
                    error.hint = "; ".join(filter(None, (error.hint, _half(journal))))
                raise
            ended(journal)
            published.notes += [*task.notes, *wanted.notes]
            done.append(Annotated(task.id, published, summary))
    for said in left:
        done[-1].published.notes.append(f"left out: {said}")
    return done


def fitting(client: Client, task: Task, spec: EnsembleSpec | None, *, add_labels: bool) -> Task:
    """The task, before any work, where boxes of the spec can be created in it.

    `add_labels` adds the spec's labels to it. Without a spec its labels are not looked at. Raises
    LabelError for labels that it lacks, AccessError where its shapes may not be changed.
    """
    if spec is not None:
        task = _with_labels(client, task, spec) if add_labels else task
        check_labels(spec, task)
    for job in task.jobs:
        once(partial(ask_right, client, f"jobs/{job.id}"))
    return task


def _seen(task: Task, folder: Path, pictures: Mapping[str, Frame], results: Results) -> Task:
    """The task with the frames that were looked at: the others keep what is on them.

    A picture that could not be read is thrown away: it is asked for again by the next run.
    """
    skipped = {one.file_name for one in results.skipped}
    seen = {image.name for image in results.images if image.file_name not in skipped}
    lost = [name for name in pictures if name not in seen]
    for name in lost:
        (folder / name).unlink(missing_ok=True)
    if not lost:
        return task
    numbers = {pictures[name].number for name in seen}
    note = (
        f"task {task.id}: {len(lost):,} of {len(task.frames):,} frames could not be read and keep "
        f"what is on them, the first {pictures[lost[0]].number}."
    )
    frames = tuple(frame for frame in task.frames if frame.number in numbers)
    return replace(task, frames=frames, notes=(*task.notes, note))


def _half(journal: Journal) -> str:
    return (
        "a part of the boxes is in the task: the same command again adds the rest, `quorate cvat "
        f"undo {journal.run} --server {journal.server}` takes them back"
    )


def decided(ensemble: EnsembleSpec, work: Work) -> tuple[Annotations, Results]:
    """What a run here decided and would publish, as shapes, and what its steps left."""
    results = Results(work, {detector.name: detector.voters for detector in ensemble.detectors})
    asked = ensemble.publish
    kept = Detections.concat([results.kept(shard, asked.min_score) for shard in results.shards])
    annotations = Annotations.from_detections(
        kept, attributes=asked.attributes, masks=asked.masks, tolerance=asked.tolerance
    )
    return annotations, results


def undo(
    name: str, *, task: int | None = None, job: int | None = None, client: Client | None = None
) -> Published:
    """Delete what a run created, shapes and issues, and nobody touched since.

    Args:
        name: the run's, as `Published.run` tells it.
        task: its task, where the run was made on another machine.
        job: the job that it was made on, where who undoes it may not see the whole task.
        client: default: of the environment.

    Raises:
        InputError: no run of that name is known here, and no task is named; the task has nothing
            of it.
        AccessError, ServerError: the server refuses, or does not answer.
    """
    if task is not None and client is None:
        client = Client.connect()
    known = True
    try:
        journal = find(name, client.server if client else None, task)
    except InputError:
        if task is None or client is None:
            raise
        journal, known = Journal(name, ensemble_of(name), client.server, task), False
    client = client or Client.connect(journal.server)
    jobs = jobs_of(client, journal.task) if job is None else [client.get(f"jobs/{job}", Job)]
    jobs = [one for one in jobs if one.type == "annotation"]
    if not jobs:
        client.get(f"tasks/{journal.task}", dict)  # one that is not there is told as such
    with lock(client.server, journal.task):
        result = undo_published(client, journal, jobs, labels_of(client, jobs[0]) if jobs else ())
        result.issues = remove_issues(client, jobs, journal.run)
    counts = (result, result.tracks, result.issues)
    if not known and not any(one.removed or one.touched for one in counts):
        raise InputError(
            f"Task {journal.task} has nothing that a run '{name}' made.",
            hint="is the name right? A run tells it at its end, and its boxes have it in their "
            "attribute 'run'; where labels have no such attribute, undo on the machine of the run",
        )
    forget(journal)
    return result


def _with_labels(client: Client, task: Task, ensemble: EnsembleSpec) -> Task:
    """The task with the labels and attributes that the ensemble gives, added where they lack."""
    known = {label.name: label for label in task.labels}
    change: list[dict[str, Any]] = []
    for name in dict.fromkeys(ensemble.labels or known):
        label = known.get(name)
        lacking = [a for a in ADDED if label is None or a not in {s.name for s in label.attributes}]
        if label is None or lacking:
            head = {"name": name} if label is None else {"id": label.id, "name": name}
            change.append(head | {"attributes": [_attribute(a) for a in lacking]})
    if not change:
        return task
    owner = f"projects/{task.project}" if task.project else f"tasks/{task.id}"
    try:
        client.send("PATCH", owner, {"labels": change}, dict)
    except AccessError as error:
        raise AccessError(
            f"You may not change the labels of {owner[:-1].replace('s/', ' ')} ({error.message})",
            hint="ask its owner to add them, or leave --add-labels away",
        ) from None
    return replace(task, labels=labels_of(client, task.jobs[0]))


def _attribute(name: str) -> dict[str, Any]:
    default = "" if name == "run" else "1"
    return {
        "name": name,
        "mutable": False,
        "input_type": "text",
        "default_value": default,
        "values": [default],
    }
