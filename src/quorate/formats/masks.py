"""Masks between COCO's run lengths and ours.

COCO runs down the columns of the whole picture; ours (CVAT's) along the rows of the enclosing
box. Both begin with a run of zeros. COCO's compressed text is the same numbers, packed
(pycocotools, `rleToString`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.errors import FormatError

Box = tuple[float, float, float, float]
MOST_PIXELS = 1 << 29
"""A mask of more pixels than this is refused: its runs are to be unrolled in memory."""


def from_coco(
    counts: Sequence[int] | str, size: Sequence[int], *, place: str
) -> tuple[Box, NDArray[np.float64]]:
    """COCO's run lengths -> the enclosing box (whole pixels) and our run lengths."""
    runs = np.asarray(_unpacked(counts, place) if isinstance(counts, str) else counts)
    if len(size) != 2 or size[0] < 0 or size[1] < 0 or size[0] * size[1] > MOST_PIXELS:
        raise FormatError(f"{place}: a mask of size {list(size)}.")
    height, width = int(size[0]), int(size[1])
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise FormatError(
            f"{place}: the run lengths of a mask of {width}x{height} pixels add up to "
            f"{int(runs.sum())}, not {height * width}."
        )
    bitmap = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0), np.empty(0)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (
        (float(left), float(top), float(right), float(bottom)),
        encode(bitmap[top:bottom, left:right]),
    )


def to_coco(runs: NDArray[Any], xyxy: NDArray[np.float64], width: int, height: int) -> list[int]:
    """Our run lengths -> COCO's, uncompressed, for a picture of the given size."""
    left, top, right, bottom = (round(float(value)) for value in xyxy)
    bitmap = np.zeros((max(height, bottom), max(width, right)), dtype=bool)
    bitmap[top:bottom, left:right] = decode(runs, right - left, bottom - top)
    counts: list[int] = encode(bitmap[:height, :width].T).astype(np.int64).tolist()
    return counts


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


def _unpacked(text: str, place: str) -> list[int]:
    """COCO's compressed run lengths, as `rleFrString` of pycocotools reads them."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position >= len(text):
                raise FormatError(f"{place}: compressed run lengths that end in the middle.")
            code = ord(text[position]) - 48
            if not 0 <= code < 64:
                raise FormatError(f"{place}: compressed run lengths with {text[position]!r}.")
            value |= (code & 0x1F) << shift
            more = bool(code & 0x20)
            position += 1
            shift += 5
            if not more and code & 0x10:
                value |= -1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
    return counts
