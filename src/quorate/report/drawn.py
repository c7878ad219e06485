"""Pictures with boxes drawn on them, a file each: what a model says, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX, Annotations
from quorate.dataset import Dataset
from quorate.dataset import Image as Record
from quorate.detections import Detections
from quorate.display import brief
from quorate.drawing import draw_boxes
from quorate.errors import InputError, QuorateError
from quorate.evaluation.effort import Effort, effort
from quorate.masks import Masks
from quorate.pictures import decode
from quorate.report.model import rows_on
from quorate.storage import join, open_tree, safe_name, write_bytes
from quorate.workers import processors

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
    shown = boxes.take(boxes.score >= min_score)
    shown = shown.take(np.argsort(-shown.score, kind="stable"))
    return _painted(pixels, [_mark(shown, row, dataset) for row in range(len(shown))], shown.masks)


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
    from PIL import Image

    out = os.fspath(out)
    if os.path.realpath(out) == os.path.realpath(dataset.root):
        raise InputError(
            f"{out}: holds the pictures themselves, which would be written over.",
            hint="name another folder: -o drawn/",
        )
    scene = _Scene.of(dataset, found, min_score)
    left = scene.left
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
            marks, masks = scene.on(image)
            name, ending = os.path.splitext(safe_name(image.name, origin=dataset.root))
            ending = ending if ending.lower() in (".jpg", ".jpeg", ".png") else f"{ending}.png"
            file = join(out, name + ending)
            encoded = BytesIO()
            kind = "PNG" if ending.lower().endswith("png") else "JPEG"
            Image.fromarray(_painted(pixels, marks, masks)).save(encoded, kind, quality=QUALITY)
            write_bytes(file, encoded.getvalue())
            return file, ""

        files, skipped = [], []
        with ThreadPoolExecutor(processors()) as pool:
            for done, (file, reason) in enumerate(pool.map(one, images), start=1):
                if file:
                    files.append(file)
                else:
                    skipped.append((images[done - 1].name, reason))
                progress(done, len(images))
    return Drawn(tuple(files), tuple(skipped))


class _Mark(NamedTuple):
    """A box to draw: its corners, the place of its label, what is written, whether dashed."""

    xyxy: NDArray[np.floating]
    label: int
    text: str
    dashed: bool = False


def _mark(boxes: Detections, row: int, dataset: Dataset, edit: str = "") -> _Mark:
    place = int(dataset.labels.positions(boxes.category_id[row : row + 1])[0])
    word = dataset.labels.names[place] if place >= 0 else str(boxes.category_id[row])
    said = f"{word} {boxes.score[row]:.2f}{f': {edit}' if edit else ''}"
    return _Mark(boxes.xyxy[row], place, said, edit == "delete")


@dataclass(frozen=True)
class _Scene:
    """What is drawn: boxes by picture and falling score, shapes by picture.

    Of the shapes all are drawn, or where boxes are held against them, those that are missing.
    """

    dataset: Dataset
    found: Detections | None
    shapes: Annotations | None
    left: Effort | None = None

    @classmethod
    def of(cls, dataset: Dataset, found: Detections | None, min_score: float) -> _Scene:
        shapes = dataset.annotations
        if shapes is not None:
            shapes = shapes.take(np.isin(shapes.kind, HAVE_A_BOX))
            shapes = shapes.take(np.argsort(shapes.image_id, kind="stable"))
        if found is None:
            return cls(dataset, found, shapes)
        found = found.take(found.score >= min_score)
        found = found.take(np.lexsort((-found.score, found.image_id)))
        if shapes is None or dataset.annotations is None or not len(dataset.annotations):
            return cls(dataset, found, None)
        left = effort(found, replace(dataset, annotations=shapes))
        return cls(dataset, found, shapes.take(left.missing), left)

    def on(self, image: Record) -> tuple[list[_Mark], Masks | None]:
        """The marks of one picture, the surest first, and the masks of the first of these."""
        marks, masks = [], None
        if self.found is not None:
            rows = rows_on(self.found.image_id, image.id)
            for row in range(rows.start, rows.stop):
                edit = "" if self.left is None else self.left.told(row, self.dataset)
                marks.append(_mark(self.found, row, self.dataset, edit))
            masks = self.found.take(rows).masks
        if self.shapes is not None:
            shapes = self.shapes.take(rows_on(self.shapes.image_id, image.id))
            prefix = "" if self.left is None else "add "
            marks += [
                _Mark(box, place, prefix + self.dataset.labels.names[place], bool(prefix))
                for box, place in zip(
                    shapes.enclosing(),
                    self.dataset.labels.positions(shapes.category_id).tolist(),
                    strict=True,
                )
            ]
            if self.found is None:
                masks = shapes.to_masks({image.id: (image.width, image.height)})
        return marks, masks


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
