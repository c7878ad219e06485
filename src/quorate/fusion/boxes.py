"""How a group becomes one box: its coordinates, score, category, votes and agreement."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.fusion.order import LEVELS, largest, sort_by_key
from quorate.fusion.overlap import overlap, sized

# Where the box comes from. The references' means add up coordinates in float32.
LEADER, MEAN, WBF_MEAN, NMW_MEAN, UNION = range(5)
# Where the score comes from; STRENGTH is the leader's, the others are WBF's confidence types.
STRENGTH, AVG, AVG_OVERFLOW, MAX, BOX_AND_MODEL, ABSENT_AWARE, VOTERS = range(7)
# Which category a group has whose members differ.
OF_LEADER, OF_MAJORITY = range(2)


@njit(error_model="numpy")
def merge_groups(
    offsets: NDArray[np.int64],
    members: NDArray[np.int64],
    group_of_run: NDArray[np.int64],
    run_slot: NDArray[np.int64],
    run_of_picture: NDArray[np.int64],
    xyxy: NDArray[np.floating],
    box: NDArray[np.float64],
    weighted: NDArray[np.float64],
    strength: NDArray[np.float64],
    row: NDArray[np.int64],
    voter: NDArray[np.int32],
    category: NDArray[np.int32],
    weights: NDArray[np.float64],
    from_box: int,
    from_score: int,
    from_category: int,
    min_votes: int,
    floor: float,
    capped: bool,
    undecayed: bool,
    by_category: bool,
    single: bool,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.floating],
    NDArray[np.floating],
    NDArray[np.int32],
    NDArray[np.int16],
    NDArray[np.floating],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """One box for each group with at least `min_votes` votes and a leader stronger than `floor`.

    Boxes `single` are rounded to float32. In a picture they are in the order of falling score,
    rising category, x1, y1, x2, y2 (the category first when `by_category`), equals in the order
    of their leaders. Returns kept_of_picture (p + 1,), fused (k, 4), score (k,), category (k,),
    votes (k,), agreement (k,), member_offsets (k + 1,) and member_rows, rows of the input; all
    that is not whole has the type of `xyxy`.
    """
    groups = len(offsets) - 1
    pictures = len(run_of_picture) - 1
    detectors = weights.shape[1]
    longest = 0
    for p in range(pictures):
        here = group_of_run[run_of_picture[p + 1]] - group_of_run[run_of_picture[p]]
        longest = max(longest, here)
    kept_of_picture = np.zeros(pictures + 1, np.int64)
    out_box, out_score = np.empty((groups, 4), xyxy.dtype), np.empty(groups, xyxy.dtype)
    out_category, out_votes = np.empty(groups, np.int32), np.empty(groups, np.int16)
    out_agreement = np.empty(groups, xyxy.dtype)
    member_offsets = np.zeros(groups + 1, np.int64)
    member_rows = np.empty(len(members), np.int64)
    fused, score = np.empty((longest, 4)), np.empty(longest)
    kind, votes = np.empty(longest, np.int64), np.empty(longest, np.int64)
    which = np.empty(longest, np.int64)
    tie = np.empty(longest, np.int32)
    key, spare_key = np.empty(longest, np.int64), np.empty(longest, np.int64)
    order, spare_order = np.empty(longest, np.int64), np.empty(longest, np.int64)
    seen = np.full(detectors, -1, np.int64)
    mark = 0
    sums, tops = np.empty(len(weights)), np.empty(len(weights))
    for slot in range(len(weights)):
        sums[slot] = _sum_as_numpy(weights[slot], detectors)
        tops[slot] = largest(weights, slot)
    part = np.empty(detectors)
    out = 0
    for p in range(pictures):
        n = 0
        highest = 0.0
        for r in range(run_of_picture[p], run_of_picture[p + 1]):
            slot = run_slot[r]
            for g in range(group_of_run[r], group_of_run[r + 1]):
                begin, end = offsets[g], offsets[g + 1]
                leader = members[begin]
                if strength[leader] <= floor:
                    continue
                mark += 1
                cast = 0
                total = weight = 0.0
                for k in range(begin, end):
                    i = members[k]
                    total += weighted[i]
                    weight += weights[slot, voter[i]]
                    # Without a branch, for whether it is the detector's first cannot be foreseen.
                    cast += seen[voter[i]] != mark
                    seen[voter[i]] = mark
                if cast < min_votes:
                    continue
                size = end - begin
                if from_score == STRENGTH:
                    value = weighted[leader] if undecayed else strength[leader]
                else:
                    model_weight = 0.0
                    if from_score in (BOX_AND_MODEL, ABSENT_AWARE):
                        # The weights of the models in the group, or of those absent from it.
                        models = 0
                        for d in range(detectors):
                            if (seen[d] == mark) == (from_score == BOX_AND_MODEL):
                                part[models] = weights[slot, d]
                                models += 1
                        model_weight = _sum_as_numpy(part, models)
                    value = _confidence(
                        from_score,
                        total,
                        weighted[leader],
                        size,
                        weight,
                        model_weight,
                        sums[slot],
                        tops[slot],
                        detectors,
                        from_box == WBF_MEAN,
                    )
                if capped:
                    value = min(value, 1.0)
                for c in range(4):
                    fused[n, c] = box[leader, c]
                # Most groups need no call, which would count references.
                if from_box != LEADER and (size > 1 or from_box == NMW_MEAN):
                    _merge_box(fused, n, members, begin, end, box, weighted, total, from_box)
                kind[n] = category[row[leader]]
                if from_category == OF_MAJORITY and size > 1:
                    kind[n], mark = _majority(
                        members, begin, end, row, voter, category, weighted, seen, mark
                    )
                if single:
                    value = np.float64(np.float32(value))
                    for c in range(4):
                        fused[n, c] = np.float64(np.float32(fused[n, c]))
                score[n], votes[n], which[n], tie[n], order[n] = value, cast, g, n, n
                highest = max(highest, value)
                n += 1
        levels = LEVELS / highest if highest > 0.0 else 0.0
        for k in range(n):
            key[k] = LEVELS - np.int64(score[k] * levels)
            if by_category:
                key[k] |= (kind[k] + 0x80000000) << 16
        sort_by_key(key, order, spare_key, spare_order, n, score, kind, fused, tie)
        for k in range(n):
            o = order[k]
            g = which[o]
            out_score[out], out_category[out], out_votes[out] = score[o], kind[o], votes[o]
            to = member_offsets[out]
            size = offsets[g + 1] - offsets[g]
            agreement = 0.0
            for m in range(offsets[g], offsets[g + 1]):
                i = members[m]
                member_rows[to] = row[i]
                to += 1
                if size > 1:
                    agreement += _iou(fused, o, box, i)
            for c in range(4):
                out_box[out, c] = fused[o, c]
            out_agreement[out] = agreement / size if size > 1 else 1.0
            out += 1
            member_offsets[out] = to
        kept_of_picture[p + 1] = out
    return (
        kept_of_picture,
        out_box[:out],
        out_score[:out],
        out_category[:out],
        out_votes[:out],
        out_agreement[:out],
        member_offsets[: out + 1],
        member_rows[: member_offsets[out]],
    )


@njit(error_model="numpy")
def _merge_box(
    fused: NDArray[np.float64],
    n: int,
    members: NDArray[np.int64],
    begin: int,
    end: int,
    box: NDArray[np.float64],
    weighted: NDArray[np.float64],
    total: float,
    from_box: int,
) -> None:
    """Write the box of a group to fused[n], its leader's; which stays where all scores are 0."""
    leader = members[begin]
    if from_box == UNION:
        for c in range(2):
            low, high = box[leader, c], box[leader, c + 2]
            for k in range(begin + 1, end):
                low, high = min(low, box[members[k], c]), max(high, box[members[k], c + 2])
            fused[n, c], fused[n, c + 2] = low, high
        return
    if from_box == NMW_MEAN:
        total = 0.0
        x1 = y1 = x2 = y2 = np.float32(0.0)
        for k in range(begin, end):
            i = members[k]
            pull = weighted[i] * _iou(box, i, box, leader)
            x1 = np.float32(np.float64(x1) + pull * box[i, 0])
            y1 = np.float32(np.float64(y1) + pull * box[i, 1])
            x2 = np.float32(np.float64(x2) + pull * box[i, 2])
            y2 = np.float32(np.float64(y2) + pull * box[i, 3])
            total += pull
        if total > 0.0:
            fused[n, 0] = np.float32(np.float64(x1) / total)
            fused[n, 1] = np.float32(np.float64(y1) / total)
            fused[n, 2] = np.float32(np.float64(x2) / total)
            fused[n, 3] = np.float32(np.float64(y2) / total)
        return
    if total <= 0.0:
        return
    if from_box == WBF_MEAN:
        x1 = y1 = x2 = y2 = np.float32(0.0)
        for k in range(begin, end):
            i = members[k]
            pull = weighted[i]
            x1 = np.float32(np.float64(x1) + pull * box[i, 0])
            y1 = np.float32(np.float64(y1) + pull * box[i, 1])
            x2 = np.float32(np.float64(x2) + pull * box[i, 2])
            y2 = np.float32(np.float64(y2) + pull * box[i, 3])
        fused[n, 0] = np.float32(np.float64(x1) / total)
        fused[n, 1] = np.float32(np.float64(y1) / total)
        fused[n, 2] = np.float32(np.float64(x2) / total)
        fused[n, 3] = np.float32(np.float64(y2) / total)
        return
    left = top = right = bottom = 0.0
    for k in range(begin, end):
        i = members[k]
        pull = weighted[i]
        left += pull * box[i, 0]
        top += pull * box[i, 1]
        right += pull * box[i, 2]
        bottom += pull * box[i, 3]
    fused[n, 0], fused[n, 1] = left / total, top / total
    fused[n, 2], fused[n, 3] = right / total, bottom / total


@njit(error_model="numpy")
def _iou(a: NDArray[np.float64], i: int, b: NDArray[np.float64], j: int) -> float:
    return float(overlap(sized(a, i), sized(b, j), False))


@njit(error_model="numpy")
def _confidence(
    from_score: int,
    total: float,
    top: float,
    size: int,
    weight: float,
    model_weight: float,
    all_weights: float,
    top_weight: float,
    detectors: int,
    rounded: bool,
) -> float:
    """The score of a group by one of WBF's confidence types, in ensemble-boxes' order of steps.

    A group of several has its mean and its weight `rounded` to float32, as there.
    """
    if from_score == VOTERS:
        return total / weight
    mean = top if from_score == MAX else total / size
    if size == 1:
        mean = top
    elif rounded:
        mean = np.float64(np.float32(mean))
        weight = np.float64(np.float32(weight))
    if from_score == MAX:
        return mean / top_weight
    if from_score == AVG:
        return mean * min(detectors, size) / all_weights
    if from_score == AVG_OVERFLOW:
        return mean * size / all_weights
    if from_score == BOX_AND_MODEL:
        return mean * size / weight * model_weight / all_weights
    return mean * size / (weight + model_weight)


@njit(error_model="numpy")
def _majority(
    members: NDArray[np.int64],
    begin: int,
    end: int,
    row: NDArray[np.int64],
    voter: NDArray[np.int32],
    category: NDArray[np.int32],
    weighted: NDArray[np.float64],
    seen: NDArray[np.int64],
    mark: int,
) -> tuple[int, int]:
    """The category most detectors of a group name; then the higher sum of scores, the lower id."""
    best, best_votes, best_total = 0, 0, 0.0
    for k in range(begin, end):
        kind = int(category[row[members[k]]])
        new = True
        for earlier in range(begin, k):
            if category[row[members[earlier]]] == kind:
                new = False
                break
        if not new:
            continue
        mark += 1
        cast = 0
        total = 0.0
        for other in range(k, end):
            i = members[other]
            if category[row[i]] == kind:
                total += weighted[i]
                if seen[voter[i]] != mark:
                    seen[voter[i]] = mark
                    cast += 1
        if (
            cast > best_votes
            or (cast == best_votes and total > best_total)
            or (cast == best_votes and total == best_total and kind < best)
        ):
            best, best_votes, best_total = kind, cast, total
    return best, mark


@njit(error_model="numpy")
def _sum_as_numpy(values: NDArray[np.float64], size: int) -> float:
    """The sum of values[:size] in the order in which numpy adds up to 128 values of float64.

    From eight values on that is eight interleaved partial sums (pairwise summation); the last
    bit of ensemble-boxes' scores hangs on it.
    """
    total: float = 0.0
    if size < 8:
        for k in range(size):
            total += values[k]
        return float(total)
    part = values[:8].copy()
    full = size - size % 8
    for k in range(8, full):
        part[k % 8] += values[k]
    total += ((part[0] + part[1]) + (part[2] + part[3])) + (
        (part[4] + part[5]) + (part[6] + part[7])
    )
    for k in range(full, size):
        total += values[k]
    return float(total)
