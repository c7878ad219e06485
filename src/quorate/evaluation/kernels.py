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
EPSILON = float(np.spacing(1.0))  # which pycocotools adds, so that nothing is divided by 0


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
    taken = np.empty((len(thresholds), most), dtype=np.bool_)
    overlap = np.empty(most)
    for k in range(len(cells) - 1):
        first, objects = truth_cells[k], truth_cells[k + 1] - truth_cells[k]
        for t in range(len(thresholds)):
            for g in range(objects):
                taken[t, g] = False
        for row in range(cells[k], cells[k + 1]):
            left, top, width, height = found[row, 0], found[row, 1], found[row, 2], found[row, 3]
            for g in range(objects):
                x, y = truth[first + g, 0], truth[first + g, 1]
                w, h = truth[first + g, 2], truth[first + g, 3]
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
    result = np.empty((categories, 2))
    most = 0
    for c in range(categories):
        most = max(most, starts[c + 1] - starts[c])
    recall, precision = np.empty(most), np.empty(most)
    for c in range(categories):
        result[c, 0] = result[c, 1] = np.nan
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
                        precision[steps] = true / (true + false + EPSILON)
                        steps += 1
                elif outcome[t, row] == 0:
                    false += times
            for step in range(steps - 2, -1, -1):
                precision[step] = max(precision[step], precision[step + 1])
            area = 0.0
            step = 0
            for k in range(len(recalls)):
                while step < steps and recall[step] < recalls[k]:
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
def overlapping_pairs(
    xyxy: Floats, cells: Ints, detector: Ints, iou: float, pairs: Ints, overlap: Floats
) -> int:
    """Fill `pairs` (k, 2) and `overlap` (k,) with the boxes of two detectors that overlap.

    Boxes overlap when they are in one cell and their IoU is above `iou`. In every cell they come
    by rising x1, so a box is compared only until the next one begins to the right of its end.
    Returns how many pairs there are, also those that there is no room for.
    """
    count = 0
    for k in range(len(cells) - 1):
        for i in range(cells[k], cells[k + 1]):
            x1, y1, x2, y2 = xyxy[i, 0], xyxy[i, 1], xyxy[i, 2], xyxy[i, 3]
            own = (x2 - x1) * (y2 - y1)
            for j in range(i + 1, cells[k + 1]):
                u1, v1, u2, v2 = xyxy[j, 0], xyxy[j, 1], xyxy[j, 2], xyxy[j, 3]
                if u1 >= x2:
                    break
                across, down = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
                if detector[i] == detector[j] or across <= 0 or down <= 0:
                    continue
                shared = across * down
                value = shared / (own + (u2 - u1) * (v2 - v1) - shared)
                if value > iou:
                    if count < len(pairs):
                        pairs[count, 0], pairs[count, 1], overlap[count] = i, j, value
                    count += 1
    return count


@kernel
def take_pairs(
    pairs: Ints, order: Ints, detector: Ints, taken: NDArray[np.bool_], matched: Ints
) -> None:
    """Match boxes one to one, in the order given; add to `matched` (m, m), which is symmetric.

    `taken` (n, m) is where box i already has a partner of detector d.
    """
    for k in range(len(order)):
        i, j = pairs[order[k], 0], pairs[order[k], 1]
        a, b = detector[i], detector[j]
        if not taken[i, b] and not taken[j, a]:
            taken[i, b] = taken[j, a] = True
            matched[a, b] += 1
            matched[b, a] += 1


@kernel
def edit_pairs(
    xyxy: Floats,
    cells: Ints,
    truth: Floats,
    truth_cells: Ints,
    labels: tuple[Ints, Ints],
    limits: tuple[float, float, float],
    crowd: NDArray[np.bool_],
    out: tuple[Ints, Floats, NDArray[np.bool_]],
) -> int:
    """Fill `out` with what a person could make of a box: the object, the edits, the overlap.

    xyxy, truth         float64  (n, 4), (g, 4)  corners, picture by picture
    cells, truth_cells  int64    (k + 1,)        where each picture's begin
    labels              int64    (n,), (g,)      of the boxes and of the objects
    limits                                       IoU of a box that stays, that is relabelled and
                                                 moved, and that is moved
    out                 pairs (m, 3): box, object, kind; overlap (m,); on_crowd (n,)

    Kinds are those of `effort`: 0 keep, 1 move, 2 relabel, 3 both. A crowd makes no pair:
    `on_crowd` tells the boxes of its label that lie on it by half. Returns how many pairs there
    are, also those that there is no room for.
    """
    pairs, overlap, on_crowd = out
    tight, near, loose = limits
    count = 0
    for k in range(len(cells) - 1):
        for i in range(cells[k], cells[k + 1]):
            x1, y1, x2, y2 = xyxy[i, 0], xyxy[i, 1], xyxy[i, 2], xyxy[i, 3]
            own = (x2 - x1) * (y2 - y1)
            for j in range(truth_cells[k], truth_cells[k + 1]):
                u1, v1, u2, v2 = truth[j, 0], truth[j, 1], truth[j, 2], truth[j, 3]
                across, down = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
                if across <= 0 or down <= 0:
                    continue
                shared = across * down
                same = labels[0][i] == labels[1][j]
                if crowd[j]:
                    if same and shared >= 0.5 * own:
                        on_crowd[i] = True
                    continue
                value = shared / (own + (u2 - u1) * (v2 - v1) - shared)
                if value < (loose if same else near):
                    continue
                if count < len(pairs):
                    pairs[count, 0], pairs[count, 1] = i, j
                    pairs[count, 2] = (value < tight) + (0 if same else 2)
                    overlap[count] = value
                count += 1
    return count


@kernel
def take_edits(
    pairs: Ints,
    score: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    on_crowd: NDArray[np.bool_],
    taken: tuple[Ints, Ints, Ints],
) -> Ints:
    """Match boxes with objects one to one, in the order of `pairs`, from each threshold on.

    pairs    int64  (m, 3)              box, object, kind
    taken    int64  (n,), (g,), (n,)    -1 before; then a box's object, an object's box and a box's
                                        kind at the last threshold
    returns  int64  (t, 5)              boxes of each kind, and boxes on crowds that match nothing
    """
    of_box, of_object, kinds = taken
    counts = np.zeros((len(thresholds), 5), dtype=np.int64)
    for t in range(len(thresholds)):
        of_box[:] = -1
        of_object[:] = -1
        for k in range(len(pairs)):
            i, j, kind = pairs[k, 0], pairs[k, 1], pairs[k, 2]
            if score[i] < thresholds[t] or of_box[i] >= 0 or of_object[j] >= 0:
                continue
            of_box[i], of_object[j], kinds[i] = j, i, kind
            counts[t, kind] += 1
        for i in range(len(score)):
            if on_crowd[i] and of_box[i] < 0 and score[i] >= thresholds[t]:
                counts[t, 4] += 1
    return counts
