"""Compiled loops of evaluation: matching by COCO's rules, weighted AP, boxes in common.

Nothing here knows of pictures' ids or labels: boxes come sorted into *cells*, the boxes of one
picture and one category, and cells come as offsets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.evaluation.truth import Floats, Ints

Bytes = NDArray[np.int8]

FALSE, TRUE, IGNORED = 0, 1, -1


@kernel
def match_cells(
    found: Floats,
    cells: Ints,
    truth: Floats,
    truth_cells: Ints,
    crowd: NDArray[np.bool_],
    thresholds: Floats,
) -> Bytes:
    """Which found boxes are true, by the greedy rule of pycocotools' `evaluateImg`.

    In every cell the found boxes come by falling score and the crowds come last. A found box
    takes the free object it overlaps most, from `threshold` on (the last of equals), and a crowd
    only when there is no such object; a crowd is never used up, and its boxes are ignored.

    found, truth        float64  (n, 4), (g, 4)  left, top, width, height
    cells, truth_cells  int64    (k + 1,)        both have the same k cells
    returns             int8     (t, n)          TRUE, FALSE or IGNORED
    """
    outcome = np.zeros((len(thresholds), len(found)), dtype=np.int8)
    most = 0
    for k in range(len(cells) - 1):
        most = max(most, truth_cells[k + 1] - truth_cells[k])
    taken = np.zeros((len(thresholds), most), dtype=np.bool_)
    overlap = np.zeros(most)
    for k in range(len(cells) - 1):
        first, objects = truth_cells[k], truth_cells[k + 1] - truth_cells[k]
        taken[:, :objects] = False
        for row in range(cells[k], cells[k + 1]):
            left, top, width, height = found[row]
            for g in range(objects):
                x, y, w, h = truth[first + g]
                across = min(left + width, x + w) - max(left, x)
                down = min(top + height, y + h) - max(top, y)
                overlap[g] = 0.0
                if across > 0 and down > 0:
                    shared = across * down
                    own = width * height
                    overlap[g] = shared / (own if crowd[first + g] else own + w * h - shared)
            for t in range(len(thresholds)):
                best = min(thresholds[t], 1 - 1e-10)
                chosen = -1
                for g in range(objects):
                    if taken[t, g] and not crowd[first + g]:
                        continue
                    if chosen > -1 and not crowd[first + chosen] and crowd[first + g]:
                        break
                    if overlap[g] < best:
                        continue
                    best = overlap[g]
                    chosen = g
                if chosen > -1:
                    taken[t, chosen] = True
                    outcome[t, row] = IGNORED if crowd[first + chosen] else TRUE
    return outcome


@kernel
def weighted_ap(
    starts: Ints,
    image: Ints,
    outcome: Bytes,
    weight: Ints,
    truth_category: Ints,
    truth_image: Ints,
    recalls: Floats,
) -> Floats:
    """AP of every category when picture i is in the data set `weight[i]` times.

    Boxes come by category and falling score; 101-point interpolated AP as pycocotools has it.

    starts                       int64    (c + 1,)  each category's first box
    image                        int64    (n,)      the picture of each box
    outcome                      int8     (t, n)    from `match_cells`
    truth_category, truth_image  int64    (g,)      the objects, crowds left out
    returns                      float64  (c, 2)    AP, mean over thresholds, and AP at the first;
                                                    NaN without objects
    """
    categories, count = len(starts) - 1, len(outcome)
    objects = np.zeros(categories, dtype=np.int64)
    for g in range(len(truth_category)):
        objects[truth_category[g]] += weight[truth_image[g]]
    result = np.full((categories, 2), np.nan)
    most = 0
    for c in range(categories):
        most = max(most, starts[c + 1] - starts[c])
    recall, precision = np.empty(most), np.empty(most)
    for c in range(categories):
        if objects[c] == 0:
            continue
        total = 0.0
        for t in range(count):
            true = false = steps = 0
            for row in range(starts[c], starts[c + 1]):
                times = weight[image[row]]
                if outcome[t, row] == 1:
                    if times > 0:
                        true += times
                        recall[steps] = true / objects[c]
                        precision[steps] = true / (true + false + np.spacing(1.0))
                        steps += 1
                elif outcome[t, row] == 0:
                    false += times
            for step in range(steps - 2, -1, -1):
                precision[step] = max(precision[step], precision[step + 1])
            area = 0.0
            step = 0
            for wanted in recalls:
                while step < steps and recall[step] < wanted:
                    step += 1
                if step == steps:
                    break
                area += precision[step]
            total += area / len(recalls)
            if t == 0:
                result[c, 1] = total
        result[c, 0] = total / count
    return result


@kernel
def pair_matches(
    xyxy: NDArray[np.float32],
    cells: Ints,
    detector: NDArray[np.int16],
    detectors: int,
    iou: float,
) -> Ints:
    """How many boxes each two detectors have in common, matched one to one.

    Boxes of two detectors in one cell match when their IoU is above `iou`; the best overlap is
    taken first, of equal ones that of the boxes that come first. In every cell the boxes come by
    rising x1, so a box is compared only until the next one begins to the right of its end.

    returns  int64  (m, m)  symmetric, zeros on the diagonal
    """
    matched = np.zeros((detectors, detectors), dtype=np.int64)
    most = 0
    for k in range(len(cells) - 1):
        most = max(most, cells[k + 1] - cells[k])
    taken = np.zeros((most, detectors), dtype=np.bool_)
    first = np.empty(64, dtype=np.int64)
    second = np.empty(64, dtype=np.int64)
    overlap = np.empty(64, dtype=np.float64)
    for k in range(len(cells) - 1):
        start, end, count = cells[k], cells[k + 1], 0
        taken[: end - start] = False
        for i in range(start, end):
            x1, y1 = np.float64(xyxy[i, 0]), np.float64(xyxy[i, 1])
            x2, y2 = np.float64(xyxy[i, 2]), np.float64(xyxy[i, 3])
            own = (x2 - x1) * (y2 - y1)
            for j in range(i + 1, end):
                if xyxy[j, 0] >= x2:
                    break
                if detector[i] == detector[j]:
                    continue
                u1, v1 = np.float64(xyxy[j, 0]), np.float64(xyxy[j, 1])
                u2, v2 = np.float64(xyxy[j, 2]), np.float64(xyxy[j, 3])
                across, down = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
                if across <= 0 or down <= 0:
                    continue
                shared = across * down
                value = shared / (own + (u2 - u1) * (v2 - v1) - shared)
                if value <= iou:
                    continue
                if count == len(first):
                    first = np.concatenate((first, np.empty_like(first)))
                    second = np.concatenate((second, np.empty_like(second)))
                    overlap = np.concatenate((overlap, np.empty_like(overlap)))
                first[count], second[count], overlap[count] = i, j, value
                count += 1
        for pair in np.argsort(-overlap[:count], kind="mergesort"):
            i, j = first[pair], second[pair]
            a, b = detector[i], detector[j]
            if not taken[i - start, b] and not taken[j - start, a]:
                taken[i - start, b] = taken[j - start, a] = True
                matched[a, b] += 1
                matched[b, a] += 1
    return matched
