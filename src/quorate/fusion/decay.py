"""Soft-NMS: a box that overlaps a better one loses score, not its place.

N. Bodla et al., "Soft-NMS: improving object detection with one line of code", ICCV 2017,
arXiv:1704.04503. The best box is taken, all others lose score by their overlap with it, then
the best of those is taken, and so on.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from quorate.compiled import kernel
from quorate.fusion.columns import (
    AGNOSTIC,
    FLOOR,
    GAUSSIAN,
    IOU,
    SIGMA,
    SLOT,
    SMALLER,
    STRENGTH,
    X1,
    X2,
    Y1,
    Y2,
    Floats,
    Ints,
)
from quorate.fusion.overlap import GRID_FROM, cell, lay_grid, overlap


@kernel
def decay_scores(box: Floats, tag: Ints, runs: Ints, numbers: Floats, rule: Floats) -> None:
    """Let the STRENGTH of boxes that stand as `order.sort_boxes` has them decay.

    linear: x (1 - overlap) where the overlap is strictly more than the IoU of the run's SLOT (of
    slot 0 where the rule is AGNOSTIC); GAUSSIAN: x exp(-overlap^2 / SIGMA) wherever boxes
    overlap. Of equally good boxes the one earlier in the order is taken first; a strength at or
    below the FLOOR is final.
    """
    smaller, floor = rule[SMALLER] != 0.0, rule[FLOOR]
    gaussian, sigma = rule[GAUSSIAN] != 0.0, rule[SIGMA]
    longest = 0
    for r in range(len(runs) - 1):
        longest = max(longest, runs[r + 1] - runs[r])
    x1, y1, x2, y2 = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    area, worth, shared = np.empty(longest), np.empty(longest), np.empty(longest)
    place, after = np.empty(longest, np.int64), np.empty(longest, np.int64)
    head = np.empty(2 * longest + 4 * int(math.sqrt(longest)) + 4, np.int64)
    for r in range(len(runs) - 1):
        begin = runs[r]
        n = runs[r + 1] - begin
        iou = numbers[0 if rule[AGNOSTIC] != 0.0 else tag[begin, SLOT], IOU]
        wide = high = 0.0
        for k in range(n):
            i = begin + k
            x1[k], y1[k], x2[k], y2[k] = box[i, X1], box[i, Y1], box[i, X2], box[i, Y2]
            area[k] = (x2[k] - x1[k]) * (y2[k] - y1[k])
            place[k], worth[k] = k, box[i, STRENGTH]
            wide, high = max(wide, x2[k] - x1[k]), max(high, y2[k] - y1[k])
        if n <= GRID_FROM:  # the boxes not yet taken lie together at the end
            best = 0  # sorted by falling score already
            for k in range(n):
                box[begin + place[best], STRENGTH] = worth[best]
                if worth[best] <= floor:
                    break
                taken = x1[best], y1[best], x2[best], y2[best], area[best]
                x1[best], y1[best], x2[best], y2[best] = x1[k], y1[k], x2[k], y2[k]
                area[best], place[best], worth[best] = area[k], place[k], worth[k]
                for i in range(n):
                    shared[i] = overlap(taken, (x1[i], y1[i], x2[i], y2[i], area[i]), smaller)
                found = 0
                for i in range(k + 1, n):  # no branch: which boxes overlap cannot be foreseen
                    after[found] = i
                    found += shared[i] > 0.0
                for f in range(found):
                    i = after[f]
                    worth[i] *= _kept(shared[i], iou, gaussian, sigma)
                best = k + 1
                most = -1.0
                for i in range(k + 1, n):
                    now = worth[i]
                    if now > most or (now == most and place[i] < place[best]):
                        best, most = i, now
            for i in range(k, n):
                box[begin + place[i], STRENGTH] = worth[i]
            continue
        left, top, per_x, per_y, columns, rows = lay_grid(box, begin, begin + n, 1.0)
        for at in range(columns * rows):
            head[at] = -1
        for k in range(n):
            shared[k] = worth[k]  # the score by which the heap is ordered; `worth` is the last
            at = cell((y1[k] + y2[k]) * 0.5, top, per_y, rows) * columns
            at += cell((x1[k] + x2[k]) * 0.5, left, per_x, columns)
            after[k] = head[at]
            head[at] = k
        left_over = n
        while left_over > 0:
            best = place[0]
            if shared[best] != worth[best]:  # decayed since it was put in its place
                shared[best] = worth[best]
                _sink(place, shared, left_over)
                continue
            if worth[best] <= floor:
                break
            left_over -= 1
            place[0] = place[left_over]
            _sink(place, shared, left_over)
            shared[best] = -1.0  # taken: its score is final
            taken = x1[best], y1[best], x2[best], y2[best], area[best]
            x, y = (x1[best] + x2[best]) * 0.5, (y1[best] + y2[best]) * 0.5
            far_x = (x2[best] - x1[best] + wide) * (0.5 + 1e-9)
            far_y = (y2[best] - y1[best] + high) * (0.5 + 1e-9)
            x_from = cell(x - far_x, left, per_x, columns)
            x_to = cell(x + far_x, left, per_x, columns)
            y_to = cell(y + far_y, top, per_y, rows)
            for down in range(cell(y - far_y, top, per_y, rows), y_to + 1):
                for across in range(x_from, x_to + 1):
                    k = head[down * columns + across]
                    while k >= 0:
                        if shared[k] >= 0.0:
                            other = x1[k], y1[k], x2[k], y2[k], area[k]
                            much = overlap(taken, other, smaller)
                            if much > 0.0:
                                worth[k] *= _kept(much, iou, gaussian, sigma)
                        k = after[k]
        for k in range(n):
            box[begin + k, STRENGTH] = worth[k]


@njit(error_model="numpy")
def _kept(much: float, iou: float, gaussian: bool, sigma: float) -> float:
    """The part of its score that a box keeps beside a better one it overlaps by `much`."""
    if gaussian:
        return math.exp(-(much * much) / sigma)
    return 1.0 - much if much > iou else 1.0


@njit(error_model="numpy")
def _sink(heap: Ints, known: Floats, size: int) -> None:
    """Let the top of a heap sink: highest known score on top, then the lowest place."""
    this = heap[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        a, b = heap[child], heap[min(child + 1, size - 1)]
        if known[b] > known[a] or (known[b] == known[a] and b < a):
            child, a = child + 1, b
        if not (known[a] > known[this] or (known[a] == known[this] and a < this)):
            break
        heap[at] = a
        at = child
    heap[at] = this
