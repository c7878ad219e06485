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

INSERTION = 32  # at most so many are sorted by insertion
LEVELS = 65535  # steps of a score in a sort key; what falls together is compared in full


@kernel
def number_pictures(
    image_id: NDArray[np.int64], known: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which rows each picture has: ids (p,), offsets (p + 1,) and rows (n,) of a stable grouping.

    Pictures come in the order of `known`, then in order of first appearance; the rows of picture
    k are `rows[offsets[k]:offsets[k + 1]]`.
    """
    n = len(image_id)
    size = 1024
    while size < 2 * len(known):
        size *= 2
    table = np.full(size, -1, np.int64)
    ids = np.empty(max(16, len(known)), np.int64)
    picture = np.empty(n, np.int64)
    count = 0
    previous = -1
    for i in range(-len(known), n):
        wanted = image_id[i] if i >= 0 else known[i + len(known)]
        if previous >= 0 and ids[previous] == wanted:
            number = previous
        else:
            if 2 * count >= size:
                size *= 4
                table = np.full(size, -1, np.int64)
                for k in range(count):
                    slot = _slot(ids[k], size)
                    while table[slot] >= 0:
                        slot = (slot + 1) & (size - 1)
                    table[slot] = k
            slot = _slot(wanted, size)
            while table[slot] >= 0 and ids[table[slot]] != wanted:
                slot = (slot + 1) & (size - 1)
            number = table[slot]
            if number < 0:
                number = count
                table[slot] = number
                if count == len(ids):
                    longer = np.empty(2 * count, np.int64)
                    longer[:count] = ids
                    ids = longer
                ids[count] = wanted
                count += 1
            previous = number
        if i >= 0:
            picture[i] = number
    offsets = np.zeros(count + 1, np.int64)
    for i in range(n):
        offsets[picture[i] + 1] += 1
    for k in range(count):
        offsets[k + 1] += offsets[k]
    free = offsets[:-1].copy()
    rows = np.empty(n, np.int64)
    for i in range(n):
        rows[free[picture[i]]] = i
        free[picture[i]] += 1
    return ids[:count].copy(), offsets, rows


@njit(error_model="numpy")
def _slot(value: int, size: int) -> int:
    mixed = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.int64((mixed >> np.uint64(32)) & np.uint64(size - 1)))


@njit(error_model="numpy")
def sort_boxes(
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    first: int,
    last: int,
    xyxy: NDArray[np.floating],
    score: NDArray[np.floating],
    category: NDArray[np.int32],
    detector: NDArray[np.int16],
    identity: NDArray[np.int32],
    special: NDArray[np.int32],
    weights: NDArray[np.float64],
    min_score: NDArray[np.float64],
    agnostic: bool,
) -> tuple[
    int,
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """The boxes of pictures `first` to `last`, sorted, as float64, and where each run begins.

    A run is what can form groups among itself: one category of one picture, or, when
    `agnostic`, one picture. `identity` gives each detector's place by name; row 1 + k of
    `weights` (slots, detectors) and `min_score` (slots,) holds for category `special[k]`, row 0
    for all others. Boxes with score < min_score take no part.

    Returns bad, box (k, 4), weighted (k,) = score x weight, row (k,), detector (k,) as identity,
    run_start (r + 1,), run_slot (r,), run_of_picture (last - first + 1,). `bad` is the first
    row that is no box (not finite, inverted, score outside 0..1) or -1.
    """
    begin, end = offsets[first], offsets[last]
    longest = 0
    for picture in range(first, last):
        longest = max(longest, offsets[picture + 1] - offsets[picture])
    box = np.empty((end - begin, 4))
    weighted = np.empty(end - begin)
    row = np.empty(end - begin, np.int64)
    voter = np.empty(end - begin, np.int32)
    run_start = np.empty(end - begin + 1, np.int64)
    run_slot = np.empty(end - begin, np.int64)
    run_of_picture = np.empty(last - first + 1, np.int64)
    raw_box = np.empty((longest, 4))
    raw_score = np.empty(longest)
    raw_category = np.empty(longest, np.int64)
    raw_voter = np.empty(longest, np.int32)
    raw_row = np.empty(longest, np.int64)
    key, spare_key = np.empty(longest, np.int64), np.empty(longest, np.int64)
    order, spare_order = np.empty(longest, np.int64), np.empty(longest, np.int64)
    most = 0.0
    for table_row in range(len(weights)):
        most = max(most, largest(weights, table_row))
    levels = LEVELS / most if most > 0.0 else 0.0
    own = len(special) > 0  # a call for each box would count references
    count = runs = 0
    for picture in range(first, last):
        run_of_picture[picture - first] = runs
        n = 0
        for at in range(offsets[picture], offsets[picture + 1]):
            i = rows[at]
            x1, y1 = np.float64(xyxy[i, 0]), np.float64(xyxy[i, 1])
            x2, y2 = np.float64(xyxy[i, 2]), np.float64(xyxy[i, 3])
            value = np.float64(score[i])
            if not (0.0 <= x2 - x1 < np.inf and 0.0 <= y2 - y1 < np.inf and 0.0 <= value <= 1.0):
                return i, box, weighted, row, voter, run_start, run_slot, run_of_picture
            slot = _slot_of(category[i], special) if own else 0
            if value < min_score[slot]:
                continue
            who = identity[detector[i]]
            value *= weights[slot, who]
            raw_box[n, 0], raw_box[n, 1], raw_box[n, 2], raw_box[n, 3] = x1, y1, x2, y2
            raw_score[n] = value
            raw_category[n] = category[i]
            raw_voter[n] = who
            raw_row[n] = i
            key[n] = (LEVELS - np.int64(value * levels)) | (
                0 if agnostic else (np.int64(category[i]) + 0x80000000) << 16
            )
            order[n] = n
            n += 1
        sort_by_key(
            key, order, spare_key, spare_order, n, raw_score, raw_category, raw_box, raw_voter
        )
        for k in range(n):
            i = order[k]
            if k == 0 or (not agnostic and raw_category[i] != raw_category[order[k - 1]]):
                run_start[runs] = count
                run_slot[runs] = _slot_of(raw_category[i], special) if own and not agnostic else 0
                runs += 1
            for c in range(4):
                box[count, c] = raw_box[i, c]
            weighted[count] = raw_score[i]
            row[count] = raw_row[i]
            voter[count] = raw_voter[i]
            count += 1
    run_start[runs] = count
    run_of_picture[last - first] = runs
    return (
        -1,
        box[:count],
        weighted[:count],
        row[:count],
        voter[:count],
        run_start[: runs + 1],
        run_slot[:runs],
        run_of_picture,
    )


@njit(error_model="numpy")
def _slot_of(category: int, special: NDArray[np.int32]) -> int:
    """1 + the place of a category in the rising `special`; 0 when it is not there."""
    low, high = 0, len(special)
    while low < high:
        middle = (low + high) // 2
        if special[middle] < category:
            low = middle + 1
        else:
            high = middle
    return low + 1 if low < len(special) and special[low] == category else 0


@njit(error_model="numpy")
def sort_by_key(
    key: NDArray[np.int64],
    order: NDArray[np.int64],
    spare_key: NDArray[np.int64],
    spare_order: NDArray[np.int64],
    n: int,
    score: NDArray[np.float64],
    category: NDArray[np.int64],
    box: NDArray[np.float64],
    tie: NDArray[np.int32],
) -> None:
    """Put order[:n] in rising order of key[:n] >= 0; equal keys in the full order of `_before`."""
    if n <= INSERTION:
        for k in range(1, n):
            this_key, this = key[k], order[k]
            at = k - 1
            while at >= 0 and key[at] > this_key:
                key[at + 1], order[at + 1] = key[at], order[at]
                at -= 1
            key[at + 1], order[at + 1] = this_key, this
    else:
        _radix_sort(key, order, spare_key, spare_order, n)
    begin = 0
    for k in range(1, n + 1):
        if k == n or key[k] != key[begin]:
            if k - begin > 1:
                _sort_equals(order, spare_order, begin, k, score, category, box, tie)
            begin = k


@njit(error_model="numpy")
def _radix_sort(
    key: NDArray[np.int64],
    order: NDArray[np.int64],
    spare_key: NDArray[np.int64],
    spare_order: NDArray[np.int64],
    n: int,
) -> None:
    """Byte by byte from the last, leaving out bytes that are the same in all keys."""
    differ = np.int64(0)
    for k in range(n):
        differ |= key[k] ^ key[0]
    places = np.empty(256, np.int64)
    keys, orders, other_keys, other_orders = key, order, spare_key, spare_order
    swapped = False
    for shift in range(0, 64, 8):
        if (differ >> shift) & 255 == 0:
            continue
        places[:] = 0
        for k in range(n):
            places[(keys[k] >> shift) & 255] += 1
        total = 0
        for byte in range(256):
            here = places[byte]
            places[byte] = total
            total += here
        for k in range(n):
            byte = (keys[k] >> shift) & 255
            other_keys[places[byte]] = keys[k]
            other_orders[places[byte]] = orders[k]
            places[byte] += 1
        keys, other_keys = other_keys, keys
        orders, other_orders = other_orders, orders
        swapped = not swapped
    if swapped:
        key[:n] = keys[:n]
        order[:n] = orders[:n]


@njit(error_model="numpy")
def _sort_equals(
    order: NDArray[np.int64],
    spare: NDArray[np.int64],
    begin: int,
    end: int,
    score: NDArray[np.float64],
    category: NDArray[np.int64],
    box: NDArray[np.float64],
    tie: NDArray[np.int32],
) -> None:
    """Merge sort of order[begin:end] in the full order; short stretches by insertion."""
    width = 8
    for low in range(begin, end, width):
        for k in range(low + 1, min(low + width, end)):
            this = order[k]
            at = k - 1
            while at >= low and _before(this, order[at], score, category, box, tie):
                order[at + 1] = order[at]
                at -= 1
            order[at + 1] = this
    while width < end - begin:
        for low in range(begin, end, 2 * width):
            middle, high = min(low + width, end), min(low + 2 * width, end)
            left, right = low, middle
            for at in range(low, high):
                if left < middle and (
                    right >= high
                    or not _before(order[right], order[left], score, category, box, tie)
                ):
                    spare[at] = order[left]
                    left += 1
                else:
                    spare[at] = order[right]
                    right += 1
        order[begin:end] = spare[begin:end]
        width *= 2


@njit(error_model="numpy")
def _before(
    i: int,
    j: int,
    score: NDArray[np.float64],
    category: NDArray[np.int64],
    box: NDArray[np.float64],
    tie: NDArray[np.int32],
) -> bool:
    """The full order: falling score, rising category, x1, y1, x2, y2, then `tie`."""
    if score[i] != score[j]:
        return bool(score[i] > score[j])
    if category[i] != category[j]:
        return bool(category[i] < category[j])
    for c in range(4):
        if box[i, c] != box[j, c]:
            return bool(box[i, c] < box[j, c])
    return bool(tie[i] < tie[j])


@njit(error_model="numpy")
def largest(table: NDArray[np.float64], row: int) -> float:
    """The largest number of a row, at least 0; `max` of numpy would load all of its mathematics."""
    most = 0.0
    for value in table[row]:
        most = max(most, value)
    return most
