"""What comes out of any network: numbers checked, then boxes clipped, ordered and limited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.base import Boxes
from quorate.errors import DetectorError

ROUNDING = 1e-3
"""How far above 1 a score may be; half precision and sums do that, and it then counts as 1."""


def check(
    xyxy: NDArray[np.float32], score: NDArray[np.float32], *, single: str, too_high: str | None
) -> None:
    """DetectorError for a coordinate (n, 4) or a score (n,) that is no finite number, or above 1.

    Hints are how to run the model in `single` precision, and what to do about scores `too_high`.
    """
    if not (np.isfinite(score).all() and np.isfinite(xyxy).all()):
        bad = np.count_nonzero(~(np.isfinite(score) & np.isfinite(xyxy).all(axis=1)))
        raise not_finite(f"{bad} boxes with a coordinate or score", single=single)
    if len(score) and score.max() > 1 + ROUNDING:
        raise DetectorError(
            f"the model gave a score of {score.max():g}, outside 0..1", hint=too_high
        )


def not_finite(what: str, *, single: str) -> DetectorError:
    """The error for numbers of the model that are NaN or infinite."""
    return DetectorError(
        f"the model gave {what} that is NaN or infinite",
        hint=f"half precision overflows so; try {single}",
    )


def finish(
    xyxy: NDArray[np.floating],
    score: NDArray[np.float32],
    label: NDArray[np.int32],
    picture: tuple[int, int],
    most: int,
) -> tuple[Boxes, NDArray[np.intp]]:
    """Clip boxes to their `picture` of (height, width), drop empty ones, keep the `most` best.

    Boxes (n, 4) are in its pixels, scores (n,) at most 1 but for rounding. Returns the boxes by
    falling score, ties by corners, then label; and (k,), the rows they were.
    """
    height, width = picture
    shown = xyxy.clip(0, np.array([width, height, width, height])).astype(np.float32)
    score = np.minimum(score, np.float32(1))
    rows = np.flatnonzero((shown[:, 2] > shown[:, 0]) & (shown[:, 3] > shown[:, 1]))
    order = np.lexsort((label[rows], *shown[rows].T[::-1], -score[rows]))
    rows = rows[order][:most]
    return Boxes(shown[rows], score[rows], label[rows]), rows
