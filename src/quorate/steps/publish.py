"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Image
from quorate.detections import Detections
from quorate.errors import InputError, SpecError
from quorate.labels import Labels
from quorate.pictures import decode
from quorate.spec import Ensemble, EnsembleSpec
from quorate.steps.container import adopt_all
from quorate.steps.findings import Findings
from quorate.steps.results import Results
from quorate.steps.review import Rule, tags, with_review, write_doubts
from quorate.steps.summary import Summary, summarise
from quorate.steps.work import Work, read_json, write_json
from quorate.storage import RESULTS, open_tree, remove_tree, safe_name, sha256

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.formats.base import Written
    from quorate.formats.parts import Parts

SUMMARY = "summary.json"
REVIEW = "review.json"
"""The pictures that need a person, the worst first: a list of `Doubt`."""
STREAMED = ("cvat", "coco")
"""The formats that are written shard by shard; only their names bear `publish: {folder: …}`."""
STAGE = ".publishing"
"""Where files are written before they are moved to their places."""


class Published(msgspec.Struct, frozen=True):
    """What publish wrote to a folder, so that it goes when it is written no more.

    files  each file's name below the folder, and the SHA-256 that it has; while files are moved to
           their places, that of the file before and that of the new one
    """

    files: dict[str, tuple[str, ...]]


def publish(
    ensemble: Ensemble,
    work: Work,
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the annotation files, `summary.json`, `review.json` and `report.html` below `out`.

    Every shard must be fused. Where the data set has annotations of its own they are the truth
    that each detector and the ensemble are measured against. Files that an earlier publish wrote
    to `out` and that are written no more are removed; one that was changed since stays, with a
    note. All files are complete before the first of them is moved to its place.
    """
    if not isinstance(ensemble, EnsembleSpec):
        raise SpecError("What a classification ensemble decided cannot be published yet.")
    out.mkdir(parents=True, exist_ok=True)
    stage = out / STAGE
    remove_tree(stage)
    for shard in range(work.plan().shards):
        adopt_all(work, shard, ensemble.detectors)
    results = Results(work, {detector.name: detector.voters for detector in ensemble.detectors})
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
    notes += _moved(stage, out, files)
    files.append(SUMMARY)
    summary = summarise(ensemble, results, findings, notes=notes, files=files)
    write_json(out / SUMMARY, summary)
    work.forget_earlier()
    progress(total, total)
    return summary.at(str(out))


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
        return _below(folder, images) if folder else images

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
        return Annotations.concat([boxes, tags(labels, agreement, doubtful[rows])])

    return replace(
        parts,
        shapes=lambda: (
            (images, tagged(boxes, slice(*rows)))
            for (images, boxes), rows in zip(parts.shapes(), pairwise(bounds), strict=True)
        ),
        like=tagged(parts.like, slice(0)),
    )


def _below(folder: str, images: Sequence[Image]) -> tuple[Image, ...]:
    """The pictures, named with the folder that they lie in elsewhere."""
    folder = folder.rstrip("/")
    return tuple(
        msgspec.structs.replace(image, published_as=f"{folder}/{image.name}") for image in images
    )


def mark(out: Path) -> None:
    """Mark a folder as one of results, which is no part of any data."""
    if not (out / RESULTS).exists():
        write_json(out / RESULTS, Published({}))


def _moved(stage: Path, out: Path, files: Sequence[str]) -> list[str]:
    """Move files to their places, remove what an earlier publish wrote and this one did not; notes.

    The list is written before as well as after, so that a killed publish leaves no file unknown.
    """
    try:
        before = read_json(out / RESULTS, Published).files
    except InputError:  # none, or damaged: then nobody knows, and nothing is removed
        before = {}
    new = {name: (sha256(stage / name),) for name in files}
    both = before | {name: (*before.get(name, ()), *digest) for name, digest in new.items()}
    write_json(out / RESULTS, Published(both))
    for name in files:
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (stage / name).replace(place)
    remove_tree(stage)
    stays = {}
    for name in before.keys() - new.keys():
        path = out / safe_name(name, origin=str(out / RESULTS))
        if not path.is_file():
            continue
        if sha256(path) not in before[name]:
            stays[name] = before[name]
            continue
        path.unlink()
        with contextlib.suppress(OSError):  # a folder that is not empty, or `out` itself
            for folder in path.relative_to(out).parents[:-1]:
                (out / folder).rmdir()
    write_json(out / RESULTS, Published(new | stays))
    return [
        f"{name}: is of an earlier run and would not be written now; it stays, for it was changed "
        "since."
        for name in sorted(stays)
    ]


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

    dataset, metrics, reliability = findings.dataset, findings.metrics, findings.reliability
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
            metrics={name: one for name, one in metrics.items() if name != "ensemble"},
            ensemble=metrics.get("ensemble"),
            efforts=findings.efforts,
            published=findings.kept,
            doubts=findings.doubts,
            reliability={name: one for name, one in reliability.items() if name != "ensemble"},
            reliability_fused=reliability["ensemble"][0] if reliability else None,
            agreement=findings.agreement,
            skipped=[(skipped.file_name, skipped.reason) for skipped in results.skipped],
            failed=results.failed,
            notes=[one for one in notes if one not in findings.doubts],
            about=results.about,
            read=lambda image_id: decode(tree.read(names[image_id]), name=names[image_id]),
        )
        return write_report(path, report)
