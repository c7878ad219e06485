"""Soft-NMS: a box that overlaps a better one loses score, not its place.

N. Bodla et al., "Soft-NMS: improving object detection with one line of code", ICCV 2017,
arXiv:1704.04503. The best box is taken, all others lose score by their overlap with it, then
the best of those is taken, and so on.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.fusion.overlap import GRID_FROM, cell, lay_grid, overlap, sized


@njit(error_model="numpy")
def decay_scores(
    box: NDArray[np.float64],
    weighted: NDArray[np.float64],
    run_start: NDArray[np.int64],
    run_slot: NDArray[np.int64],
    iou: NDArray[np.float64],
    gaussian: bool,
    sigma: float,
    floor: float,
    smaller: bool,
) -> NDArray[np.float64]:
    """The decayed scores (n,) of boxes sorted by `sort_boxes`; those at or below `floor` are final.

    linear: x (1 - overlap) where the overlap is strictly more than iou[run_slot[r]];
    gaussian: x exp(-overlap^2 / sigma) wherever boxes overlap. Of equally good boxes the one
    earlier in the sorted order is taken first.
    """
    score = weighted.copy()
    longest = 0
    for r in range(len(run_start) - 1):
        longest = max(longest, run_start[r + 1] - run_start[r])
    area = np.empty(longest)
    heap = np.empty(longest, np.int64)
    known = np.empty(longest)
    after = np.empty(longest, np.int64)
    head = np.empty(2 * longest + 4 * int(math.sqrt(longest)) + 4, np.int64)
    few = np.empty((9, GRID_FROM))
    for r in range(len(run_start) - 1):
        begin, end = run_start[r], run_start[r + 1]
        n = end - begin
        threshold = iou[run_slot[r]]
        if n <= GRID_FROM:
            _decay_few(box, score, begin, end, few, threshold, gaussian, sigma, floor, smaller)
            continue
        wide = high = 0.0
        left, top, per_x, per_y, columns, rows = lay_grid(box, begin, end, 1.0)
        head[: columns * rows] = -1
        for i in range(n):
            b = begin + i
            area[i] = sized(box, b)[4]
            # Sorted by falling score already, so the heap is one: lowest place, highest score.
            heap[i], known[i] = i, score[b]
            wide, high = max(wide, box[b, 2] - box[b, 0]), max(high, box[b, 3] - box[b, 1])
            place = cell((box[b, 1] + box[b, 3]) * 0.5, top, per_y, rows) * columns
            place += cell((box[b, 0] + box[b, 2]) * 0.5, left, per_x, columns)
            after[i] = head[place]
            head[place] = i
        left_over = n
        while left_over > 0:
            best = heap[0]
            if known[best] != score[begin + best]:  # decayed since it was put in its place
                known[best] = score[begin + best]
                _sink(heap, known, 0, left_over)
                continue
            if known[best] <= floor:
                break
            left_over -= 1
            heap[0] = heap[left_over]
            _sink(heap, known, 0, left_over)
            known[best] = -1.0  # taken: its score is final
            b = begin + best
            taken = sized(box, b)
            x, y = (box[b, 0] + box[b, 2]) * 0.5, (box[b, 1] + box[b, 3]) * 0.5
            far_x = (box[b, 2] - box[b, 0] + wide) * (0.5 + 1e-9)
            far_y = (box[b, 3] - box[b, 1] + high) * (0.5 + 1e-9)
            for down in range(
                cell(y - far_y, top, per_y, rows), cell(y + far_y, top, per_y, rows) + 1
            ):
                for across in range(
                    cell(x - far_x, left, per_x, columns), cell(x + far_x, left, per_x, columns) + 1
                ):
                    i = head[down * columns + across]
                    while i >= 0:
                        if known[i] >= 0.0:
                            c = begin + i
                            other = box[c, 0], box[c, 1], box[c, 2], box[c, 3], area[i]
                            much = overlap(taken, other, smaller)
                            if much > 0.0:
                                score[c] *= _kept(much, threshold, gaussian, sigma)
                        i = after[i]
    return score


@njit(error_model="numpy")
def _decay_few(
    box: NDArray[np.float64],
    score: NDArray[np.float64],
    begin: int,
    end: int,
    few: NDArray[np.float64],
    iou: float,
    gaussian: bool,
    sigma: float,
    floor: float,
    smaller: bool,
) -> None:
    """Decay score[begin:end] of one run; `few` is room for 9 columns of at least as many boxes.

    Those not yet taken lie together at the end.
    """
    x1, y1, x2, y2, area, place, worth = few[0], few[1], few[2], few[3], few[4], few[5], few[6]
    shared, near = few[7], few[8]
    n = end - begin
    for k in range(n):
        b = begin + k
        x1[k], y1[k], x2[k], y2[k], area[k] = sized(box, b)
        place[k], worth[k] = b, score[b]
    best = 0  # sorted by falling score already
    for k in range(n):
        score[int(place[best])] = worth[best]
        if worth[best] <= floor:
            break
        taken = x1[best], y1[best], x2[best], y2[best], area[best]
        x1[best], y1[best], x2[best], y2[best] = x1[k], y1[k], x2[k], y2[k]
        area[best], place[best], worth[best] = area[k], place[k], worth[k]
        best = k + 1
        most = -1.0
        for i in range(n):
            shared[i] = overlap(taken, (x1[i], y1[i], x2[i], y2[i], area[i]), smaller)
        found = 0
        for i in range(k + 1, n):  # no branch: which boxes overlap cannot be foreseen
            near[found] = i
            found += shared[i] > 0.0
        for f in range(found):
            i = int(near[f])
            worth[i] *= _kept(shared[i], iou, gaussian, sigma)
        for i in range(k + 1, n):
            now = worth[i]
            if now > most or (now == most and place[i] < place[best]):
                best, most = i, now
    for i in range(k, n):
        score[int(place[i])] = worth[i]


@njit(error_model="numpy")
def _kept(much: float, iou: float, gaussian: bool, sigma: float) -> float:
    """The part of its score that a box keeps beside a better one it overlaps by `much`."""
    if gaussian:
        return math.exp(-(much * much) / sigma)
    return 1.0 - much if much > iou else 1.0


@njit(error_model="numpy")
def _sink(heap: NDArray[np.int64], known: NDArray[np.float64], at: int, size: int) -> None:
    """Restore the heap below `at`: the highest known score on top, then the lowest place."""
    this = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _above(heap[child + 1], heap[child], known):
            child += 1
        if not _above(heap[child], this, known):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = this


@njit(error_model="numpy")
def _above(i: int, j: int, known: NDArray[np.float64]) -> bool:
    return known[i] > known[j] or (known[i] == known[j] and i < j)
