"""One look at loose arrays of boxes, before anything is done with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel


@kernel
def survey(
    xyxy: NDArray[np.float64], score: NDArray[np.float64], label: NDArray[np.int64]
) -> tuple[float, bool, bool, int, int, int, NDArray[np.int32], bool]:
    """What there is to mend in boxes (n, 4), scores (n,) and labels (n,).

    Returns the greatest coordinate; whether every coordinate is finite and every
    score in 0..1; how many boxes are inverted, reach outside 0..1, have no area; the labels as
    int32 and whether int32 holds them all.
    """
    n = len(score)
    high = -np.inf
    finite = sure = narrow = True
    inverted = outside = flat = 0
    category = np.empty(n, np.int32)
    for i in range(n):
        least = min(min(xyxy[i, 0], xyxy[i, 1]), min(xyxy[i, 2], xyxy[i, 3]))
        most = max(max(xyxy[i, 0], xyxy[i, 1]), max(xyxy[i, 2], xyxy[i, 3]))
        high = max(high, most)
        wide, tall = xyxy[i, 2] - xyxy[i, 0], xyxy[i, 3] - xyxy[i, 1]
        # The difference of NaN or inf with anything is neither less than inf nor 0 or more.
        finite &= abs(wide) < np.inf and abs(tall) < np.inf
        sure &= score[i] >= 0.0 and score[i] <= 1.0
        inverted += wide < 0.0 or tall < 0.0
        outside += least < 0.0 or most > 1.0
        flat += wide * tall == 0.0
        category[i] = label[i]
        narrow &= category[i] == label[i]
    return high, finite, sure, inverted, outside, flat, category, narrow
