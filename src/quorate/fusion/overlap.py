"""How much two boxes overlap, and which leaders of groups are near enough to be asked.

Boxes are rows x1, y1, x2, y2 of float64, in any unit; an area is (x2 - x1) * (y2 - y1). A box as
one value is a `Sized`: a tuple, since loops that call what takes arrays count references.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from quorate.fusion.columns import X1, X2, Y1, Y2, Floats

Sized = tuple[float, float, float, float, float]  # x1, y1, x2, y2, area

GRID_FROM = 48  # boxes of one category in a picture; below, asking every leader is faster
GRID_LEAST_IOU = 0.1  # below, a box may match boxes so far away that a grid rules out little


@njit(error_model="numpy")
def overlap(a: Sized, b: Sized, smaller: bool) -> float:
    """IoU of boxes a and b, or, when `smaller`, intersection over the smaller area; 0..1.

    The order of the operations is that of ensemble-boxes, so that thresholds fall alike. Boxes
    without area overlap nothing. There are no branches, so that loops over it are vectorised.
    """
    ax1, ay1, ax2, ay2, area_a = a
    bx1, by1, bx2, by2, area_b = b
    width = max(min(ax2, bx2) - max(ax1, bx1), 0.0)
    height = max(min(ay2, by2) - max(ay1, by1), 0.0)
    common = width * height
    whole = min(area_a, area_b) if smaller else area_a + area_b - common
    return common / whole if whole > 0.0 else 0.0


@njit(error_model="numpy")
def reach(size: float, iou: float) -> float:
    """How far apart, along one axis, the centres of two boxes with a higher IoU can be.

    The IoU of two boxes is at most that of their shadows on an axis. A shadow of length b has
    an IoU above t with one of length a only if b < a / t, and then the centres are less than
    a (1 - t) / 2t apart. (For t = 0.5 that is half the box: each holds the other's centre.)
    """
    return size * (1.0 - iou) / (2.0 * iou) * (1.0 + 1e-9)


@njit(error_model="numpy")
def lay_grid(
    box: Floats, begin: int, end: int, mean_reach: float
) -> tuple[float, float, float, float, int, int]:
    """A grid over the centres of box[begin:end].

    Returns left, top, cells per unit in x and in y, columns, rows. A cell is about as wide as
    the mean box's reach, and there are at most 2 cells a box.
    """
    left = top = np.inf
    right = bottom = -np.inf
    wide = high = 0.0
    for i in range(begin, end):
        x = (box[i, X1] + box[i, X2]) * 0.5
        y = (box[i, Y1] + box[i, Y2]) * 0.5
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
        wide += box[i, X2] - box[i, X1]
        high += box[i, Y2] - box[i, Y1]
    size = end - begin
    most = math.sqrt(2.0 * size)
    across = min(most, (right - left) / max(mean_reach * wide / size, 1e-300))
    down = min(most, (bottom - top) / max(mean_reach * high / size, 1e-300))
    columns, rows = int(across) + 1, int(down) + 1
    per_x = columns / (right - left) if right > left else 0.0
    per_y = rows / (bottom - top) if bottom > top else 0.0
    return left, top, per_x, per_y, columns, rows


@njit(error_model="numpy")
def cell(place: float, start: float, per_unit: float, cells: int) -> int:
    """The cell of a coordinate along one axis; those outside belong to the cell at the edge."""
    at = (place - start) * per_unit
    if at <= 0.0:
        return 0
    if at >= cells:
        return cells - 1
    return int(at)
