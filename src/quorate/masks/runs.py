"""Run lengths of many masks, in columns: to and from pixels, spans and COCO's compressed text.

Runs go down the columns of the picture, zeros first, as COCO's do. `offsets` (n + 1,) say which
runs are whose. Only `encode` and `decode` unroll pixels.

COCO's text (`rleToString` of pycocotools) tells each run but the first three as the difference
from the one before the last, in digits of five bits, the lowest first, each a printable letter.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.columns import Offsets, offsets_of
from quorate.errors import FormatError

Runs = NDArray[np.uint32]
Ints = NDArray[np.int64]

MOST_LETTERS = 12
"""A number of 32 bits with its sign has seven; what fits 64 bits is decoded, then refused."""


class Measured(NamedTuple):
    """What masks measure; zeros where there is no pixel.

    area  int64 (n,)    pixels
    box   int64 (n, 4)  x1, y1, x2, y2, the last two exclusive
    """

    area: Ints
    box: Ints


def encode(bitmaps: NDArray[np.bool_]) -> tuple[Offsets, Runs]:
    """(n, h, w) -> the runs of each."""
    count, height, width = bitmaps.shape
    flat = bitmaps.transpose(0, 2, 1).reshape(count, height * width)
    ends = np.ones((count, height * width + 1), dtype=np.bool_)  # where a run ends
    ends[:, 1:-1] = flat[:, 1:] != flat[:, :-1]
    if flat.shape[1]:
        ends[:, 0] = flat[:, 0]
    row, at = np.nonzero(ends)
    return offsets_of(row, count), _steps(row, at)


def decode(runs: Runs, height: int, left: int, top: int, right: int, bottom: int) -> NDArray[Any]:
    """One mask -> bool (bottom - top, right - left): the part of it within a window."""
    ends = np.concatenate(([0], np.cumsum(runs, dtype=np.int64)))
    lengths = np.diff(ends.clip(left * height, right * height))
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, lengths)
    return np.ascontiguousarray(pixels.reshape(right - left, height).T[top:bottom])


def spans(offsets: Offsets, runs: Runs) -> tuple[Ints, Ints, Ints]:
    """The runs that are in, none of them empty, in the masks' order.

    (m,) which mask each is of, and its first pixel and the one after its last, counted down the
    columns.
    """
    row, place = _places(offsets)
    end = _within(offsets, runs)
    there = (place % 2 == 1) & (runs > 0)
    return row[there], end[there] - runs[there], end[there]


def of_spans(
    row: Ints, begin: Ints, end: Ints, there: NDArray[np.bool_], pixels: Ints
) -> tuple[Offsets, Runs]:
    """The inverse; spans may touch. (n,) which rows have a mask, and of how many pixels."""
    apart = (row[1:] != row[:-1]) | (begin[1:] != end[:-1])
    first, last = np.append(True, apart)[: len(row)], np.append(apart, True)[: len(row)]
    full = np.zeros(len(there), dtype=np.bool_)  # in at the last pixel: no run of zeros ends it
    full[row[end == pixels[row]]] = True
    rest = np.flatnonzero(there & ~full)
    rows = np.concatenate([row[first], row[last], rest])
    ends = np.concatenate([begin[first], end[last], pixels[rest]])
    order = np.lexsort((ends, rows))
    return offsets_of(rows[order], len(there)), _steps(rows[order], ends[order])


def measure(offsets: Offsets, runs: Runs, size: NDArray[np.int32]) -> Measured:
    """Area and enclosing box of each."""
    row, begin, end = spans(offsets, runs)
    height = size[row, 0].astype(np.int64)
    (left, top), (right, bottom) = divmod(begin, height), divmod(end - 1, height)
    whole = left != right
    area = np.zeros(len(size), np.int64)
    box = np.zeros((len(size), 4), np.int64)
    here, at = np.unique(row, return_index=True)
    if len(here):
        area[here] = np.add.reduceat(end - begin, at)
        box[here, 0] = left[at]
        box[here, 1] = np.minimum.reduceat(np.where(whole, 0, top), at)
        box[here, 2] = np.maximum.reduceat(right, at) + 1
        box[here, 3] = np.maximum.reduceat(np.where(whole, height - 1, bottom), at) + 1
    return Measured(area, box)


def unsound(offsets: Offsets, runs: Runs, size: NDArray[np.int32]) -> int:
    """The first row whose runs do not cover its size exactly; -1 where all do or have none."""
    sums = np.concatenate(([0], np.cumsum(runs, dtype=np.int64)))
    wrong = np.diff(sums[offsets]) != size.astype(np.int64).prod(axis=1)
    bad = np.flatnonzero((np.diff(offsets) > 0) & (wrong | (size < 0).any(axis=1)))
    return int(bad[0]) if len(bad) else -1


def digests(offsets: Offsets, runs: Runs) -> NDArray[np.uint64]:
    """(n,) A number for each mask, the same for the same runs."""
    _, place = _places(offsets)
    powers = np.cumprod(np.full(place.max(initial=0) + 1, 1099511628211, np.uint64))
    sums = np.cumsum((runs + np.uint64(1)) * powers[place], dtype=np.uint64)
    return np.diff(np.append(np.zeros(1, np.uint64), sums)[offsets])


def moved(
    offsets: Offsets,
    runs: Runs,
    size: NDArray[np.int32],
    corner: Ints,
    onto: NDArray[np.int32],
) -> tuple[Offsets, Runs]:
    """Masks of windows as masks of the pictures that they lie in; what is outside is cut off.

    `corner` (n, 2) is x, y of each window in its picture, `onto` (n, 2) the pictures' height and
    width.
    """
    row, begin, end = spans(offsets, runs)
    height = size[row, 0].astype(np.int64)
    (left, top), (right, bottom) = divmod(begin, height), divmod(end - 1, height)
    # A span over several columns falls apart into as many.
    columns = right - left + 1
    piece = np.repeat(np.arange(len(row)), columns)
    step = np.arange(len(piece)) - np.repeat(np.cumsum(columns) - columns, columns)
    low = np.where(step == 0, top[piece], 0)
    high = np.where(step == columns[piece] - 1, bottom[piece] + 1, height[piece])
    row = row[piece]
    x = left[piece] + step + corner[row, 0]
    rows, width = onto[row].astype(np.int64).T
    low, high = ((y + corner[row, 1]).clip(0, rows) for y in (low, high))
    kept = (x >= 0) & (x < width) & (low < high)
    row, begin, end = (column[kept] for column in (row, x * rows + low, x * rows + high))
    return of_spans(row, begin, end, np.diff(offsets) > 0, onto.astype(np.int64).prod(axis=1))


def pack(offsets: Offsets, runs: Runs) -> list[str]:
    """COCO's text of each mask; '' for one that is not there."""
    _, place = _places(offsets)
    value = runs.astype(np.int64)
    later = np.flatnonzero(place > 2)
    value[later] -= runs[later - 2]
    letters = np.zeros((len(runs), 7), np.uint8)
    more = np.ones(len(runs), dtype=np.bool_)
    used = np.zeros(letters.shape, dtype=np.bool_)
    for digit in range(7):
        used[:, digit] = more
        low = value & 31
        value >>= 5
        going = value != np.where(low & 16, -1, 0)
        letters[:, digit] = low + 32 * going + 48
        more &= going
    whole = letters[used].tobytes().decode("ascii")
    ends = np.concatenate(([0], np.cumsum(used.sum(axis=1))))[offsets]
    return [whole[a:b] for a, b in pairwise(ends.tolist())]


def unpack(texts: list[bytes]) -> tuple[Offsets, Runs]:
    """The inverse; FormatError names the first mask whose text is damaged."""
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    letters = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    text = np.repeat(np.arange(len(texts)), np.diff(bounds))
    _refuse(text, (letters < 0) | (letters > 63), "have a letter that is none")
    last = letters & 32 == 0
    filled = np.flatnonzero(np.diff(bounds))
    _refuse(filled, ~last[bounds[filled + 1] - 1], "end in the middle")
    ends = np.flatnonzero(last)
    begins = np.concatenate(([0], ends[:-1] + 1))[: len(ends)]
    count = ends - begins + 1
    row = text[ends]
    _refuse(row, count > MOST_LETTERS, "have a number of more than 32 bits")
    shift = 5 * (np.arange(len(letters)) - np.repeat(begins, count))
    value = np.add.reduceat((letters & 31) << shift, begins) if len(begins) else begins
    value -= np.where(letters[ends] & 16, np.int64(1) << 5 * count, 0)
    _refuse(row, np.abs(value) >> 33 > 0, "have a number of more than 32 bits")
    offsets = offsets_of(row, len(texts))
    # Sums over every other run; the first stands alone.
    _, place = _places(offsets)
    kind = np.where(place == 0, 0, 2 - place % 2) + 3 * row
    order = np.argsort(kind, kind="stable")
    groups = np.searchsorted(kind[order], np.arange(3 * len(texts) + 1))
    runs = np.empty_like(value)
    runs[order] = _within(groups, value[order])
    _refuse(row, (runs < 0) | (runs >> 32 > 0), "are below 0 or above what 32 bits hold")
    return offsets, runs.astype(np.uint32)


def _refuse(row: Ints, wrong: NDArray[np.bool_], why: str) -> None:
    if wrong.any():
        raise FormatError(f"Mask {int(row[wrong][0]) + 1}: its compressed run lengths {why}.")


def _places(offsets: Offsets) -> tuple[Ints, Ints]:
    """(m,) The row of each value, and its place in it, from 0."""
    lengths = np.diff(offsets)
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(row)) - offsets[row]


def _within(offsets: Offsets, values: NDArray[np.integer]) -> Ints:
    """(m,) The sum of the values up to each, within its row."""
    sums = np.concatenate(([0], np.cumsum(values, dtype=np.int64)))
    within: Ints = sums[1:] - np.repeat(sums[offsets[:-1]], np.diff(offsets))
    return within


def _steps(row: Ints, ends: Ints) -> Runs:
    """The lengths of runs by where they end."""
    runs = np.diff(ends, prepend=0)
    begins = np.diff(row, prepend=-1) > 0
    runs[begins] = ends[begins]
    return runs.astype(np.uint32)
