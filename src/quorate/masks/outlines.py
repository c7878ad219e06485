"""Masks to polygons that a person can edit; `drawing` has the way back.

An outline runs along the edges of pixels, so that a polygon without tolerance gives its mask back
exactly. Pixels that touch at a corner belong together. A polygon has no holes, in COCO as in
CVAT: a hole is opened by a cut without width to the ring around it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.compiled import kernel
from quorate.masks.runs import unrolled
from quorate.masks.value import Masks

Points = NDArray[np.float64]
Bitmap = NDArray[np.bool_]

_STEP_X, _STEP_Y = (1, 0, -1, 0), (0, 1, 0, -1)  # east, south, west, north


def polygons(masks: Masks, tolerance: float = 0.0) -> tuple[Offsets, Points]:
    """The outline of each mask: offsets (n + 1,) and x, y, x, y, …, as `Annotations.points` are.

    A pair of NaN parts the rings of one mask, the largest first. With a tolerance no outline
    strays from its mask's by more than so many pixels (Douglas, Peucker 1973); parts and holes
    of fewer pixels than its square are left out, save a mask's largest part. A row without a
    mask, or of no pixel, has no points.
    """
    box = masks.measured().box
    return outline(*masks.columns(), np.array(masks.size[:, 0], np.int64), box, float(tolerance))


@kernel
def outline(
    offsets: Offsets,
    runs: NDArray[np.uint32],
    height: NDArray[np.int64],
    box: NDArray[np.int64],
    tolerance: float,
) -> tuple[Offsets, Points]:
    """`polygons` on columns; `box` is that of `runs.measure`."""
    out = np.empty(1024)
    size = 0
    out_offsets = np.zeros(len(offsets), np.int64)
    for i in range(len(offsets) - 1):
        if box[i, 2] > box[i, 0]:
            left, top = box[i, 0], box[i, 1]
            pixels = unrolled(
                runs[offsets[i] : offsets[i + 1]], height[i], left, top, box[i, 2], box[i, 3]
            )
            rings, xy = _traced(pixels)
            values = _assembled(rings, xy, tolerance)
            if size + len(values) > len(out):
                longer = np.empty(2 * (size + len(values)))
                for k in range(size):
                    longer[k] = out[k]
                out = longer
            for k in range(0, len(values), 2):
                out[size + k], out[size + k + 1] = values[k] + left, values[k + 1] + top
            size += len(values)
        out_offsets[i + 1] = size
    return out_offsets, out[:size].copy()


@njit(error_model="numpy")
def _traced(pixels: Bitmap) -> tuple[Offsets, Points]:
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


@njit(error_model="numpy")
def _assembled(rings: Offsets, xy: Points, tolerance: float) -> Points:
    """Simplify the rings of one mask, open its holes, the largest ring first, NaN between."""
    count = len(rings) - 1
    area = np.empty(count)
    for r in range(count):
        area[r] = _area(xy[rings[r] : rings[r + 1]])
    largest = 0
    for r in range(count):
        if area[r] > area[largest]:
            largest = r
    kept = np.zeros(count, np.bool_)
    for r in range(count):
        kept[r] = r == largest or abs(area[r]) >= tolerance * tolerance
    around = np.full(count, -1, np.int64)  # the ring that a hole lies in
    for r in range(count):
        if kept[r] and area[r] < 0:
            # Just inside the part whose hole it is, beside the hole's own first corner.
            x, y = xy[rings[r], 0], xy[rings[r], 1]
            for o in range(count):
                smaller = around[r] < 0 or area[o] < area[around[r]]
                if area[o] > -area[r] and smaller and _holds(xy[rings[o] : rings[o + 1]], x, y):
                    around[r] = o
            if around[r] < 0 or not kept[around[r]]:
                kept[r] = False
    out = np.empty(4 * len(xy) + 6 * count + 8)
    size = 0
    done = np.zeros(count, np.bool_)
    for _ in range(count):
        best = -1
        for r in range(count):
            if kept[r] and area[r] > 0 and not done[r] and (best < 0 or area[r] > area[best]):
                best = r
        if best < 0:
            break
        done[best] = True
        ring = _simplified(xy[rings[best] : rings[best + 1]], tolerance)
        for h in range(count):
            if kept[h] and area[h] < 0 and around[h] == best:
                ring = _opened(ring, _simplified(xy[rings[h] : rings[h + 1]], tolerance))
        if size > 0:
            out[size] = out[size + 1] = np.nan
            size += 2
        for k in range(len(ring)):
            out[size], out[size + 1] = ring[k, 0], ring[k, 1]
            size += 2
    return out[:size].copy()


@njit(error_model="numpy")
def _area(ring: Points) -> float:
    """The signed area: positive for an outer ring, negative for a hole."""
    total = 0.0
    for k in range(len(ring)):
        j = k + 1 if k + 1 < len(ring) else 0
        total += ring[k, 0] * ring[j, 1] - ring[j, 0] * ring[k, 1]
    return total / 2


@njit(error_model="numpy")
def _holds(ring: Points, x: float, y: float) -> bool:
    """Whether a ring along pixel edges goes around a corner, or through it."""
    inside = False
    for k in range(len(ring)):
        j = k + 1 if k + 1 < len(ring) else 0
        x1, y1, x2, y2 = ring[k, 0], ring[k, 1], ring[j, 0], ring[j, 1]
        if min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if x1 == x2 and x1 > x and (y1 > y) != (y2 > y):
            inside = not inside
    return inside


@njit(error_model="numpy")
def _opened(ring: Points, hole: Points) -> Points:
    """One ring of a ring and a hole in it, by a cut between their nearest corners."""
    near, at, there = np.inf, 0, 0
    for i in range(len(ring)):
        for j in range(len(hole)):
            far = (ring[i, 0] - hole[j, 0]) ** 2 + (ring[i, 1] - hole[j, 1]) ** 2
            if far < near:
                near, at, there = far, i, j
    n, m = len(ring), len(hole)
    out = np.empty((n + m + 2, 2))
    for k in range(n + m + 2):
        if k <= at or k > at + m + 1:
            corner = k if k <= at else k - m - 2
            out[k, 0], out[k, 1] = ring[corner, 0], ring[corner, 1]
        else:
            corner = (there + k - at - 1) % m
            out[k, 0], out[k, 1] = hole[corner, 0], hole[corner, 1]
    return out


@njit(error_model="numpy")
def _simplified(ring: Points, tolerance: float) -> Points:
    """A closed ring with fewer corners; a thin one is simplified less, so that it stays one."""
    if tolerance <= 0 or len(ring) <= 4:
        return ring.copy()
    while tolerance > 0.25:
        keep = _corners(ring, tolerance)
        few = np.empty((len(ring), 2))
        size = 0
        for k in range(len(ring)):
            if keep[k]:
                few[size, 0], few[size, 1] = ring[k, 0], ring[k, 1]
                size += 1
        few = few[:size]
        if len(few) > 2 and abs(_area(few)) > 0.0 and (_area(few) > 0) == (_area(ring) > 0):
            return few
        tolerance /= 2
    return ring.copy()


@njit(error_model="numpy")
def _corners(ring: Points, tolerance: float) -> NDArray[np.bool_]:
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
