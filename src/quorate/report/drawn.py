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
from quorate.errors import InputError, QuorateError
from quorate.evaluation.effort import BOTH, DELETED, MOVED, RELABELLED, Effort, effort
from quorate.evaluation.truth import HAVE_A_BOX
from quorate.pictures import decode
from quorate.storage import join, open_tree, safe_name, write_bytes

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

    Raises InputError where `out` is the data set's own folder, or a picture's name leads out of it.
    """
    out, left = os.fspath(out), None
    if os.path.realpath(out) == os.path.realpath(dataset.root):
        raise InputError(
            f"{out}: holds the pictures themselves, which would be written over.",
            hint="name another folder: -o drawn/",
        )
    if found is not None and dataset.annotations is not None and len(dataset.annotations):
        left = effort(found, dataset, min_score=min_score)
    images = [
        image
        for place, image in enumerate(dataset.images)
        if wanted(image) and (left is None or not errors or left.pictures[place].any())
    ]

    scene = _Scene.of(dataset, found, left, min_score)
    with open_tree(dataset.root) as tree:

        def one(image: Record) -> tuple[str, str]:
            try:
                pixels = decode(tree.read(image.file_name), name=image.file_name)
            except (QuorateError, OSError) as error:
                return "", str(getattr(error, "message", error))
            marks, masks = scene.on(image)
            name, ending = os.path.splitext(safe_name(image.name, origin=dataset.root))
            ending = ending if ending.lower() in (".jpg", ".jpeg", ".png") else f"{ending}.png"
            file = join(out, name + ending)
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


@dataclass(frozen=True)
class _Scene:
    """What is drawn on each picture; rows of `found` and of the annotations by picture."""

    dataset: Dataset
    found: Detections | None
    left: Effort | None
    found_rows: _ByPicture
    shape_rows: _ByPicture

    @classmethod
    def of(
        cls, dataset: Dataset, found: Detections | None, left: Effort | None, min_score: float
    ) -> _Scene:
        boxes = shapes = _ByPicture.of(np.empty(0, np.int64), np.empty(0, np.bool_))
        if found is not None:
            boxes = _ByPicture.of(found.image_id, found.score >= min_score)
        there = dataset.annotations
        if there is not None and (found is None or left is not None):
            shown = np.isin(there.kind, HAVE_A_BOX)
            shapes = _ByPicture.of(there.image_id, shown if left is None else left.missing)
        return cls(dataset, found, left, boxes, shapes)

    def on(self, image: Record) -> tuple[list[_Mark], Masks | None]:
        """The marks of one picture, the surest first, and the masks of the first of these."""
        labels, marks, masks = self.dataset.labels, [], None
        if self.found is not None:
            rows = self.found_rows[image.id]
            rows = rows[np.argsort(-self.found.score[rows], kind="stable")]
            shown = self.found.take(rows)
            masks = shown.masks
            for at, row in enumerate(rows.tolist()):
                edit = "" if self.left is None else _edit(self.left, row, self.dataset)
                marks.append(_Mark.of(shown, at, self.dataset, edit))
        if self.dataset.annotations is not None:
            shapes = self.dataset.annotations.take(self.shape_rows[image.id])
            places = labels.positions(shapes.category_id).tolist()
            prefix = "" if self.left is None else "add "
            marks += [
                _Mark(box, place, prefix + labels.names[place], self.left is not None)
                for box, place in zip(shapes.enclosing(), places, strict=True)
            ]
            if self.found is None:
                masks = shapes.to_masks({image.id: (image.width, image.height)})
        return marks, masks


@dataclass(frozen=True)
class _ByPicture:
    """Rows of a table by picture: `rows`, sorted by their picture's id `ids`."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, image_id: NDArray[np.int64], kept: NDArray[np.bool_]) -> _ByPicture:
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(image_id[rows], kind="stable")]
        return cls(rows, image_id[rows])

    def __getitem__(self, image_id: int) -> NDArray[np.int64]:
        first, last = np.searchsorted(self.ids, [image_id, image_id + 1])
        return self.rows[first:last]


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
