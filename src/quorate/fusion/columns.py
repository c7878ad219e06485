"""The columns that fusion reads and writes, and the tables that its kernels share.

In a range of pictures boxes are rows of two tables, contiguous and in memory of their own:

    box  float64  (n, 6)  the columns X1, Y1, X2, Y2, SCORE, STRENGTH
    tag  int64    (n, 5)  the columns PICTURE, CATEGORY, TIE, SLOT, ROW

SCORE is the score times the detector's weight, STRENGTH what soft-NMS leaves of it. TIE is the
detector's place by name, SLOT the row of the numbers for the category, ROW the row of the input.
A fused box has its AGREEMENT instead of a strength, and instead of the others the rank of its
group's leader (TIE), its VOTES and its GROUP.

    groups   int64    (2, n + 1)      group g is groups[MEMBER, groups[START, g]:groups[START,
                                      g + 1]], rows of `box`, the leader first
    numbers  float64  (1 + s, 5 + m)  what may differ between categories, see `rules.numbers_of`:
                                      OF, IOU, LEAST, TOTAL, TOP, and from WEIGHT on one weight
                                      for each detector
    rule     float64  (15,)           the fields of `rules.Rule`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.columns import concat_offsets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

X1, Y1, X2, Y2, SCORE, STRENGTH = range(6)
PICTURE, CATEGORY, TIE, SLOT, ROW = range(5)
AGREEMENT, VOTES, GROUP = STRENGTH, SLOT, ROW
MEMBER, START = range(2)
OF, IOU, LEAST, TOTAL, TOP, WEIGHT = range(6)
(FROM_BOX, FROM_SCORE, FROM_CATEGORY, MIN_VOTES, MOVING, ONE_EACH, FIRST, SMALLER) = range(8)
(AGNOSTIC, GAUSSIAN, SIGMA, FLOOR, UNDECAYED, CAPPED, SINGLE) = range(8, 15)


@dataclass(frozen=True, slots=True)
class Columns:
    """Boxes of all detectors, and which of them belong to which picture.

    xyxy      float   (n, 4)
    score     float   (n,)
    category  int32   (n,)
    detector  int16   (n,)
    identity  int64   (m,)     the place by name of each detector
    offsets   int64   (p + 1,)
    rows      int64   (n,)     picture k has rows[offsets[k]:offsets[k + 1]]
    """

    xyxy: NDArray[Any]
    score: NDArray[Any]
    category: NDArray[np.int32]
    detector: NDArray[np.int16]
    identity: Ints
    offsets: Ints
    rows: Ints


@dataclass(frozen=True, slots=True)
class Fused:
    """Fused boxes of consecutive pictures.

    kept            int64    (p,)      how many boxes each picture has
    xyxy            float    (k, 4)
    score           float    (k,)
    category        int32    (k,)
    votes           int16    (k,)
    agreement       float    (k,)      mean IoU of the members with the box
    member_offsets  int64    (k + 1,)
    member_rows     int64    (l,)      rows of the input
    """

    kept: Ints
    xyxy: NDArray[Any]
    score: NDArray[Any]
    category: NDArray[np.int32]
    votes: NDArray[np.int16]
    agreement: NDArray[Any]
    member_offsets: Ints
    member_rows: Ints

    @classmethod
    def concat(cls, parts: Sequence[Fused]) -> Fused:
        """The boxes of ranges of pictures as those of one range."""
        if len(parts) == 1:
            return parts[0]
        names = ("kept", "xyxy", "score", "category", "votes", "agreement", "member_rows")
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
            member_offsets=concat_offsets([part.member_offsets for part in parts]),
        )
