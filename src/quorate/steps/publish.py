"""publish: write what the quorum decided, and what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from quorate.steps.summary import REVIEWED, ClassSummary, Summary, Voted
from quorate.steps.work import Work, write_json
from quorate.storage import open_tree, remove_tree

if TYPE_CHECKING:
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
    found: FoundBoxes | FoundLabels
    if isinstance(ensemble, ClassificationSpec):
        from quorate.steps.labels import FoundLabels

        found = FoundLabels.of(ensemble, results)
    else:
        assert isinstance(ensemble, EnsembleSpec)
        found = FoundBoxes.of(ensemble, results)
    asked = ensemble.publish
    total = len(asked.formats) + asked.report
    files: list[str] = []
    notes = [*found.notes]
    for number, name in enumerate(asked.formats):
        progress(number, total)
        written = found.write(name, stage)
        files += [Path(file).relative_to(stage).as_posix() for file in written.files]
        notes += [note for note in written.notes if note not in notes]
    if isinstance(found, FoundBoxes) and found.rule:
        write_doubts(stage / REVIEW, results, found.ensemble, found.rule, found.findings.agreement)
        files.append(REVIEW)
    if asked.report:
        progress(total - 1, total)
        files += found.report(stage / "report.html", notes)
    notes += moved(stage, out, files)
    summary = found.summary(notes, [*files, SUMMARY])
    write_json(out / SUMMARY, summary)
    work.forget_earlier()
    progress(total, total)
    return summary.at(str(out))


@dataclass(frozen=True)
class FoundBoxes:
    """What detectors and the quorum found, to be published.

    rule  how many pictures need a person; None where that is not asked for
    """

    ensemble: EnsembleSpec
    results: Results
    findings: Findings
    rule: Rule | None

    @classmethod
    def of(cls, ensemble: EnsembleSpec, results: Results) -> FoundBoxes:
        """Read every shard once."""
        return cls(ensemble, results, Findings.of(results, ensemble), Rule.of(ensemble))

    @property
    def notes(self) -> list[str]:
        """What there is to say before anything is written."""
        notes = [*self.findings.doubts, *self.results.notes]
        kept, decided = int(self.findings.kept.sum()), self.results.decided
        if kept < decided:
            notes.append(
                f"{kept:,} of {decided:,} boxes are published: the others score less than "
                f"{self.ensemble.publish.min_score:g} (`publish: {{min_score: …}}`)"
                + (
                    "."
                    if self.ensemble.calibrations
                    else ", as the detectors score: none is calibrated."
                )
            )
        return notes

    def write(self, name: str, stage: Path) -> Written:
        """Write one format: CVAT and COCO shard by shard, any other of all pictures at once."""
        from quorate.formats import coco, cvat, write

        asked = self.ensemble.publish
        dataset = replace(self.findings.dataset, images=(), annotations=None)
        parts = self._parts(asked.folder if name in STREAMED else "")
        target = str(stage / name)
        if name == "cvat":
            if self.rule:
                dataset = with_review(dataset)
                parts = self._reviewed(parts, dataset.labels, self.rule)
            return cvat.write_parts(dataset, parts, target)
        if name == "coco":
            return coco.write_parts(dataset, parts, target, renumber=asked.renumber)
        dataset, boxes = parts.gathered(dataset)
        options: dict[str, Any] = {}
        if name == "yolo":
            options["polygons"] = bool((boxes.kind == Kind.POLYGON).any())
        return write(dataset, boxes, target, format=name, **options)

    def _parts(self, folder: str) -> Parts:
        """The pictures of each shard, named with a folder they lie in elsewhere, and the boxes."""
        from quorate.formats.parts import Parts

        asked, results = self.ensemble.publish, self.results

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

    def _reviewed(self, parts: Parts, labels: Labels, rule: Rule) -> Parts:
        """The same with a tag on the pictures that need a person."""
        agreement = self.findings.agreement
        doubtful = np.sort(rule.takes(agreement.disagreement))
        ends = np.cumsum([0, *map(len, self.results.ids.values())])
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

    def report(self, path: Path, notes: Sequence[str]) -> list[str]:
        """Fill the report; the pictures that are shown are read once more. Returns its files."""
        from quorate.evaluation.agreement import review_order
        from quorate.report import Report, write_report
        from quorate.report.model import PICTURES

        results, findings = self.results, self.findings
        dataset, metrics, reliability = findings.dataset, findings.metrics, findings.reliability
        hardest = review_order(findings.agreement, most=PICTURES)
        shown = results.images_on(hardest)
        names = {image.id: image.file_name for image in shown}
        with open_tree(results.plan.root) as tree:
            report = Report(
                name=self.ensemble.name,
                dataset=dataset if metrics else replace(dataset, images=shown),
                total=results.count,
                detections=results.on(hardest, results.detections),
                fused=results.on(hardest, results.fused),
                decided=results.decided,
                detectors=results.detectors,
                boxes=results.counts,
                order=hardest.tolist(),
                spec=self.ensemble.to_yaml(),
                fusion=self.ensemble.fusion.method,
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

    def summary(self, notes: Sequence[str], files: Sequence[str]) -> Summary:
        """Count what was found, and what of it was published."""
        from quorate.evaluation.agreement import review_order

        results, findings = self.results, self.findings
        worst = review_order(findings.agreement, most=REVIEWED)
        names = {image.id: image.file_name for image in results.images_on(worst)}
        votes = findings.kept.sum(0).tolist()
        return Summary(
            name=self.ensemble.name,
            method=self.ensemble.fusion.method,
            images=results.count,
            detectors=tuple(
                self._voted(voter, results.counts[voter], results.failed.get(detector.name, ""))
                for detector in self.ensemble.detectors
                for voter in detector.voters
            ),
            ensemble=self._voted("ensemble", results.decided),
            published=sum(votes),
            votes={str(number): count for number, count in enumerate(votes) if count},
            degraded=bool(results.failed),
            skipped=results.skipped,
            notes=tuple(notes),
            review=tuple(names[i] for i in worst.tolist()),
            files=tuple(files),
            about=results.about,
        )

    def _voted(self, name: str, boxes: int, failed: str = "") -> Voted:
        findings = self.findings
        if name not in findings.metrics:
            return Voted(name, boxes, failed=failed)
        metrics, effort = findings.metrics[name], findings.efforts[name]
        left = effort.to_dict(findings.dataset, pictures=False)
        return Voted(name, boxes, metrics.ap, metrics.ap50, left, failed)
