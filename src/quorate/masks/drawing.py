"""Polygons to masks, of the pixels that pycocotools draws; `outlines` has the way back."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.compiled import kernel
from quorate.errors import InputError
from quorate.masks.runs import UNION, merge
from quorate.masks.value import Masks

Points = NDArray[np.float64]

FURTHEST = 1_000_000.0
"""Pixels: a polygon that reaches further is drawn in no picture."""


def drawn(offsets: Offsets, points: Points, sizes: NDArray[np.int32]) -> Masks:
    """The masks of polygons, whose rings a pair of NaN parts, in pictures of (n, 2) sizes.

    The pixels are those of pycocotools (`frPyObjects` and `merge`). A row without points has no
    mask. Raises InputError for a point that is infinite or a million pixels away.
    """
    if len(points) and np.nanmax(np.abs(points)) > FURTHEST:
        raise InputError(f"A polygon reaches further than any picture ({np.nanmax(points):g}).")
    size = np.require(sizes, dtype=np.int32, requirements=("C", "W"))
    group, ring_offsets, runs = draw(
        np.require(offsets, dtype=np.int64, requirements=("C", "W")),
        np.require(points, dtype=np.float64, requirements=("C", "W")),
        size,
    )
    rings = int(group[-1])
    nought = np.zeros(rings)
    _, merged, flat = merge(group, np.arange(rings), ring_offsets, runs, nought, nought, UNION)
    return Masks(merged, flat, size)


@kernel
def draw(
    offsets: Offsets, points: Points, size: NDArray[np.int32]
) -> tuple[Offsets, Offsets, NDArray[np.uint32]]:
    """A mask of each ring: which rings each polygon has, offsets and runs of the rings' masks."""
    count = len(offsets) - 1
    group = np.zeros(count + 1, np.int64)
    rings = 0
    for i in range(count):
        for k in range(offsets[i], offsets[i + 1], 2):
            rings += np.isnan(points[k]) or k == offsets[i]
        group[i + 1] = rings
    ring_offsets = np.zeros(rings + 1, np.int64)
    out = np.empty(1024, np.uint32)
    used = ring = 0
    for i in range(count):
        begin = offsets[i]
        while begin < offsets[i + 1]:
            end = begin
            while end < offsets[i + 1] and not np.isnan(points[end]):
                end += 2
            runs = _drawn(points[begin:end], int(np.int64(size[i, 0])), int(np.int64(size[i, 1])))
            if used + len(runs) > len(out):
                longer = np.empty(2 * (used + len(runs)), np.uint32)
                for k in range(used):
                    longer[k] = out[k]
                out = longer
            for k in range(len(runs)):
                out[used + k] = runs[k]
            used += len(runs)
            ring += 1
            ring_offsets[ring] = used
            begin = end + 2
    return group, ring_offsets, out[:used].copy()


@njit(error_model="numpy")
def _drawn(xy: Points, height: int, width: int) -> NDArray[np.uint32]:
    """`rleFrPoly` of pycocotools: the boundary five times as fine, then down the columns."""
    n = len(xy) // 2
    crossings = np.empty(64, np.int64)
    count = 0
    for k in range(n):
        j = k + 1 if k + 1 < n else 0
        xs, ys = int(5.0 * xy[2 * k] + 0.5), int(5.0 * xy[2 * k + 1] + 0.5)
        xe, ye = int(5.0 * xy[2 * j] + 0.5), int(5.0 * xy[2 * j + 1] + 0.5)
        dx, dy = abs(xe - xs), abs(ye - ys)
        flip = (dx >= dy and xs > xe) or (dx < dy and ys > ye)
        if flip:
            xs, xe, ys, ye = xe, xs, ye, ys
        steps = max(dx, dy)
        if steps == 0:
            continue
        slope = (ye - ys) / dx if dx >= dy else (xe - xs) / dy
        before_x = before_y = 0
        for d in range(steps + 1):
            t = steps - d if flip else d
            if dx >= dy:
                u, v = t + xs, int(ys + slope * t + 0.5)
            else:
                u, v = int(xs + slope * t + 0.5), t + ys
            if d > 0 and u != before_x:
                # A column's boundary runs through the middle of its five.
                fine = min(u, before_x)
                if fine % 5 == 2 and 0 <= fine // 5 <= width - 1:
                    row = (min(v, before_y) + 0.5) / 5.0 - 0.5
                    row = np.ceil(min(max(row, 0.0), float(height)))
                    if count == len(crossings):
                        longer = np.empty(2 * count, np.int64)
                        for c in range(count):
                            longer[c] = crossings[c]
                        crossings = longer
                    crossings[count] = fine // 5 * height + int(row)
                    count += 1
            before_x, before_y = u, v
    places = crossings[:count]
    places.sort()
    runs = np.empty(count + 1, np.uint32)
    size = before = 0
    k = 0
    while k < count:
        if k + 1 < count and places[k] == places[k + 1]:
            k += 2  # in and out again at one place
            continue
        runs[size] = places[k] - before
        before = places[k]
        size += 1
        k += 1
    if before < height * width or size == 0:
        runs[size] = height * width - before
        size += 1
    return runs[:size]
