"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quorate.annotations import Annotations, Kind
from quorate.pictures import decode
from quorate.spec import EnsembleSpec
from quorate.steps.adopt import adopt_all
from quorate.steps.findings import Findings
from quorate.steps.results import Results
from quorate.steps.review import with_review
from quorate.steps.summary import Summary, summarise
from quorate.steps.work import Work, write_json
from quorate.storage import open_tree

PICTURES = 24
"""How many of the pictures that need a person's eye the report shows."""


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
    for shard in range(work.plan().shards):
        adopt_all(work, shard, ensemble.detectors)
    results = Results(work, {detector.name: detector.voters for detector in ensemble.detectors})
    findings = Findings.of(results, ensemble)
    total = len(ensemble.publish.formats) + ensemble.publish.report
    files, notes = _write_annotations(
        ensemble, results, findings, out, lambda done: progress(done, total)
    )
    if ensemble.publish.report:
        progress(total - 1, total)
        _write_report(out / "report.html", ensemble, results, findings, notes)
        files.append(str(out / "report.html"))
    names = [Path(file).relative_to(out).as_posix() for file in files]
    summary = summarise(
        ensemble, results, findings, published=findings.kept, notes=notes, files=names
    )
    write_json(out / "summary.json", summary)
    progress(total, total)
    return summary.at(str(out))


def _write_annotations(
    ensemble: EnsembleSpec,
    results: Results,
    findings: Findings,
    out: Path,
    progress: Callable[[int], None],
) -> tuple[list[str], list[str]]:
    """Write every format that is asked for; the files, and the notes of all steps."""
    from quorate.formats import write

    kept, asked = len(findings.kept), ensemble.publish
    files: list[str] = []
    notes = list(results.notes)
    if kept < results.decided:
        notes.append(
            f"{kept:,} of {results.decided:,} boxes are published: the others score less than "
            f"{asked.min_score:g} (`publish: {{min_score: …}}`)."
        )
    dataset = replace(findings.dataset, annotations=None)
    boxes = Annotations.from_detections(
        findings.kept,
        attributes=asked.attributes,
        masks=asked.masks,
        tolerance=asked.tolerance,
    )
    polygons = bool((boxes.kind == Kind.POLYGON).any())
    for number, name in enumerate(asked.formats):
        progress(number)
        plain = (dataset, boxes)
        tagged = name == "cvat" and asked.review
        what = with_review(*plain, findings.agreement) if tagged else plain
        options: dict[str, Any] = {"polygons": polygons} if name == "yolo" else {}
        written = write(*what, out / name, format=name, **options)
        files += written.files
        notes += written.notes
    return files, notes


def _write_report(
    path: Path,
    ensemble: EnsembleSpec,
    results: Results,
    findings: Findings,
    notes: Sequence[str],
) -> None:
    """Fill the report from what was found; the hardest pictures are read once more."""
    from quorate.evaluation.agreement import review_order
    from quorate.report import Report, write_report

    dataset, metrics, reliability = findings.dataset, findings.metrics, findings.reliability
    hardest = review_order(findings.agreement, most=PICTURES)
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
            agreement=findings.agreement,
            skipped=[(skipped.file_name, skipped.reason) for skipped in results.skipped],
            failed=results.failed,
            notes=notes,
            pictures=PICTURES,
            read=lambda image_id: decode(tree.read(names[image_id]), name=names[image_id]),
        )
        write_report(path, report)
