"""The frames of a task as a data set here: their pictures, and the task's labels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from quorate.annotations import Annotations
from quorate.cvat.client import Client
from quorate.cvat.task import Frame, Label, Task
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.errors import InputError, LabelError, did_you_mean
from quorate.formats import write
from quorate.formats.base import is_picture
from quorate.labels import Labels
from quorate.spec import EnsembleSpec
from quorate.storage import safe_name, write_bytes

AT_ONCE = 6
"""Frames that are asked for together: a server makes a video's out of parts of the video."""
DRAWN = ("any", "rectangle", "polygon", "mask")
"""Types of label that what detectors find can bear."""
SOURCE, IMAGES = "source.json", "images"
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


def check_labels(ensemble: EnsembleSpec, task: Task) -> None:
    """Raise LabelError where the spec names a label that the task lacks, before any work."""
    known = [label.name for label in task.labels if label.type in DRAWN]
    lacking = [name for name in ensemble.labels if name not in known]
    if not lacking and known:
        return
    where = f"Task {task.id} ({task.name})"
    other = [f"'{one.name}' ({one.type})" for one in task.labels if one.type not in DRAWN]
    kept = f"; of other types are {', '.join(other)}" if other else ""
    if not known:
        raise LabelError(
            f"{where} has no label for boxes or masks{kept}.",
            hint="add labels to it in CVAT, or let --add-labels add those of the spec",
        )
    raise LabelError(
        f"{where} lacks {len(lacking)} of the spec's labels: {', '.join(lacking)}. It has "
        f"{', '.join(known)}{kept}.",
        hint=did_you_mean(lacking[0], known)
        or "map the detectors' words onto its labels (`labels: {theirs: yours}`), or let "
        "--add-labels add them to it",
    )


def download(
    client: Client,
    task: Task,
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Frame]:
    """Download the frames of a task that are not there yet, in the quality that was uploaded.

    The folder becomes a data set: `annotations.xml` with the labels, and `images/`. Returns the
    frame of each picture, by `Image.file_name` relative to `images`.

    Frames of another task in the folder are thrown away first. Raises InputError for a frame that
    the server cannot give, and what `Client` raises.
    """
    source = msgspec.json.encode({"server": client.server, "task": task.id})
    if (folder / SOURCE).exists() and (folder / SOURCE).read_bytes() != source:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / SOURCE, source)
    images = folder / IMAGES

    def fetch(frame: Frame) -> str:
        name = safe_name(frame.name, origin=f"task {task.id}")
        here = next((n for n in _possible(name) if (images / n).is_file()), None)
        if here is not None:
            return here
        data = client.content(
            f"jobs/{frame.job}/data", type="frame", quality="original", number=frame.number
        )
        if not is_picture(name):
            name += _ending(data, frame)
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(images / name, data)
        return name

    frames: dict[str, Frame] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, (name, frame) in enumerate(
            zip(pool.map(fetch, task.frames), task.frames, strict=True), start=1
        ):
            frames[name] = frame
            progress(done, len(task.frames))
    usable = tuple(label for label in task.labels if label.type in DRAWN)
    dataset = Dataset(
        root=str(images),
        images=tuple(
            Image(number, name, frame.width, frame.height, source_id=frame.number)
            for number, (name, frame) in enumerate(frames.items(), start=1)
        ),
        labels=Labels.from_names([label.name for label in usable]),
        name=task.name,
        label_info={label.name: _info(label) for label in usable},
    )
    write(dataset, Annotations.empty(), folder / "annotations.xml", format="cvat")
    return frames


def _possible(name: str) -> list[str]:
    """The names that a frame's file may have here."""
    return [name] if is_picture(name) else [name + ending for ending in _ENDINGS.values()]


def _ending(data: bytes, frame: Frame) -> str:
    """The ending of a video's frame, by its first bytes."""
    for start, ending in _ENDINGS.items():
        if data.startswith(start):
            return ending
    raise InputError(f"Frame {frame.number} ({frame.name}): what the server gives is no picture.")


def _info(label: Label) -> LabelInfo:
    return LabelInfo(
        color=label.color,
        type=label.type,
        attributes=tuple(
            AttributeSpec(a.name, a.input_type, a.values[0] if a.values else "", a.values)
            for a in label.attributes
        ),
    )
