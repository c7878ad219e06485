"""Masks to and from what people draw: polygons, ellipses, boxes, run lengths within a box.

COCO's run lengths go down the columns of the whole picture, as ours do. A labelling tool (CVAT)
tells a mask by the box around it, whole pixels, and run lengths along the rows of that box, zeros
first, and so do annotations. `outlines` makes polygons of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quorate.columns import Offsets, Ragged
from quorate.errors import FormatError, InputError, QuorateError
from quorate.masks import runs
from quorate.masks.value import Masks

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

FURTHEST = 1_000_000.0
"""Pixels: a polygon that reaches further is drawn in no picture."""
MOST_PIXELS = 1 << 29
"""A mask of more pixels is refused where its runs are to be unrolled in memory."""


def drawable(
    masks: Masks, form: Literal["mask", "polygon"], tolerance: float
) -> tuple[Ragged, Floats, NDArray[np.int64]]:
    """Masks as a labelling tool takes them: their points, boxes (n, 4) and areas (n,) in pixels.

    The points are run lengths within the box, or a polygon's x, y, x, y, … (`outlines.polygons`),
    which the box encloses. Where there is no pixel, there is nothing.
    """
    from quorate.masks.outlines import polygons

    area, box = masks.measured()
    if form == "mask":
        return boxed(masks, area, box), box.astype(np.float64), area
    shapes = Ragged(*polygons(masks, tolerance))
    corners = np.zeros((len(masks), 4))
    there = np.flatnonzero(shapes.lengths)
    if len(there):
        starts, points = shapes.offsets[there] // 2, shapes.values.reshape(-1, 2)
        corners[there, :2] = np.fmin.reduceat(points, starts)
        corners[there, 2:] = np.fmax.reduceat(points, starts)
    return shapes, corners, area


def boxed(masks: Masks, area: NDArray[np.int64], box: NDArray[np.int64]) -> Ragged:
    """Run lengths within the box of each mask, as they measure; nothing where there is no pixel."""
    return Ragged.of(
        encode(masks.bitmap(row, window)) if pixels else ()
        for row, (window, pixels) in enumerate(zip(box.tolist(), area.tolist(), strict=True))
    )


def unboxed(
    offsets: Offsets, values: Floats, boxes: NDArray[np.floating], sizes: NDArray[np.int32]
) -> Masks:
    """The inverse, for pictures of (n, 2) sizes; what lies outside of a picture is cut off."""
    whole = np.rint(boxes).astype(np.int64).reshape(-1, 4)
    box_sizes = np.maximum(whole[:, 2:] - whole[:, :2], 0)
    parts = [
        Masks.from_bitmaps(decode(values[start:end], width, height)[None])
        if end > start
        else Masks.nothing(1)
        for start, end, (width, height) in zip(
            offsets[:-1].tolist(), offsets[1:].tolist(), box_sizes.tolist(), strict=True
        )
    ]
    return Masks.concat(parts).placed(whole[:, :2], np.asarray(sizes, dtype=np.int32))


def encode(bitmap: NDArray[np.bool_]) -> Floats:
    """(h, w) bool -> run lengths along the rows, zeros first."""
    _, found = runs.encode(np.asarray(bitmap).T.reshape(1, bitmap.shape[1], bitmap.shape[0]))
    return found.astype(np.float64) if bitmap.size else np.empty(0)


def decode(lengths: NDArray[Any], width: int, height: int) -> NDArray[np.bool_]:
    """Run lengths along the rows, zeros first -> (height, width) bool; what is beyond is cut."""
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64)).clip(0, width * height)
    flat = np.repeat(np.arange(len(ends)) % 2 == 1, np.diff(ends, prepend=0))
    bitmap = np.zeros(width * height, dtype=np.bool_)
    bitmap[: len(flat)] = flat
    return bitmap.reshape(height, width)


def fits(lengths: NDArray[Any], width: int, height: int) -> bool:
    """Whether run lengths are whole numbers that cover a box exactly."""
    return bool(((lengths >= 0) & (lengths % 1 == 0)).all()) and lengths.sum() == width * height


def from_coco(
    counts: Sequence[int] | str, size: Sequence[int], *, place: str
) -> tuple[Box, Floats]:
    """COCO's run lengths -> the enclosing box (whole pixels) and the run lengths within it."""
    if len(size) != 2 or size[0] < 0 or size[1] < 0 or size[0] * size[1] > MOST_PIXELS:
        raise FormatError(f"{place}: a mask of size {list(size)}.")
    if not len(counts) and size[0] * size[1]:
        raise FormatError(f"{place}: a mask without run lengths.")
    try:
        if isinstance(counts, str):
            masks = Masks.from_counts([counts], [size])
        else:
            masks = Masks.from_runs([counts], [size])
    except QuorateError as error:
        raise FormatError(f"{place}: {error.message.removeprefix('Mask 1: ')}") from None
    return _only(masks)


def of_bitmap(bitmap: NDArray[np.bool_]) -> tuple[Box, Floats]:
    """(height, width) -> the same of pixels."""
    return _only(Masks.from_bitmaps(bitmap[None]))


def _only(masks: Masks) -> tuple[Box, Floats]:
    area, box = masks.measured()
    left, top, right, bottom = map(float, box[0].tolist())
    return (left, top, right, bottom), boxed(masks, area, box).values


def drawn(offsets: Offsets, points: Floats, sizes: NDArray[np.int32]) -> Masks:
    """The masks of polygons, whose rings a pair of NaN parts, in pictures of (n, 2) sizes.

    The pixels are those of pycocotools (`frPyObjects` and `merge`). A row without points has no
    mask. Raises InputError for a point that is infinite or a million pixels away, or a picture
    of more pixels than 32 bits count.
    """
    from hotcoco import mask

    if len(points) and not np.nanmax(np.abs(points), initial=0) <= FURTHEST:
        raise InputError(
            f"A polygon reaches further than any picture ({np.nanmax(np.abs(points)):g})."
        )
    size = np.asarray(sizes, dtype=np.int32).reshape(-1, 2)
    counts = []
    for row, (height, width) in enumerate(size.tolist()):
        xy = points[offsets[row] : offsets[row + 1]]
        try:
            rles = [
                mask.fr_poly(ring.tolist(), height, width)
                for ring in polygon_rings(xy)
                if len(ring)
            ]
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"A polygon in a picture of {width}x{height} pixels: {error}."
            ) from None
        if len(rles) > 1:
            rles = [mask.merge(rles, False)]
        counts.append(rles[0]["counts"] if rles else b"")
    return Masks.from_counts(counts, size)


def polygon_rings(points: Floats) -> list[Floats]:
    """The rings of a polygon, which pairs of NaN part: x, y, x, y, … each."""
    parted = np.flatnonzero(np.isnan(points[::2])) * 2
    return [part[~np.isnan(part)] for part in np.split(points, parted)] if len(parted) else [points]


def rectangles(boxes: NDArray[np.floating], sizes: NDArray[np.int32]) -> Masks:
    """Boxes as masks, as pycocotools draws them."""
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
