"""The figures of many requests: how long the answered ones took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np


class Latency(NamedTuple):
    """Milliseconds of some requests; percentiles are interpolated, as numpy's.

    deviation  the standard deviation, of these requests (divided by n)
    variance   its square
    """

    mean: float
    median: float
    p90: float
    p99: float
    min: float
    max: float
    deviation: float
    variance: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self | None:
        """The figures, None of no request."""
        if not seconds:
            return None
        ms = 1000 * np.asarray(seconds, np.float64)
        median, p90, p99 = np.percentile(ms, [50, 90, 99])
        figures = (ms.mean(), median, p90, p99, ms.min(), ms.max(), ms.std(), ms.var())
        return cls(*map(float, figures))
