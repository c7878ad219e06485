"""The pictures that a person should look at first, and what of them is in doubt."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.spec import Ensemble, EnsembleSpec
from quorate.steps.results import Results
from quorate.storage import writing

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement
    from quorate.formats.parts import Parts

REVIEW = "review"
"""The label of the tag that says how far the detectors disagree about a picture."""


class Group(NamedTuple):
    """Boxes of one object that not every detector has: where, what, and with how many votes."""

    label: str
    xyxy: tuple[float, float, float, float]
    votes: int
    of: int


@dataclass(frozen=True)
class Doubt:
    """A picture that needs a person; `groups` has the greatest doubt first."""

    image: Image
    disagreement: float
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Rule:
    """How many pictures need a person, those of the highest disagreement first.

    share  at most this share of them, rounded up
    most   at most so many
    least  only those that disagree at least so much
    """

    share: float = 1.0
    most: int | None = None
    least: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Rule:
        """A whole number is the most pictures, a number below 1 the least disagreement.

        Raises InputError for other text.
        """
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if text.isdecimal():
            return cls(most=int(text))
        if not 0.0 < value < 1.0:
            raise InputError(
                f"'{text}' says neither how many pictures nor how much they disagree.",
                hint="20 is the 20 worst pictures, 0.3 those whose disagreement is 0.3 or more",
            )
        return cls(least=value)

    @classmethod
    def of(cls, ensemble: Ensemble) -> Rule | None:
        """What the spec's `publish: {review: …}` asks for; None where it does not."""
        asked = ensemble.publish
        return cls(share=asked.review_share) if asked.review else None

    def takes(self, disagreement: NDArray[np.float32]) -> NDArray[np.int64]:
        """Positions of the pictures, by falling disagreement, the earlier one of equals first.

        Those whose disagreement is 0, in whole percent, are never among them.
        """
        most = math.ceil(self.share * len(disagreement))
        most = most if self.most is None else min(most, self.most)
        order = np.argsort(-disagreement, kind="stable")[:most]
        kept = (_percent(disagreement) > 0) & (disagreement >= np.float32(self.least))
        return order[kept[order]]


def _percent(disagreement: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(100 * disagreement).astype(np.int64)


def agreed(results: Results, ensemble: EnsembleSpec, shard: int, found: Detections) -> Agreement:
    """How far the detectors that `found` boxes in a shard agree, picture by picture."""
    from quorate.evaluation.agreement import agreement

    dataset = Dataset(results.plan.root, results.shard_images(shard), results.labels)
    names = results.fusions[shard].detectors
    return agreement(found, dataset, detectors=names, iou=ensemble.fusion.iou)


def doubts(results: Results, ensemble: EnsembleSpec, rule: Rule) -> list[Doubt]:
    """The pictures of a run that need a person, the worst first."""
    from quorate.evaluation.agreement import Agreement

    whole = Agreement.concat(
        [agreed(results, ensemble, k, results.detections(k)) for k in results.shards]
    )
    found = dict(_doubts(results, ensemble, whole, rule.takes(whole.disagreement)))
    return [found[place] for place in range(len(found))]


def write_doubts(
    path: Path, results: Results, ensemble: EnsembleSpec, rule: Rule, whole: Agreement
) -> None:
    """The same as a list in JSON; `whole` is the run's agreement. One shard's are in memory."""
    taken = rule.takes(whole.disagreement)
    where = np.zeros((len(taken), 2), np.int64)
    with tempfile.TemporaryFile(dir=path.parent) as aside, writing(path) as file:
        for place, doubt in _doubts(results, ensemble, whole, taken):
            text = msgspec.json.encode(doubt)
            where[place] = aside.tell(), len(text)
            aside.write(text)
        file.write(b"[")
        for place, (start, size) in enumerate(where.tolist()):
            aside.seek(start)
            file.write(b"," * (place > 0) + aside.read(size))
        file.write(b"]")


def _doubts(
    results: Results, ensemble: EnsembleSpec, whole: Agreement, taken: NDArray[np.int64]
) -> Iterator[tuple[int, Doubt]]:
    """What is in doubt on the pictures at some positions, shard by shard, and the place of each."""
    from quorate.evaluation.agreement import voted

    order = np.argsort(taken)
    start = 0
    for shard, ids in results.ids.items():
        first, last = np.searchsorted(taken, [start, start + len(ids)], sorter=order)
        places = order[first:last]
        images = results.shard_images(shard) if len(places) else ()
        here = {ids[taken[place] - start]: place for place in places.tolist()}
        if here:
            found = results.detections(shard)
            names = results.fusions[shard].detectors
            groups, ballot, surest = voted(
                found.take(np.isin(found.image_id, [*here])), names, iou=ensemble.fusion.iou
            )
            votes = ballot.sum(1)
            worst = np.argsort(-surest * (len(names) - votes), kind="stable")
            worst = worst[votes[worst] < len(names)]
            # The groups of a picture stand together, the greatest doubt first.
            worst = worst[np.argsort(groups.image_id[worst], kind="stable")]
            of = groups.image_id[worst]
            for number, place in here.items():
                rows = worst[slice(*np.searchsorted(of, [number, number + 1]))]
                disagreement = float(whole.disagreement[taken[place]])
                yield (
                    place,
                    Doubt(
                        images[taken[place] - start],
                        disagreement,
                        tuple(
                            Group(
                                results.labels.name_of(int(groups.category_id[row])),
                                tuple(groups.xyxy[row].tolist()),
                                int(votes[row]),
                                len(names),
                            )
                            for row in rows.tolist()
                        ),
                    ),
                )
        start += len(ids)


def reviewed(
    dataset: Dataset,
    parts: Parts,
    rule: Rule,
    image_id: NDArray[np.int64],
    disagreement: NDArray[np.float32],
    sizes: Iterable[int],
) -> tuple[Dataset, Parts]:
    """A data set and its parts with a tag on the pictures that need a person.

    image_id      (n,) pictures, part by part
    disagreement  (n,) how far the members disagree about each
    sizes         how many of these each part has
    """
    dataset = _with_review(dataset)
    doubtful = np.sort(rule.takes(disagreement))
    bounds = np.searchsorted(doubtful, np.cumsum([0, *sizes])).tolist()

    def tagged(shapes: Annotations, rows: slice) -> Annotations:
        some = doubtful[rows]
        tags = Annotations.build(
            image_id=image_id[some],
            category_id=dataset.labels.id_of(REVIEW),
            xyxy=np.zeros((len(some), 4)),
            kind=Kind.TAG,
            sources=("auto",),
            attributes={"disagreement": _percent(disagreement[some])},
        )
        return Annotations.concat([shapes, tags])

    return dataset, replace(
        parts,
        shapes=lambda: (
            (images, tagged(shapes, slice(*rows)))
            for (images, shapes), rows in zip(parts.shapes(), pairwise(bounds), strict=True)
        ),
        like=tagged(parts.like, slice(0)),
    )


def _with_review(dataset: Dataset) -> Dataset:
    """The data set with the label of the tag, which has the disagreement as an attribute.

    In percent, because a CVAT attribute that can be compared is a whole number.
    """
    labels = dataset.labels
    if REVIEW not in labels:
        labels = Labels(
            names=(*labels.names, REVIEW), ids=(*labels.ids, max(labels.ids, default=0) + 1)
        )
    percentage = AttributeSpec("disagreement", "number", default="0", values=("0", "100", "1"))
    info = LabelInfo(type="tag", attributes=(percentage,))
    return replace(dataset, labels=labels, label_info={**dataset.label_info, REVIEW: info})
