"""Truth and detections as the evaluators want them: columns over dense, sorted numbers.

Evaluators number pictures and categories 1..n in the order of their COCO ids: the order in which
the COCO rules break ties, and small enough for any id to survive a float64 column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Kind
from quorate.errors import InputError

if TYPE_CHECKING:
    from quorate.dataset import Dataset
    from quorate.detections import Detections

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HAVE_A_BOX = (Kind.BOX, Kind.POLYGON, Kind.ELLIPSE, Kind.MASK)


@dataclass(frozen=True, eq=False)
class Frame:
    """The pictures and categories of a data set, by rank of their ids.

    image_id     int64  (p,)  rising
    category_id  int64  (c,)  rising
    order        int64  (c,)  the rank of each label, in the vocabulary's order
    """

    image_id: Ints
    category_id: Ints
    order: Ints

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The frame of a data set; its pictures count whether annotated or not."""
        ids = np.asarray(dataset.labels.ids, dtype=np.int64)
        images = np.fromiter((image.id for image in dataset.images), np.int64, len(dataset.images))
        category_id = np.sort(ids)
        return cls(np.sort(images), category_id, np.searchsorted(category_id, ids))

    def images(self, image_id: NDArray[np.integer], what: str) -> Ints:
        """Ranks, from 0, of image ids; InputError where one is not of the data set."""
        return _ranks(self.image_id, image_id, what, "an image id")

    def categories(self, category_id: NDArray[np.integer], what: str) -> Ints:
        """Ranks, from 0, of category ids; InputError where one is not of the vocabulary."""
        return _ranks(self.category_id, category_id, what, "a category id")


def _ranks(known: Ints, values: NDArray[np.integer], what: str, kind: str) -> Ints:
    slot = np.searchsorted(known, values).astype(np.int64)
    bad = slot == len(known)
    if len(known):
        bad |= known[np.minimum(slot, len(known) - 1)] != values
    if bad.any():
        raise InputError(
            f"{int(np.count_nonzero(bad))} of {len(values)} {what} have {kind} that the data set "
            f"has not, the first is {int(values[np.argmax(bad)])}.",
            hint="evaluate against the data set that the detectors were run on",
        )
    return slot


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes ready for an evaluator.

    image     int64    (n,)    rank of the picture
    category  int64    (n,)    rank of the category
    xywh      float64  (n, 4)  left, top, width, height in pixels
    """

    image: Ints
    category: Ints
    xywh: Floats

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, eq=False)
class TruthBoxes(Boxes):
    """Ground truth.

    area   float64  (n,)  square pixels as the source states them, else of the box before
                          rotation; it decides what is small, medium or large
    crowd  bool     (n,)  marks a region of many objects, which costs no detector anything
    """

    area: Floats
    crowd: NDArray[np.bool_]

    @classmethod
    def of(cls, dataset: Dataset, frame: Frame) -> Self:
        """The shapes of a data set that have a box; InputError when it has no annotations."""
        annotations = dataset.annotations
        if annotations is None:
            raise InputError(
                f"The data set {dataset.name or dataset.root} has no annotations to evaluate "
                "against.",
                hint="give a data set with ground truth: COCO, CVAT, VOC or YOLO",
            )
        shapes = annotations.take(np.isin(annotations.kind, HAVE_A_BOX))
        plain = _xywh(shapes.xyxy)
        return cls(
            image=frame.images(shapes.image_id, "annotations"),
            category=frame.categories(shapes.category_id, "annotations"),
            xywh=_xywh(shapes.enclosing()),
            area=np.where(np.isnan(shapes.area), plain[:, 2] * plain[:, 3], shapes.area),
            crowd=shapes.iscrowd,
        )


@dataclass(frozen=True, eq=False)
class ScoredBoxes(Boxes):
    """Detections: `score`, float64 (n,)."""

    score: Floats

    @classmethod
    def of(cls, detections: Detections, frame: Frame) -> Self:
        """Detections by rank of picture and category."""
        return cls(
            image=frame.images(detections.image_id, "boxes"),
            category=frame.categories(detections.category_id, "boxes"),
            xywh=_xywh(detections.xyxy),
            score=detections.score.astype(np.float64),
        )


def _xywh(xyxy: NDArray[np.floating]) -> Floats:
    boxes = np.array(xyxy, dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
