"""The pictures that a person should look at first, and what of them is in doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.dataset import AttributeSpec, Dataset, Image, LabelInfo
from quorate.errors import InputError
from quorate.labels import Labels
from quorate.spec import EnsembleSpec
from quorate.steps.results import Results

if TYPE_CHECKING:
    from quorate.evaluation.agreement import Agreement

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
    def of(cls, ensemble: EnsembleSpec) -> Rule | None:
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


def agreed(results: Results, ensemble: EnsembleSpec) -> Agreement:
    """How far the detectors of a run agree, picture by picture."""
    from quorate.evaluation.agreement import Agreement, agreement

    parts: list[Agreement] = []
    for shard in results.shards:
        dataset = Dataset(results.plan.root, results.shard_images(shard), results.labels)
        names = results.fusions[shard].detectors
        found = results.detections(shard)
        parts.append(agreement(found, dataset, detectors=names, iou=ensemble.fusion.iou))
    return Agreement.concat(parts)


def doubts(
    results: Results, ensemble: EnsembleSpec, rule: Rule, whole: Agreement | None = None
) -> list[Doubt]:
    """The pictures of a run that need a person, the worst first; `whole` is its agreement."""
    whole = whole or agreed(results, ensemble)
    taken = rule.takes(whole.disagreement)
    wanted = whole.image_id[taken]
    groups = dict(_groups(results, ensemble, wanted))
    images = {image.id: image for image in results.images}
    return [
        Doubt(images[number], disagreement, groups[number])
        for number, disagreement in zip(
            wanted.tolist(), whole.disagreement[taken].tolist(), strict=True
        )
    ]


def _groups(
    results: Results, ensemble: EnsembleSpec, wanted: NDArray[np.int64]
) -> Iterator[tuple[int, tuple[Group, ...]]]:
    """What is in doubt on each of a few pictures."""
    from quorate.evaluation.agreement import voted

    for shard in results.shards:
        here = np.intersect1d([image.id for image in results.shard_images(shard)], wanted)
        if not len(here):
            continue
        found = results.detections(shard)
        names = results.fusions[shard].detectors
        groups, ballot, surest = voted(
            found.take(np.isin(found.image_id, here)), names, iou=ensemble.fusion.iou
        )
        votes = ballot.sum(1)
        order = np.argsort(-surest * (len(names) - votes), kind="stable")
        order = order[votes[order] < len(names)]
        for number in here.tolist():
            yield (
                number,
                tuple(
                    Group(
                        results.labels.name_of(int(groups.category_id[row])),
                        tuple(groups.xyxy[row].tolist()),
                        int(votes[row]),
                        len(names),
                    )
                    for row in order[groups.image_id[order] == number].tolist()
                ),
            )


def with_review(
    dataset: Dataset, boxes: Annotations, agreement: Agreement, rule: Rule
) -> tuple[Dataset, Annotations]:
    """Add a tag to the pictures that need a person, with their disagreement in percent.

    In percent, because a CVAT attribute that can be compared is a whole number.
    """
    doubtful = np.sort(rule.takes(agreement.disagreement))
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
        attributes={"disagreement": _percent(agreement.disagreement)[doubtful]},
    )
    percentage = AttributeSpec("disagreement", "number", default="0", values=("0", "100", "1"))
    info = LabelInfo(type="tag", attributes=(percentage,))
    return (
        replace(dataset, labels=labels, label_info={**dataset.label_info, REVIEW: info}),
        Annotations.concat([boxes, tags]),
    )
