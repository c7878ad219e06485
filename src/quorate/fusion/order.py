"""The order in which boxes are looked at: by picture, category and falling score, ties settled.

Ties never fall back on the order of the input. Boxes of one category in one picture are ordered
by falling (weighted) score, then by rising x1, y1, x2, y2, then by the name of the detector, so
that two boxes without an order are the same box in every respect.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.fusion.columns import (
    CATEGORY,
    LEAST,
    OF,
    PICTURE,
    ROW,
    SCORE,
    SLOT,
    STRENGTH,
    TIE,
    WEIGHT,
    X1,
    X2,
    Y1,
    Y2,
    Floats,
    Ints,
)

INSERTION = 32  # at most so many are sorted by insertion
TOO_MANY_EQUAL = -1
LEVELS = 65535  # steps of a score in a sort key; what falls together is compared in full


def number_pictures(image_id: Ints, known: Ints) -> tuple[Ints, Ints, Ints]:
    """Which rows each picture has: ids (p,), offsets (p + 1,) and rows (n,) of a stable grouping.

    Pictures come in the order of `known`, then in order of first appearance; the rows of picture
    k are `rows[offsets[k]:offsets[k + 1]]`.
    """
    # Rows of one picture mostly stand together, so only the first of each stretch is sorted.
    every = np.concatenate([known, image_id])
    heads = np.flatnonzero(np.concatenate([every[:1] == every[:1], every[1:] != every[:-1]]))
    ids, first, place = np.unique(every[heads], return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    rank = np.empty(len(ids), np.int64)
    rank[by_appearance] = np.arange(len(ids))
    picture = np.repeat(rank[place], np.diff(heads, append=len(every)))[len(known) :]
    # A stable sort of small integers takes time in proportion to their number.
    small = picture.astype(np.uint16) if len(ids) <= 1 << 16 else picture
    offsets = np.concatenate([[0], np.cumsum(np.bincount(picture, minlength=len(ids)))])
    return ids[by_appearance], offsets, np.argsort(small, kind="stable")


@kernel
def weigh_boxes(
    rows: Ints,
    offsets: Ints,
    category: NDArray[np.int32],
    detector: NDArray[np.int16],
    identity: Ints,
    numbers: Floats,
    box: Floats,
    tag: Ints,
) -> int:
    """Weigh the boxes of a range of pictures, and leave out those that score too little.

    `rows` are the range's own, picture k having those from offsets[k] - offsets[0] on; `category`,
    `detector` and `identity` are whole columns. `box` comes with corners and scores in the order
    of `rows`. Returns how many rows of `box` and `tag` are filled, or -1 - k where box k of the
    range is none: not finite, inverted, or with a score outside 0..1.
    """
    picture = count = 0
    for k in range(len(rows)):
        while k >= offsets[picture + 1] - offsets[0]:
            picture += 1
        i = rows[k]
        x1, y1, x2, y2, score = box[k, X1], box[k, Y1], box[k, X2], box[k, Y2], box[k, SCORE]
        if not (0.0 <= x2 - x1 < np.inf and 0.0 <= y2 - y1 < np.inf and 0.0 <= score <= 1.0):
            return -1 - k
        low, high = 1, len(numbers)
        while low < high:
            middle = (low + high) // 2
            if numbers[middle, OF] < category[i]:
                low = middle + 1
            else:
                high = middle
        slot = low if low < len(numbers) and numbers[low, OF] == category[i] else 0
        if score < numbers[slot, LEAST]:
            continue
        who = identity[detector[i]]
        score *= numbers[slot, WEIGHT + who]
        box[count, X1], box[count, Y1], box[count, X2], box[count, Y2] = x1, y1, x2, y2
        box[count, SCORE] = box[count, STRENGTH] = score
        tag[count, PICTURE], tag[count, CATEGORY], tag[count, TIE] = picture, category[i], who
        tag[count, SLOT], tag[count, ROW] = slot, i
        count += 1
    return count


def sort_boxes(box: Floats, tag: Ints, *, separate: bool) -> tuple[Ints, Ints]:
    """The order (n,) of boxes that stand by rising PICTURE, and where each run begins (r + 1,).

    In a picture boxes are by rising CATEGORY if `separate`, then by falling SCORE, rising
    CATEGORY, x1, y1, x2, y2, TIE. A run is what can form groups among itself: one category of
    one picture, or, when not `separate`, one picture.
    """
    n = len(box)
    order, runs = np.empty(n, np.int64), np.empty(n + 1, np.int64)
    count = _sort(box, tag, separate, order, runs, np.empty((4, n + 256), np.int64))
    if count != TOO_MANY_EQUAL:
        return order, runs[: count + 1]
    x1, y1, x2, y2, score = box[:, :STRENGTH].T
    picture, category, tie = tag[:, :SLOT].T
    kind = category if separate else np.zeros_like(category)
    order = np.lexsort((tie, y2, x2, y1, x1, category, -score, kind, picture))
    new = (np.diff(picture[order]) != 0) | (np.diff(kind[order]) != 0)
    return order, np.concatenate([[0], np.flatnonzero(new) + 1, [n]])


@kernel
def _sort(box: Floats, tag: Ints, separate: bool, order: Ints, runs: Ints, work: Ints) -> int:
    """Fill `order` and `runs` as `sort_boxes` returns them; the number of runs.

    Returns TOO_MANY_EQUAL where many boxes are so much alike that insertion would take long.
    """
    key, spare_key, spare_order, places = 0, 1, 2, 3  # rows of `work`
    n = len(box)
    most = 0.0
    for i in range(n):
        most = max(most, box[i, SCORE])
    levels = LEVELS / most if most > 0.0 else 0.0
    for i in range(n):
        order[i] = i
        work[key, i] = LEVELS - np.int64(box[i, SCORE] * levels)
        if separate:
            work[key, i] |= (tag[i, CATEGORY] + 0x80000000) << 16
    count = 0
    begin = 0
    while begin < n:
        end = begin
        differ = 0
        while end < n and tag[end, PICTURE] == tag[begin, PICTURE]:
            differ |= work[key, end] ^ work[key, begin]
            end += 1
        if end - begin <= INSERTION:
            _insert(box, tag, order, work, begin, end)
        else:
            # Byte by byte from the last, leaving out bytes that are the same in all keys.
            for shift in range(0, 64, 8):
                if (differ >> shift) & 255 == 0:
                    continue
                for byte in range(256):
                    work[places, byte] = 0
                for k in range(begin, end):
                    work[places, (work[key, k] >> shift) & 255] += 1
                total = begin
                for byte in range(256):
                    here = work[places, byte]
                    work[places, byte] = total
                    total += here
                for k in range(begin, end):
                    byte = (work[key, k] >> shift) & 255
                    to = work[places, byte]
                    work[places, byte] = to + 1
                    work[spare_key, to] = work[key, k]
                    work[spare_order, to] = order[k]
                for k in range(begin, end):
                    work[key, k] = work[spare_key, k]
                    order[k] = work[spare_order, k]
            first = begin
            for k in range(begin + 1, end + 1):
                if k == end or work[key, k] != work[key, first]:
                    if k - first > INSERTION:
                        return TOO_MANY_EQUAL
                    if k - first > 1:
                        _insert(box, tag, order, work, first, k)
                    first = k
        for k in range(begin, end):
            if k == begin or (separate and tag[order[k], CATEGORY] != tag[order[k - 1], CATEGORY]):
                runs[count] = k
                count += 1
        begin = end
    runs[count] = n
    return count


@njit(error_model="numpy")
def _insert(box: Floats, tag: Ints, order: Ints, work: Ints, begin: int, end: int) -> None:
    """Put order[begin:end] in the full order by insertion; equals keep their places."""
    for k in range(begin + 1, end):
        this_key, this = work[0, k], order[k]
        at = k
        while at > begin:
            other = order[at - 1]
            before = this_key < work[0, at - 1]
            if this_key == work[0, at - 1]:
                before = box[this, SCORE] > box[other, SCORE]
                if box[this, SCORE] == box[other, SCORE]:
                    before = tag[this, TIE] < tag[other, TIE]
                    for c in range(3, -1, -1):
                        if box[this, c] != box[other, c]:
                            before = box[this, c] < box[other, c]
                    if tag[this, CATEGORY] != tag[other, CATEGORY]:
                        before = tag[this, CATEGORY] < tag[other, CATEGORY]
            if not before:
                break
            work[0, at], order[at] = work[0, at - 1], other
            at -= 1
        work[0, at], order[at] = this_key, this
