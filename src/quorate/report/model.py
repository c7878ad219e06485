"""What a report tells, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.evaluation.agreement import MIN_SCORE, Agreement, agreement, review_order
from quorate.evaluation.coco import CocoMetrics, evaluate
from quorate.evaluation.doubts import doubts
from quorate.evaluation.effort import Effort, effort
from quorate.evaluation.reliability import Judged, Reliability
from quorate.spec.ensemble import ENSEMBLE

PICTURES = 2000
"""Most pictures on the wall: more would take longer to write than a person looks."""


def own(detections: Detections, detector: str) -> Detections:
    """The boxes of one detector: none where it found nothing and so is not even named."""
    if detector in detections.detectors:
        return detections.of(detector)
    return Detections.empty((detector,))


def rows_on(image_id: NDArray[np.int64], wanted: int) -> slice:
    """Where the rows of a picture are, of a rising column."""
    first, last = np.searchsorted(image_id, [wanted, wanted + 1]).tolist()
    return slice(first, last)


def reliability_of(detections: Detections, dataset: Dataset) -> Reliability:
    """How far the scores of one detector's boxes, or of fused ones, are right."""
    judged = Judged.of(detections, dataset)
    return Reliability.of(judged.score, judged.right)


@dataclass(frozen=True, eq=False)
class Report:
    """Everything the page shows. Names, labels, paths and reasons may hold any text.

    Attributes:
        name: The ensemble.
        dataset: The pictures that were looked at; its annotations, if any, are the truth. Without
            a truth the wall's pictures are enough.
        total: How many were looked at.
        detections: The detectors' boxes before fusion; those of the wall's pictures are enough.
        boxes: Detector -> how many boxes it found in all.
        fused: What the quorum decided; the boxes of the wall's pictures are enough.
        decided: How many boxes it made in all.
        detectors: Those that took part, in the spec's order.
        agreement: How far they agree.
        spec: The ensemble as its user wrote it, or ''.
        fusion: How was decided: the name of the method or a whole sentence, or ''.
        metrics: Detector, or `ensemble`, -> figures; empty without truth.
        efforts: Likewise, -> what a person would have to do.
        reliability: Likewise, -> how far its scores were right as it gave them, and as calibrated
            (None where the spec has no calibration of it).
        published: How many boxes are published, as `votes_by_label` counts them; default: those of
            `fused` from `min_score`.
        doubts: What is suspicious about these figures, a sentence each.
        skipped: (picture, reason) for each that could not be read.
        failed: Detector -> reason, for each that did not finish.
        notes: Sentences about labels that did not map, and the like.
        about: Detector -> what its model was taken for: a word, and what is said of it.
        read: Image id -> the picture, uint8 (h, w, 3) RGB; None for no wall of pictures. One that
            cannot be read (a QuorateError or OSError) costs its own place only.
        pictures: How many of them the wall has.
        order: Image ids, the first to be shown first; default: by falling disagreement.
    """

    name: str
    dataset: Dataset
    total: int
    detections: Detections
    boxes: Mapping[str, int]
    fused: Detections
    decided: int
    detectors: tuple[str, ...]
    agreement: Agreement
    spec: str = ""
    fusion: str = ""
    metrics: Mapping[str, CocoMetrics] = field(default_factory=dict)
    efforts: Mapping[str, Effort] = field(default_factory=dict)
    reliability: Mapping[str, tuple[Reliability, Reliability | None]] = field(default_factory=dict)
    published: NDArray[np.int64] | None = None
    doubts: Sequence[str] = ()
    skipped: Sequence[tuple[str, str]] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    read: Callable[[int], NDArray[np.uint8]] | None = None
    pictures: int = PICTURES
    order: Sequence[int] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        dataset: Dataset,
        detections: Detections,
        fused: Detections,
        *,
        detectors: Sequence[str] | None = None,
        needed: int | None = None,
        iou: float = 0.5,
        min_score: float = MIN_SCORE,
        **told: Any,
    ) -> Self:
        """A report with its figures worked out: metrics where there is truth, and agreement.

        `needed`, `iou` and `min_score` are those of `agreement`; `told` are other attributes.
        """
        names = tuple(detections.detectors if detectors is None else detectors)
        voters = {detector: own(detections, detector) for detector in names} | {ENSEMBLE: fused}
        report = cls(
            name,
            dataset,
            total=len(dataset.images),
            detections=detections,
            boxes={one: len(detections.of(one)) for one in detections.detectors},
            fused=fused,
            decided=len(fused),
            detectors=names,
            agreement=agreement(
                detections, dataset, detectors=names, needed=needed, iou=iou, min_score=min_score
            ),
            **told,
        )
        if dataset.annotations is None or not len(dataset.annotations):
            return report
        metrics = {one: evaluate(found, dataset) for one, found in voters.items()}
        efforts = {n: effort(found, dataset, min_score=min_score) for n, found in voters.items()}
        return replace(
            report,
            metrics=metrics,
            efforts=efforts,
            doubts=doubts(
                {"the quorum": fused},
                dataset,
                efforts={"the quorum": efforts[ENSEMBLE]},
                metrics=metrics,
                ensemble=ENSEMBLE,
            ),
            reliability={n: (reliability_of(found, dataset), None) for n, found in voters.items()},
        )

    @property
    def ensemble(self) -> CocoMetrics | None:
        """The figures of the quorum; None without truth."""
        return self.metrics.get(ENSEMBLE)

    @property
    def min_score(self) -> float:
        """The score from which boxes are shown at first."""
        return self.agreement.min_score

    def hardest(self) -> list[int]:
        """Ids of the pictures on the wall, in order."""
        order = review_order(self.agreement) if self.order is None else self.order
        return [int(i) for i in order[: self.pictures]]
