"""Fit one rising map from score to probability: temperature, beta, isotonic.

All three are fitted by likelihood on boxes that are known to be right or wrong:

temperature  Guo et al. 2017, arXiv:1706.04599: one number, by golden-section search
beta         Kull et al. 2017: logistic regression on ln(s) and -ln(1 - s), by Newton's steps
isotonic     Zadrozny and Elkan 2002: pooling of adjacent violators (Ayer et al. 1955) over bins
             of equal count, then straight lines between the pools' centres (centred isotonic
             regression, Oron and Flournoy 2017), which rise strictly where steps would make ties

Numbers are rounded to what the spec shows, so that what is measured is what is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.evaluation.reliability import log_loss
from quorate.evaluation.truth import Floats
from quorate.fusion.calibrate import probability
from quorate.spec import Beta, Calibration, Isotonic, Temperature

Map = Temperature | Beta | Isotonic
Bools = NDArray[np.bool_]

IDENTITY = Temperature(temperature=1.0)
MOST_KNOTS = 24
LEAST_IN_BIN = 10
EDGE = 0.01  # how far the ends rise or fall beyond the outermost pools, as a share of the rest


def _temperature(score: Floats, right: Bools) -> Temperature:
    def loss(exponent: float) -> float:
        how = Temperature(temperature=math.exp(exponent))
        return float(log_loss(probability(score, how), right).mean())

    exponent = golden_section(loss, math.log(0.1), math.log(10.0))
    return Temperature(temperature=_rounded(math.exp(exponent)))


def golden_section(
    function: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-4
) -> float:
    """The place of the least value of a function with one valley between `low` and `high`."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _beta(score: Floats, right: Bools) -> Beta:
    """Both slopes at least 0: one that would fall is left out, as Kull et al. do."""
    s = np.clip(score, 1e-7, 1 - 1e-7)
    columns = {"a": np.log(s), "b": -np.log1p(-s)}
    kept = list(columns)
    while kept:
        features = np.column_stack([*(columns[name] for name in kept), np.ones(len(s))])
        solved = _logistic(features, right)
        found = dict(zip(kept, solved.tolist(), strict=False))
        falling = [name for name in kept if found[name] < 0]
        if not falling:
            break
        kept.remove(min(falling, key=lambda name: found[name]))
    if not kept:  # the score says nothing, or the contrary: as flat as a rising map can be
        share = (right.sum() + 0.5) / (len(right) + 1)
        return Beta(a=EDGE, b=EDGE, c=_rounded(math.log(share / (1 - share))))
    a, b = (min(_rounded(max(found.get(name, 0.0), 0.0)), 100.0) for name in ("a", "b"))
    if a + b == 0:
        a = b = EDGE
    return Beta(a=a, b=b, c=_rounded(float(np.clip(solved[-1], -100, 100))))


def _logistic(features: Floats, right: Bools, *, steps: int = 60, ridge: float = 1e-3) -> Floats:
    """Logistic regression by Newton's steps, halved while they do not help.

    The small `ridge` on the slopes keeps numbers finite where scores tell right from wrong
    without a mistake.
    """
    penalty = np.full(features.shape[1], ridge)
    penalty[-1] = 0.0
    beta = np.zeros(features.shape[1])

    def loss(at: Floats) -> float:
        margin = features @ at
        return float(
            np.logaddexp(0.0, margin).sum() - margin[right].sum() + 0.5 * (penalty * at * at).sum()
        )

    now = loss(beta)
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(features @ beta, -500, 500)))
        gradient = features.T @ (p - right) + penalty * beta
        weight = np.maximum(p * (1 - p), 1e-9)
        curvature = (features * weight[:, None]).T @ features + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > 1e-6 and (after := loss(beta - length * step)) > now:
            length /= 2
        if length <= 1e-6:
            break
        beta = beta - length * step
        if now - after < 1e-9 * max(1.0, abs(now)):
            break
        now = after
    return beta


def _isotonic(score: Floats, right: Bools) -> Isotonic:
    centre, share, weight = _binned(score, right)
    value, pool = pool_adjacent_violators(share, weight)
    # One knot a pool, at its centre of mass.
    total = np.bincount(pool, weight)
    x = np.bincount(pool, weight * centre) / total
    least = 1 / (2 * len(score) + 2)  # no box is wrong, or right, for certain
    y = np.clip(value, least, 1 - least)
    knots: list[tuple[float, float]] = []
    ends = [(0.0, (1 - EDGE) * y[0]), *zip(x, y, strict=True), (1.0, y[-1] + EDGE * (1 - y[-1]))]
    for at, p in ends:
        knot = (round(float(at), 4), round(float(p), 5))
        if not knots or (knot[0] > knots[-1][0] and knot[1] > knots[-1][1]):
            knots.append(knot)
    if len(knots) < 2:
        knots = [(0.0, knots[0][1]), (1.0, knots[0][1])]
    if knots[-1][0] < 1.0:
        knots.append((1.0, min(1.0, knots[-1][1] + 1e-5)))
    return Isotonic(knots=tuple(knots))


def _binned(score: Floats, right: Bools) -> tuple[Floats, Floats, Floats]:
    """Bins of nearly equal count, by rising score: mean score, share of right boxes, count."""
    order = np.argsort(score, kind="stable")
    bins = max(1, min(MOST_KNOTS, len(score) // LEAST_IN_BIN))
    place = np.arange(len(score)) * bins // max(len(score), 1)
    ordered = score[order]
    # Equal scores belong into one bin.
    start = np.searchsorted(ordered, ordered, side="left")
    place = place[start]
    _, place = np.unique(place, return_inverse=True)
    count = np.bincount(place).astype(np.float64)
    centre = np.bincount(place, ordered) / count
    share = np.bincount(place, right[order].astype(np.float64)) / count
    return centre, share, count


def pool_adjacent_violators(value: Floats, weight: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The nearest values that rise strictly from pool to pool, and the pool of each entry.

    Neighbours that do not rise are replaced by their weighted mean until all do: values (k,) and
    pool numbers (n,), from 0.
    """
    pools: list[tuple[float, float, int]] = []
    for v, w in zip(value.tolist(), weight.tolist(), strict=True):
        pools.append((v, w, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (v2, w2, n2), (v1, w1, n1) = pools.pop(), pools.pop()
            pools.append(((v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
    return (
        np.array([v for v, _, _ in pools]),
        np.repeat(np.arange(len(pools)), [n for _, _, n in pools]),
    )


def _rounded(number: float) -> float:
    """Four significant digits."""
    return float(f"{number:.4g}")


_FITTERS: dict[str, Callable[[Floats, Bools], Map]] = {
    "temperature": _temperature,
    "beta": _beta,
    "isotonic": _isotonic,
}
METHODS = tuple(_FITTERS)
"""From the simplest to the most flexible."""


def fit(method: str, score: Floats, right: Bools) -> Map:
    """The map of one method; `method` is one of METHODS."""
    return _FITTERS[method](score, right)


def plain(how: Map) -> dict[str, Any]:
    """A map as a spec writes it: the method first."""
    return how.model_dump(mode="json", exclude={"categories"})


def written_map(calibration: Calibration) -> dict[str, Any]:
    """A detector's calibration as a spec writes it."""
    own = {label: plain(how) for label, how in calibration.categories.items()}
    return plain(calibration) | ({"categories": own} if own else {})
