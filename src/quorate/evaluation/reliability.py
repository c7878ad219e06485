"""Do scores mean what they say: of the boxes that score 0.8, are eight in ten right?

A box is right when it takes an object of its label at an IoU of .5 or more, one to one and by
falling score, as COCO matches (Küppers et al. 2020, arXiv:2004.13546, measure detectors so).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.evaluation.matching import Matches
from quorate.evaluation.truth import Floats, Frame, Ints, ScoredBoxes, TruthBoxes

BINS = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """Boxes of one detector, in their order, with their fate; those on crowds are left out.

    image_id     int64    (n,)
    category_id  int64    (n,)
    score        float64  (n,)
    right        bool     (n,)
    """

    image_id: Ints
    category_id: Ints
    score: Floats
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, detections: Detections, dataset: Dataset) -> Self:
        """Match one detector's boxes with the truth; InputError where there is none."""
        frame = Frame.of(dataset)
        truth = TruthBoxes.of(dataset, frame)
        matches = Matches.of(ScoredBoxes.of(detections, frame), truth, frame)
        known = matches.outcome[0] >= 0
        order = np.argsort(matches.row[known])
        row = matches.row[known][order]
        return cls(
            image_id=detections.image_id[row].astype(np.int64),
            category_id=detections.category_id[row].astype(np.int64),
            score=detections.score[row].astype(np.float64),
            right=(matches.outcome[0, known] == 1)[order],
        )

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Bin:
    """The boxes of one tenth of the scores."""

    low: float
    high: float
    boxes: int
    score: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """Scores against shares of right boxes.

    ece   expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean gap between
          the mean score and the share of right boxes of a bin, bins weighted by their boxes;
          None without boxes
    bins  of equal width, those without boxes left out
    """

    boxes: int
    ece: float | None
    bins: tuple[Bin, ...]

    __repr__ = brief

    @classmethod
    def of(cls, score: Floats, right: NDArray[np.bool_], *, bins: int = BINS) -> Self:
        """The curve of boxes: a score on the edge of two bins belongs to the higher."""
        place = np.minimum((score * bins).astype(np.int64), bins - 1)
        count = np.bincount(place, minlength=bins)
        mean = np.bincount(place, score, bins) / np.maximum(count, 1)
        share = np.bincount(place, right, bins) / np.maximum(count, 1)
        ece = float(np.sum(count * np.abs(mean - share)) / len(score)) if len(score) else None
        return cls(
            boxes=len(score),
            ece=ece,
            bins=tuple(
                Bin(i / bins, (i + 1) / bins, int(count[i]), float(mean[i]), float(share[i]))
                for i in np.flatnonzero(count).tolist()
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def log_loss(probability: Floats, right: NDArray[np.bool_]) -> Floats:
    """(n,) minus the logarithm of the probability that was given to what came out."""
    given = np.where(right, probability, 1.0 - probability)
    loss: Floats = -np.log(np.clip(given, 1e-6, 1.0))
    return loss
