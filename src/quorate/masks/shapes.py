"""Masks to and from what labellers draw: run lengths within a box, polygons, ellipses, boxes.

Labelling tools (CVAT) tell a mask by the box around it, whole pixels, and run lengths along the
rows of that box, zeros first; `boxed` and `unboxed` go between these and whole pictures.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.compiled import kernel
from quorate.masks.runs import unrolled
from quorate.masks.value import Masks

Floats = NDArray[np.float64]


class Shapes(NamedTuple):
    """Masks as a labelling tool takes them; nothing where there is no pixel.

    offsets, values  a polygon's x, y, x, y, … or a mask's run lengths within its box
    box              float64 (n, 4)  what encloses the shape
    area             int64   (n,)    pixels of the mask
    """

    offsets: Offsets
    values: Floats
    box: Floats
    area: NDArray[np.int64]


def drawable(masks: Masks, form: Literal["mask", "polygon"], tolerance: float) -> Shapes:
    """Masks as run lengths within their boxes, or as polygons (see `outlines.polygons`)."""
    from quorate.masks.outlines import polygons

    area, _ = masks.measured()
    if form == "mask":
        offsets, values, box = boxed(masks)
        return Shapes(offsets, values, box.astype(np.float64), area)
    offsets, values = polygons(masks, tolerance)
    corners = np.zeros((len(masks), 4))
    there = np.flatnonzero(np.diff(offsets))
    if len(there):
        starts, points = offsets[there] // 2, values.reshape(-1, 2)
        corners[there, :2] = np.fmin.reduceat(points, starts)
        corners[there, 2:] = np.fmax.reduceat(points, starts)
    return Shapes(offsets, values, corners, area)


def boxed(masks: Masks) -> tuple[Offsets, Floats, NDArray[np.int64]]:
    """Run lengths within the box of each mask: offsets (n + 1,), values (m,), boxes (n, 4).

    A row without a mask, or of no pixel, has no runs.
    """
    box = masks.measured().box
    height = np.array(masks.size[:, 0], np.int64)
    offsets, values = along_rows(*masks.columns(), height, box)
    return offsets, values, box


def unboxed(
    offsets: Offsets, values: Floats, boxes: NDArray[np.floating], sizes: NDArray[np.int32]
) -> Masks:
    """The inverse, for pictures of (n, 2) sizes; what lies outside of a picture is cut off."""
    size = np.require(sizes, np.int32, ("C", "W"))
    whole = np.rint(boxes).astype(np.int64).reshape(-1, 4)
    runs = down_columns(
        np.require(offsets, np.int64, ("C", "W")), np.require(values, np.float64, ("C", "W")),
        whole, size,
    )  # fmt: skip
    return Masks(*runs, size)


def rectangles(boxes: NDArray[np.floating], sizes: NDArray[np.int32]) -> Masks:
    """Boxes as masks, as pycocotools draws them."""
    from quorate.masks.drawing import drawn

    x1, y1, x2, y2 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    points = np.stack([x1, y1, x1, y2, x2, y2, x2, y1], axis=1)
    return drawn(np.arange(len(points) + 1) * 8, points.reshape(-1), sizes)


def ellipses(boxes: Floats, rotation: Floats, sizes: NDArray[np.int32]) -> Masks:
    """The pixels whose middle is inside each ellipse, turned by `rotation` degrees, clockwise."""
    parts: list[Masks | int] = [0]
    for (x1, y1, x2, y2), angle, (height, width) in zip(
        boxes.tolist(), np.deg2rad(rotation).tolist(), sizes.tolist(), strict=True
    ):
        rx, ry = (x2 - x1) / 2, (y2 - y1) / 2
        x = np.arange(width) + 0.5 - (x1 + x2) / 2
        y = np.arange(height)[:, None] + 0.5 - (y1 + y2) / 2
        cos, sin = np.cos(angle), np.sin(angle)
        if rx > 0 and ry > 0:
            far = ((x * cos + y * sin) / rx) ** 2 + ((y * cos - x * sin) / ry) ** 2
            parts.append(Masks.from_bitmaps((far <= 1)[None]))
        else:
            parts.append(Masks.from_runs([[height * width]], [[height, width]]))
    return Masks.concat(parts)


@kernel
def along_rows(
    offsets: Offsets,
    runs: NDArray[np.uint32],
    height: NDArray[np.int64],
    box: NDArray[np.int64],
) -> tuple[Offsets, Floats]:
    """`boxed` on columns."""
    out = np.empty(1024)
    out_offsets = np.zeros(len(offsets), np.int64)
    size = 0
    for i in range(len(offsets) - 1):
        x1, y1, x2, y2 = box[i, 0], box[i, 1], box[i, 2], box[i, 3]
        if x2 > x1:
            pixels = unrolled(runs[offsets[i] : offsets[i + 1]], height[i], x1, y1, x2, y2)
            room = size + (x2 - x1) * (y2 - y1) + 2
            if room > len(out):
                longer = np.empty(2 * room)
                for k in range(size):
                    longer[k] = out[k]
                out = longer
            inside = False
            length = 0
            for y in range(y2 - y1):
                for x in range(x2 - x1):
                    if pixels[y, x] != inside:
                        out[size] = length
                        size += 1
                        length = 0
                        inside = not inside
                    length += 1
            out[size] = length
            size += 1
        out_offsets[i + 1] = size
    return out_offsets, out[:size].copy()


@kernel
def down_columns(
    offsets: Offsets, values: Floats, box: NDArray[np.int64], size: NDArray[np.int32]
) -> tuple[Offsets, NDArray[np.uint32]]:
    """`unboxed` on columns."""
    out = np.empty(1024, np.uint32)
    out_offsets = np.zeros(len(offsets), np.int64)
    used = 0
    for i in range(len(offsets) - 1):
        if offsets[i + 1] > offsets[i]:
            height, width = int(np.int64(size[i, 0])), int(np.int64(size[i, 1]))
            pixels = _window(values[offsets[i] : offsets[i + 1]], box[i])
            room = used + pixels.size + 4
            if room > len(out):
                longer = np.empty(2 * room, np.uint32)
                for k in range(used):
                    longer[k] = out[k]
                out = longer
            done = 0
            first = used
            for x in range(pixels.shape[1]):
                column = box[i, 0] + x
                for y in range(pixels.shape[0]):
                    row = box[i, 1] + y
                    if pixels[y, x] and 0 <= column < width and 0 <= row < height:
                        at = column * height + row
                        if at == done and used > first:
                            out[used - 1] += 1
                        else:
                            out[used] = at - done
                            out[used + 1] = 1
                            used += 2
                        done = at + 1
            if done < height * width or used == first:
                out[used] = height * width - done
                used += 1
        out_offsets[i + 1] = used
    return out_offsets, out[:used].copy()


@njit(error_model="numpy")
def _window(values: Floats, box: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(height, width) of a box; runs that reach beyond it are cut off."""
    width, height = max(box[2] - box[0], 0), max(box[3] - box[1], 0)
    out = np.zeros((height, width), np.bool_)
    at = 0
    for k in range(len(values)):
        end = min(at + int(values[k]), width * height)
        if k & 1:
            for pixel in range(at, end):
                out[pixel // width, pixel % width] = True
        at = end
    return out
