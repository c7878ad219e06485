"""How far the detectors of an ensemble agree, without any truth, and what to look at first.

The boxes of all detectors are grouped as the voting methods of fusion group them (one category,
IoU above a threshold); each group has the votes of 1 to m detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quorate.columns import positions_in
from quorate.dataset import Dataset
from quorate.detections import Detections, Members
from quorate.display import brief
from quorate.errors import InputError
from quorate.evaluation.truth import Floats, Ints
from quorate.labels import Labels

MIN_SCORE = 0.25


@dataclass(frozen=True)
class DetectorAgreement:
    """How one detector stands to the others; the three kinds of box add up to `boxes`.

    confirmed  its boxes in groups with at least the votes that are needed
    disputed   its boxes in groups that others voted for, but too few
    lonely     its boxes that nobody else saw
    missed     groups that have the votes, though not this detector's
    """

    name: str
    boxes: int
    confirmed: int
    disputed: int
    lonely: int
    missed: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far detectors agree, over a data set and picture by picture.

    matched       int64    (m, m)    boxes that two detectors have in common; on the diagonal, all
    votes         int64    (m + 1,)  groups by how many detectors voted for them
    image_id      int64    (p,)      the data set's pictures, in its order
    disagreement  float32  (p,)      0, agreed on everything, up to 1; see `agreement`
    """

    detectors: tuple[DetectorAgreement, ...]
    matched: Ints
    votes: Ints
    needed: int
    image_id: Ints
    disagreement: NDArray[np.float32]
    iou: float
    min_score: float

    __repr__ = brief

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors' names, in the order of the rows and columns."""
        return tuple(detector.name for detector in self.detectors)

    @property
    def pairwise(self) -> Floats:
        """(m, m) F1, 2 * matched / (boxes of one + boxes of the other); NaN where both are 0."""
        boxes = np.diag(self.matched)
        total = boxes[:, None] + boxes[None, :]
        f1: Floats = np.full(self.matched.shape, np.nan)
        np.divide(2 * self.matched, total, out=f1, where=total > 0)
        return f1

    @classmethod
    def concat(cls, parts: Sequence[Agreement]) -> Agreement:
        """The agreement over all pictures of several, which no two of them share.

        What is counted adds up, so that a data set of any size can be compared a part at a time.
        A detector that is no part of one (it failed there) simply adds nothing from it.
        """
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        counts = np.zeros((len(names), 5), dtype=np.int64)
        matched = np.zeros((len(names), len(names)), dtype=np.int64)
        votes = np.zeros(max(len(part.votes) for part in parts), dtype=np.int64)
        for part in parts:
            place = [names.index(name) for name in part.names]
            for row, one in zip(place, part.detectors, strict=True):
                counts[row] += astuple(one)[1:]
            matched[np.ix_(place, place)] += part.matched
            votes[: len(part.votes)] += part.votes
        return replace(
            parts[0],
            detectors=_standings(names, counts),
            matched=matched,
            votes=votes,
            image_id=np.concatenate([part.image_id for part in parts]),
            disagreement=np.concatenate([part.disagreement for part in parts]),
        )


def agreement(
    detections: Detections,
    dataset: Dataset,
    *,
    detectors: Sequence[str] | None = None,
    iou: float = 0.5,
    min_score: float = MIN_SCORE,
    needed: int | None = None,
) -> Agreement:
    """Compare the boxes of several detectors with one another.

    The disagreement on a picture with groups g, each with v votes of m and a score s (that of its
    surest member), is

        sum of s * (m - v) / (m - 1)  over  1 + sum of s

    It is 0 where every group has every vote, and where nobody saw anything. A group that only
    some voted for raises it, one that all voted for lowers it, each by its score; the 1 keeps one
    weak box on an empty picture from looking like chaos. The order of boxes and detectors does
    not matter.

    Args:
        detections: The boxes of all detectors, before fusion.
        dataset: The pictures, in the order of the result.
        detectors: Those that took part; default: all of `detections`. One that found nothing
            took part; one that failed did not, and its boxes, if any, are left out.
        iou: Boxes overlap when their IoU is above this.
        min_score: Boxes that score less are left out: a detector that whispers does not disagree.
        needed: Votes that confirm a group; default: more than half of the detectors.
    """
    names = tuple(detections.detectors if detectors is None else detectors)
    m = len(names)
    needed = m // 2 + 1 if needed is None else needed
    asked, slots = _taking_part(detections, names, min_score)
    groups, ballot, surest = voted(detections, names, iou=iou, min_score=min_score)
    votes = ballot.sum(1)

    image_id = np.array([image.id for image in dataset.images], dtype=np.int64)
    picture = positions_in(image_id, groups.image_id)
    if (picture < 0).any():
        raise InputError(
            f"{np.count_nonzero(picture < 0)} boxes are on pictures that the data set has not, "
            f"the first on image id {groups.image_id[picture < 0][0]}."
        )
    doubt = surest * (m - votes) / max(m - 1, 1)
    weight = np.bincount(picture, surest, len(image_id))
    disagreement = np.bincount(picture, doubt, len(image_id)) / (1 + weight)

    group, members = _membership(groups)
    kind = np.where(votes >= needed, 0, np.where(votes > 1, 1, 2))[group]
    tally = np.bincount(members.detector * 3 + kind, minlength=3 * m).reshape(m, 3)
    missed = np.count_nonzero((votes >= needed)[:, None] & ~ballot, axis=0)
    return Agreement(
        detectors=_standings(names, np.column_stack([tally.sum(1), tally, missed])),
        matched=_matched(asked, slots, m, iou),
        votes=np.bincount(votes, minlength=m + 1),
        needed=needed,
        image_id=image_id,
        disagreement=disagreement.astype(np.float32),
        iou=iou,
        min_score=min_score,
    )


def voted(
    detections: Detections, names: Sequence[str], *, iou: float, min_score: float = MIN_SCORE
) -> tuple[Detections, NDArray[np.bool_], Floats]:
    """The groups of boxes, who voted for each, and the score of each one's surest member.

    Returns the groups (g of them), (g, m) votes by the detectors in the order of `names`, and (g,)
    scores. The arguments are those of `agreement`.
    """
    from quorate.fusion import fuse
    from quorate.spec.fusion import Affirmative

    asked, _ = _taking_part(detections, names, min_score)
    groups = fuse(asked, Affirmative(iou=iou), detectors=names)
    group, members = _membership(groups)
    ballot = np.zeros((len(groups), len(names)), dtype=np.bool_)
    ballot[group, members.detector] = True
    surest = np.zeros(len(groups))
    np.maximum.at(surest, group, members.score)
    return groups, ballot, surest


def _taking_part(
    detections: Detections, names: Sequence[str], min_score: float
) -> tuple[Detections, Ints]:
    """The boxes that count; (d + 1,) where each detector, and last a fused one, stands; or -1."""
    places = [names.index(name) if name in names else -1 for name in detections.detectors]
    slots = np.array([*places, -1], dtype=np.int64)
    counts = (detections.score >= min_score) & (slots[detections.detector] >= 0)
    return detections.take(counts), slots


def _membership(groups: Detections) -> tuple[Ints, Members]:
    """The group of each member, and the members."""
    members = groups.members
    assert members is not None  # fusion tells them
    return np.repeat(np.arange(len(groups)), np.diff(members.offsets)), members


def review_order(found: Agreement, *, most: int | None = None) -> Ints:
    """Image ids, the one to look at first first: by falling disagreement.

    Pictures that are equal keep the data set's order; those without any doubt are there too, last.
    """
    order = np.argsort(-found.disagreement, kind="stable")[:most]
    return found.image_id[order]


def votes_by_label(boxes: Detections, labels: Labels, *, most: int) -> Ints:
    """(labels, votes + 1) how many fused boxes of each label have so many votes, up to `most`."""
    counts = np.zeros((len(labels), max(most, int(boxes.votes.max(initial=0))) + 1), np.int64)
    np.add.at(counts, (labels.positions(boxes.category_id), boxes.votes), 1)
    return counts


def _standings(names: Sequence[str], counts: Ints) -> tuple[DetectorAgreement, ...]:
    """Each detector with its row of `counts`, whose columns are the fields in their order."""
    rows = zip(names, counts.tolist(), strict=True)
    return tuple(DetectorAgreement(name, *row) for name, row in rows)


def _matched(asked: Detections, slots: Ints, m: int, iou: float) -> Ints:
    """(m, m) boxes that two detectors have in common; on the diagonal, all that one has.

    Boxes of two detectors are matched one to one, in one picture and category, from the best
    overlap down. All columns take part in the sort, so that input order cannot matter.
    """
    from quorate.evaluation.kernels import overlapping_pairs, take_pairs

    x1, y1, x2, y2 = asked.xyxy.T
    order = np.lexsort((asked.score, y2, x2, y1, x1, asked.category_id, asked.image_id))
    detector = slots[asked.detector][order]
    xyxy = asked.xyxy[order].astype(np.float64)
    image, category = asked.image_id[order], asked.category_id[order]
    new = (image[1:] != image[:-1]) | (category[1:] != category[:-1])
    cells = np.concatenate(([0], np.flatnonzero(new) + 1, [len(order)])).astype(np.int64)
    room, count = 0, 2 * len(order) + 1
    while room < count:  # at most twice
        room = count
        pairs, overlap = np.empty((room, 2), np.int64), np.empty(room)
        count = overlapping_pairs(xyxy, cells, detector, iou, pairs, overlap)
    matched: Ints = np.zeros((m, m), np.int64)
    best_first = np.argsort(-overlap[:count], kind="stable")
    take_pairs(pairs, best_first, detector, np.zeros((len(order), m), np.bool_), matched)
    np.fill_diagonal(matched, np.bincount(detector, minlength=m))
    return matched
