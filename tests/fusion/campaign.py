"""Boxes, plain and wicked, for the campaign against ensemble-boxes; scores are all distinct."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Case(NamedTuple):
    """One picture for all models, and the options."""

    boxes: list[NDArray[np.float64]]
    scores: list[NDArray[np.float64]]
    labels: list[NDArray[np.int64]]
    weights: list[float] | None
    iou: float
    least: float

    @property
    def lists(self) -> tuple[list[NDArray[np.float64]], ...]:
        """The three lists that every function of ensemble-boxes takes first."""
        return self.boxes, self.scores, self.labels


def case(rng: np.random.Generator) -> Case:
    """One random picture: objects seen by 1 to 12 models, on a raster now and then.

    A raster makes boxes equal, touching or without area; there are a model's own overlaps,
    models that found nothing, a single label or many, weights, and thresholds from 0 to 1.
    """
    models = int(rng.choice([1, 2, 3, 5, 9, 12]))
    most = int(rng.choice([1, 3, 10, 40, 120], p=[0.1, 0.2, 0.3, 0.3, 0.1]))
    kinds = int(rng.choice([1, 2, 5, 80]))
    objects = max(int(most * rng.choice([0.1, 0.5, 1.0])), 1)
    side = np.exp(rng.uniform(np.log(0.01), np.log(rng.choice([0.05, 0.3, 0.9])), (objects, 2)))
    corner = rng.uniform(0.0, 1.0, (objects, 2)) * (1.0 - side)
    kind = rng.integers(0, kinds, objects)
    boxes, labels, counts = [], [], []
    raster = rng.choice([0, 0, 10, 20, 64])
    spread = rng.choice([0.0, 0.05, 0.2])
    for _ in range(models):
        n = int(rng.integers(0, most + 1))
        seen = rng.integers(0, objects, n)
        these = np.concatenate([corner[seen], corner[seen] + side[seen]], axis=1)
        these += rng.normal(0.0, spread, (n, 4)) * np.tile(side[seen], 2)
        if raster:
            these = np.round(these * raster) / raster
        these = np.clip(these, 0.0, 1.0)
        low, high = np.minimum(these[:, :2], these[:, 2:]), np.maximum(these[:, :2], these[:, 2:])
        boxes.append(np.concatenate([low, high], axis=1))
        labels.append(np.where(rng.random(n) < 0.9, kind[seen], rng.integers(0, kinds, n)))
        counts.append(n)
    weights = [
        None,
        [float(w) for w in rng.uniform(0.1, 3.0, models)],
        [int(w) for w in rng.integers(1, 4, models)],
    ][rng.integers(3)]
    scores = distinct(rng, counts, weights)
    return Case(
        boxes,
        scores,
        labels,
        weights,
        iou=float(rng.choice([0.0, 0.05, 0.2, 0.4, 0.5, 0.55, 0.7, 0.9])),
        least=float(rng.choice([0.0, 0.0, 0.1, 0.5])),
    )


def distinct(
    rng: np.random.Generator, counts: list[int], weights: list[float] | None
) -> list[NDArray[np.float64]]:
    """Scores in 0.001..1 that differ, with and without the weights."""
    while True:
        scores = [rng.uniform(0.001, 1.0, n) for n in counts]
        every = np.concatenate(scores)
        weighted = np.concatenate(
            [s * w for s, w in zip(scores, weights or [1.0] * len(counts), strict=True)]
        )
        if len(np.unique(every)) == len(every) and len(np.unique(weighted)) == len(weighted):
            return scores
