"""Small grids of numbers, as networks give them, to masks of the whole picture.

A network tells a mask as a coarse grid over its input, or over a box: above a level, a point is
in. The grid is sampled at the middle of each pixel of the picture, linearly between the middles of
its cells, and what comes out are run lengths; no picture is unrolled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.compiled import kernel
from quorate.masks.value import Masks

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grids:
    """The masks of a network's boxes before they are drawn, which only boxes that stay are.

    planes   float32 (c, h, w)  grids over the network's whole input
    weights  float32 (n, c)     how much of each plane a box's grid has (YOLACT, YOLO), or
             int64   (n,)       which plane it is
    level    a point is in where the grid is above it
    margin   pixels beyond its box in which a mask may reach; None: anywhere
    """

    planes: NDArray[np.float32]
    weights: NDArray[np.float32] | NDArray[np.int64]
    level: float
    margin: float | None = None

    def take(self, rows: NDArray[np.integer]) -> Grids:
        """Of the given boxes, in that order."""
        return replace(self, weights=self.weights[rows])

    def drawn(
        self,
        xyxy: NDArray[np.floating],
        picture: tuple[int, int],
        inner: tuple[float, float, float, float],
    ) -> Masks:
        """The masks of boxes (n, 4) in pixels of a picture of (height, width).

        `inner` is x1, y1, x2, y2 of the picture in the grids, whose sides are 1.
        """
        height, width = picture
        boxes = np.asarray(xyxy, dtype=np.float64)
        if self.margin is None:
            boxes = np.tile(np.array([0.0, 0.0, width, height]), (len(boxes), 1))
        else:
            boxes = boxes + np.array([-1, -1, 1, 1]) * self.margin
        # A pixel is in a box when its middle is.
        window = np.ceil(boxes - 0.5).clip(0, [width, height, width, height]).astype(np.int64)
        planes = np.require(self.planes, np.float32, ("C", "W"))
        mixed = self.weights.dtype.kind == "f"
        weights = self.weights if mixed else np.empty((0, len(planes)), np.float32)
        which = np.zeros(0, np.int64) if mixed else self.weights
        offsets, runs = draw(
            planes,
            np.require(weights, np.float32, ("C", "W")),
            np.require(which, np.int64, ("C", "W")),
            window,
            np.array(inner, dtype=np.float64),
            float(self.level),
            height,
            width,
        )
        return Masks(offsets, runs, np.tile(np.array([height, width], np.int32), (len(boxes), 1)))


@kernel
def draw(
    planes: NDArray[np.float32],
    weights: NDArray[np.float32],
    which: NDArray[np.int64],
    window: NDArray[np.int64],
    inner: Floats,
    level: float,
    height: int,
    width: int,
) -> tuple[Offsets, NDArray[np.uint32]]:
    """Offsets and runs of the masks of boxes; `which` is empty where planes are mixed."""
    count = len(window)
    rows, columns = planes.shape[1], planes.shape[2]
    out = np.empty(1024, np.uint32)
    offsets = np.zeros(count + 1, np.int64)
    grid = np.zeros((rows, columns), np.float32)
    per_x = (inner[2] - inner[0]) / width * columns
    per_y = (inner[3] - inner[1]) / height * rows
    size = 0
    for i in range(count):
        x1, y1, x2, y2 = window[i, 0], window[i, 1], window[i, 2], window[i, 3]
        left, _ = _between(inner[0] * columns + (x1 + 0.5) * per_x, columns)
        right, _ = _between(inner[0] * columns + (x2 - 0.5) * per_x, columns)
        top, _ = _between(inner[1] * rows + (y1 + 0.5) * per_y, rows)
        bottom, _ = _between(inner[1] * rows + (y2 - 0.5) * per_y, rows)
        right, bottom = min(right + 2, columns), min(bottom + 2, rows)
        for y in range(top, bottom):
            for x in range(left, right):
                grid[y, x] = planes[which[i], y, x] if len(which) else 0
        for c in range(len(planes) if len(which) == 0 else 0):
            weight = weights[i, c]
            for y in range(top, bottom):
                for x in range(left, right):
                    grid[y, x] += weight * planes[c, y, x]
        room = size + 2 * max(x2 - x1, 0) * (max(y2 - y1, 0) // 2 + 1) + 4
        if room > len(out):
            longer = np.empty(2 * room, np.uint32)
            for k in range(size):
                longer[k] = out[k]
            out = longer
        done = 0  # pixels that are told of
        inside = False
        for x in range(x1, x2):
            column, across = _between(inner[0] * columns + (x + 0.5) * per_x, columns)
            beside = min(column + 1, columns - 1)
            for y in range(y1, y2):
                row, down = _between(inner[1] * rows + (y + 0.5) * per_y, rows)
                below = min(row + 1, rows - 1)
                upper = grid[row, column] * (1 - across) + grid[row, beside] * across
                lower = grid[below, column] * (1 - across) + grid[below, beside] * across
                now = upper * (1 - down) + lower * down > level
                at = x * height + y
                if now != inside:
                    out[size] = at - done
                    size += 1
                    done = at
                    inside = now
            # The next column goes on at once only in a window of the picture's whole height.
            if inside and (y1 > 0 or y2 < height or x == x2 - 1):
                at_end = x * height + y2
                out[size] = at_end - done
                size += 1
                done = at_end
                inside = False
        if done < height * width or size == offsets[i]:
            out[size] = height * width - done
            size += 1
        offsets[i + 1] = size
    return offsets, out[:size].copy()


@njit(error_model="numpy")
def _between(place: float, cells: int) -> tuple[int, float]:
    """The cell whose middle lies at or before a place, and how far it is to the next one's."""
    from_middle = min(max(place - 0.5, 0.0), cells - 1.0)
    cell = int(from_middle)
    return cell, from_middle - cell
