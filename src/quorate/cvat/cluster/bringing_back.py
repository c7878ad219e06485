"""The results of a run on a cluster, brought back into the task that it was started for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.argo.runs.runs import left, place
from quorate.argo.runs.submit import OUT
from quorate.cvat.client import Client
from quorate.cvat.cluster.dag import parameters_of
from quorate.cvat.publishing.issues import open_issues
from quorate.cvat.publishing.journal import begun, ended, lock
from quorate.cvat.publishing.publish import Published, publish
from quorate.cvat.publishing.shapes import TYPES, shapes
from quorate.cvat.publishing.tracks import joined
from quorate.cvat.task import Frame, Task
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError
from quorate.formats import FORMATS, read
from quorate.formats.base import without_ending
from quorate.progress import Progress, silent
from quorate.steps.publish import REVIEW
from quorate.steps.review import REVIEW as TAG
from quorate.steps.review import Doubt
from quorate.storage import exists, join, open_tree, read_bytes

MOST_FOLDERS = 50
"""Folders of a run's output that are looked into."""


def bring_back(
    client: Client,
    task: Task,
    workflow: Mapping[str, Any],
    *,
    bucket: str | None = None,
    replace: bool = False,
    tracks: bool = False,
    progress: Progress = silent,
) -> Published:
    """Create the boxes that a run decided in the task that it was started for.

    A picture of the results is a frame of the task where it has the frame's name; the ending does
    not count, as for CVAT. Boxes on other pictures, or on pictures of another size, are left out
    with a note. The same run again creates nothing twice. Frames that a run of ours says need a
    person have an issue.

    Args:
        client: the server.
        task: the task, or the part of it that the run was started for.
        workflow: the run, which must have ended well.
        bucket: the cluster's own, in which `cvat-output-path` is a key.
        replace: as for `annotate`.
        tracks: likewise.
        progress: told how many shapes are done.

    Raises:
        InputError: the run has not ended well, or left nothing that can be imported: labels of
            whole pictures are not.
        LabelError: labels that the task does not have (any more); nothing is created then.
        AccessError, ServerError, StorageError: CVAT or the store refuses, or does not answer.
        BusyError: another run of this machine is at work on the task.
    """
    found, notes = results(workflow, bucket)
    kept, frames, more = _matched(found, task)
    ensemble, name = run_of(workflow)
    with lock(client.server, task.id):
        journal = begun(name, ensemble, client.server, task.id)
        made = shapes(kept, found.labels, task.labels, frames, run=name)
        wanted = joined(made, task, tracks=tracks)
        told = partial(progress, "publish")
        published = publish(client, task, wanted, journal, replace=replace, progress=told)
        names = {image.name: frames[image.id] for image in found.images if image.id in frames}
        if doubtful := _doubts(workflow, names):
            published.issues = open_issues(client, task, doubtful, name, replace=replace)
        ended(journal)
    published.notes += [*notes, *more, *wanted.notes, *task.notes]
    return published


def _doubts(workflow: Mapping[str, Any], frames: Mapping[str, int]) -> dict[int, Doubt]:
    """What a run of ours says of frames that need a person, by the frame's number."""
    own = place(workflow)
    if own is None or not exists(join(own, REVIEW)):
        return {}
    try:
        found = msgspec.json.decode(read_bytes(join(own, REVIEW)), type=list[Doubt])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{join(own, REVIEW)}: is not what publish writes ({error}).") from None
    return {frames[one.image.name]: one for one in found if one.image.name in frames}


def results(workflow: Mapping[str, Any], bucket: str | None = None) -> tuple[Dataset, list[str]]:
    """The annotations that a run left in S3, and notes on them.

    Ours are in its artifact `results`. Of another template each artifact is looked at, those of
    the last step first, then what lies below `cvat-output-path`. Raises InputError where nothing
    can be imported.
    """
    name, phase = workflow["metadata"]["name"], (workflow.get("status") or {}).get("phase")
    if phase != "Succeeded":
        raise InputError(
            f"The run {name} has not ended well: it is {phase or 'not begun'}.",
            hint=f"quorate status {name}",
        )
    own = place(workflow)
    places = [own] if own else [where for _, where in left(workflow)]
    if own is None and bucket is not None:
        out = parameters_of(workflow).get(OUT)
        places += [join(f"s3://{bucket}", f"{out.strip('/')}/")] if out else []
    looked: dict[str, str] = {}
    for where in dict.fromkeys(places):
        for folder in _folders(where):
            looked.setdefault(folder, "")
            try:
                found = read(folder)
            except FormatError as error:
                if "of no known format" not in error.message:
                    looked[folder] = f" {error.message}"
                continue
            if found.annotations is not None and len(found.annotations):
                return found, [f"{folder}: {len(found.annotations):,} shapes are read."]
    told = [*looked][:3]
    more = f" and {len(looked) - 3} more" if len(looked) > 3 else ""
    raise InputError(
        f"The run {name} left nothing to import: there are no annotations in "
        f"{', '.join(told) or 'S3'}{more}." + "".join(looked.values()),
        hint=f"read are {', '.join(n for n in FORMATS if n != 'folder')}, in files, in ZIP "
        "archives, and in artifacts with `archive: {none: {}}`",
    )


def _folders(where: str) -> Iterator[str]:
    """The places to read at a location, the best first."""
    if not where.endswith("/"):
        if where.lower().endswith((".zip", ".xml", ".json")):
            yield where
            return
        where += "/"
    with open_tree(where) as tree:
        names = list(tree.names())
    below = {name.partition("/")[0] for name in names if "/" in name}
    best = [name for name in FORMATS if name in below]
    if names:
        yield from (join(where, f"{name}/") for name in best)
        yield where
        yield from (join(where, f"{name}/") for name in sorted(below - {*best})[:MOST_FOLDERS])


def _matched(found: Dataset, task: Task) -> tuple[Annotations, dict[int, int], list[str]]:
    """The boxes, polygons and masks on frames of the task, the frame of each picture, and notes."""
    known = _matches(found.images, task.frames)
    frames: dict[int, int] = {}
    other: list[Image] = []
    resized: list[Image] = []
    for image in found.images:
        frame = known.get(image.id)
        if frame is None:
            other.append(image)
        elif image.width and frame.width and (image.width, image.height) != frame[2:4]:
            resized.append(image)
        else:
            frames[image.id] = frame.number
    rows = found.annotations or Annotations.empty()
    here = np.isin(rows.image_id, list(frames))
    drawn = np.isin(rows.kind, [int(kind) for kind in TYPES])
    notes = [*found.notes]
    for images, what in (
        (other, "are not among the task's"),
        (resized, "have another size than the task's"),
    ):
        count = int(np.isin(rows.image_id, [image.id for image in images]).sum())
        if count:
            notes.append(
                f"{count:,} shapes are left out: their {len(images):,} pictures {what}, the first "
                f"'{images[0].name}'."
            )
    if len(rows) and not here.any():
        raise InputError(
            f"None of the {len(found.images):,} pictures of the results is one of task {task.id}'s "
            f"{len(task.frames):,}: " + " ".join(notes)
        )
    # Tags for review are told as issues.
    tags = [found.labels.id_of(TAG)] if TAG in found.labels else []
    marks = np.isin(rows.category_id, tags)
    others = Counter(rows.kind[here & ~drawn & ~marks].tolist())
    if others[Kind.TAG] and not (here & drawn).any():
        raise InputError(
            f"The results have no shapes, but {others[Kind.TAG]:,} labels of whole pictures, which "
            "are not brought into a task.",
            hint="in CVAT, `Upload annotations` of the task takes the run's cvat/annotations.xml "
            "as CVAT 1.1, for labels of the type tag",
        )
    for kind, count in others.items():
        what = Kind(kind).name.lower().removesuffix("s")
        notes.append(f"{count:,} {what}s are left out: boxes, polygons and masks are imported.")
    return rows.take(here & drawn), frames, notes


def _matches(images: Sequence[Image], frames: Sequence[Frame]) -> dict[int, Frame]:
    """The frame of each picture that has one, by `Image.id`; no two have the same.

    It has the picture's name, else its name but for the ending, where no other picture or frame has
    that.
    """
    by_name = {frame.name: frame for frame in frames}
    found = {image.id: by_name[image.name] for image in images if image.name in by_name}
    taken = {frame.number for frame in found.values()}
    free = [frame for frame in frames if frame.number not in taken]
    by_stem = {without_ending(frame.name): frame for frame in free}
    stems = Counter(without_ending(frame.name) for frame in free)
    stems.update(without_ending(image.name) for image in images if image.id not in found)
    for image in images:
        stem = without_ending(image.name)
        if image.id not in found and stem in by_stem and stems[stem] == 2:  # the two of them
            found[image.id] = by_stem[stem]
    return found


def run_of(workflow: Mapping[str, Any]) -> tuple[str, str]:
    """The ensemble's name, and the run's as the journal has it: the same however often it is asked.

    It has the form of `run_name`, so that runs here and there are runs of one ensemble.
    """
    metadata = workflow["metadata"]
    template = (workflow["spec"].get("workflowTemplateRef") or {}).get("name") or metadata["name"]
    made = datetime.fromisoformat(metadata["creationTimestamp"])
    suffix = str(metadata["name"]).rpartition("-")[2]
    return template, f"{template}-{made:%Y%m%d-%H%M%S}-{suffix}"
