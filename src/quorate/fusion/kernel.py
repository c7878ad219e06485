"""The one compiled call for a range of pictures: order, groups or decay, boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import drop_stale_code, kernel
from quorate.fusion.boxes import merge_groups
from quorate.fusion.decay import decay_scores
from quorate.fusion.groups import form_groups
from quorate.fusion.order import sort_boxes


@kernel
def fuse_pictures(
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
    iou: NDArray[np.float64],
    min_score: NDArray[np.float64],
    weights: NDArray[np.float64],
    from_box: int,
    from_score: int,
    moving: bool,
    one_each: bool,
    earliest: bool,
    smaller: bool,
    agnostic: bool,
    from_category: int,
    min_votes: int,
    decays: bool,
    gaussian: bool,
    sigma: float,
    floor: float,
    undecayed: bool,
    capped: bool,
    by_category: bool,
    single: bool,
) -> tuple[
    int,
    NDArray[np.int64],
    NDArray[np.floating],
    NDArray[np.floating],
    NDArray[np.int32],
    NDArray[np.int16],
    NDArray[np.floating],
    NDArray[np.int64],
    NDArray[np.int64],
]:
    """Fuse the pictures `first` to `last`.

    Takes the columns of `order.sort_boxes`, the fields of `rules.Tables` and of `rules.Rule`;
    returns the first bad row or -1 as the former does, then what `boxes.merge_groups` returns.
    """
    bad, box, weighted, row, voter, run_start, run_slot, run_of_picture = sort_boxes(
        rows,
        offsets,
        first,
        last,
        xyxy,
        score,
        category,
        detector,
        identity,
        special,
        weights,
        min_score,
        agnostic,
    )
    if bad >= 0:  # nothing is to be fused then
        box, weighted, run_start, run_of_picture = box[:0], weighted[:0], run_start[:1], row[:1]
        run_start[0] = run_of_picture[0] = 0
    if decays:
        strength = decay_scores(
            box, weighted, run_start, run_slot, iou, gaussian, sigma, floor, smaller
        )
        group_offsets = np.arange(len(box) + 1)
        members, group_of_run = np.arange(len(box)), run_start
    else:
        strength = weighted
        group_offsets, members, group_of_run = form_groups(
            box,
            weighted,
            voter,
            run_start,
            run_slot,
            iou,
            weights.shape[1],
            moving,
            one_each,
            earliest,
            smaller,
        )
    kept, fused, value, kind, votes, agreement, member_offsets, member_rows = merge_groups(
        group_offsets,
        members,
        group_of_run,
        run_slot,
        run_of_picture,
        xyxy,
        box,
        weighted,
        strength,
        row,
        voter,
        category,
        weights,
        from_box,
        from_score,
        from_category,
        min_votes,
        floor,
        capped,
        undecayed,
        by_category,
        single,
    )
    return bad, kept, fused, value, kind, votes, agreement, member_offsets, member_rows


drop_stale_code(__file__)
