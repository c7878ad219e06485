"""Kernels on run lengths: from bitmaps and back, area, enclosing box, merging, overlap.

Runs go down the columns of the picture, zeros first, as COCO's do. Nothing here unrolls a
picture, save `encode` and `decode`, which are asked to.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.compiled import kernel

Runs = NDArray[np.uint32]
Offsets = NDArray[np.int64]
Ints = NDArray[np.int64]

MAJORITY, UNION, INTERSECTION, BEST = range(4)
"""How several masks become one; BEST is the first that is there."""


@kernel
def encode(bitmaps: NDArray[np.bool_]) -> tuple[Offsets, Runs]:
    """(n, h, w) -> the runs of each."""
    count, height, width = bitmaps.shape
    offsets = np.zeros(count + 1, np.int64)
    for i in range(count):
        runs = 1
        now = False
        for x in range(width):
            for y in range(height):
                if bitmaps[i, y, x] != now:
                    now = not now
                    runs += 1
        offsets[i + 1] = offsets[i] + runs
    out = np.empty(offsets[count], np.uint32)
    for i in range(count):
        at = offsets[i]
        now = False
        length = 0
        for x in range(width):
            for y in range(height):
                if bitmaps[i, y, x] != now:
                    out[at] = length
                    at += 1
                    length = 0
                    now = not now
                length += 1
        out[at] = length
    return offsets, out


@kernel
def decode(
    runs: Runs, height: int, left: int, top: int, right: int, bottom: int
) -> NDArray[np.bool_]:
    """One mask -> (bottom - top, right - left): the part of it within a window."""
    return unrolled(runs, height, left, top, right, bottom)


@njit(error_model="numpy")
def unrolled(
    runs: Runs, height: int, left: int, top: int, right: int, bottom: int
) -> NDArray[np.bool_]:
    """What `decode` does, for other kernels: those that are loaded cannot call each other."""
    out = np.zeros((bottom - top, right - left), np.bool_)
    at = 0
    for k in range(len(runs)):
        length = int(np.int64(runs[k]))
        if k & 1 and length > 0:
            _fill(out, at, at + length, height, left, top, right, bottom)
        at += length
    return out


@njit(error_model="numpy")
def _fill(
    out: NDArray[np.bool_],
    begin: int,
    end: int,
    height: int,
    left: int,
    top: int,
    right: int,
    bottom: int,
) -> None:
    """Set what pixels `begin` to `end` of the picture have in the window."""
    for x in range(max(begin // height, left), min((end - 1) // height + 1, right)):
        low = max(begin - x * height, top)
        high = min(end - x * height, bottom)
        for y in range(low, high):
            out[y - top, x - left] = True


@kernel
def measure(offsets: Offsets, runs: Runs, size: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Area (n,), and (n, 4) the box x1, y1, x2, y2 that encloses each; zeros where it is empty."""
    count = len(offsets) - 1
    area = np.zeros(count, np.int64)
    box = np.zeros((count, 4), np.int64)
    for i in range(count):
        height = int(np.int64(size[i, 0]))
        at = 0
        x1 = y1 = x2 = y2 = 0
        for k in range(offsets[i], offsets[i + 1]):
            length = int(np.int64(runs[k]))
            if (k - offsets[i]) & 1 and length > 0:
                last = at + length - 1
                first_column, last_column = at // height, last // height
                low, high = at % height, last % height
                if first_column != last_column:
                    low, high = 0, height - 1
                if area[i] == 0:
                    x1, y1, x2, y2 = first_column, low, last_column + 1, high + 1
                else:
                    y1, x2, y2 = min(y1, low), last_column + 1, max(y2, high + 1)
                area[i] += length
            at += length
        box[i, 0], box[i, 1], box[i, 2], box[i, 3] = x1, y1, x2, y2
    return area, box


@kernel
def sound(offsets: Offsets, runs: Runs, size: NDArray[np.int32]) -> int:
    """The first row whose runs do not cover its size exactly; -1 where all do or have none."""
    for i in range(len(offsets) - 1):
        if offsets[i] == offsets[i + 1]:
            continue
        total = 0
        for k in range(offsets[i], offsets[i + 1]):
            total += int(np.int64(runs[k]))
        if size[i, 0] < 0 or size[i, 1] < 0 or total != int(np.int64(size[i, 0])) * size[i, 1]:
            return i
    return -1


@kernel
def digests(offsets: Offsets, runs: Runs) -> NDArray[np.uint64]:
    """(n,) A number for each mask, the same for the same runs (FNV-1a)."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(offsets) - 1):
        code = np.uint64(14695981039346656037)
        for k in range(offsets[i], offsets[i + 1]):
            code = (code ^ np.uint64(runs[k])) * np.uint64(1099511628211)
        out[i] = code
    return out


@kernel
def merge(
    group: Offsets,
    rows: Ints,
    offsets: Offsets,
    runs: Runs,
    votes: NDArray[np.float64],
    sure: NDArray[np.float64],
    how: int,
) -> tuple[int, Offsets, Runs]:
    """One mask of each group of masks: a bad group or -1, the offsets, the runs.

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
        for m in range(count):
            last = offsets[rows[member[m]] + 1]
            if until[m] != pixel or at[m] != last:
                return g, out_offsets, out[:size]
    return -1, out_offsets, out[:size].copy()


@njit(error_model="numpy")
def _decided(
    covers: NDArray[np.bool_],
    member: Ints,
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


@kernel
def overlaps(
    offsets: Offsets,
    runs: Runs,
    other_offsets: Offsets,
    other_runs: Runs,
    crowd: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(n, m) IoU of masks of one picture; with a crowd, intersection over the first's area."""
    n, m = len(offsets) - 1, len(other_offsets) - 1
    out = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            shared, mine, theirs = _shared(
                runs[offsets[i] : offsets[i + 1]],
                other_runs[other_offsets[j] : other_offsets[j + 1]],
            )
            whole = mine if crowd[j] else mine + theirs - shared
            if shared > 0:
                out[i, j] = shared / whole
    return out


@njit(error_model="numpy")
def _shared(runs: Runs, others: Runs) -> tuple[int, int, int]:
    """Pixels that both masks cover, that the first covers, that the second covers."""
    shared = mine = theirs = 0
    a = b = -1
    left = right = 0
    while True:
        while left == 0 and a + 1 < len(runs):
            a += 1
            left = int(np.int64(runs[a]))
            mine += left * (a & 1)
        while right == 0 and b + 1 < len(others):
            b += 1
            right = int(np.int64(others[b]))
            theirs += right * (b & 1)
        if left == 0 or right == 0:
            break
        step = min(left, right)
        shared += step * (a & 1) * (b & 1)
        left -= step
        right -= step
    while a + 1 < len(runs):
        a += 1
        mine += int(np.int64(runs[a])) * (a & 1)
    while b + 1 < len(others):
        b += 1
        theirs += int(np.int64(others[b])) * (b & 1)
    return shared, mine, theirs


@kernel
def moved(
    offsets: Offsets,
    runs: Runs,
    size: NDArray[np.int32],
    left: Ints,
    top: Ints,
    height: int,
    width: int,
) -> tuple[Offsets, Runs]:
    """Masks of windows as masks of the picture that the windows lie in, at `left` and `top`."""
    count = len(offsets) - 1
    room = 0
    for i in range(count):
        if offsets[i + 1] > offsets[i]:  # a run over several columns falls apart into as many
            room += offsets[i + 1] - offsets[i] + 2 * int(np.int64(size[i, 1])) + 4
    out = np.empty(room, np.uint32)
    out_offsets = np.zeros(count + 1, np.int64)
    at = 0
    for i in range(count):
        if offsets[i + 1] == offsets[i]:
            out_offsets[i + 1] = at
            continue
        first = at
        done = 0  # pixels that are written
        pixel = 0
        rows = int(np.int64(size[i, 0]))
        for k in range(offsets[i], offsets[i + 1]):
            end = pixel + int(np.int64(runs[k]))
            if (k - offsets[i]) & 1:
                while pixel < end:
                    column, row = pixel // rows, pixel % rows
                    length = min(end - pixel, rows - row)
                    start = (left[i] + column) * height + top[i] + row
                    if start == done and at > first:
                        out[at - 1] += length
                    else:
                        out[at] = start - done
                        out[at + 1] = length
                        at += 2
                    done = start + length
                    pixel += length
            pixel = end
        if done < height * width or at == first:
            out[at] = height * width - done
            at += 1
        out_offsets[i + 1] = at
    return out_offsets, out[:at].copy()
