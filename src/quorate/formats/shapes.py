"""Shapes as several formats need them: gathered one by one, as rings, as upright boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.annotations import HAVE_A_BOX, Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset
from quorate.errors import InputError
from quorate.formats.base import scores_within
from quorate.formats.detections.matching import sizes_of
from quorate.masks.shapes import polygon_rings

_BETWEEN = np.array([np.nan, np.nan])


class Rows:
    """Gathers shapes; `build` makes the columns. For readers that meet one shape at a time."""

    def __init__(self) -> None:
        self._plain: list[tuple[Any, ...]] = []
        self._boxes: list[tuple[float, float, float, float]] = []
        self._points: list[Any] = []
        self._attributes: dict[str, tuple[list[int], list[Any]]] = {}
        self._sources: dict[str, int] = {}

    def add(
        self,
        image_id: int,
        category_id: int,
        xyxy: tuple[float, float, float, float],
        *,
        kind: int = Kind.BOX,
        rotation: float = 0.0,
        occluded: bool = False,
        iscrowd: bool = False,
        z_order: int = 0,
        group: int = 0,
        source: str = "manual",
        area: float = float("nan"),
        points: Any = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """One shape more."""
        if attributes:
            row = len(self._plain)
            for name, value in attributes.items():
                rows, values = self._attributes.setdefault(name, ([], []))
                rows.append(row)
                values.append(value)
        number = self._sources.setdefault(source, len(self._sources))
        self._plain.append(
            (image_id, category_id, kind, rotation, occluded, iscrowd, z_order, group, number, area)
        )
        self._boxes.append(xyxy)
        self._points.append(points)

    def build(self) -> Annotations:
        """The columns of all shapes so far, in the order they were added."""
        n = len(self._plain)
        names = (
            "image_id", "category_id", "kind", "rotation", "occluded", "iscrowd", "z_order",
            "group", "source", "area",
        )  # fmt: skip
        columns = zip(*self._plain, strict=True) if n else ((),) * len(names)
        return Annotations.build(
            **{name: list(column) for name, column in zip(names, columns, strict=True)},
            xyxy=np.array(self._boxes, dtype=np.float64).reshape(-1, 4),
            points=Ragged.of(self._points)
            if any(len(p) for p in self._points)
            else Ragged.nothing(n),
            sources=tuple(self._sources) or ("manual",),
            attributes={
                name: scattered(n, rows, values)
                for name, (rows, values) in self._attributes.items()
            },
        )


def scattered(n: int, rows: Any, values: list[Any]) -> NDArray[Any]:
    """(n,) a column with the given values at the given rows, None elsewhere."""
    column = np.full(n, None, dtype=object)
    filled = np.empty(len(values), dtype=object)
    filled[:] = values
    column[np.asarray(rows, dtype=np.int64)] = filled
    return column


def parted(rings: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The points of a polygon by its rings: the inverse of `polygon_rings`."""
    parts: list[NDArray[np.float64]] = []
    for ring in rings:
        parts += [_BETWEEN] * bool(parts) + [np.asarray(ring, np.float64)]
    return np.concatenate([np.empty(0), *parts])


def with_scores(shapes: Annotations) -> Annotations:
    """The shapes with their attribute `confidence`, where it is one, called `score`.

    CVAT 2.56 and later keep a score of their own, which is 1 for whatever a person drew or a file
    brought, beside the attribute. Where the two differ otherwise, both stay as they are.
    """
    column = shapes.attributes.get("confidence")
    if column is None:
        return shapes
    told = np.array([value is not None for value in column.tolist()], dtype=bool)
    confidence, none = scores_within(shapes.numbers("confidence"))
    score = shapes.numbers("score")
    same = np.isnan(score) | (score == 1) | np.isclose(score, confidence, atol=1e-6)
    if not (same & ~none)[told].all():
        return shapes
    columns = dict(shapes.attributes)
    if "score" in columns:
        columns["score"] = np.where(told, columns.pop("confidence"), columns["score"])
    named = {"score" if name == "confidence" else name: c for name, c in columns.items()}
    return replace(shapes, attributes=named)


def shoelace(ring: Any) -> float:
    """The signed area of a ring."""
    x, y = ring[::2], ring[1::2]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def upright(
    annotations: Annotations, format: str, *, keep_rotation: bool = False
) -> tuple[Annotations, list[str]]:
    """Only what an upright box can tell of each shape, and notes on what it cannot.

    Polygons, masks, ellipses and, unless `keep_rotation`, rotated boxes become their enclosing
    boxes; tags, points and polylines are left out.
    """
    area = np.isin(annotations.kind, HAVE_A_BOX)
    boxes = annotations.take(area)
    turned = (boxes.rotation != 0) & ((boxes.kind != Kind.BOX) | (not keep_rotation))
    enclosed = int(((boxes.kind != Kind.BOX) | turned).sum())
    notes = []
    if enclosed:
        notes.append(f"{format}: {enclosed} shapes are written as the boxes that enclose them.")
    if not area.all():
        notes.append(
            f"{format}: {int((~area).sum())} tags, points and polylines are left out, for the "
            "format has none."
        )
    if turned.any():
        xyxy = np.where(turned[:, None], boxes.enclosing(), boxes.xyxy)
        boxes = replace(boxes, xyxy=xyxy, rotation=np.where(turned, 0.0, boxes.rotation))
    return boxes, notes


def lost_attributes(shapes: Annotations, format: str, kept: Set[str]) -> list[str]:
    """A note on the attributes that a format, which keeps some, has no place for."""
    lost = sorted(shapes.attributes.keys() - kept)
    if not lost:
        return []
    return [f"{format}: the attributes {', '.join(lost)} are left out, for it has none."]


def known_sizes(dataset: Dataset, boxes: Annotations, format: str) -> NDArray[np.int64]:
    """(n, 2) the width and height of each box's picture; InputError unless all are known."""
    unknown = [image.name for image in dataset.images if not (image.width and image.height)]
    if unknown:
        raise InputError(
            f"{format}'s boxes are relative to the picture, and the size of {len(unknown)} "
            f"pictures is not known, the first '{unknown[0]}'."
        )
    return sizes_of(dataset.images, boxes.image_id)


def outlined(
    annotations: Annotations, format: str, dataset: Dataset
) -> tuple[Annotations, list[str]]:
    """Every shape that has an area as a polygon, and notes on what is left out.

    Boxes become their four corners, as rotated; masks and ellipses the edges of their pixels.
    """
    from quorate.masks.outlines import polygons

    sizes = {image.id: (image.width, image.height) for image in dataset.images}
    shapes = annotations.take(np.isin(annotations.kind, HAVE_A_BOX))
    drawn = np.isin(shapes.kind, (Kind.MASK, Kind.ELLIPSE))
    masks = shapes.take(drawn).to_masks(sizes)
    found = iter(()) if masks is None else iter(Ragged(*polygons(masks)))
    points = [
        next(found, np.empty(0))
        if pixels
        else shapes.points[row]
        if kind
        else _corners(shapes, row)
        for row, (pixels, kind) in enumerate(zip(drawn, shapes.kind == Kind.POLYGON, strict=True))
    ]
    there = np.array([len(ring) > 0 for ring in points], dtype=bool)
    made = replace(
        shapes, points=Ragged.of(points), kind=np.full(len(shapes), Kind.POLYGON, np.int8)
    ).take(there)
    left_out = len(annotations) - len(made)
    notes = []
    if left_out:
        notes.append(
            f"{format}: {left_out} tags, points, polylines and empty masks are left out, for the "
            "format has none."
        )
    return made, notes


def one_ring(points: Any) -> Any:
    """x, y, x, y, … of a polygon as one ring: its parts joined, there and back, where nearest."""
    from quorate.masks.outlines import opened

    ring, *others = (part.reshape(-1, 2) for part in polygon_rings(points))
    for other in others:
        ring = opened(ring, other)
    return ring.reshape(-1)


def _corners(shapes: Annotations, row: int) -> Any:
    """x, y, … of the corners of a box, as rotated."""
    x1, y1, x2, y2 = shapes.xyxy[row]
    x, y, angle = (x1 + x2) / 2, (y1 + y2) / 2, np.deg2rad(shapes.rotation[row])
    half = np.array([[x1 - x, y1 - y], [x2 - x, y1 - y], [x2 - x, y2 - y], [x1 - x, y2 - y]])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (half @ turn + (x, y)).reshape(-1)


def by_image(annotations: Annotations) -> dict[int, list[int]]:
    """The rows of each picture, in their order."""
    order = np.argsort(annotations.image_id, kind="stable")
    ids, starts = np.unique(annotations.image_id[order], return_index=True)
    rows: list[int] = order.tolist()
    bounds = pairwise([*starts.tolist(), len(rows)])
    return {i: rows[start:end] for i, (start, end) in zip(ids.tolist(), bounds, strict=True)}


def attributes_of(annotations: Annotations) -> Callable[[int], dict[str, Any]]:
    """Gives the attributes of a shape by its row, as plain Python values; those that it has."""
    columns = {name: plain_values(column) for name, column in annotations.attributes.items()}
    return lambda row: {
        name: column[row] for name, column in columns.items() if column[row] is not None
    }


def plain_values(column: Any) -> list[Any]:
    """An attribute's column as plain Python values, None where a row lacks it.

    A float32 column (votes, scores) is rounded to six decimals, which is more than it holds.
    """
    if column.dtype.kind == "f":
        values = np.round(column.astype(np.float64), 6) if column.dtype == np.float32 else column
        return [None if value != value else value for value in values.tolist()]
    values_: list[Any] = column.tolist()
    return values_
