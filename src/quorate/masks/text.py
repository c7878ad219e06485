"""COCO's compressed run lengths: the text that pycocotools calls `counts`.

Each number but the first three is told as its difference from the one before the last, in digits
of five bits, the lowest first, each a printable letter (`rleToString` of pycocotools).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel

Runs = NDArray[np.uint32]
Offsets = NDArray[np.int64]
Letters = NDArray[np.uint8]

LETTERS = 7
"""A number of 32 bits with its sign is no longer."""
CUT, STRANGE, NEGATIVE = 1, 2, 3
"""What is wrong with a text: it ends in the middle, has another letter, a run below 0."""


@kernel
def pack(offsets: Offsets, runs: Runs) -> tuple[Offsets, Letters]:
    """The text of each mask; '' for one that is not there."""
    count = len(offsets) - 1
    out = np.empty(len(runs) * LETTERS, np.uint8)
    ends = np.zeros(count + 1, np.int64)
    at = 0
    for i in range(count):
        for k in range(offsets[i], offsets[i + 1]):
            value = int(np.int64(runs[k]))
            if k - offsets[i] > 2:
                value -= int(np.int64(runs[k - 2]))
            more = True
            while more:
                digit = value & 31
                value >>= 5
                more = value != (-1 if digit & 16 else 0)
                out[at] = digit + (32 if more else 0) + 48
                at += 1
        ends[i + 1] = at
    return ends, out[:at].copy()


@kernel
def unpack(text: Letters, ends: Offsets) -> tuple[int, int, Offsets, Runs]:
    """The inverse: a row that is wrong or -1, what is wrong with it, the offsets, the runs."""
    count = len(ends) - 1
    out = np.empty(len(text), np.uint32)
    offsets = np.zeros(count + 1, np.int64)
    size = 0
    for i in range(count):
        at, end = ends[i], ends[i + 1]
        first = size
        while at < end:
            value = np.int64(0)
            shift = 0
            more = True
            while more:
                if at >= end:
                    return i, CUT, offsets, out[:0]
                digit = int(np.int64(text[at])) - 48
                if digit < 0 or digit > 63 or shift > 60:
                    return i, STRANGE, offsets, out[:0]
                value |= (digit & 31) << shift
                more = digit & 32 != 0
                at += 1
                shift += 5
                if not more and digit & 16:
                    value |= np.int64(-1) << shift
            if size - first > 2:
                value += int(np.int64(out[size - 2]))
            if value < 0 or value > 0xFFFFFFFF:
                return i, NEGATIVE, offsets, out[:0]
            out[size] = value
            size += 1
        offsets[i + 1] = size
    return -1, 0, offsets, out[:size].copy()
