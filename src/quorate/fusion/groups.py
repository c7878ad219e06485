"""How boxes form groups: the one loop under voting, WBF, NMS, NMW and NMM.

Within a run (boxes of one category of one picture, by falling score) each box either joins the
group whose leader it overlaps by more than the threshold, or leads a new group. What differs
between the methods is data:

    moving    the leader is the weighted mean of the members so far (WBF), else the first member
    one_each  a group takes one box of a detector, so that it cannot vote twice (voting)
    first     of several groups the earliest is joined (NMM), else the one overlapped most
    smaller   overlap is intersection over the smaller box, else over the union
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.fusion.overlap import (
    GRID_FROM,
    GRID_LEAST_IOU,
    cell,
    lay_grid,
    overlap,
    reach,
    sized,
)


@njit(error_model="numpy")
def form_groups(
    box: NDArray[np.float64],
    weighted: NDArray[np.float64],
    voter: NDArray[np.int32],
    run_start: NDArray[np.int64],
    run_slot: NDArray[np.int64],
    iou: NDArray[np.float64],
    detectors: int,
    moving: bool,
    one_each: bool,
    first: bool,
    smaller: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Groups of sorted boxes: offsets (g + 1,), members (n,), group_of_run (r + 1,).

    Group k is `members[offsets[k]:offsets[k + 1]]`, positions in `box` by falling score, the
    leader first; the groups of run r are group_of_run[r] to group_of_run[r + 1]. A box joins
    when its overlap is strictly more than `iou[run_slot[r]]`; among equal overlaps the earlier
    group is joined.
    """
    n = len(box)
    runs = len(run_start) - 1
    group = np.empty(n, np.int64)
    group_of_run = np.zeros(runs + 1, np.int64)
    longest = 0
    for r in range(runs):
        longest = max(longest, run_start[r + 1] - run_start[r])
    # Leaders column by column, so that asking all of them is a vectorised loop.
    left_of, top_of = np.empty(longest), np.empty(longest)
    right_of, bottom_of = np.empty(longest), np.empty(longest)
    area, shared = np.empty(longest), np.empty(longest)
    total = np.empty((longest if moving else 0, 4), np.float32)
    confidence = np.empty(longest if moving else 0)
    words = (detectors + 63) // 64 if one_each else 0
    voted = np.zeros((longest, words), np.uint64)
    # Leaders lie in a grid by their centre, each cell a doubly linked list.
    near = np.empty((longest, 3) if longest > GRID_FROM else (0, 3), np.int64)
    head = np.empty(2 * longest + 4 * int(np.sqrt(longest)) + 4, np.int64)
    count = 0
    for r in range(runs):
        begin, end = run_start[r], run_start[r + 1]
        threshold = iou[run_slot[r]]
        leaders = 0
        gridded = end - begin > GRID_FROM and threshold >= GRID_LEAST_IOU and not smaller
        if gridded:
            left, top, per_x, per_y, columns, rows = lay_grid(
                box, begin, end, max(reach(1.0, threshold), 1e-3)
            )
            head[: columns * rows] = -1
        else:
            left = top = per_x = per_y = 0.0
            columns = rows = 0
        for i in range(begin, end):
            this = sized(box, i)
            x1, y1, x2, y2, size = this
            who = voter[i]
            found = -1
            most = threshold
            near_by = gridded
            x_from = x_to = y_from = y_to = 0
            if gridded:
                x, y = (x1 + x2) * 0.5, (y1 + y2) * 0.5
                far_x = reach(x2 - x1, threshold)
                far_y = reach(y2 - y1, threshold)
                x_from, x_to = (
                    cell(x - far_x, left, per_x, columns),
                    cell(x + far_x, left, per_x, columns),
                )
                y_from, y_to = cell(y - far_y, top, per_y, rows), cell(y + far_y, top, per_y, rows)
                near_by = (x_to - x_from + 1) * (y_to - y_from + 1) < leaders
            if near_by:
                for down in range(y_from, y_to + 1):
                    for across in range(x_from, x_to + 1):
                        g = head[down * columns + across]
                        while g >= 0:
                            leader = left_of[g], top_of[g], right_of[g], bottom_of[g], area[g]
                            much = overlap(leader, this, smaller)
                            if _preferred(much, g, most, found, threshold, first) and (
                                not one_each or not _has_voted(voted, g, who)
                            ):
                                found, most = g, much
                            g = near[g, 0]
            else:
                for g in range(leaders):
                    leader = left_of[g], top_of[g], right_of[g], bottom_of[g], area[g]
                    shared[g] = overlap(leader, this, smaller)
                for g in range(leaders):
                    if shared[g] > most and (not one_each or not _has_voted(voted, g, who)):
                        found, most = g, shared[g]
                        if first:
                            break
            new = found < 0
            moved = new
            if new:
                found = leaders
                leaders += 1
                left_of[found], top_of[found], right_of[found], bottom_of[found] = x1, y1, x2, y2
                area[found] = size
                if one_each:
                    voted[found] = 0
                if moving:
                    confidence[found] = 0.0
                    total[found] = 0.0
            if moving:
                # As ensemble-boxes does: sums of coordinates in float32, of scores in float64.
                confidence[found] += weighted[i]
                for c in range(4):
                    total[found, c] = np.float32(
                        np.float64(total[found, c]) + weighted[i] * box[i, c]
                    )
                sure = confidence[found]
                if not new and sure > 0.0:
                    x1 = np.float64(np.float32(np.float64(total[found, 0]) / sure))
                    y1 = np.float64(np.float32(np.float64(total[found, 1]) / sure))
                    x2 = np.float64(np.float32(np.float64(total[found, 2]) / sure))
                    y2 = np.float64(np.float32(np.float64(total[found, 3]) / sure))
                    left_of[found], top_of[found] = x1, y1
                    right_of[found], bottom_of[found] = x2, y2
                    area[found] = (x2 - x1) * (y2 - y1)
                    moved = True
            if one_each:
                voted[found, who >> 6] |= np.uint64(1) << np.uint64(who & 63)
            if gridded and moved:  # to where x1 to y2 are now
                place = cell((y1 + y2) * 0.5, top, per_y, rows) * columns
                place += cell((x1 + x2) * 0.5, left, per_x, columns)
                if new or near[found, 2] != place:
                    if not new:
                        _unlink(near, head, found)
                    _link(near, head, found, place)
            group[i] = count + found
        count += leaders
        group_of_run[r + 1] = count
    offsets = np.zeros(count + 1, np.int64)
    for i in range(n):
        offsets[group[i] + 1] += 1
    for k in range(count):
        offsets[k + 1] += offsets[k]
    free = offsets[:-1].copy()
    members = np.empty(n, np.int64)
    for i in range(n):
        members[free[group[i]]] = i
        free[group[i]] += 1
    return offsets, members, group_of_run


@njit(error_model="numpy")
def _preferred(much: float, g: int, most: float, found: int, threshold: float, first: bool) -> bool:
    if first:
        return much > threshold and (found < 0 or g < found)
    return much > most or (much == most and found > g)


@njit(error_model="numpy")
def _has_voted(voted: NDArray[np.uint64], g: int, who: int) -> bool:
    return bool((voted[g, who >> 6] >> np.uint64(who & 63)) & np.uint64(1) != np.uint64(0))


@njit(error_model="numpy")
def _link(near: NDArray[np.int64], head: NDArray[np.int64], g: int, place: int) -> None:
    """Put leader g at the head of a cell's list; near[g] is next, previous, cell."""
    after = head[place]
    near[g, 0], near[g, 1], near[g, 2] = after, -1, place
    if after >= 0:
        near[after, 1] = g
    head[place] = g


@njit(error_model="numpy")
def _unlink(near: NDArray[np.int64], head: NDArray[np.int64], g: int) -> None:
    after, before = near[g, 0], near[g, 1]
    if before >= 0:
        near[before, 0] = after
    else:
        head[near[g, 2]] = after
    if after >= 0:
        near[after, 1] = before
