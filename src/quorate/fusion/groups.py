"""How boxes form groups: the one loop under voting, WBF, NMS, NMW and NMM.

Within a run (boxes of one category of one picture, by falling score) each box either joins the
group whose leader it overlaps by more than the threshold, or leads a new group. What differs
between the methods is data, fields of the rule:

    MOVING    the leader is the weighted mean of the members so far (WBF), else the first member
    ONE_EACH  a group takes one box of a detector, so that it cannot vote twice (voting)
    FIRST     of several groups the earliest is joined (NMM), else the one overlapped most
    SMALLER   overlap is intersection over the smaller box, else over the union
"""

from __future__ import annotations

import numpy as np

from quorate.compiled import kernel
from quorate.fusion.columns import (
    AGNOSTIC,
    FIRST,
    IOU,
    MEMBER,
    MOVING,
    ONE_EACH,
    SCORE,
    SLOT,
    SMALLER,
    START,
    TIE,
    WEIGHT,
    X1,
    X2,
    Y1,
    Y2,
    Floats,
    Ints,
)
from quorate.fusion.overlap import GRID_FROM, GRID_LEAST_IOU, cell, lay_grid, overlap, reach

NEXT, PREVIOUS, CELL = range(3)


@kernel
def form_groups(
    box: Floats, tag: Ints, runs: Ints, numbers: Floats, rule: Floats, groups: Ints
) -> int:
    """Fill `groups` from boxes that stand as `order.sort_boxes` has them; the number of groups.

    A box joins when its overlap is strictly more than the IoU of its run's SLOT (of slot 0 where
    the rule is AGNOSTIC); among equal overlaps the earlier group is joined. Members are by
    falling score.
    """
    moving, one_each = rule[MOVING] != 0.0, rule[ONE_EACH] != 0.0
    first, smaller = rule[FIRST] != 0.0, rule[SMALLER] != 0.0
    n = len(box)
    longest = 0
    for r in range(len(runs) - 1):
        longest = max(longest, runs[r + 1] - runs[r])
    # Leaders column by column, so that asking all of them is a vectorised loop.
    left_of, top_of = np.empty(longest), np.empty(longest)
    right_of, bottom_of = np.empty(longest), np.empty(longest)
    area, shared = np.empty(longest), np.empty(longest)
    sums = np.empty((longest, 5))  # of WBF's members: coordinates times score, scores
    words = (numbers.shape[1] - WEIGHT + 63) // 64
    voted = np.empty((longest, words), np.int64)  # a bit for each detector
    # Leaders lie in a grid by their centre, each cell a doubly linked list.
    near = np.empty((longest, 3), np.int64)
    head = np.empty(2 * longest + 4 * int(np.sqrt(longest)) + 4, np.int64)
    group = np.empty(n, np.int64)
    count = 0
    for r in range(len(runs) - 1):
        begin, end = runs[r], runs[r + 1]
        slot = 0 if rule[AGNOSTIC] != 0.0 else tag[begin, SLOT]
        threshold = numbers[slot, IOU]
        leaders = 0
        gridded = end - begin > GRID_FROM and threshold >= GRID_LEAST_IOU and not smaller
        left = top = per_x = per_y = 0.0
        columns = rows = 0
        if gridded:
            cells = max(reach(1.0, threshold), 1e-3)
            left, top, per_x, per_y, columns, rows = lay_grid(box, begin, end, cells)
            for place in range(columns * rows):
                head[place] = -1
        for i in range(begin, end):
            x1, y1, x2, y2 = box[i, X1], box[i, Y1], box[i, X2], box[i, Y2]
            size = (x2 - x1) * (y2 - y1)
            this = x1, y1, x2, y2, size
            word, bit = tag[i, TIE] >> 6, tag[i, TIE] & 63
            found = -1
            most = threshold
            x_from = x_to = y_from = y_to = 0
            near_by = gridded
            if gridded:
                x, y = (x1 + x2) * 0.5, (y1 + y2) * 0.5
                far_x, far_y = reach(x2 - x1, threshold), reach(y2 - y1, threshold)
                x_from = cell(x - far_x, left, per_x, columns)
                x_to = cell(x + far_x, left, per_x, columns)
                y_from = cell(y - far_y, top, per_y, rows)
                y_to = cell(y + far_y, top, per_y, rows)
                near_by = (x_to - x_from + 1) * (y_to - y_from + 1) < leaders
            if near_by:
                for down in range(y_from, y_to + 1):
                    for across in range(x_from, x_to + 1):
                        g = head[down * columns + across]
                        while g >= 0:
                            leader = left_of[g], top_of[g], right_of[g], bottom_of[g], area[g]
                            much = overlap(leader, this, smaller)
                            if first:
                                better = much > threshold and (found < 0 or g < found)
                            else:
                                better = much > most or (much == most and found > g)
                            if better and (not one_each or (voted[g, word] >> bit) & 1 == 0):
                                found, most = g, much
                            g = near[g, NEXT]
            else:
                for g in range(leaders):
                    leader = left_of[g], top_of[g], right_of[g], bottom_of[g], area[g]
                    shared[g] = overlap(leader, this, smaller)
                for g in range(leaders):
                    if shared[g] > most and (not one_each or (voted[g, word] >> bit) & 1 == 0):
                        found, most = g, shared[g]
                        if first:
                            break
            new = moved = found < 0
            if new:
                found = leaders
                leaders += 1
                if one_each:
                    for w in range(words):
                        voted[found, w] = 0
                if moving:
                    for c in range(5):
                        sums[found, c] = 0.0
            if one_each:
                voted[found, word] |= 1 << bit
            if moving:
                # As ensemble-boxes does: sums of coordinates in float32, of scores in float64.
                sums[found, SCORE] += box[i, SCORE]
                sure = sums[found, SCORE]
                for c in range(4):
                    sums[found, c] = np.float32(sums[found, c] + box[i, SCORE] * box[i, c])
                if not new and sure > 0.0:
                    x1 = np.float64(np.float32(sums[found, X1] / sure))
                    y1 = np.float64(np.float32(sums[found, Y1] / sure))
                    x2 = np.float64(np.float32(sums[found, X2] / sure))
                    y2 = np.float64(np.float32(sums[found, Y2] / sure))
                    size = (x2 - x1) * (y2 - y1)
                    moved = True
            if moved:
                left_of[found], top_of[found], right_of[found], bottom_of[found] = x1, y1, x2, y2
                area[found] = size
            if gridded and moved:
                place = cell((y1 + y2) * 0.5, top, per_y, rows) * columns
                place += cell((x1 + x2) * 0.5, left, per_x, columns)
                if new or near[found, CELL] != place:
                    if not new:  # out of the cell where it was
                        after, before = near[found, NEXT], near[found, PREVIOUS]
                        if before >= 0:
                            near[before, NEXT] = after
                        else:
                            head[near[found, CELL]] = after
                        if after >= 0:
                            near[after, PREVIOUS] = before
                    after = head[place]
                    near[found, NEXT], near[found, PREVIOUS], near[found, CELL] = after, -1, place
                    if after >= 0:
                        near[after, PREVIOUS] = found
                    head[place] = found
            group[i] = count + found
        count += leaders
    # Count the members of each group, then put each where its group has room.
    for g in range(count + 1):
        groups[START, g] = 0
    for i in range(n):
        groups[START, group[i] + 1] += 1
    for g in range(count):
        groups[START, g + 1] += groups[START, g]
    for i in range(n):
        to = groups[START, group[i]]
        groups[START, group[i]] = to + 1
        groups[MEMBER, to] = i
    for g in range(count, 0, -1):
        groups[START, g] = groups[START, g - 1]
    groups[START, 0] = 0
    return count
