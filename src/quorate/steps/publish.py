"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import AttributeSpec, Dataset, LabelInfo
from quorate.detections import Detections
from quorate.formats import read, write
from quorate.labels import UNMAPPED, Labels
from quorate.spec import EnsembleSpec
from quorate.steps.results import Results
from quorate.steps.work import Skipped, Work, write_json

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.evaluation.coco import CocoMetrics

REVIEW = "review"
"""The label of the tag that says how far the detectors disagree about a picture."""


class Voted(msgspec.Struct, frozen=True):
    """One detector, or the ensemble, in the summary; `ap`, `ap50` None where there is no truth."""

    name: str
    boxes: int
    ap: float | None = None
    ap50: float | None = None
    failed: str = ""


class Summary(msgspec.Struct, frozen=True):
    """What a run came to; `summary.json` holds the same."""

    name: str
    method: str
    images: int
    detectors: tuple[Voted, ...]
    ensemble: Voted
    votes: dict[str, int]
    degraded: bool
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    review: tuple[str, ...]
    files: tuple[str, ...]


def publish(
    ensemble: EnsembleSpec,
    work: Work,
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the annotation files, `summary.json` and `report.html` below `out`.

    Every shard must be fused. Where the data set has annotations of its own they are the truth
    that each detector and the ensemble are measured against.
    """
    from quorate.evaluation.agreement import review_order

    results = Results(work, [detector.name for detector in ensemble.detectors])
    fused = Detections.concat([results.fused(shard) for shard in results.shards])
    source = read(results.plan.data)
    dataset = replace(source, images=results.images, labels=results.labels, annotations=None)
    agreement = _agreement(results, dataset, ensemble)
    metrics = _metrics(results, dataset, source, fused)

    files: list[str] = []
    notes = list(results.notes)
    boxes = Annotations.from_detections(fused, attributes=ensemble.publish.attributes)
    total = len(ensemble.publish.formats)
    for number, name in enumerate(ensemble.publish.formats):
        progress(number, total)
        reviewed = name == "cvat" and ensemble.publish.review
        written = write(
            *(_with_review(dataset, boxes, agreement) if reviewed else (dataset, boxes)),
            out / name,
            format=name,
        )
        files += written.files
        notes += written.notes
    progress(total, total)
    names = {image.id: image.file_name for image in results.images}
    summary = Summary(
        name=ensemble.name,
        method=ensemble.fusion.method,
        images=len(results.images),
        detectors=tuple(
            _voted(
                name,
                sum(manifest.detections for manifest in results.manifests[name]),
                metrics.get(name),
                failed=results.failed.get(name, ""),
            )
            for name in results.detectors
        ),
        ensemble=_voted("ensemble", len(fused), metrics.get("ensemble")),
        votes={
            str(votes): int(count)
            for votes, count in zip(*np.unique(fused.votes, return_counts=True), strict=True)
        },
        degraded=bool(results.failed),
        skipped=results.skipped,
        notes=tuple(notes),
        review=tuple(names[int(i)] for i in review_order(agreement, most=10)),
        files=tuple(files),
    )
    write_json(out / "summary.json", summary)
    return summary


def _agreement(results: Results, dataset: Dataset, ensemble: EnsembleSpec) -> Agreement:
    """How far the detectors agree, counted a shard at a time so that memory stays bounded."""
    from quorate.evaluation.agreement import agreement

    return agreement(
        Detections.concat([results.detections(shard) for shard in results.shards]),
        dataset,
        iou=ensemble.fusion.iou,
    )


def _metrics(
    results: Results, dataset: Dataset, source: Dataset, fused: Detections
) -> Mapping[str, CocoMetrics]:
    """COCO's numbers of each detector and of the ensemble; nothing where there is no truth."""
    from quorate.evaluation.coco import evaluate

    truth = source.annotations
    if truth is None or not len(truth):
        return {}
    # The data set may say more than was asked: other labels, and pictures that could not be read.
    known = np.isin(truth.image_id, [image.id for image in results.images])
    known &= results.labels.positions(truth.category_id) != UNMAPPED
    measured = replace(dataset, annotations=truth.take(known))
    detections = Detections.concat([results.detections(shard) for shard in results.shards])
    found = {name: detections.of(name) for name in results.detectors} | {"ensemble": fused}
    return {name: evaluate(boxes, measured) for name, boxes in found.items()}


def _with_review(
    dataset: Dataset, boxes: Annotations, agreement: Agreement
) -> tuple[Dataset, Annotations]:
    """Add a tag to every picture on which the detectors disagree, with how far in percent.

    In percent, because a CVAT attribute that can be compared is a whole number.
    """
    percent = np.rint(100 * agreement.disagreement).astype(np.int64)
    doubtful = np.flatnonzero(percent)
    labels = dataset.labels
    if REVIEW not in labels:
        labels = Labels(
            names=(*labels.names, REVIEW), ids=(*labels.ids, max(labels.ids, default=0) + 1)
        )
    tags = Annotations.build(
        image_id=agreement.image_id[doubtful],
        category_id=labels.id_of(REVIEW),
        xyxy=np.zeros((len(doubtful), 4)),
        kind=Kind.TAG,
        sources=("auto",),
        attributes={"disagreement": percent[doubtful]},
    )
    info = LabelInfo(
        type="tag",
        attributes=(
            AttributeSpec(
                "disagreement", input_type="number", default="0", values=("0", "100", "1")
            ),
        ),
    )
    return (
        replace(dataset, labels=labels, label_info={**dataset.label_info, REVIEW: info}),
        Annotations.concat([boxes, tags]),
    )


def _voted(name: str, boxes: int, metrics: CocoMetrics | None, *, failed: str = "") -> Voted:
    if metrics is None:
        return Voted(name=name, boxes=boxes, failed=failed)
    return Voted(name=name, boxes=boxes, ap=metrics.ap, ap50=metrics.ap50, failed=failed)
