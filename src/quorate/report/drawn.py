"""Pictures with boxes drawn on them, a file each: what a model says, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset
from quorate.dataset import Image as Record
from quorate.detections import Detections
from quorate.display import brief
from quorate.drawing import draw_boxes
from quorate.errors import QuorateError
from quorate.evaluation.effort import BOTH, DELETED, MOVED, RELABELLED, Effort, effort
from quorate.evaluation.truth import HAVE_A_BOX
from quorate.pictures import decode
from quorate.storage import join, open_tree, write_bytes

if TYPE_CHECKING:
    from quorate.masks import Masks

QUALITY = 90


@dataclass(frozen=True)
class Drawn:
    """The files that were written, and (picture, reason) for each that could not be drawn."""

    files: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    __repr__ = brief


def draw(
    pixels: NDArray[np.uint8],
    boxes: Detections,
    dataset: Dataset,
    *,
    min_score: float = 0.0,
) -> NDArray[np.uint8]:
    """A copy of a picture with the boxes of one picture on it, the surest on top.

    pixels   uint8 (h, w, 3) RGB, upright
    dataset  whose labels the boxes have
    returns  the same, enlarged by a whole number where it is small
    """
    shown = boxes.take(np.flatnonzero(boxes.score >= min_score))
    shown = shown.take(np.argsort(-shown.score, kind="stable"))
    marks = [_Mark.of(shown, row, dataset) for row in range(len(shown))]
    return _painted(pixels, marks, shown.masks)


def draw_pictures(
    dataset: Dataset,
    out: str | os.PathLike[str],
    found: Detections | None = None,
    *,
    min_score: float = 0.25,
    errors: bool = False,
    wanted: Callable[[Record], bool] = lambda image: True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drawn:
    """Draw every picture of a data set into a folder, under its own name.

    Without `found` the annotations are drawn. With it, its boxes from `min_score` on; where the
    data set has annotations as well they are the truth, and each box says what is to be done to
    it: dashed are boxes to delete and objects to add. `errors` draws only pictures with something
    to do. Pictures keep their format where that is JPEG or PNG; others are written as PNG. One
    that cannot be read is left out and told.
    """
    left = None
    if found is not None and dataset.annotations is not None and len(dataset.annotations):
        left = effort(found, dataset, min_score=min_score)
    images = [
        image
        for place, image in enumerate(dataset.images)
        if wanted(image) and (left is None or not errors or left.pictures[place].any())
    ]

    with open_tree(dataset.root) as tree:

        def one(image: Record) -> tuple[str, str]:
            try:
                pixels = decode(tree.read(image.file_name), name=image.file_name)
            except (QuorateError, OSError) as error:
                return "", str(getattr(error, "message", error))
            marks, masks = _marks(image.id, dataset, found, left, min_score)
            name, ending = os.path.splitext(image.name)
            ending = ending if ending.lower() in (".jpg", ".jpeg", ".png") else f"{ending}.png"
            file = join(os.fspath(out), name + ending)
            write_bytes(file, _encoded(_painted(pixels, marks, masks), ending.lower()))
            return file, ""

        files, skipped = [], []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for done, (file, reason) in enumerate(pool.map(one, images), start=1):
                if file:
                    files.append(file)
                else:
                    skipped.append((images[done - 1].name, reason))
                progress(done, len(images))
    return Drawn(tuple(files), tuple(skipped))


@dataclass(frozen=True)
class _Mark:
    """A box to draw: its corners, the place of its label, what is written, whether dashed."""

    xyxy: NDArray[np.floating]
    label: int
    text: str
    dashed: bool = False

    @classmethod
    def of(cls, boxes: Detections, row: int, dataset: Dataset, edit: str = "") -> _Mark:
        place = int(dataset.labels.positions(boxes.category_id[row : row + 1])[0])
        word = dataset.labels.names[place] if place >= 0 else str(boxes.category_id[row])
        said = f"{word} {boxes.score[row]:.2f}{edit}"
        return cls(boxes.xyxy[row], place, said, edit.endswith("delete"))


def _marks(
    image_id: int,
    dataset: Dataset,
    found: Detections | None,
    left: Effort | None,
    min_score: float,
) -> tuple[list[_Mark], Masks | None]:
    """What is drawn on one picture, the surest first, and the masks of the first of these."""
    labels, marks, masks = dataset.labels, [], None
    if found is not None:
        rows = np.flatnonzero((found.image_id == image_id) & (found.score >= min_score))
        rows = rows[np.argsort(-found.score[rows], kind="stable")]
        shown = found.take(rows)
        masks = shown.masks
        for at, row in enumerate(rows.tolist()):
            edit = "" if left is None else _edit(left, row, dataset)
            marks.append(_Mark.of(shown, at, dataset, edit))
    shapes = dataset.annotations
    if shapes is not None and (found is None or left is not None):
        rows = np.flatnonzero((shapes.image_id == image_id) & np.isin(shapes.kind, HAVE_A_BOX))
        if left is not None:
            rows = rows[left.missing[rows]]
        chosen = shapes.take(rows)
        places = labels.positions(chosen.category_id).tolist()
        prefix = "add " if left is not None else ""
        marks += [
            _Mark(box, place, prefix + labels.names[place], left is not None)
            for box, place in zip(chosen.enclosing(), places, strict=True)
        ]
        if found is None:
            masks = chosen.to_masks({i.id: (i.width, i.height) for i in dataset.images})
    return marks, masks


def _edit(left: Effort, row: int, dataset: Dataset) -> str:
    """What is to be done to a box, after its label."""
    fate = int(left.fate[row])
    told = {DELETED: ": delete", MOVED: ": move"}.get(fate, "")
    if fate in (RELABELLED, BOTH):
        told = f": is {dataset.labels.name_of(int(left.becomes[row]))}" + (
            ", move" if fate == BOTH else ""
        )
    return told


def _painted(
    pixels: NDArray[np.uint8], marks: Sequence[_Mark], masks: Masks | None
) -> NDArray[np.uint8]:
    return draw_boxes(
        pixels,
        np.array([mark.xyxy for mark in marks]),
        [mark.text for mark in marks],
        [mark.label for mark in marks],
        dashed=[mark.dashed for mark in marks],
        masks=masks,
    )


def _encoded(pixels: NDArray[np.uint8], ending: str) -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG" if ending.endswith("png") else "JPEG", quality=QUALITY)
    return file.getvalue()
