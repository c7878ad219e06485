"""Run lengths of one mask, as COCO and CVAT have them.

COCO runs down the columns of the whole picture (`quorate.masks`), CVAT along the rows of the
enclosing box, and so do annotations. Both begin with a run of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.errors import FormatError, QuorateError
from quorate.masks import Masks

Box = tuple[float, float, float, float]
MOST_PIXELS = 1 << 29
"""A mask of more pixels than this is refused: its runs are to be unrolled in memory."""


def from_coco(
    counts: Sequence[int] | str, size: Sequence[int], *, place: str
) -> tuple[Box, NDArray[np.float64]]:
    """COCO's run lengths -> the enclosing box (whole pixels) and our run lengths."""
    from quorate.masks.shapes import boxed

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
    _, runs, box = boxed(masks)
    left, top, right, bottom = box[0].tolist()
    return (float(left), float(top), float(right), float(bottom)), runs


def encode(bitmap: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(h, w) bool -> run lengths along the rows, zeros first."""
    flat = np.ascontiguousarray(bitmap).reshape(-1)
    if not len(flat):
        return np.empty(0)
    change = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], change, [len(flat)]))).astype(np.float64)
    return np.concatenate(([0.0], runs)) if flat[0] else runs


def decode(runs: NDArray[Any], width: int, height: int) -> NDArray[np.bool_]:
    """Run lengths along the rows, zeros first -> (height, width) bool."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, np.asarray(runs, dtype=np.int64))
    bitmap = np.zeros(width * height, dtype=bool)
    bitmap[: len(flat)] = flat[: len(bitmap)]
    return bitmap.reshape(height, width)


def fits(runs: NDArray[Any], width: int, height: int) -> bool:
    """Whether run lengths cover a box exactly."""
    return not (runs < 0).any() and int(runs.sum()) == width * height
