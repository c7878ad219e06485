"""What publish writes of labels of whole pictures: tags, tables, figures, the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.classifications import Classifications
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.evaluation.classes import TOP, ClassMetrics, disagreement, evaluate_classes, truth_of
from quorate.formats.base import Written
from quorate.formats.parts import Parts
from quorate.pictures import decode
from quorate.spec import ClassificationSpec
from quorate.spec.ensemble import ENSEMBLE
from quorate.steps.moving import below
from quorate.steps.results import Results
from quorate.steps.review import Rule, reviewed
from quorate.steps.summary import REVIEWED, ClassSummary, ClassVoted
from quorate.storage import open_tree


@dataclass
class FoundLabels:
    """What there is to know and to publish of a run, one shard read after the other.

    ensemble      what decided
    results       what the steps before left
    dataset       what its source says of the data set as prepared: labels, colours, attributes
    counts        (labels,) pictures whose label is published
    votes         (members + 1,) of these, how many members voted for it
    answered      pictures that each member said something of, and the ensemble
    image_id      (n,) every picture that has a label
    sizes         how many of these each shard has
    disagreement  (n,) how far the members disagree about it
    metrics       of each member and of the ensemble; empty where there is no truth
    truth         the positions of the true labels by the pictures' ids
    source        where these were found, '' for nowhere
    """

    ensemble: ClassificationSpec
    results: Results
    dataset: Dataset
    counts: NDArray[np.int64]
    votes: NDArray[np.int64]
    answered: dict[str, int]
    image_id: NDArray[np.int64]
    sizes: Sequence[int]
    disagreement: NDArray[np.float32]
    metrics: dict[str, ClassMetrics] = field(default_factory=dict)
    truth: dict[int, int] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def of(cls, ensemble: ClassificationSpec, results: Results) -> FoundLabels:
        """Read every shard once."""
        dataset, labels, names = results.dataset(), results.labels, results.detectors
        truth, source = truth_of(dataset, results.images, labels)
        metrics = {name: ClassMetrics.nothing(labels) for name in (*names, ENSEMBLE) if truth}
        counts = np.zeros(len(labels), np.int64)
        votes = np.zeros(len(names) + 1, np.int64)
        answered = dict.fromkeys((*names, ENSEMBLE), 0)
        ids, apart = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for shard in results.shards:
            table = results.labels_of(shard)
            shown = table.probability >= ensemble.publish.min_probability
            counts += np.bincount(table.index[shown], minlength=len(labels))
            votes += np.bincount(table.votes[shown], minlength=len(votes))
            ids.append(table.image_id)
            apart.append(disagreement(table))
            answered[ENSEMBLE] += len(table)
            for i, name in enumerate(table.members):
                answered[name] += int(table.took_part[:, i].sum())
                if truth:
                    metrics[name] += evaluate_classes(table, truth, member=name)
            if truth:
                metrics[ENSEMBLE] += evaluate_classes(table, truth)
        return cls(
            ensemble,
            results,
            dataset,
            counts,
            votes,
            answered,
            np.concatenate(ids),
            [len(one) for one in ids[1:]],
            np.concatenate(apart),
            metrics,
            truth,
            source,
        )

    def hardest(self, most: int) -> NDArray[np.int64]:
        """The ids of the pictures that the members disagree about most, equals in their order."""
        return self.image_id[np.argsort(-self.disagreement, kind="stable")[:most]]

    @property
    def notes(self) -> list[str]:
        """What there is to say before anything is written."""
        notes = [*self.results.notes]
        if self.source:
            notes.append(f"Accuracy is measured against {self.source}.")
        kept, decided = int(self.counts.sum()), len(self.image_id)
        if kept < decided:
            notes.append(
                f"{kept:,} of {decided:,} labels are published: the others are less probable than "
                f"{self.ensemble.publish.min_probability:g} (`publish: {{min_probability: …}}`)."
            )
        return notes

    def write(self, name: str, stage: Path) -> Written:
        """Write one format, shard by shard."""
        from quorate.formats import cvat
        from quorate.formats.whole_pictures import write_coco_labels, write_csv

        asked = self.ensemble.publish
        target = str(stage / name)
        if name == "csv":
            names = self.results.detectors
            top = min(asked.top, len(self.results.labels))
            return write_csv(self._parts(), target, members=names, top=top)
        dataset = replace(self.dataset, images=(), annotations=None)
        if name == "coco":
            return write_coco_labels(
                dataset, lambda: self._parts(asked.folder), target, lowest=asked.min_probability
            )
        dataset, parts = _declared(dataset, asked.attributes), self._tagged()
        if rule := Rule.of(self.ensemble):
            dataset, parts = reviewed(
                dataset, parts, rule, self.image_id, self.disagreement, self.sizes
            )
        return cvat.write_parts(dataset, parts, target)

    def _parts(self, folder: str = "") -> Iterator[tuple[Sequence[Image], Classifications]]:
        """The pictures of each shard, named with a folder they lie in elsewhere, and the labels."""
        for shard in self.results.shards:
            images = below(folder, self.results.shard_images(shard))
            yield images, self.results.labels_of(shard)

    def _tagged(self) -> Parts:
        """Each picture with the tag of its label."""
        asked = self.ensemble.publish

        def shapes() -> Iterator[tuple[Sequence[Image], Annotations]]:
            for images, table in self._parts(asked.folder):
                shown = table.take(table.probability >= asked.min_probability)
                yield images, _tags(shown, asked.attributes)

        like = _tags(Classifications.empty((), self.dataset.labels), asked.attributes)
        return Parts(lambda: (images for images, _ in self._parts(asked.folder)), shapes, like)

    def review(self, path: Path) -> bool:
        """There is no such file of labels: a picture's tags say all that is in doubt about it."""
        return False

    def report(self, path: Path, notes: Sequence[str]) -> list[str]:
        """Fill the report; the pictures that are shown are read once more. Returns its files."""
        from quorate.report.classes import SHOWN, ClassReport, write_class_report

        results = self.results
        hardest = self.hardest(SHOWN)
        images = {image.id: image for image in results.images_on(hardest)}
        wanted = [
            table.take(np.isin(table.image_id, hardest))
            for table in (results.labels_of(shard) for shard in results.shards)
        ]
        whole = Classifications.concat(wanted)
        place = {int(number): row for row, number in enumerate(whole.image_id)}
        rows = np.array([place[i] for i in hardest.tolist()], np.int64)
        with open_tree(results.plan.root) as tree:
            report = ClassReport(
                name=self.ensemble.name,
                method=self.ensemble.fusion.method,
                labels=results.labels,
                images=results.count,
                members=results.detectors,
                counts=self.counts,
                metrics=self.metrics,
                disagreement=self.disagreement,
                hardest=whole.take(rows),
                truth=self.truth,
                names={number: image.file_name for number, image in images.items()},
                spec=self.ensemble.to_yaml(),
                failed=results.failed,
                skipped=[(one.file_name, one.reason) for one in results.skipped],
                notes=notes,
                about=results.about,
                read=lambda number: decode(
                    tree.read(images[number].file_name), name=images[number].file_name
                ),
            )
            return write_class_report(path, report)

    def summary(self, notes: Sequence[str], files: Sequence[str]) -> ClassSummary:
        """Count what was decided, and what of it was published."""
        results = self.results

        def voted(name: str) -> ClassVoted:
            measured = self.metrics.get(name)
            accuracy = measured.accuracy if measured else None
            # Of five labels or fewer, the first five hold the true one anyway.
            top = measured.top(TOP) if measured and len(results.labels) > TOP else None
            return ClassVoted(
                name, self.answered[name], accuracy, top, results.failed.get(name, "")
            )

        hardest = self.hardest(REVIEWED)
        names = {image.id: image.file_name for image in results.images_on(hardest)}
        apart = dict(zip(self.image_id.tolist(), self.disagreement.tolist(), strict=True))
        counts = zip(results.labels.names, self.counts.tolist(), strict=True)
        return ClassSummary(
            name=self.ensemble.name,
            method=self.ensemble.fusion.method,
            images=results.count,
            classifiers=tuple(voted(name) for name in results.detectors),
            ensemble=voted(ENSEMBLE),
            published=int(self.counts.sum()),
            counts={name: count for name, count in counts if count},
            votes={str(i): n for i, n in enumerate(self.votes.tolist()) if n},
            degraded=bool(results.failed),
            skipped=results.skipped,
            notes=tuple(notes),
            review=tuple(names[i] for i in hardest.tolist() if apart[i] > 0),
            files=tuple(files),
            truth=self.source,
            about=results.about,
        )


def _tags(table: Classifications, attributes: Sequence[str]) -> Annotations:
    """The label of each picture as a tag."""
    columns: dict[str, NDArray[Any]] = {"votes": table.votes, "score": table.probability}
    return Annotations.build(
        image_id=table.image_id,
        category_id=table.category_id,
        xyxy=np.zeros((len(table), 4)),
        kind=Kind.TAG,
        sources=("auto",),
        attributes={name: columns[name] for name in attributes},
    )


def _declared(dataset: Dataset, attributes: Sequence[str]) -> Dataset:
    """The data set with labels that are tags, where the source says nothing else of them."""
    words = {"votes": "votes", "score": "confidence"}
    own = tuple(AttributeSpec(words[name], default="1", values=("1",)) for name in attributes)
    info = {}
    for name in dataset.labels.names:
        given = dataset.label_info.get(name, LabelInfo(type="tag"))
        known = {one.name for one in given.attributes}
        more = tuple(one for one in own if one.name not in known)
        info[name] = msgspec.structs.replace(given, attributes=(*given.attributes, *more))
    return replace(dataset, label_info={**dataset.label_info, **info})
