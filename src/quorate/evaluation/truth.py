"""Truth and detections as the evaluators want them: columns over dense, sorted numbers.

Evaluators number pictures and categories 1..n in the order of their COCO ids: the order in which
the COCO rules break ties, and small enough for any id to survive a float64 column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX
from quorate.columns import positions_in
from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.masks import Masks

Floats = NDArray[np.float64]
Sizes = Mapping[int, tuple[int, int]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Frame:
    """The pictures and categories of a data set, by rank of their ids.

    image_id     int64  (p,)  rising
    category_id  int64  (c,)  rising
    order        int64  (c,)  the rank of each label, in the vocabulary's order
    place        int64  (p,)  the rank of each picture, in the data set's order
    """

    image_id: Ints
    category_id: Ints
    order: Ints
    place: Ints

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The frame of a data set; its pictures count whether annotated or not."""
        ids = np.asarray(dataset.labels.ids, dtype=np.int64)
        images = np.fromiter((image.id for image in dataset.images), np.int64, len(dataset.images))
        image_id, category_id = np.sort(images), np.sort(ids)
        order, place = np.searchsorted(category_id, ids), np.searchsorted(image_id, images)
        return cls(image_id, category_id, order, place)

    def images(self, image_id: NDArray[np.integer], what: str) -> Ints:
        """Ranks, from 0, of image ids; InputError where one is not of the data set."""
        return _ranks(self.image_id, image_id, what, "an image id")

    def categories(self, category_id: NDArray[np.integer], what: str) -> Ints:
        """Ranks, from 0, of category ids; InputError where one is not of the vocabulary."""
        return _ranks(self.category_id, category_id, what, "a category id")


def _ranks(known: Ints, values: NDArray[np.integer], what: str, kind: str) -> Ints:
    slot = positions_in(known, values)
    bad = slot < 0
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
    masks     Masks or None    the pixels, where masks are to be compared: a box is a rectangle
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
    masks: Masks | None = None

    @classmethod
    def of(cls, dataset: Dataset, frame: Frame, *, masks: bool = False) -> Self:
        """The shapes of a data set that have a box, and their `masks` if these are asked for.

        InputError when it has no annotations, or masks are asked for and the size of a picture
        is not known.
        """
        annotations = dataset.annotations
        if annotations is None:
            raise InputError(
                f"The data set {dataset.name or dataset.root} has no annotations to evaluate "
                "against.",
                hint="give a data set with ground truth: COCO, CVAT, VOC or YOLO",
            )
        shapes = annotations.take(np.isin(annotations.kind, HAVE_A_BOX))
        plain = _xywh(shapes.xyxy)
        own = plain[:, 2] * plain[:, 3]
        pixels = None
        if masks:
            sizes = known_sizes(dataset, shapes.image_id)
            drawn = shapes.to_masks(sizes)
            pixels = _filled(
                Masks.nothing(len(shapes)) if drawn is None else drawn,
                shapes.enclosing(),
                _own_sizes(sizes, shapes.image_id),
            )
            own = pixels.measured().area.astype(np.float64)
        return cls(
            image=frame.images(shapes.image_id, "annotations"),
            category=frame.categories(shapes.category_id, "annotations"),
            xywh=_xywh(shapes.enclosing()),
            area=np.where(np.isnan(shapes.area), own, shapes.area),
            crowd=shapes.iscrowd,
            masks=pixels,
        )


@dataclass(frozen=True, eq=False)
class ScoredBoxes(Boxes):
    """Detections: `score`, float64 (n,)."""

    score: Floats
    masks: Masks | None = None

    @classmethod
    def of(cls, detections: Detections, frame: Frame, *, sizes: Sizes | None = None) -> Self:
        """Detections by rank of picture and category; with `sizes`, their masks as well."""
        return cls(
            image=frame.images(detections.image_id, "boxes"),
            category=frame.categories(detections.category_id, "boxes"),
            xywh=_xywh(detections.xyxy),
            score=detections.score.astype(np.float64),
            masks=None if sizes is None else _masks_of(detections, sizes),
        )


def known_sizes(dataset: Dataset, image_id: NDArray[np.integer]) -> Sizes:
    """The (width, height) of a data set's pictures; InputError where one of these is not known."""
    sizes = {image.id: (image.width, image.height) for image in dataset.images}
    unknown = [i for i in np.unique(image_id).tolist() if not all(sizes.get(i, (1, 1)))]
    if unknown:
        raise InputError(
            f"Masks are compared in their pictures, and the size of {len(unknown)} pictures is not "
            f"known, the first has the id {unknown[0]}.",
            hint="evaluate against a data set that tells sizes, or has its pictures beside it",
        )
    return sizes


def _masks_of(detections: Detections, sizes: Sizes) -> Masks:
    """The mask of each detection; where it has none, its box."""
    own = _own_sizes(sizes, detections.image_id)
    masks = Masks.nothing(len(detections)) if detections.masks is None else detections.masks
    wrong = masks.there & (masks.size != own).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        (height, width), (h, w) = own[row].tolist(), masks.size[row].tolist()
        raise InputError(
            f"The mask of a detection on picture {int(detections.image_id[row])} is of {w}x{h} "
            f"pixels, the picture of {width}x{height}."
        )
    return _filled(masks, detections.xyxy, own)


def _own_sizes(sizes: Sizes, image_id: NDArray[np.integer]) -> NDArray[np.int32]:
    """(n, 2) Height and width of each one's picture."""
    return np.array([sizes[i][::-1] for i in image_id.tolist()], np.int32).reshape(-1, 2)


def _filled(masks: Masks, xyxy: NDArray[np.floating], size: NDArray[np.int32]) -> Masks:
    """The masks, with the rectangle of a box where there is none."""
    from quorate.masks.shapes import rectangles

    without = np.flatnonzero(~masks.there)
    return masks.put(without, rectangles(xyxy[without], size[without]))


def _xywh(xyxy: NDArray[np.floating]) -> Floats:
    boxes = np.array(xyxy, dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
