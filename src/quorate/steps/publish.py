"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Image
from quorate.detections import Detections
from quorate.labels import Labels
from quorate.pictures import decode
from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec
from quorate.steps.container import adopt_all
from quorate.steps.findings import Findings
from quorate.steps.moving import STAGE, below, moved
from quorate.steps.results import Results
from quorate.steps.review import Rule, tags, with_review, write_doubts
from quorate.steps.summary import ClassSummary, Summary, Told, summarise
from quorate.steps.work import Work, write_json
from quorate.storage import open_tree, remove_tree

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.formats.base import Written
    from quorate.formats.parts import Parts

SUMMARY = "summary.json"
REVIEW = "review.json"
"""The pictures that need a person, the worst first: a list of `Doubt`."""
STREAMED = ("cvat", "coco")
"""The formats that are written shard by shard; only their names bear `publish: {folder: …}`."""


def publish(
    ensemble: Ensemble,
    work: Work,
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary | ClassSummary:
    """Write the annotation files, `summary.json`, `review.json` and `report.html` below `out`.

    Every shard must be fused; of labels there is no `review.json`. Where the data set has
    annotations of its own they are the truth that each member and the ensemble are measured
    against. Files that an earlier publish wrote
    to `out` and that are written no more are removed; one that was changed since stays, with a
    note. All files are complete before the first of them is moved to its place.
    """
    out.mkdir(parents=True, exist_ok=True)
    stage = out / STAGE
    remove_tree(stage)
    for shard in range(work.plan().shards):
        adopt_all(work, shard, ensemble.members)
    results = Results(work, {member.name: member.voters for member in ensemble.members})
    told: Told
    if isinstance(ensemble, ClassificationSpec):
        from quorate.steps.labels import labels

        told = labels(ensemble, results, stage, progress)
    else:
        assert isinstance(ensemble, EnsembleSpec)
        told = _boxes(ensemble, results, stage, progress)
    notes = [*told.notes, *moved(stage, out, told.files)]
    summary = told.summary(notes, [*told.files, SUMMARY])
    write_json(out / SUMMARY, summary)
    work.forget_earlier()
    total = len(ensemble.publish.formats) + ensemble.publish.report
    progress(total, total)
    return summary.at(str(out))


def _boxes(
    ensemble: EnsembleSpec,
    results: Results,
    stage: Path,
    progress: Callable[[int, int], None],
) -> Told:
    """Write what detectors and the quorum found."""
    findings = Findings.of(results, ensemble)
    asked, kept = ensemble.publish, int(findings.kept.sum())
    total = len(asked.formats) + asked.report
    files: list[str] = []
    notes = [*findings.doubts, *results.notes]
    if kept < results.decided:
        notes.append(
            f"{kept:,} of {results.decided:,} boxes are published: the others score less than "
            f"{asked.min_score:g} (`publish: {{min_score: …}}`)"
            + ("." if ensemble.calibrations else ", as the detectors score: none is calibrated.")
        )
    for number, name in enumerate(asked.formats):
        progress(number, total)
        written = _write(name, ensemble, results, findings, stage)
        files += [Path(file).relative_to(stage).as_posix() for file in written.files]
        notes += [note for note in written.notes if note not in notes]
    if rule := Rule.of(ensemble):
        write_doubts(stage / REVIEW, results, ensemble, rule, findings.agreement)
        files.append(REVIEW)
    if asked.report:
        progress(total - 1, total)
        files += _write_report(stage / "report.html", ensemble, results, findings, notes)
    return Told(
        files, notes, lambda notes, files: summarise(ensemble, results, findings, notes, files)
    )


def _write(
    name: str, ensemble: EnsembleSpec, results: Results, findings: Findings, out: Path
) -> Written:
    """Write one format: CVAT and COCO shard by shard, any other of all pictures at once."""
    from quorate.formats import coco, cvat, write

    dataset = replace(findings.dataset, images=(), annotations=None)
    parts = _parts(ensemble, results, ensemble.publish.folder if name in STREAMED else "")
    target = str(out / name)
    if name == "cvat":
        if rule := Rule.of(ensemble):
            dataset = with_review(dataset)
            parts = _reviewed(parts, dataset.labels, results, findings.agreement, rule)
        return cvat.write_parts(dataset, parts, target)
    if name == "coco":
        return coco.write_parts(dataset, parts, target, renumber=ensemble.publish.renumber)
    dataset, boxes = parts.gathered(dataset)
    options: dict[str, Any] = {}
    if name == "yolo":
        options["polygons"] = bool((boxes.kind == Kind.POLYGON).any())
    return write(dataset, boxes, target, format=name, **options)


def _parts(ensemble: EnsembleSpec, results: Results, folder: str) -> Parts:
    """The pictures of each shard, named with a folder that they lie in elsewhere, and the boxes."""
    from quorate.formats.parts import Parts

    asked = ensemble.publish

    def images_of(shard: int) -> Sequence[Image]:
        images = results.shard_images(shard)
        return below(folder, images) if folder else images

    def shapes_of(kept: Detections) -> Annotations:
        return Annotations.from_detections(
            kept, attributes=asked.attributes, masks=asked.masks, tolerance=asked.tolerance
        )

    return Parts(
        lambda: map(images_of, results.shards),
        lambda: (
            (images_of(shard), shapes_of(results.kept(shard, asked.min_score)))
            for shard in results.shards
        ),
        shapes_of(Detections.empty(results.detectors)),
    )


def _reviewed(
    parts: Parts, labels: Labels, results: Results, agreement: Agreement, rule: Rule
) -> Parts:
    """The same with a tag on the pictures that need a person."""
    doubtful = np.sort(rule.takes(agreement.disagreement))
    ends = np.cumsum([0, *map(len, results.ids.values())])
    bounds = np.searchsorted(doubtful, ends).tolist()

    def tagged(boxes: Annotations, rows: slice) -> Annotations:
        some = doubtful[rows]
        tag = tags(labels, agreement.image_id[some], agreement.disagreement[some])
        return Annotations.concat([boxes, tag])

    return replace(
        parts,
        shapes=lambda: (
            (images, tagged(boxes, slice(*rows)))
            for (images, boxes), rows in zip(parts.shapes(), pairwise(bounds), strict=True)
        ),
        like=tagged(parts.like, slice(0)),
    )


def _write_report(
    path: Path,
    ensemble: EnsembleSpec,
    results: Results,
    findings: Findings,
    notes: Sequence[str],
) -> list[str]:
    """Fill the report from what was found; its pictures are read once more. Returns its files."""
    from quorate.evaluation.agreement import review_order
    from quorate.report import Report, write_report
    from quorate.report.model import PICTURES

    dataset, metrics = findings.dataset, findings.metrics
    hardest = review_order(findings.agreement, most=PICTURES)
    shown = results.images_on(hardest)
    names = {image.id: image.file_name for image in shown}
    with open_tree(results.plan.root) as tree:
        report = Report(
            name=ensemble.name,
            dataset=dataset if metrics else replace(dataset, images=shown),
            total=results.count,
            detections=results.on(hardest, results.detections),
            fused=results.on(hardest, results.fused),
            decided=results.decided,
            detectors=results.detectors,
            boxes=results.counts,
            order=hardest.tolist(),
            spec=ensemble.to_yaml(),
            fusion=ensemble.fusion.method,
            metrics=metrics,
            efforts=findings.efforts,
            published=findings.kept,
            doubts=findings.doubts,
            reliability=findings.reliability,
            agreement=findings.agreement,
            skipped=[(skipped.file_name, skipped.reason) for skipped in results.skipped],
            failed=results.failed,
            notes=[one for one in notes if one not in findings.doubts],
            about=results.about,
            read=lambda image_id: decode(tree.read(names[image_id]), name=names[image_id]),
        )
        return write_report(path, report)
