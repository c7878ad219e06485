"""The way back for masks: their outlines travel as points do, and are drawn in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.masks import Masks
from quorate.tta.maps import AffineMap, CoordinateMap

STEP = 4.0
"""Pixels between two points of an outline whose lines do not stay straight."""


def masks_led_back(masks: Masks, back: CoordinateMap) -> Masks:
    """Masks of a view as masks of its picture.

    Flips and right turns are exact, and a crop or shift by whole pixels: an outline runs along
    the edges of pixels, which then lie on edges again. What falls outside the picture is lost.
    """
    from quorate.masks.outlines import polygons
    from quorate.masks.shapes import drawn

    height, width = back.picture
    size = np.tile(np.array([height, width], np.int32), (len(masks), 1))
    offsets, values = polygons(masks)
    points = values.reshape(-1, 2)
    starts = offsets // 2
    if not isinstance(back, AffineMap):
        points, starts = _finer(points, starts)
    mapped = np.full_like(points, np.nan)
    real = ~np.isnan(points[:, 0])
    mapped[real] = back.to_picture(points[real])
    led = drawn(starts * 2, mapped.reshape(-1), size)
    # A mask of which nothing is left is a mask still, of no pixel.
    gone = masks.there & ~led.there
    if gone.any():
        nothing = [[height * width] if lost else [] for lost in gone]
        empty = Masks.from_runs(nothing, size)
        led = Masks.concat([empty, led]).take(np.where(gone, 0, len(led)) + np.arange(len(led)))
    return led


def _finer(
    points: NDArray[np.float64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same outlines with points on their lines, `STEP` apart at most."""
    if not len(points):
        return points, starts
    nan = np.isnan(points[:, 0])
    first = np.zeros(len(points), dtype=bool)
    first[starts[:-1][starts[:-1] < len(points)]] = True
    first[1:] |= nan[:-1]
    ring = np.cumsum(first) - 1
    following = np.arange(len(points)) + 1
    last = np.append(first[1:] | nan[1:], True)
    following[last] = np.flatnonzero(first)[ring[last]]
    step = np.where(nan[:, None], 0.0, points[following] - points)
    pieces = np.maximum(np.ceil(np.abs(step).max(axis=1) / STEP), 1).astype(np.int64)
    row = np.repeat(np.arange(len(points)), pieces)
    begin = np.cumsum(pieces) - pieces
    share = (np.arange(len(row)) - begin[row]) / pieces[row]
    return points[row] + share[:, None] * step[row], np.append(begin, len(row))[starts]
