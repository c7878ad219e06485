"""How a group becomes one box: its coordinates, score, category, votes and agreement."""

from __future__ import annotations

import numpy as np
from numba import njit

from quorate.compiled import kernel
from quorate.fusion.columns import (
    AGNOSTIC,
    AGREEMENT,
    CAPPED,
    CATEGORY,
    FLOOR,
    FROM_BOX,
    FROM_CATEGORY,
    FROM_SCORE,
    GROUP,
    MEMBER,
    MIN_VOTES,
    PICTURE,
    ROW,
    SCORE,
    SINGLE,
    SLOT,
    START,
    STRENGTH,
    TIE,
    TOP,
    TOTAL,
    UNDECAYED,
    VOTES,
    WEIGHT,
    X1,
    X2,
    Y1,
    Y2,
    Floats,
    Ints,
)
from quorate.fusion.order import ORDER, sort_picture
from quorate.fusion.overlap import overlap

# Where the box comes from. The references' means add up coordinates in float32.
LEADER, MEAN, WBF_MEAN, NMW_MEAN, UNION = range(5)
# Where the score comes from; of the leader, or one of WBF's confidence types.
OF_BEST, AVG, AVG_OVERFLOW, MAX, BOX_AND_MODEL, ABSENT_AWARE, VOTERS = range(7)
# Which category a group has whose members differ.
OF_LEADER, OF_MAJORITY = range(2)


@kernel
def merge_groups(
    box: Floats,
    tag: Ints,
    groups: Ints,
    numbers: Floats,
    rule: Floats,
    fused: Floats,
    fused_tag: Ints,
) -> int:
    """One box for each group with enough votes and a leader stronger than the FLOOR.

    Groups are as many as `fused` and `fused_tag` have rows; these are filled in the order of the
    groups. Returns how many were. Boxes are rounded to float32 where the rule is SINGLE.
    """
    from_box, from_score = int(rule[FROM_BOX]), int(rule[FROM_SCORE])
    majority, agnostic = rule[FROM_CATEGORY] == OF_MAJORITY, rule[AGNOSTIC] != 0.0
    single, rounded = rule[SINGLE] != 0.0, from_box == WBF_MEAN
    detectors = numbers.shape[1] - WEIGHT
    seen = np.empty(detectors, np.int64)
    for d in range(detectors):
        seen[d] = -1
    mark = 0
    out = 0
    for g in range(len(fused)):
        begin, end = groups[START, g], groups[START, g + 1]
        leader = groups[MEMBER, begin]
        if box[leader, STRENGTH] <= rule[FLOOR]:
            continue
        slot = 0 if agnostic else tag[leader, SLOT]
        size = end - begin
        mark += 1
        votes = 0
        total = weight = 0.0
        for k in range(begin, end):
            i = groups[MEMBER, k]
            total += box[i, SCORE]
            weight += numbers[slot, WEIGHT + tag[i, TIE]]
            # Without a branch, for whether it is the detector's first cannot be foreseen.
            votes += seen[tag[i, TIE]] != mark
            seen[tag[i, TIE]] = mark
        if votes < rule[MIN_VOTES]:
            continue
        if from_score == OF_BEST:
            value = box[leader, SCORE if rule[UNDECAYED] != 0.0 else STRENGTH]
        elif from_score == VOTERS:
            value = total / weight
        else:  # WBF's confidence types, in ensemble-boxes' order of steps
            all_weights = numbers[slot, TOTAL]
            value = box[leader, SCORE]
            if size > 1:
                if from_score != MAX:
                    value = total / size
                if rounded:
                    value, weight = np.float64(np.float32(value)), np.float64(np.float32(weight))
            if from_score == MAX:
                value = value / numbers[slot, TOP]
            elif from_score == AVG:
                value = value * min(detectors, size) / all_weights
            elif from_score == AVG_OVERFLOW:
                value = value * size / all_weights
            else:
                models = _weight_of(seen, mark, from_score == BOX_AND_MODEL, numbers, slot)
                if from_score == BOX_AND_MODEL:
                    value = value * size / weight * models / all_weights
                else:
                    value = value * size / (weight + models)
        if rule[CAPPED] != 0.0:
            value = min(value, 1.0)
        x1, y1, x2, y2 = box[leader, X1], box[leader, Y1], box[leader, X2], box[leader, Y2]
        leading = x1, y1, x2, y2, (x2 - x1) * (y2 - y1)
        if from_box == UNION:
            for k in range(begin + 1, end):
                i = groups[MEMBER, k]
                x1, y1 = min(x1, box[i, X1]), min(y1, box[i, Y1])
                x2, y2 = max(x2, box[i, X2]), max(y2, box[i, Y2])
        elif from_box == NMW_MEAN or (from_box != LEADER and size > 1):
            pulls = left = top = right = bottom = 0.0
            for k in range(begin, end):
                i = groups[MEMBER, k]
                a, b, c, d = box[i, X1], box[i, Y1], box[i, X2], box[i, Y2]
                pull = box[i, SCORE]
                if from_box == NMW_MEAN:
                    pull *= overlap((a, b, c, d, (c - a) * (d - b)), leading, False)
                pulls += pull
                left, top = left + pull * a, top + pull * b
                right, bottom = right + pull * c, bottom + pull * d
                if from_box != MEAN:
                    left, top = np.float64(np.float32(left)), np.float64(np.float32(top))
                    right, bottom = np.float64(np.float32(right)), np.float64(np.float32(bottom))
            if pulls > 0.0:  # where all scores are 0 the leader's box stays
                x1, y1, x2, y2 = left / pulls, top / pulls, right / pulls, bottom / pulls
                if from_box != MEAN:
                    x1, y1 = np.float64(np.float32(x1)), np.float64(np.float32(y1))
                    x2, y2 = np.float64(np.float32(x2)), np.float64(np.float32(y2))
        if single:
            value = np.float64(np.float32(value))
            x1, y1 = np.float64(np.float32(x1)), np.float64(np.float32(y1))
            x2, y2 = np.float64(np.float32(x2)), np.float64(np.float32(y2))
        agreement = 1.0
        if size > 1:
            agreement = 0.0
            whole = x1, y1, x2, y2, (x2 - x1) * (y2 - y1)
            for k in range(begin, end):
                i = groups[MEMBER, k]
                a, b, c, d = box[i, X1], box[i, Y1], box[i, X2], box[i, Y2]
                agreement += overlap(whole, (a, b, c, d, (c - a) * (d - b)), False)
            agreement /= size
        category = tag[leader, CATEGORY]
        if majority and size > 1:
            category, mark = _majority(box, tag, groups, g, seen, mark)
        fused[out, X1], fused[out, Y1], fused[out, X2], fused[out, Y2] = x1, y1, x2, y2
        fused[out, SCORE], fused[out, AGREEMENT] = value, agreement
        fused_tag[out, PICTURE], fused_tag[out, CATEGORY] = tag[leader, PICTURE], category
        fused_tag[out, TIE], fused_tag[out, VOTES], fused_tag[out, GROUP] = out, votes, g
        out += 1
    return out


@kernel
def order_fused(
    fused: Floats,
    fused_tag: Ints,
    tag: Ints,
    groups: Ints,
    by_category: bool,
    order: Ints,
    offsets: Ints,
    rows: Ints,
) -> None:
    """Sort fused boxes, in each picture by category first if `by_category`, and list members.

    Fills `order`, and `offsets` and `rows` with the members' rows of the input in that order.
    """
    n = len(fused)
    work = np.empty((5, n + 256), np.int64)
    begin = to = 0
    offsets[0] = 0
    while begin < n:
        end = begin
        while end < n and fused_tag[end, PICTURE] == fused_tag[begin, PICTURE]:
            end += 1
        sort_picture(fused, fused_tag, begin, end, by_category, work)
        for k in range(begin, end):
            i = work[ORDER, k - begin]
            order[k] = i
            g = fused_tag[i, GROUP]
            for m in range(groups[START, g], groups[START, g + 1]):
                rows[to] = tag[groups[MEMBER, m], ROW]
                to += 1
            offsets[k + 1] = to
        begin = end


@njit(error_model="numpy")
def _majority(
    box: Floats, tag: Ints, groups: Ints, g: int, seen: Ints, mark: int
) -> tuple[int, int]:
    """The category most detectors of a group name; then the higher sum of scores, the lower id."""
    begin, end = groups[START, g], groups[START, g + 1]
    best, best_votes, best_total = 0, 0, 0.0
    for k in range(begin, end):
        category = tag[groups[MEMBER, k], CATEGORY]
        mark += 1
        votes = 0
        total = 0.0
        for other in range(begin, end):
            i = groups[MEMBER, other]
            if tag[i, CATEGORY] == category:
                if other < k:  # it was looked at already
                    votes = -1
                    break
                total += box[i, SCORE]
                votes += seen[tag[i, TIE]] != mark
                seen[tag[i, TIE]] = mark
        if (
            votes > best_votes
            or (votes == best_votes and total > best_total)
            or (votes == best_votes and total == best_total and category < best)
        ):
            best, best_votes, best_total = category, votes, total
    return best, mark


@njit(error_model="numpy")
def _weight_of(seen: Ints, mark: int, present: bool, numbers: Floats, slot: int) -> float:
    """The weights of the detectors in a group, or of those absent from it, added up.

    In the order in which numpy adds up to 128 values of float64, for the last bit of
    ensemble-boxes' scores hangs on it: from eight on in eight interleaved sums.
    """
    values = np.empty(len(seen))
    count = full = 0
    for d in range(len(seen)):
        if (seen[d] == mark) == present:
            values[count] = numbers[slot, WEIGHT + d]
            count += 1
    total = 0.0
    if count >= 8:
        full = count - count % 8
        for k in range(8, full):
            values[k % 8] += values[k]
        total = ((values[0] + values[1]) + (values[2] + values[3])) + (
            (values[4] + values[5]) + (values[6] + values[7])
        )
    for k in range(full, count):
        total += values[k]
    return total
