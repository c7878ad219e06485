"""Scores made comparable before boxes are fused: each detector's own rising map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.spec.calibration import Beta, Calibration, Isotonic, Temperature


def probability(score: NDArray[Any], how: Temperature | Beta | Isotonic) -> NDArray[np.float64]:
    """(n,) scores of 0..1 -> (n,) probabilities of 0..1, in the same order.

    A temperature or beta map rises strictly; an isotonic one is exact at its knots, linear
    between them, and flat where two knots are equal. Boxes that a flat makes equal are ordered
    by their place, as all ties are in fusion.
    """
    s = np.asarray(score, dtype=np.float64)
    if isinstance(how, Isotonic):
        knots = np.array(how.knots)
        x, y = knots[:, 0], knots[:, 1]
        # Rounding must not lead beyond the two knots that a score lies between.
        after = np.searchsorted(x, s, side="right")
        low, high = y[np.maximum(after - 1, 0)], y[np.minimum(after, len(y) - 1)]
        return np.asarray(np.clip(np.interp(s, x, y), low, high))
    if isinstance(how, Temperature):
        a = b = 1.0 / how.temperature
        c = 0.0
    else:
        a, b, c = how.a, how.b, how.c
    if a == b == 1.0 and c == 0.0:
        return s
    # Powers rather than logarithms, so that scores of exactly 0 and 1 need no exception.
    up, down = np.exp(min(c, 0.0)) * s**a, np.exp(-max(c, 0.0)) * (1.0 - s) ** b
    return np.asarray(up / np.maximum(up + down, np.finfo(np.float64).tiny))


def calibrated(
    detections: Detections,
    calibrations: Mapping[str, Calibration],
    *,
    labels: Labels | None = None,
) -> Detections:
    """The same boxes with each detector's scores as probabilities; others are left alone.

    Args:
        detections: the detectors' own boxes, rows in any order.
        calibrations: detector -> its map; names that found nothing are idle.
        labels: needed when a map has `categories`, to find their ids.

    Raises InputError without `labels` where they are needed, LabelError for a label that is not
    among them.
    """
    score = None
    for name, calibration in calibrations.items():
        if calibration.categories and labels is None:
            raise InputError(
                f"The calibration of '{name}' has maps for single labels, but no labels are given."
            )
        own = {
            labels.id_of(label): how
            for label, how in calibration.categories.items()
            if labels is not None
        }
        if name not in detections.detectors:
            continue
        rows = np.flatnonzero(detections.detector == detections.detectors.index(name))
        if score is None:
            score = detections.score.copy()
        score[rows] = probability(detections.score[rows], calibration)
        category = detections.category_id[rows]
        for category_id, how in own.items():
            mine = rows[category == category_id]
            score[mine] = probability(detections.score[mine], how)
    return detections if score is None else replace(detections, score=score)
