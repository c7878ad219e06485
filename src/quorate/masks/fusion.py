"""The mask of a group of boxes, by its members' masks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.errors import InputError
from quorate.masks import runs
from quorate.masks.value import Masks, writeable

MaskRule = Literal["majority", "union", "intersection", "best"]
HOW = {
    "majority": runs.MAJORITY,
    "union": runs.UNION,
    "intersection": runs.INTERSECTION,
    "best": runs.BEST,
}
MASKS_AT_ONCE = 1 << 14


def merged(
    masks: Masks,
    group: Offsets,
    rows: NDArray[np.int64],
    how: MaskRule,
    *,
    votes: NDArray[np.float64] | None = None,
    sure: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> Masks:
    """One mask of each group; group g is `rows[group[g]:group[g + 1]]`, its best member first.

    Nothing is unrolled: the work is that of the runs, not of the pixels.

    Args:
        masks: those of all members; a member without one takes no part.
        group: (g + 1,) offsets.
        rows: (m,) rows of `masks`, in an order that does not depend on who came first.
        how: `majority` takes a pixel that members with more votes cover than not, and where
            these are as many, one that the surer half covers; `best` takes the first member's.
        votes: (m,) what each of `rows` counts; 1 by default.
        sure: (m,) how sure each is, to settle an even split; 0 by default.
        threads: how many work at once; by default as many as there are cores for this process.

    Raises InputError where the masks of a group are not of one size.
    """
    offsets, flat = masks.columns()
    group, rows = writeable(group), writeable(rows)
    votes = np.ones(len(rows)) if votes is None else writeable(votes)
    sure = np.zeros(len(rows)) if sure is None else writeable(sure)
    first = np.zeros(len(group) - 1, np.int64)
    filled = np.flatnonzero(np.diff(group))
    there = masks.there
    first[filled] = np.maximum.reduceat(np.where(there[rows], rows, -1), group[filled])
    first[np.diff(group) == 0] = -1
    size = np.zeros((len(first), 2), np.int32)
    size[first >= 0] = masks.size[first[first >= 0]]
    owner = np.repeat(np.arange(len(first)), np.diff(group))
    strange = there[rows] & (masks.size[rows] != size[owner]).any(axis=1)
    if strange.any():
        row = int(np.argmax(strange))
        (h, w), (height, width) = masks.size[rows[row]].tolist(), size[owner[row]].tolist()
        raise InputError(
            f"The masks of one object are of pictures of {w}x{h} and of {width}x{height} pixels.",
            hint="a mask covers the whole picture, at its own size",
        )

    def part(bounds: tuple[int, int]) -> Masks:
        a, b = bounds
        begin, end = int(group[a]), int(group[b])
        _, merged_offsets, merged_runs = runs.merge(
            group[a : b + 1] - begin,
            rows[begin:end],
            offsets,
            flat,
            votes[begin:end],
            sure[begin:end],
            HOW[how],
        )
        return Masks(merged_offsets, merged_runs, size[a:b])

    groups = len(first)
    ranges = [(a, min(a + MASKS_AT_ONCE, groups)) for a in range(0, groups, MASKS_AT_ONCE)]
    workers = min(threads or len(os.sched_getaffinity(0)), len(ranges))
    if workers <= 1:
        return Masks.concat([part(bounds) for bounds in ranges])
    with ThreadPoolExecutor(workers) as pool:
        return Masks.concat(list(pool.map(part, ranges)))
