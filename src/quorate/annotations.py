"""Annotations: what labellers drew, and what is published to them, as columns.

One row per shape or tag, for a whole data set at once: there is no object per shape anywhere.

    image_id     int64    (n,)    `Image.id`
    category_id  int32    (n,)    COCO category id
    kind         int8     (n,)    a `Kind`
    xyxy         float64  (n, 4)  the enclosing upright box, before rotation, in pixels, x2 and y2
                                  exclusive; zeros for a tag
    rotation     float64  (n,)    degrees, clockwise, around the centre of xyxy (boxes, ellipses)
    occluded     bool     (n,)
    iscrowd      bool     (n,)    COCO's
    z_order      int32    (n,)    higher is nearer
    group        int32    (n,)    shapes of one picture that belong together; 0 for none
    source       int8     (n,)    position in `sources`
    area         float64  (n,)    square pixels as the source states them, NaN where it does not
    points       Ragged           see below
    attributes   {name: (n,)}     a column each; None (in floats: NaN) where a row lacks it

`points` holds, for each kind:

    BOX, ELLIPSE, TAG          nothing
    POLYGON, POLYLINE, POINTS  x, y, x, y, …; a pair of NaN parts the rings of one polygon
    MASK                       run lengths inside xyxy (whole pixels), row by row, zeros first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import Ragged, check_columns, column, index_of
from quorate.detections import Detections
from quorate.display import brief
from quorate.errors import InputError
from quorate.masks import Masks

PUBLISHED = ("votes", "score", "agreement", "detectors")
"""What is known of a detection, by the name of the attribute that tells it."""
MaskShape = Literal["mask", "polygon", "box"]
"""What becomes of a detection's mask."""


class Kind(IntEnum):
    """The kind of a shape; its name in lower case is CVAT's word."""

    BOX = 0
    POLYGON = 1
    POLYLINE = 2
    POINTS = 3
    ELLIPSE = 4
    MASK = 5
    TAG = 6


HAVE_A_BOX = (Kind.BOX, Kind.POLYGON, Kind.ELLIPSE, Kind.MASK)
"""The kinds that enclose an area."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """Shapes and tags of a whole data set as columns; see the module for their meaning."""

    image_id: NDArray[np.int64]
    category_id: NDArray[np.int32]
    kind: NDArray[np.int8]
    xyxy: NDArray[np.float64]
    rotation: NDArray[np.float64]
    occluded: NDArray[np.bool_]
    iscrowd: NDArray[np.bool_]
    z_order: NDArray[np.int32]
    group: NDArray[np.int32]
    source: NDArray[np.int8]
    area: NDArray[np.float64]
    points: Ragged
    sources: tuple[str, ...] = ("manual",)
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    __repr__ = brief

    def __post_init__(self) -> None:
        n = len(self.image_id)
        check_columns(self, _COLUMNS)
        lengths = {name: len(column) for name, column in self.attributes.items()}
        for name, length in {**lengths, "points": len(self.points)}.items():
            if length != n:
                raise InputError(f"Annotations: {length} values of '{name}' for {n} shapes.")

    @classmethod
    def build(
        cls,
        *,
        image_id: ArrayLike,
        category_id: ArrayLike,
        xyxy: ArrayLike,
        points: Ragged | None = None,
        sources: Sequence[str] = ("manual",),
        attributes: Mapping[str, NDArray[Any]] | None = None,
        **columns: ArrayLike,
    ) -> Self:
        """Columns from anything array-like; scalars are spread over all rows.

        `columns` are the others by name: an upright box, not occluded, and so on, by default.
        """
        ids = np.ascontiguousarray(image_id, dtype=np.int64).reshape(-1)
        n = len(ids)
        boxes = np.ascontiguousarray(xyxy, dtype=np.float64).reshape(-1, 4)
        if len(boxes) != n:
            raise InputError(f"Annotations: {len(boxes)} boxes for {n} image ids.")
        if unknown := sorted(columns.keys() - _USUAL.keys()):
            raise TypeError(f"Annotations have no column '{unknown[0]}'.")
        given = {"category_id": category_id, **_USUAL, **columns}
        return cls(
            image_id=ids,
            xyxy=boxes,
            points=Ragged.nothing(n) if points is None else points,
            sources=tuple(sources),
            attributes={} if attributes is None else dict(attributes),
            **{
                name: column(values, n, _COLUMNS[name], name=name, of="shapes")
                for name, values in given.items()
            },
        )

    @classmethod
    def empty(cls) -> Self:
        """No annotations at all."""
        return cls.build(image_id=[], category_id=[], xyxy=np.empty((0, 4)))

    @classmethod
    def concat(cls, parts: Sequence[Annotations]) -> Self:
        """All rows of all parts, in order; sources and attributes are united by name."""
        if not parts:
            return cls.empty()
        sources = tuple(dict.fromkeys(name for part in parts for name in part.sources))
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _COLUMNS
            if name != "source"
        }
        columns["source"] = np.concatenate(
            [
                np.array([sources.index(name) for name in part.sources], np.int8)[part.source]
                for part in parts
            ]
        )
        names = dict.fromkeys(name for part in parts for name in part.attributes)
        return cls(
            **columns,
            points=Ragged.concat([part.points for part in parts]),
            sources=sources,
            attributes={
                name: _joined([(part.attributes.get(name), len(part)) for part in parts])
                for name in names
            },
        )

    @classmethod
    def from_detections(
        cls,
        detections: Detections,
        *,
        attributes: Sequence[str] = PUBLISHED,
        source: str = "auto",
        masks: MaskShape = "mask",
        tolerance: float = 0.0,
    ) -> Self:
        """Shapes to publish, in the detections' order, with what `attributes` asks to be told.

        A detection with a mask becomes that mask, or a polygon, of which no corner is further
        than `tolerance` pixels from the mask's outline; one without, or whose mask has no pixel,
        is a box.

        votes      int      detectors that carried the box
        score      float32
        agreement  float32  mean IoU of the box with its members
        detectors  str      names of the detectors that carried it, with ', ' between them
        """
        columns: dict[str, NDArray[Any]] = {}
        for name in attributes:
            if name == "detectors":
                names, which = carriers(detections)
                columns[name] = np.array([", ".join(one) for one in names], dtype=object)[which]
            elif name in PUBLISHED:
                columns[name] = getattr(detections, name)
            else:
                raise InputError(
                    f"There is no attribute '{name}' of a detection ({', '.join(PUBLISHED)})."
                )
        kind = np.full(len(detections), Kind.BOX, np.int8)
        xyxy: NDArray[np.floating] = detections.xyxy
        area: NDArray[Any] = detections.area
        points = None
        if detections.masks is not None and masks != "box":
            from quorate.masks import shapes

            points, box, pixels = shapes.drawable(detections.masks, masks, tolerance)
            there = pixels > 0
            kind[there] = Kind.POLYGON if masks == "polygon" else Kind.MASK
            xyxy = np.where(there[:, None], box, xyxy)
            area = np.where(there, pixels, area)
        return cls.build(
            image_id=detections.image_id,
            category_id=detections.category_id,
            xyxy=xyxy,
            kind=kind,
            area=area,
            points=points,
            sources=(source,),
            attributes=columns,
        )

    def to_masks(self, sizes: Mapping[int, tuple[int, int]]) -> Masks | None:
        """The pixels of polygons, ellipses and masks in pictures whose (width, height) are told.

        None where there are none. Another shape, or one in a picture of unknown size, has no mask.
        """
        kinds = (Kind.POLYGON, Kind.MASK, Kind.ELLIPSE)
        size = np.array([sizes.get(i, (0, 0))[::-1] for i in self.image_id.tolist()], np.int32)
        size = size.reshape(-1, 2)
        there = np.isin(self.kind, kinds) & (size > 0).all(axis=1)
        if not there.any():
            return None
        from quorate.masks import shapes

        rows = [np.flatnonzero(there & (self.kind == kind)) for kind in kinds]
        polygons, boxed, ellipses = rows
        outlines, runs = self.points.take(polygons), self.points.take(boxed)
        masks = [
            shapes.drawn(outlines.offsets, outlines.values, size[polygons]),
            shapes.unboxed(runs.offsets, runs.values, self.xyxy[boxed], size[boxed]),
            shapes.ellipses(self.xyxy[ellipses], self.rotation[ellipses], size[ellipses]),
        ]
        drawn = np.concatenate(rows)
        order = np.full(len(self), len(drawn), np.int64)
        order[drawn] = np.arange(len(drawn))
        return Masks.concat([*masks, 1]).take(order)

    def to_detections(
        self, *, detector: str = "file", sizes: Mapping[int, tuple[int, int]] | None = None
    ) -> Detections:
        """Every shape that has an area as a box of one detector, in order.

        The box is the one that encloses the shape as rotated. The score is the attribute `score`,
        1 where there is none. Tags, points and polylines have no box and are left out. Where
        `sizes` tells the (width, height) of pictures, masks, polygons and ellipses have masks.
        """
        part = self.take(np.isin(self.kind, HAVE_A_BOX))
        score = part.numbers("score")
        return Detections.build(
            image_id=part.image_id,
            category_id=part.category_id,
            xyxy=part.enclosing(),
            score=np.where(np.isnan(score), 1.0, score),
            detectors=(detector,),
            masks=None if sizes is None else part.to_masks(sizes),
        )

    def __len__(self) -> int:
        return len(self.image_id)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The rows of an index array, a mask or a slice, in that order."""
        index = index_of(rows, len(self))
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in _COLUMNS},
            points=self.points.take(index),
            attributes={name: column[index] for name, column in self.attributes.items()},
        )

    def numbers(self, name: str) -> NDArray[np.float64]:
        """(n,) an attribute as numbers; NaN where it is missing or no number."""
        column = self.attributes.get(name)
        if column is None:
            return np.full(len(self), np.nan)
        if column.dtype != object:
            return column.astype(np.float64)
        try:  # text and numbers alike, at the speed of numpy
            return np.where(column == np.array(None), "nan", column).astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            return np.array([_number(value) for value in column], dtype=np.float64)

    def enclosing(self) -> NDArray[np.float64]:
        """(n, 4) the upright boxes that enclose the shapes as rotated."""
        if not self.rotation.any():
            return self.xyxy
        angle = np.deg2rad(self.rotation)
        cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
        centre = (self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2
        width, height = ((self.xyxy[:, 2:] - self.xyxy[:, :2]) / 2).T
        round_ = self.kind == Kind.ELLIPSE
        half = np.stack(
            [
                np.where(round_, np.hypot(width * cos, height * sin), width * cos + height * sin),
                np.where(round_, np.hypot(width * sin, height * cos), width * sin + height * cos),
            ],
            axis=1,
        )
        turned = np.concatenate([centre - half, centre + half], axis=1)
        return np.where((self.rotation != 0)[:, None], turned, self.xyxy)


def carriers(detections: Detections) -> tuple[list[tuple[str, ...]], NDArray[np.intp]]:
    """Which detectors carried each box: the different sets of names, and (n,) which is whose."""
    n, m = len(detections), len(detections.detectors)
    carried = np.zeros((n, m), dtype=bool)
    own = np.flatnonzero(detections.detector >= 0)
    carried[own, detections.detector[own]] = True
    if detections.members is not None:
        rows = np.repeat(np.arange(n), np.diff(detections.members.offsets))
        known = detections.members.detector >= 0
        carried[rows[known], detections.members.detector[known]] = True
    if not n or not m:
        return [()], np.zeros(n, np.intp)
    packed = np.ascontiguousarray(np.packbits(carried, axis=1))
    _, first, which = np.unique(
        packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1),
        return_index=True,
        return_inverse=True,
    )
    names = np.array(detections.detectors, dtype=object)
    return [tuple(names[carried[row]]) for row in first], which


def _joined(parts: Sequence[tuple[NDArray[Any] | None, int]]) -> NDArray[Any]:
    """One attribute over several parts, some of which may lack it."""
    kinds = {None if column is None else column.dtype.kind for column, _ in parts}
    if len(kinds) == 1:
        return np.concatenate([column for column, _ in parts if column is not None])
    if kinds == {None, "f"}:
        return np.concatenate([np.full(n, np.nan) if c is None else c for c, n in parts])
    return np.concatenate([_objects(column, n) for column, n in parts])


def _objects(column: NDArray[Any] | None, n: int) -> NDArray[Any]:
    objects = np.full(n, None, dtype=object)
    if column is not None:
        objects[:] = column.tolist()
        if column.dtype.kind == "f":
            objects[np.isnan(column)] = None
    return objects


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")


_COLUMNS: dict[str, Any] = {
    "image_id": np.int64,
    "category_id": np.int32,
    "kind": np.int8,
    "xyxy": np.float64,
    "rotation": np.float64,
    "occluded": np.bool_,
    "iscrowd": np.bool_,
    "z_order": np.int32,
    "group": np.int32,
    "source": np.int8,
    "area": np.float64,
}
_USUAL: dict[str, ArrayLike] = {
    "kind": Kind.BOX,
    "rotation": 0.0,
    "occluded": False,
    "iscrowd": False,
    "z_order": 0,
    "group": 0,
    "source": 0,
    "area": np.nan,
}
