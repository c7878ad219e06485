"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from quorate.pictures import decode
from quorate.spec import EnsembleSpec
from quorate.steps.adopt import adopt_all
from quorate.steps.results import Results
from quorate.steps.work import Skipped, Work, write_json
from quorate.storage import open_tree

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.evaluation.coco import CocoMetrics
    from quorate.evaluation.reliability import Reliability

REVIEW = "review"
"""The label of the tag that says how far the detectors disagree about a picture."""
PICTURES = 24
"""How many of them the report shows."""
REVIEWED = 10
"""How many pictures the summary names to be looked at first."""


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
    published: int
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

    for shard in range(work.plan().shards):
        adopt_all(work, shard, ensemble.detectors)
    results = Results(work, {detector.name: detector.voters for detector in ensemble.detectors})
    dataset = _dataset(results)
    kept = results.fused_above(ensemble.publish.min_score)
    agreement = _agreement(results, dataset, ensemble)
    metrics, reliability = _measured(results, dataset, ensemble)
    files: list[str] = []
    notes = list(results.notes)
    if len(kept) < results.decided:
        notes.append(
            f"{len(kept):,} of {results.decided:,} boxes are published: the others score less than "
            f"{ensemble.publish.min_score:g} (`publish: {{min_score: …}}`)."
        )
    published = replace(dataset, annotations=None)
    boxes = Annotations.from_detections(kept, attributes=ensemble.publish.attributes)
    total = len(ensemble.publish.formats) + ensemble.publish.report
    for number, name in enumerate(ensemble.publish.formats):
        progress(number, total)
        reviewed = name == "cvat" and ensemble.publish.review
        written = write(
            *(_with_review(published, boxes, agreement) if reviewed else (published, boxes)),
            out / name,
            format=name,
        )
        files += written.files
        notes += written.notes
    if ensemble.publish.report:
        progress(total - 1, total)
        path = out / "report.html"
        _write_report(path, ensemble, results, dataset, agreement, metrics, reliability, notes)
        files.append(str(path))
    names = {image.id: image.file_name for image in dataset.images}
    summary = Summary(
        name=ensemble.name,
        method=ensemble.fusion.method,
        images=len(dataset.images),
        detectors=tuple(
            _voted(
                voter,
                results.counts[voter],
                metrics.get(voter),
                results.failed.get(detector.name, ""),
            )
            for detector in ensemble.detectors
            for voter in detector.voters
        ),
        ensemble=_voted("ensemble", results.decided, metrics.get("ensemble")),
        published=len(kept),
        votes={
            str(votes): int(count)
            for votes, count in zip(*np.unique(kept.votes, return_counts=True), strict=True)
        },
        degraded=bool(results.failed),
        skipped=results.skipped,
        notes=tuple(notes),
        review=tuple(names[int(i)] for i in review_order(agreement, most=REVIEWED)),
        files=tuple(files),
    )
    write_json(out / "summary.json", summary)
    progress(total, total)
    return summary


def _dataset(results: Results) -> Dataset:
    """The data set as prepared, with what its source says beside: truth, colours, attributes.

    The source may say more than was asked; labels that the ensemble does not know and pictures
    that could not be read are no part of the truth.
    """
    source = read(results.plan.data)
    truth = source.annotations
    if truth is not None:
        known = np.isin(truth.image_id, [image.id for image in results.images])
        known &= results.labels.positions(truth.category_id) != UNMAPPED
        truth = truth.take(known)
    return replace(source, images=results.images, labels=results.labels, annotations=truth)


def _agreement(results: Results, dataset: Dataset, ensemble: EnsembleSpec) -> Agreement:
    """How far the detectors agree, a shard at a time, so that memory does not grow."""
    from quorate.evaluation.agreement import Agreement, agreement

    return Agreement.concat(
        [
            agreement(
                results.detections(shard),
                replace(dataset, images=results.shard_images(shard)),
                detectors=results.fusions[shard].detectors,
                iou=ensemble.fusion.iou,
            )
            for shard in results.shards
        ]
    )


def _measured(
    results: Results, dataset: Dataset, ensemble: EnsembleSpec
) -> tuple[Mapping[str, CocoMetrics], Mapping[str, tuple[Reliability, Reliability | None]]]:
    """COCO's numbers and the reliability of each detector and of the ensemble, by name.

    Nothing where there is no truth. Reliability is that of the scores as given and, where the
    spec has a calibration, as calibrated.
    """
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.report.model import reliability_of
    from quorate.fusion.calibrate import calibrated

    if dataset.annotations is None or not len(dataset.annotations):
        return {}, {}
    detections = Detections.concat([results.detections(shard) for shard in results.shards])
    found = {name: detections.of(name) for name in results.detectors}
    found["ensemble"] = results.fused_above(0.0)
    metrics = {name: evaluate(boxes, dataset) for name, boxes in found.items()}
    reliability: dict[str, tuple[Reliability, Reliability | None]] = {}
    for name, boxes in found.items() if ensemble.publish.report else ():
        how = {n: c for n, c in ensemble.calibrations.items() if n == name}
        after = calibrated(boxes, how, labels=results.labels)
        reliability[name] = (
            reliability_of(boxes, dataset),
            reliability_of(after, dataset) if how else None,
        )
    return metrics, reliability


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
    percentage = AttributeSpec("disagreement", "number", default="0", values=("0", "100", "1"))
    info = LabelInfo(type="tag", attributes=(percentage,))
    return (
        replace(dataset, labels=labels, label_info={**dataset.label_info, REVIEW: info}),
        Annotations.concat([boxes, tags]),
    )


def _write_report(
    path: Path,
    ensemble: EnsembleSpec,
    results: Results,
    dataset: Dataset,
    agreement: Agreement,
    metrics: Mapping[str, CocoMetrics],
    reliability: Mapping[str, tuple[Reliability, Reliability | None]],
    notes: Sequence[str],
) -> None:
    """Fill the report from what was found; the hardest pictures are read once more."""
    from quorate.evaluation.agreement import review_order
    from quorate.evaluation.report import Report, write_report

    hardest = review_order(agreement, most=PICTURES)
    names = {image.id: image.file_name for image in dataset.images}
    with open_tree(results.plan.root) as tree:
        report = Report(
            name=ensemble.name,
            dataset=dataset,
            detections=results.on(hardest),
            fused=results.fused_on(hardest),
            decided=results.decided,
            detectors=results.detectors,
            boxes=results.counts,
            order=hardest.tolist(),
            spec=ensemble.to_yaml(),
            fusion=ensemble.fusion.method,
            metrics={name: one for name, one in metrics.items() if name != "ensemble"},
            ensemble=metrics.get("ensemble"),
            reliability={name: one for name, one in reliability.items() if name != "ensemble"},
            reliability_fused=reliability["ensemble"][0] if reliability else None,
            agreement=agreement,
            skipped=[(skipped.file_name, skipped.reason) for skipped in results.skipped],
            failed=results.failed,
            notes=notes,
            pictures=PICTURES,
            read=lambda image_id: decode(tree.read(names[image_id]), name=names[image_id]),
        )
        write_report(path, report)


def _voted(name: str, boxes: int, metrics: CocoMetrics | None, failed: str = "") -> Voted:
    if metrics is None:
        return Voted(name=name, boxes=boxes, failed=failed)
    return Voted(name=name, boxes=boxes, ap=metrics.ap, ap50=metrics.ap50, failed=failed)
