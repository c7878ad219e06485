"""The mask of a group of boxes, by its members' masks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.columns import Offsets
from quorate.compiled import kernel
from quorate.errors import InputError
from quorate.masks.value import Masks, writeable
from quorate.workers import in_threads

MaskRule = Literal["majority", "union", "intersection", "best"]
MAJORITY, UNION, INTERSECTION, BEST = range(4)
HOW = {"majority": MAJORITY, "union": UNION, "intersection": INTERSECTION, "best": BEST}
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
    groups = len(group) - 1
    owner = np.repeat(np.arange(groups), np.diff(group))
    there = masks.there[rows]
    size = np.zeros((groups, 2), np.int32)
    size[owner[there]] = masks.size[rows[there]]
    strange = there & (masks.size[rows] != size[owner]).any(axis=1)
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
        columns = merge(
            group[a : b + 1] - begin,
            rows[begin:end],
            offsets,
            flat,
            votes[begin:end],
            sure[begin:end],
            HOW[how],
        )
        return Masks(*columns, size[a:b])

    ranges = [(a, min(a + MASKS_AT_ONCE, groups)) for a in range(0, groups, MASKS_AT_ONCE)]
    return Masks.concat(in_threads(part, ranges, threads))


@kernel
def merge(
    group: Offsets,
    rows: NDArray[np.int64],
    offsets: Offsets,
    runs: NDArray[np.uint32],
    votes: NDArray[np.float64],
    sure: NDArray[np.float64],
    how: int,
) -> tuple[Offsets, NDArray[np.uint32]]:
    """One mask of each group of masks: the offsets, the runs.

    Group g is `rows[group[g]:group[g + 1]]`, all of one size; those without a mask take no part,
    and a group without any has none. `votes` and `sure`, one for each of `rows`, count for the
    majority: a pixel is in where the members that cover it have more votes than those that do
    not, or as many and are surer in sum.
    """
    groups = len(group) - 1
    room = 0
    most = 0
    for g in range(groups):
        most = max(most, group[g + 1] - group[g])
        for r in range(group[g], group[g + 1]):
            room += offsets[rows[r] + 1] - offsets[rows[r]] + 1
    out = np.empty(room, np.uint32)
    out_offsets = np.zeros(groups + 1, np.int64)
    member = np.empty(most, np.int64)  # its place in `rows`
    at = np.empty(most, np.int64)  # its next run
    until = np.empty(most, np.int64)  # the pixel at which its present run ends
    covers = np.empty(most, np.bool_)
    size = 0
    for g in range(groups):
        count = 0
        for r in range(group[g], group[g + 1]):
            begin, end = offsets[rows[r]], offsets[rows[r] + 1]
            if end > begin:
                member[count], at[count], until[count] = r, begin + 1, int(np.int64(runs[begin]))
                covers[count] = False
                count += 1
        if count == 0:
            out_offsets[g + 1] = size
            continue
        if count == 1 or how == BEST:
            row = rows[member[0]]
            for k in range(offsets[row], offsets[row + 1]):
                out[size] = runs[k]
                size += 1
            out_offsets[g + 1] = size
            continue
        inside = False
        begun = pixel = 0
        while True:
            # To where some member's run ends; whose it is, and how all stand from there on.
            nearest = until[0]
            for m in range(1, count):
                nearest = min(nearest, until[m])
            pixel = nearest
            ended = 0
            for m in range(count):
                last = offsets[rows[member[m]] + 1]
                while until[m] == pixel and at[m] < last:
                    until[m] += int(np.int64(runs[at[m]]))
                    at[m] += 1
                    covers[m] = not covers[m]
                ended += until[m] == pixel
            if ended:
                break
            now = _decided(covers, member, count, votes, sure, how)
            if now != inside:
                out[size] = pixel - begun
                size += 1
                begun = pixel
                inside = now
        out[size] = pixel - begun
        size += 1
        out_offsets[g + 1] = size
    return out_offsets, out[:size].copy()


@njit(error_model="numpy")
def _decided(
    covers: NDArray[np.bool_],
    member: NDArray[np.int64],
    count: int,
    votes: NDArray[np.float64],
    sure: NDArray[np.float64],
    how: int,
) -> bool:
    """Whether a pixel is in, by which members cover it."""
    if how == UNION:
        for m in range(count):  # noqa: SIM110  numba has no generators within functions
            if covers[m]:
                return True
        return False
    if how == INTERSECTION:
        for m in range(count):  # noqa: SIM110  likewise
            if not covers[m]:
                return False
        return True
    ours = theirs = our_score = their_score = 0.0
    for m in range(count):
        r = member[m]
        if covers[m]:
            ours += votes[r]
            our_score += sure[r]
        else:
            theirs += votes[r]
            their_score += sure[r]
    return ours > theirs or (ours == theirs and our_score > their_score)
