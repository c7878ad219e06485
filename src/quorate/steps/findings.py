"""What detectors and the quorum found, as publish measures and writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.display import brief
from quorate.pictures import decode
from quorate.spec import EnsembleSpec
from quorate.spec.ensemble import ENSEMBLE
from quorate.steps.moving import below
from quorate.steps.results import Results
from quorate.steps.review import Rule, agreed, reviewed, write_doubts
from quorate.steps.summary import REVIEWED, Summary, Voted
from quorate.storage import open_tree

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.evaluation.coco import CocoMetrics
    from quorate.evaluation.effort import Effort
    from quorate.evaluation.reliability import Reliability
    from quorate.formats.base import Written
    from quorate.formats.parts import Parts

STREAMED = ("cvat", "coco")
"""The formats that are written shard by shard; only their names bear `publish: {folder: …}`."""


@dataclass(frozen=True)
class FoundBoxes:
    """What there is to know and to publish of a run, one shard read after the other.

    ensemble     what decided
    results      what the steps before left
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

    ensemble: EnsembleSpec
    results: Results
    dataset: Dataset
    kept: NDArray[np.int64]
    agreement: Agreement
    metrics: Mapping[str, CocoMetrics] = field(default_factory=dict)
    efforts: Mapping[str, Effort] = field(default_factory=dict)
    doubts: Sequence[str] = ()
    reliability: Mapping[str, tuple[Reliability, Reliability | None]] = field(default_factory=dict)

    __repr__ = brief

    @classmethod
    def of(cls, ensemble: EnsembleSpec, results: Results) -> FoundBoxes:
        """Read every shard once. All boxes are in memory only where there is a truth to hold."""
        from quorate.evaluation.agreement import Agreement, votes_by_label
        from quorate.evaluation.coco import evaluate
        from quorate.evaluation.doubts import doubts
        from quorate.evaluation.effort import effort

        dataset = results.dataset()
        true = dataset.annotations is not None and len(dataset.annotations) > 0
        lowest = ensemble.publish.min_score
        parts: list[Agreement] = []
        boxes, decided = [Detections.empty(results.detectors)], list[Detections]()
        most = len(results.detectors)
        counts = np.zeros((len(results.labels), most + 1), np.int64)
        for shard in results.shards:
            found, fused = results.detections(shard), results.fused(shard)
            parts.append(agreed(results, ensemble, shard, found))
            kept = fused.take(fused.score >= lowest)
            counts += votes_by_label(kept, results.labels, most=most)
            if true:
                boxes.append(found)
                decided.append(fused)
        if not true:
            return cls(ensemble, results, dataset, counts, Agreement.concat(parts))
        fused = Detections.concat(decided)
        together = Detections.concat(boxes)
        voters = {name: together.of(name) for name in results.detectors} | {ENSEMBLE: fused}
        metrics = {name: evaluate(boxes, dataset) for name, boxes in voters.items()}
        efforts = {name: effort(boxes, dataset, min_score=lowest) for name, boxes in voters.items()}
        return cls(
            ensemble,
            results,
            dataset,
            counts,
            Agreement.concat(parts),
            metrics,
            efforts,
            doubts(voters, dataset, efforts=efforts, metrics=metrics, ensemble=ENSEMBLE),
            _reliability(voters, dataset, ensemble) if ensemble.publish.report else {},
        )

    @property
    def notes(self) -> list[str]:
        """What there is to say before anything is written."""
        notes = [*self.doubts, *self.results.notes]
        kept, decided = int(self.kept.sum()), self.results.decided
        calibrated = bool(self.ensemble.calibrations)
        if kept < decided:
            notes.append(
                f"{kept:,} of {decided:,} boxes are published: the others score less than "
                f"{self.ensemble.publish.min_score:g} (`publish: {{min_score: …}}`)"
                + ("." if calibrated else ", as the detectors score: none is calibrated.")
            )
        return notes

    def write(self, name: str, stage: Path) -> Written:
        """Write one format: CVAT and COCO shard by shard, any other of all pictures at once."""
        from quorate.formats import coco, cvat, write

        asked = self.ensemble.publish
        dataset = replace(self.dataset, images=(), annotations=None)
        parts = self._parts(asked.folder if name in STREAMED else "")
        target = str(stage / name)
        if name == "cvat":
            if rule := Rule.of(self.ensemble):
                found, sizes = self.agreement, map(len, self.results.ids.values())
                dataset, parts = reviewed(
                    dataset, parts, rule, found.image_id, found.disagreement, sizes
                )
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
            return below(folder, results.shard_images(shard))

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

    def review(self, path: Path) -> bool:
        """Write which pictures need a person, where the spec asks for it; whether it does."""
        rule = Rule.of(self.ensemble)
        if rule is None:
            return False
        write_doubts(path, self.results, self.ensemble, rule, self.agreement)
        return True

    def report(self, path: Path, notes: Sequence[str]) -> list[str]:
        """Fill the report; the pictures that are shown are read once more. Returns its files."""
        from quorate.evaluation.agreement import review_order
        from quorate.report import Report, write_report
        from quorate.report.model import PICTURES

        results, metrics = self.results, self.metrics
        hardest = review_order(self.agreement, most=PICTURES)
        shown = results.images_on(hardest)
        names = {image.id: image.file_name for image in shown}
        with open_tree(results.plan.root) as tree:
            report = Report(
                name=self.ensemble.name,
                dataset=self.dataset if metrics else replace(self.dataset, images=shown),
                total=results.count,
                detections=results.on(hardest, results.detections),
                fused=results.on(hardest, results.fused),
                decided=results.decided,
                detectors=results.detectors,
                boxes=results.counts,
                order=hardest.tolist(),
                spec=self.ensemble.to_yaml(),
                fusion=self.ensemble.fusion.method,
                metrics=metrics,
                efforts=self.efforts,
                published=self.kept,
                doubts=self.doubts,
                reliability=self.reliability,
                agreement=self.agreement,
                skipped=[(skipped.file_name, skipped.reason) for skipped in results.skipped],
                failed=results.failed,
                notes=[one for one in notes if one not in self.doubts],
                about=results.about,
                read=lambda image_id: decode(tree.read(names[image_id]), name=names[image_id]),
            )
            return write_report(path, report)

    def summary(self, notes: Sequence[str], files: Sequence[str]) -> Summary:
        """Count what was found, and what of it was published."""
        from quorate.evaluation.agreement import review_order

        results = self.results
        worst = review_order(self.agreement, most=REVIEWED)
        names = {image.id: image.file_name for image in results.images_on(worst)}
        votes = self.kept.sum(0).tolist()
        return Summary(
            name=self.ensemble.name,
            method=self.ensemble.fusion.method,
            images=results.count,
            detectors=tuple(
                self._voted(voter, results.counts[voter], results.failed.get(detector.name, ""))
                for detector in self.ensemble.detectors
                for voter in detector.voters
            ),
            ensemble=self._voted(ENSEMBLE, results.decided),
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
        if name not in self.metrics:
            return Voted(name, boxes, failed=failed)
        metrics, effort = self.metrics[name], self.efforts[name]
        left = effort.to_dict(self.dataset, pictures=False)
        return Voted(name, boxes, metrics.ap, metrics.ap50, left, failed)


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
