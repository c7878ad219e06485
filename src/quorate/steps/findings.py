"""What publish finds out of the detectors' boxes: how far they agree, how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.labels import UNMAPPED
from quorate.spec import EnsembleSpec
from quorate.steps.results import Results

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.evaluation.coco import CocoMetrics
    from quorate.evaluation.effort import Effort
    from quorate.evaluation.reliability import Reliability


@dataclass(frozen=True)
class Findings:
    """What there is to know of a run beside its boxes.

    dataset      what its source says of the data set as prepared: labels, colours, attributes; only
                 where there is a truth to measure against, that and the pictures
    kept         (labels, votes + 1) how many boxes score at least what is published
    agreement    how far the detectors agree, picture by picture
    metrics      COCO's numbers of each detector and of the ensemble; empty where there is no truth
    efforts      what a person would have to do to each, from the score that is published on
    doubts       what is suspicious about these, a sentence each
    reliability  likewise, where a report is asked for: of the scores as given and, where the spec
                 has a calibration, as calibrated
    """

    dataset: Dataset
    kept: NDArray[np.int64]
    agreement: Agreement
    metrics: Mapping[str, CocoMetrics] = field(default_factory=dict)
    efforts: Mapping[str, Effort] = field(default_factory=dict)
    doubts: Sequence[str] = ()
    reliability: Mapping[str, tuple[Reliability, Reliability | None]] = field(default_factory=dict)

    __repr__ = brief

    @classmethod
    def of(cls, results: Results, ensemble: EnsembleSpec) -> Findings:
        """Read every shard once. All boxes are in memory only where there is a truth to hold."""
        from quorate.evaluation.agreement import Agreement, agreement, votes_by_label
        from quorate.evaluation.coco import evaluate
        from quorate.evaluation.doubts import doubts
        from quorate.evaluation.effort import effort

        dataset = dataset_of(results)
        true = dataset.annotations is not None and len(dataset.annotations) > 0
        lowest = ensemble.publish.min_score
        parts: list[Agreement] = []
        boxes, decided = [Detections.empty(results.detectors)], list[Detections]()
        most = len(results.detectors)
        counts = np.zeros((len(results.labels), most + 1), np.int64)
        for shard in results.shards:
            found, fused = results.detections(shard), results.fused(shard)
            shown = replace(dataset, images=results.shard_images(shard))
            took_part = results.fusions[shard].detectors
            parts.append(agreement(found, shown, detectors=took_part, iou=ensemble.fusion.iou))
            kept = fused.take(fused.score >= lowest)
            counts += votes_by_label(kept, results.labels, most=most)
            if true:
                boxes.append(found)
                decided.append(fused)
        if not true:
            return cls(dataset, counts, Agreement.concat(parts))
        fused = Detections.concat(decided)
        together = Detections.concat(boxes)
        voters = {name: together.of(name) for name in results.detectors} | {"ensemble": fused}
        metrics = {name: evaluate(boxes, dataset) for name, boxes in voters.items()}
        efforts = {name: effort(boxes, dataset, min_score=lowest) for name, boxes in voters.items()}
        return cls(
            dataset,
            counts,
            Agreement.concat(parts),
            metrics,
            efforts,
            doubts(voters, dataset, efforts=efforts, metrics=metrics, ensemble="ensemble"),
            _reliability(voters, dataset, ensemble) if ensemble.publish.report else {},
        )


def dataset_of(results: Results) -> Dataset:
    """What its source says of the data set as prepared; the pictures too where it annotates them.

    The source may say more than was asked; labels that the ensemble does not know and pictures
    that could not be read are no part of the truth.
    """
    from quorate.formats import read

    told = results.plan.source
    if told and not told.annotated:
        return Dataset(
            results.plan.root,
            (),
            results.labels,
            name=told.name,
            label_info=told.label_info,
            info=told.info,
        )
    source = read(results.plan.data)
    truth = source.annotations
    if truth is not None:
        known = np.isin(truth.image_id, [image.id for image in results.images])
        known &= results.labels.positions(truth.category_id) != UNMAPPED
        truth = truth.take(known)
    return replace(source, images=results.images, labels=results.labels, annotations=truth)


def _reliability(
    voters: Mapping[str, Detections], dataset: Dataset, ensemble: EnsembleSpec
) -> dict[str, tuple[Reliability, Reliability | None]]:
    """How far each voter's scores are right, as given and as calibrated."""
    from quorate.fusion.calibrate import calibrated
    from quorate.report.model import reliability_of

    reliability: dict[str, tuple[Reliability, Reliability | None]] = {}
    for name, boxes in voters.items():
        how = {n: c for n, c in ensemble.calibrations.items() if n == name}
        after = calibrated(boxes, how, labels=dataset.labels)
        reliability[name] = (
            reliability_of(boxes, dataset),
            reliability_of(after, dataset) if how else None,
        )
    return reliability
