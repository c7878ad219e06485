"""Found boxes matched with the truth: box by box, which COCO's arrays no longer tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quorate.evaluation.truth import Boxes, Floats, Frame, Ints, ScoredBoxes, TruthBoxes

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100


@dataclass(frozen=True, eq=False)
class Matches:
    """The fate of every found box, by category and falling score, as COCO's curves take them.

    starts     int64    (c + 1,)  each category's first box
    row        int64    (n,)      the box's row in what was matched
    image      int64    (n,)      rank of its picture
    score      float64  (n,)
    outcome    int8     (10, n)   true, false or ignored at IoU .50:.05:.95
    objects    the truth without crowds: `image` and `category`

    Only the 100 best boxes of a picture and category are there, as in COCO's evaluation.
    """

    starts: Ints
    row: Ints
    image: Ints
    score: Floats
    outcome: NDArray[np.int8]
    objects: Boxes

    @classmethod
    def of(cls, found: ScoredBoxes, truth: TruthBoxes, frame: Frame) -> Self:
        """Match all boxes of a data set."""
        from quorate.evaluation.kernels import match_cells

        categories = len(frame.category_id)
        cell = found.image * categories + found.category
        order = np.lexsort((-found.score, cell))
        place = np.arange(len(cell)) - np.searchsorted(cell[order], cell[order])  # in its cell
        order = order[place < MAX_DETECTIONS]
        truth_cell = truth.image * categories + truth.category
        truth_order = np.lexsort((truth.crowd, truth_cell))
        first = np.flatnonzero(np.diff(cell[order], prepend=-1))
        cells = cell[order][first]
        # Objects in cells without found boxes are left out, so that cells lie side by side.
        kept = truth_order[np.isin(truth_cell[truth_order], cells)]
        outcome = match_cells(
            found.xywh[order],
            np.append(first, len(order)),
            truth.xywh[kept],
            np.append(np.searchsorted(truth_cell[kept], cells), len(kept)),
            truth.crowd[kept],
            IOU_THRESHOLDS,
        )
        by_category = np.lexsort((found.image[order], -found.score[order], found.category[order]))
        row = order[by_category]
        single = ~truth.crowd
        return cls(
            starts=np.searchsorted(found.category[row], np.arange(categories + 1)),
            row=row,
            image=found.image[row],
            score=found.score[row],
            outcome=np.ascontiguousarray(outcome[:, by_category]),
            objects=Boxes(truth.image[single], truth.category[single], truth.xywh[single]),
        )

    def average_precision(self, weight: Ints) -> Floats:
        """(c, 2) AP and AP50 by category, picture i being there `weight[i]` times; NaN: none."""
        from quorate.evaluation.coco import RECALLS
        from quorate.evaluation.kernels import weighted_ap

        ap: Floats = weighted_ap(
            self.starts,
            self.image,
            self.outcome,
            weight,
            self.objects.category,
            self.objects.image,
            RECALLS,
        )
        return ap

    def best_score(self) -> float:
        """The score threshold with the best F1 at IoU .5 over all categories; 1 without boxes."""
        order = np.argsort(-self.score, kind="stable")
        score, outcome = self.score[order], self.outcome[0, order]
        true, false = np.cumsum(outcome == 1), np.cumsum(outcome == 0)
        f1 = 2 * true / np.maximum(true + false + len(self.objects), 1)
        f1[:-1][score[:-1] == score[1:]] = 0  # a threshold keeps all boxes of one score, or none
        return float(score[np.argmax(f1)]) if len(f1) else 1.0

    def errors(self, images: int, min_score: float) -> tuple[Ints, Ints, Ints]:
        """(p,) true boxes, false boxes and missed objects of each picture at IoU .5."""
        kept = self.score >= min_score
        outcome, image = self.outcome[0, kept], self.image[kept]
        true = np.bincount(image[outcome == 1], minlength=images)
        false = np.bincount(image[outcome == 0], minlength=images)
        return true, false, np.bincount(self.objects.image, minlength=images) - true
