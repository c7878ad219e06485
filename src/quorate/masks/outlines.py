"""Masks to polygons that a person can edit; `shapes.drawn` has the way back.

An outline runs along the edges of pixels, so that a polygon without tolerance gives its mask back
exactly. Pixels that touch at a corner belong together. A polygon has no holes, in COCO as in
CVAT: a hole is opened by a cut without width to the ring around it.

Only the two loops over pixels and corners are compiled.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets, Ragged
from quorate.compiled import kernel
from quorate.masks.value import Masks

Points = NDArray[np.float64]
Bitmap = NDArray[np.bool_]

PAIRS_AT_ONCE = 1 << 18
_BETWEEN = np.array([[np.nan, np.nan]])
_STEP_X, _STEP_Y = (1, 0, -1, 0), (0, 1, 0, -1)  # east, south, west, north


def polygons(masks: Masks, tolerance: float = 0.0) -> tuple[Offsets, Points]:
    """The outline of each mask: offsets (n + 1,) and x, y, x, y, …, as `Annotations.points` are.

    A pair of NaN parts the rings of one mask, the largest first. With a tolerance no outline
    strays from its mask's by more than so many pixels (Douglas, Peucker 1973); parts and holes
    of fewer pixels than its square are left out, save a mask's largest part. A row without a
    mask, or of no pixel, has no points.
    """
    area, box = masks.measured()
    told = Ragged.of(
        _outline(masks.bitmap(row, window), window[:2], tolerance) if pixels else ()
        for row, (window, pixels) in enumerate(zip(box.tolist(), area.tolist(), strict=True))
    )
    return told.offsets, told.values


def _outline(pixels: Bitmap, corner: list[int], tolerance: float) -> Points:
    """(m, 2) every ring of a bitmap, its holes opened, the largest ring first, NaN between."""
    offsets, xy = traced(pixels)
    xy += corner
    rings = np.split(xy, offsets[1:-1])
    area = np.array([_area(ring) for ring in rings])
    order = np.argsort(-area, kind="stable").tolist()
    least = tolerance * tolerance
    parts = {r: [rings[r]] for r in order if area[r] > 0 and (area[r] >= least or r == order[0])}
    low = np.minimum.reduceat(xy, offsets[:-1])
    high = np.maximum.reduceat(xy, offsets[:-1])
    for hole in np.flatnonzero((area < 0) & (area <= -least)).tolist():
        # The smallest ring around it: just inside that ring, beside the hole's own first corner.
        first = rings[hole][0]
        near = (area > -area[hole]) & ((low <= first) & (first <= high)).all(axis=1)
        larger = sorted(np.flatnonzero(near).tolist(), key=area.__getitem__)
        around = next((ring for ring in larger if _holds(rings[ring], *first)), None)
        if around in parts:
            parts[around].append(rings[hole])
    told: list[Points] = []
    for ring, *holes in parts.values():
        whole = _simplified(ring, tolerance)
        for hole in holes:
            whole = opened(whole, _simplified(hole, tolerance))
        told += [_BETWEEN, whole]
    return np.concatenate(told[1:])


def _area(ring: Points) -> float:
    """The signed area: positive for an outer ring, negative for a hole."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    return float(x @ next_y - next_x @ y) / 2


def _holds(ring: Points, x: float, y: float) -> bool:
    """Whether a ring along pixel edges goes around a corner, or through it."""
    (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, axis=0).T
    on_x = (np.minimum(x1, x2) <= x) & (x <= np.maximum(x1, x2))
    on_y = (np.minimum(y1, y2) <= y) & (y <= np.maximum(y1, y2))
    crossed = (x1 == x2) & (x1 > x) & ((y1 > y) != (y2 > y))
    return bool((on_x & on_y).any() or crossed.sum() % 2)


def opened(ring: Points, hole: Points) -> Points:
    """One ring of two, such as a ring and a hole in it, by a cut between their nearest corners."""
    near, at, there = np.inf, 0, 0
    step = max(1, PAIRS_AT_ONCE // len(hole))
    for begin in range(0, len(ring), step):
        far = ((ring[begin : begin + step, None] - hole) ** 2).sum(axis=2)
        if far.min() < near:
            near = far.min()
            at, there = (int(place) for place in np.unravel_index(far.argmin(), far.shape))
            at += begin
    turned = np.roll(hole, -there, axis=0)
    return np.concatenate([ring[: at + 1], turned, turned[:1], ring[at:]])


def _simplified(ring: Points, tolerance: float) -> Points:
    """A closed ring with fewer corners; a thin one is simplified less, so that it stays one."""
    if len(ring) > 4:
        while tolerance > 0.25:
            few = ring[corners(ring, tolerance)]
            if len(few) > 2 and _area(few) * _area(ring) > 0:
                return few
            tolerance /= 2
    return ring


@kernel
def traced(pixels: Bitmap) -> tuple[Offsets, Points]:
    """Every ring of a bitmap: offsets (r + 1,) and its corners (m, 2), the inside on its right."""
    height, width = pixels.shape
    seen = np.zeros((height, width), np.bool_)  # pixels whose upper edge has been walked along
    rings = np.zeros(16, np.int64)
    xy = np.empty((256, 2))
    count = size = 0
    for row in range(height):
        for column in range(width):
            if not pixels[row, column] or seen[row, column]:
                continue
            if row > 0 and pixels[row - 1, column]:
                continue
            x, y, way = column, row, 0
            while True:
                if way == 0:
                    seen[y, x] = True
                x, y = x + _STEP_X[way], y + _STEP_Y[way]
                turn = _turn(pixels, x, y, way)
                if turn != 0:
                    if size == len(xy):
                        longer = np.empty((2 * size, 2))
                        for k in range(size):
                            longer[k, 0], longer[k, 1] = xy[k, 0], xy[k, 1]
                        xy = longer
                    xy[size, 0], xy[size, 1] = x, y
                    size += 1
                    way = (way + turn) & 3
                if way == 0 and x == column and y == row:
                    break
            count += 1
            if count == len(rings):
                more = np.zeros(2 * count, np.int64)
                for k in range(count):
                    more[k] = rings[k]
                rings = more
            rings[count] = size
    return rings[: count + 1].copy(), xy[:size].copy()


@njit(error_model="numpy")
def _turn(pixels: Bitmap, x: int, y: int, way: int) -> int:
    """-1 to the left, 1 to the right, 0 straight on, at a corner of pixels."""
    height, width = pixels.shape
    # The pixels ahead, to the left and to the right of the way.
    if way == 0:
        lx, ly, rx, ry = x, y - 1, x, y
    elif way == 1:
        lx, ly, rx, ry = x, y, x - 1, y
    elif way == 2:
        lx, ly, rx, ry = x - 1, y, x - 1, y - 1
    else:
        lx, ly, rx, ry = x - 1, y - 1, x, y - 1
    if 0 <= lx < width and 0 <= ly < height and pixels[ly, lx]:
        return -1
    if 0 <= rx < width and 0 <= ry < height and pixels[ry, rx]:
        return 0
    return 1


@kernel
def corners(ring: Points, tolerance: float) -> NDArray[np.bool_]:
    """Which corners Douglas and Peucker keep, from the first one and the one furthest from it."""
    n = len(ring)
    keep = np.zeros(n, np.bool_)
    furthest, far = 0, -1.0
    for k in range(n):
        away = (ring[k, 0] - ring[0, 0]) ** 2 + (ring[k, 1] - ring[0, 1]) ** 2
        if away > far:
            furthest, far = k, away
    keep[0] = keep[furthest] = True
    stack = np.empty((n + 2, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, furthest
    stack[1, 0], stack[1, 1] = furthest, n
    depth = 2
    limit = tolerance * tolerance
    while depth > 0:
        depth -= 1
        begin, end = stack[depth, 0], stack[depth, 1]
        x1, y1 = ring[begin, 0], ring[begin, 1]
        dx, dy = ring[end % n, 0] - x1, ring[end % n, 1] - y1
        length = dx * dx + dy * dy
        most, split = limit, -1
        for k in range(begin + 1, end):
            px, py = ring[k, 0] - x1, ring[k, 1] - y1
            along = min(max((px * dx + py * dy) / length, 0.0), 1.0) if length > 0 else 0.0
            away = (px - along * dx) ** 2 + (py - along * dy) ** 2
            if away > most:
                most, split = away, k
        if split >= 0:
            keep[split] = True
            stack[depth, 0], stack[depth, 1] = begin, split
            stack[depth + 1, 0], stack[depth + 1, 1] = split, end
            depth += 2
    return keep
