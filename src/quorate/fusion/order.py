"""The order in which boxes are looked at: by picture, category and falling score, ties settled.

Ties never fall back on the order of the input. Boxes of one category in one picture are ordered
by falling (weighted) score, then by rising x1, y1, x2, y2, then by the name of the detector, so
that two boxes without an order are the same box in every respect.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import take_ragged
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

FEW = 32  # at most so many are sorted by insertion
LEVELS = 65535  # steps of a score in a sort key; what falls together is compared in full
ORDER, SPARE, KEY, SPARE_KEY, PLACES = range(5)  # rows of the room to work in


def number_pictures(image_id: Ints, known: Ints) -> tuple[Ints, Ints, Ints]:
    """Which rows each picture has: ids (p,), offsets (p + 1,) and rows (n,) of a stable grouping.

    Pictures come in the order of `known`, then in order of first appearance; the rows of picture
    k are `rows[offsets[k]:offsets[k + 1]]`.
    """
    # Rows of one picture mostly stand together, so stretches of rows are sorted, not rows.
    every = np.concatenate([known, image_id])
    new = np.concatenate([every[:1] == every[:1], every[1:] != every[:-1]])
    new[len(known) : len(known) + 1] = True
    heads = np.flatnonzero(new)
    ids, first, place = np.unique(every[heads], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    size = np.diff(heads, append=len(every))
    stretches = np.flatnonzero(heads >= len(known))
    stretches = stretches[np.argsort(rank[place[stretches]], kind="stable")]
    _, rows = take_ragged(np.append(heads, len(every)), stretches)
    counts = np.bincount(rank[place[stretches]], size[stretches], len(ids)).astype(np.int64)
    return ids[np.argsort(first)], np.concatenate([[0], np.cumsum(counts)]), rows - len(known)


@kernel
def sort_boxes(
    rows: Ints,
    offsets: Ints,
    columns: tuple[Floats, Floats, NDArray[np.int32], NDArray[np.int16], Ints],
    numbers: Floats,
    agnostic: bool,
    box: Floats,
    tag: Ints,
    runs: Ints,
) -> tuple[int, int]:
    """Fill `box` and `tag` with the boxes of a range of pictures, sorted, and find the runs.

    A run is what can form groups among itself: one category of one picture, or, when `agnostic`,
    one picture. `rows` are the range's own; picture k has those from offsets[k] - offsets[0] on.
    `columns` are xyxy and score of just these rows, then `category`, `detector` and `identity` of
    `Columns`, whole. Boxes that score less than the LEAST of their category take no part.

    Returns how many rows of `box` and `tag` are filled, and how many runs there are, run r being
    runs[r] to runs[r + 1]; or -1 - k and 0 where box k of the range is none: not finite, inverted,
    or with a score outside 0..1.
    """
    xyxy, points, category, detector, identity = columns
    pictures = len(offsets) - 1
    longest = 0
    for picture in range(pictures):
        longest = max(longest, offsets[picture + 1] - offsets[picture])
    raw, label = np.empty((longest, 6)), np.empty((longest, 5), np.int64)
    work = np.empty((5, longest + 256), np.int64)
    count = found = 0
    for picture in range(pictures):
        n = 0
        for k in range(offsets[picture] - offsets[0], offsets[picture + 1] - offsets[0]):
            i = rows[k]
            x1, y1, x2, y2, score = xyxy[k, 0], xyxy[k, 1], xyxy[k, 2], xyxy[k, 3], points[k]
            if not (0.0 <= x2 - x1 < np.inf and 0.0 <= y2 - y1 < np.inf and 0.0 <= score <= 1.0):
                return -1 - k, 0
            kind = category[i]
            low, high = 1, len(numbers)
            while low < high:
                middle = (low + high) // 2
                if numbers[middle, OF] < kind:
                    low = middle + 1
                else:
                    high = middle
            slot = low if low < len(numbers) and numbers[low, OF] == kind else 0
            if score < numbers[slot, LEAST]:
                continue
            who = identity[detector[i]]
            raw[n, X1], raw[n, Y1], raw[n, X2], raw[n, Y2] = x1, y1, x2, y2
            raw[n, SCORE] = score * numbers[slot, WEIGHT + who]
            label[n, CATEGORY], label[n, TIE] = kind, who
            label[n, SLOT], label[n, ROW] = slot, i
            n += 1
        sort_picture(raw, label, 0, n, not agnostic, work)
        for k in range(n):
            i = work[ORDER, k]
            for c in range(5):
                box[count, c] = raw[i, c]
            box[count, STRENGTH] = raw[i, SCORE]
            tag[count, PICTURE] = picture
            for c in range(1, 5):
                tag[count, c] = label[i, c]
            if k == 0 or (not agnostic and tag[count, CATEGORY] != tag[count - 1, CATEGORY]):
                runs[found] = count
                found += 1
            count += 1
    runs[found] = count
    return count, found


@njit(error_model="numpy")
def sort_picture(box: Floats, tag: Ints, begin: int, end: int, separate: bool, work: Ints) -> None:
    """Put the order of box[begin:end] into work[ORDER], counted from 0.

    It is by rising CATEGORY if `separate`, then by falling SCORE, rising CATEGORY, x1, y1, x2,
    y2, TIE; equals keep their order. `work` has 256 columns more than boxes.
    """
    n = end - begin
    most = 0.0
    for k in range(begin, end):
        most = max(most, box[k, SCORE])
    levels = LEVELS / most if most > 0.0 else 0.0
    differ = 0
    for k in range(n):
        work[ORDER, k] = begin + k
        key = LEVELS - np.int64(box[begin + k, SCORE] * levels)
        if separate:
            key |= (tag[begin + k, CATEGORY] + 0x80000000) << 16
        work[KEY, k] = key
        differ |= key ^ work[KEY, 0]
    if n <= FEW:  # by key, then what has one key in full
        for k in range(1, n):
            key, this = work[KEY, k], work[ORDER, k]
            at = k
            while at > 0 and work[KEY, at - 1] > key:
                work[KEY, at], work[ORDER, at] = work[KEY, at - 1], work[ORDER, at - 1]
                at -= 1
            work[KEY, at], work[ORDER, at] = key, this
        differ = 0
    # Byte by byte from the last, leaving out bytes that are the same in all keys.
    for shift in range(0, 64, 8):
        if (differ >> shift) & 255 == 0:
            continue
        for byte in range(256):
            work[PLACES, byte] = 0
        for k in range(n):
            work[PLACES, (work[KEY, k] >> shift) & 255] += 1
        total = 0
        for byte in range(256):
            here = work[PLACES, byte]
            work[PLACES, byte] = total
            total += here
        for k in range(n):
            byte = (work[KEY, k] >> shift) & 255
            to = work[PLACES, byte]
            work[PLACES, byte] = to + 1
            work[SPARE_KEY, to] = work[KEY, k]
            work[SPARE, to] = work[ORDER, k]
        for k in range(n):
            work[KEY, k] = work[SPARE_KEY, k]
            work[ORDER, k] = work[SPARE, k]
    first = 0
    for k in range(1, n + 1):
        if k == n or work[KEY, k] != work[KEY, first]:
            if k - first > 1:
                _merge_sort(box, tag, first, k, work)
            first = k


@njit(error_model="numpy")
def _merge_sort(box: Floats, tag: Ints, begin: int, end: int, work: Ints) -> None:
    """Put work[ORDER, begin:end] in the full order; short stretches by insertion."""
    width = 8
    for low in range(begin, end, width):
        for k in range(low + 1, min(low + width, end)):
            this = work[ORDER, k]
            at = k
            while at > low and _before(box, tag, this, work[ORDER, at - 1]):
                work[ORDER, at] = work[ORDER, at - 1]
                at -= 1
            work[ORDER, at] = this
    while width < end - begin:
        for low in range(begin, end, 2 * width):
            middle, high = min(low + width, end), min(low + 2 * width, end)
            left, right = low, middle
            for at in range(low, high):
                if left < middle and (
                    right >= high or not _before(box, tag, work[ORDER, right], work[ORDER, left])
                ):
                    work[SPARE, at] = work[ORDER, left]
                    left += 1
                else:
                    work[SPARE, at] = work[ORDER, right]
                    right += 1
        for at in range(begin, end):
            work[ORDER, at] = work[SPARE, at]
        width *= 2


@njit(error_model="numpy")
def _before(box: Floats, tag: Ints, i: int, j: int) -> bool:
    """The full order, but for a category that comes first."""
    if box[i, SCORE] != box[j, SCORE]:
        return bool(box[i, SCORE] > box[j, SCORE])
    if tag[i, CATEGORY] != tag[j, CATEGORY]:
        return bool(tag[i, CATEGORY] < tag[j, CATEGORY])
    for c in range(4):
        if box[i, c] != box[j, c]:
            return bool(box[i, c] < box[j, c])
    return bool(tag[i, TIE] < tag[j, TIE])
