"""Geometry that several formats need: rings, areas, upright boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quorate.annotations import Annotations, Kind


def polygon_rings(points: Any) -> list[Any]:
    """The rings of a polygon: (x, y, x, y, …) each."""
    parted = np.flatnonzero(np.isnan(points[::2]))
    return (
        [ring[~np.isnan(ring)] for ring in np.split(points, parted * 2)]
        if len(parted)
        else [points]
    )


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
    area = np.isin(annotations.kind, (Kind.BOX, Kind.POLYGON, Kind.ELLIPSE, Kind.MASK))
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


def by_image(annotations: Annotations) -> dict[int, list[int]]:
    """The rows of each picture, in their order."""
    if not len(annotations):
        return {}
    order = np.argsort(annotations.image_id, kind="stable")
    ids, starts = np.unique(annotations.image_id[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    rows: list[int] = order.tolist()
    return {
        i: rows[start:end]
        for i, start, end in zip(ids.tolist(), starts.tolist(), ends, strict=True)
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
