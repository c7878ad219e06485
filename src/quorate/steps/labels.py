"""What publish writes of labels of whole pictures: tags, tables, figures, the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from quorate.labels import Labels
from quorate.pictures import decode
from quorate.spec import ClassificationSpec
from quorate.steps.findings import dataset_of
from quorate.steps.moving import below
from quorate.steps.results import Results
from quorate.steps.review import Rule, tags, with_review
from quorate.steps.summary import REVIEWED, ClassSummary, ClassVoted, Told
from quorate.storage import open_tree

ENSEMBLE = "ensemble"


@dataclass
class Found:
    """What there is to know of a run beside its labels, one shard read after the other.

    dataset       what its source says of the data set as prepared: labels, colours, attributes
    counts        (labels,) pictures whose label is published
    votes         (members + 1,) of these, how many members voted for it
    answered      pictures that each member said something of, and the ensemble
    image_id      (n,) every picture that has a label
    disagreement  (n,) how far the members disagree about it
    metrics       of each member and of the ensemble; empty where there is no truth
    truth         the positions of the true labels by the pictures' ids
    source        where these were found, '' for nowhere
    """

    dataset: Dataset
    counts: NDArray[np.int64]
    votes: NDArray[np.int64]
    answered: dict[str, int]
    image_id: NDArray[np.int64]
    disagreement: NDArray[np.float32]
    metrics: dict[str, ClassMetrics] = field(default_factory=dict)
    truth: dict[int, int] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def of(cls, ensemble: ClassificationSpec, results: Results) -> Found:
        """Read every shard once."""
        dataset, labels, names = dataset_of(results), results.labels, results.detectors
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
            dataset,
            counts,
            votes,
            answered,
            np.concatenate(ids),
            np.concatenate(apart),
            metrics,
            truth,
            source,
        )

    def hardest(self, most: int) -> NDArray[np.int64]:
        """The ids of the pictures that the members disagree about most, equals in their order."""
        return self.image_id[np.argsort(-self.disagreement, kind="stable")[:most]]


def labels(
    ensemble: ClassificationSpec,
    results: Results,
    stage: Path,
    progress: Callable[[int, int], None],
) -> Told:
    """Write what was decided: every format that is asked for, and the report."""
    found = Found.of(ensemble, results)
    asked = ensemble.publish
    total = len(asked.formats) + asked.report
    files: list[str] = []
    notes = [*results.notes]
    if found.source:
        notes.append(f"Accuracy is measured against {found.source}.")
    kept, decided = int(found.counts.sum()), len(found.image_id)
    if kept < decided:
        notes.append(
            f"{kept:,} of {decided:,} labels are published: the others are less probable than "
            f"{asked.min_probability:g} (`publish: {{min_probability: …}}`)."
        )
    for number, name in enumerate(asked.formats):
        progress(number, total)
        written = _write(name, ensemble, results, found, stage)
        files += [Path(file).relative_to(stage).as_posix() for file in written.files]
        notes += [note for note in written.notes if note not in notes]
    if asked.report:
        progress(total - 1, total)
        files += _write_report(stage / "report.html", ensemble, results, found, notes)
    return Told(files, notes, lambda notes, files: _summary(ensemble, results, found, notes, files))


def _write(
    name: str, ensemble: ClassificationSpec, results: Results, found: Found, stage: Path
) -> Written:
    """Write one format, shard by shard."""
    from quorate.formats import cvat
    from quorate.formats.whole_pictures import write_coco_labels, write_csv

    asked = ensemble.publish
    target = str(stage / name)

    def parts(folder: str = "") -> Iterator[tuple[Sequence[Image], Classifications]]:
        for shard in results.shards:
            images = results.shard_images(shard)
            yield (below(folder, images) if folder else images), results.labels_of(shard)

    if name == "csv":
        return write_csv(
            parts(), target, members=results.detectors, top=min(asked.top, len(results.labels))
        )
    if name == "coco":
        dataset = replace(found.dataset, images=(), annotations=None)
        return write_coco_labels(
            dataset, lambda: parts(asked.folder), target, lowest=asked.min_probability
        )
    dataset = _declared(replace(found.dataset, images=(), annotations=None), asked.attributes)
    rule = Rule.of(ensemble)
    if rule:
        dataset = with_review(dataset)
    return cvat.write_parts(dataset, _tagged(ensemble, found, parts, dataset.labels, rule), target)


def _tagged(
    ensemble: ClassificationSpec,
    found: Found,
    parts: Callable[[str], Iterator[tuple[Sequence[Image], Classifications]]],
    labels: Labels,
    rule: Rule | None,
) -> Parts:
    """Each picture with the tag of its label, and with one for a person where that is asked for."""
    asked = ensemble.publish
    doubtful = np.sort(rule.takes(found.disagreement)) if rule else np.empty(0, np.int64)
    ids, apart = found.image_id[doubtful], found.disagreement[doubtful]

    def tagged(table: Classifications, here: NDArray[np.bool_]) -> Annotations:
        own = _tags(table, asked.attributes)
        if rule is None:
            return own
        return Annotations.concat([own, tags(labels, ids[here], apart[here])])

    def shapes() -> Iterator[tuple[Sequence[Image], Annotations]]:
        for images, table in parts(asked.folder):
            shown = table.take(table.probability >= asked.min_probability)
            yield images, tagged(shown, np.isin(ids, table.image_id))

    empty = Classifications.empty((), found.dataset.labels)
    like = tagged(empty, np.zeros(len(ids), bool))
    return Parts(lambda: (images for images, _ in parts(asked.folder)), shapes, like)


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


def _summary(
    ensemble: ClassificationSpec,
    results: Results,
    found: Found,
    notes: Sequence[str],
    files: Sequence[str],
) -> ClassSummary:
    """Count what was decided, and what of it was published."""

    def voted(name: str) -> ClassVoted:
        measured = found.metrics.get(name)
        accuracy = measured.accuracy if measured else None
        # Of five labels or fewer, the first five hold the true one anyway.
        top = measured.top(TOP) if measured and len(results.labels) > TOP else None
        return ClassVoted(name, found.answered[name], accuracy, top, results.failed.get(name, ""))

    hardest = found.hardest(REVIEWED)
    names = {image.id: image.file_name for image in results.images_on(hardest)}
    apart = dict(zip(found.image_id.tolist(), found.disagreement.tolist(), strict=True))
    counts = zip(results.labels.names, found.counts.tolist(), strict=True)
    return ClassSummary(
        name=ensemble.name,
        method=ensemble.fusion.method,
        images=results.count,
        classifiers=tuple(voted(name) for name in results.detectors),
        ensemble=voted(ENSEMBLE),
        published=int(found.counts.sum()),
        counts={name: count for name, count in counts if count},
        votes={str(i): n for i, n in enumerate(found.votes.tolist()) if n},
        degraded=bool(results.failed),
        skipped=results.skipped,
        notes=tuple(notes),
        review=tuple(names[i] for i in hardest.tolist() if apart[i] > 0),
        files=tuple(files),
        truth=found.source,
        about=results.about,
    )


def _write_report(
    path: Path,
    ensemble: ClassificationSpec,
    results: Results,
    found: Found,
    notes: Sequence[str],
) -> list[str]:
    """Fill the report; the pictures that are shown are read once more. Returns its files."""
    from quorate.report.classes import SHOWN, ClassReport, write_class_report

    hardest = found.hardest(SHOWN)
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
            name=ensemble.name,
            method=ensemble.fusion.method,
            labels=results.labels,
            images=results.count,
            members=results.detectors,
            counts=found.counts,
            metrics=found.metrics,
            disagreement=found.disagreement,
            hardest=whole.take(rows),
            truth=found.truth,
            names={number: image.file_name for number, image in images.items()},
            spec=ensemble.to_yaml(),
            failed=results.failed,
            skipped=[(one.file_name, one.reason) for one in results.skipped],
            notes=notes,
            about=results.about,
            read=lambda number: decode(
                tree.read(images[number].file_name), name=images[number].file_name
            ),
        )
        return write_class_report(path, report)
