"""What a person still has to do to a result: add, delete, relabel, move.

AP ranks boxes by their scores; who corrects them sees no ranks. Effort counts the edits that make
the truth of what is published, as the correction cost of Otani et al. (Optimal Correction Cost for
Object Detection Evaluation, CVPR 2022) does, but in whole edits. What is near enough to an object
to be mended instead of drawn anew follows the kinds of error of TIDE (Bolya et al., ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quorate.errors import InputError
from quorate.evaluation.truth import Floats, Frame, Ints, ScoredBoxes, TruthBoxes

if TYPE_CHECKING:
    from quorate.dataset import Dataset
    from quorate.detections import Detections

TIGHT = 0.75
"""IoU from which a box stays as it is."""
NEAR = 0.5
"""IoU from which a box of a wrong label is mended where it is not tight: TIDE's foreground."""
LOOSE = 0.1
"""IoU from which a box of the right label is moved and not drawn anew: TIDE's background ends."""
KINDS = ("add", "delete", "relabel", "move")
KEPT, MOVED, RELABELLED, BOTH, DELETED, ASIDE = range(6)
"""What becomes of a box; ASIDE: it scores too little to be published, or lies on a crowd."""
_GRID = np.linspace(0, 1, 101).astype(np.float32)


@dataclass(frozen=True)
class Edits:
    """How many objects to add, boxes to delete, labels to change and boxes to move.

    Of `boxes` that are published and `objects` in the truth, crowds left out. A box whose label
    is changed and that is moved counts with both.
    """

    add: int
    delete: int
    relabel: int
    move: int
    boxes: int
    objects: int

    @property
    def total(self) -> int:
        """All edits."""
        return self.add + self.delete + self.relabel + self.move


@dataclass(frozen=True, eq=False)
class Effort:
    """The edits that a result needs.

    min_score   the score from which boxes are published, and `edits` what they need
    best_score  of .00, .01 … 1 the score that makes the edits least, `best`; the highest of equals
    pictures    int64  (p, 4)          edits of each picture in the data set's order, as `KINDS`
    labels      int64  (c, 4)          of each label in the vocabulary's order: a box that is
                                       deleted counts for its own label, all else for the object's
    confusion   int64  (c + 1, c + 1)  boxes by the label of their object (rows) and their own; the
                                       last column: objects to add; the last row: boxes to delete
    fate        int8   (n,)            what becomes of each box, in the order given: `KEPT` …
    """

    min_score: float
    edits: Edits
    best_score: float
    best: Edits
    pictures: Ints
    labels: Ints
    confusion: Ints
    fate: NDArray[np.int8]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; pictures and labels are left out."""
        each = max(len(self.pictures), 1)
        return {
            "min_score": self.min_score,
            **asdict(self.edits),
            "edits": self.edits.total,
            "edits_per_picture": self.edits.total / each,
            "best_score": self.best_score,
            "best": {**asdict(self.best), "edits": self.best.total},
        }


def effort(
    detections: Detections, dataset: Dataset, *, min_score: float = 0.0, tight: float = TIGHT
) -> Effort:
    """Count what a person has to do to the boxes that score at least `min_score`.

    A box and an object of one picture can be made to fit:

    - at no cost where their labels are the same and their IoU is `tight` or more;
    - by one edit, a move, where the labels are the same and the IoU is .1 or more;
    - by one edit, a new label, where the labels differ and the IoU is `tight` or more;
    - by both, where the labels differ and the IoU is .5 or more.

    Pairs are taken one to one: those of fewest edits first, then the greatest IoU, the highest
    score, the first box and the first object. What is left is deleted or added, an edit each. A
    box that lies by half on a crowd of its label, and is matched with nothing, costs none. Upright
    boxes are compared, also of masks and rotated shapes.

    Raises InputError as `evaluate` does, and where `tight` is not above .5 and at most 1.
    """
    if not NEAR < tight <= 1:
        raise InputError(f"A box is tight from an IoU above {NEAR:g} up to 1, not from {tight:g}.")
    frame = Frame.of(dataset)
    truth = TruthBoxes.of(dataset, frame)
    found = ScoredBoxes.of(detections, frame)
    matcher = _Matcher(found, truth, len(frame.image_id), tight)
    cuts = matcher.edits(_GRID)
    best = min(range(len(_GRID)), key=lambda at: (cuts[at].total, -at))
    (published,) = matcher.edits(np.array([min_score], np.float32))
    images, categories, size = len(frame.image_id), len(frame.category_id), len(detections)
    fate = np.full(size, ASIDE, np.int8)
    seen = (found.score.astype(np.float32) >= np.float32(min_score)) & ~matcher.free
    fate[seen] = DELETED
    matched = matcher.of_box >= 0
    fate[matched] = matcher.kinds[matched]
    added = (matcher.of_object < 0) & ~truth.crowd
    object_image = np.append(truth.image, 0)[matcher.of_box]
    object_label = np.append(truth.category, 0)[matcher.of_box]
    gone = fate == DELETED
    renamed, moved = np.isin(fate, (RELABELLED, BOTH)), np.isin(fate, (MOVED, BOTH))
    columns = [
        (truth.image[added], truth.category[added]),
        (found.image[gone], found.category[gone]),
        (object_image[renamed], object_label[renamed]),
        (object_image[moved], object_label[moved]),
    ]
    confusion = np.zeros((categories + 1, categories + 1), np.int64)
    order = np.append(np.argsort(frame.order), categories)  # rank -> place in the vocabulary
    np.add.at(confusion, (order[object_label[matched]], order[found.category[matched]]), 1)
    np.add.at(confusion, (order[truth.category[added]], -1), 1)
    np.add.at(confusion, (-1, order[found.category[gone]]), 1)
    ids = np.array([image.id for image in dataset.images], np.int64)
    place = np.searchsorted(frame.image_id, ids)
    return Effort(
        min_score=float(min_score),
        edits=published,
        best_score=round(float(_GRID[best]), 2),
        best=cuts[best],
        pictures=_counted([image for image, _ in columns], images)[place],
        labels=_counted([label for _, label in columns], categories)[frame.order],
        confusion=confusion,
        fate=fate,
    )


class _Matcher:
    """Boxes and objects by picture, the pairs in the order in which they are taken.

    After `edits`, `of_box` (n,), `of_object` (g,), `kinds` (n,) and `free` (n,) tell, in the order
    given, what was matched at its last threshold and which boxes lie on a crowd for nothing.
    """

    def __init__(self, found: ScoredBoxes, truth: TruthBoxes, images: int, tight: float) -> None:
        from quorate.evaluation.kernels import edit_pairs

        self.box_order = np.argsort(found.image, kind="stable")
        self.object_order = np.argsort(truth.image, kind="stable")
        self.score = found.score[self.box_order].astype(np.float32)
        self.objects = int(np.count_nonzero(~truth.crowd))
        self.on_crowd = np.zeros(len(found), np.bool_)
        count, room = 1, 0
        while room < count:  # at most twice
            room = max(count, 2 * len(found))
            pairs, overlap = np.empty((room, 3), np.int64), np.empty(room)
            count = edit_pairs(
                _corners(found.xywh[self.box_order]),
                _cells(found.image, images),
                _corners(truth.xywh[self.object_order]),
                _cells(truth.image, images),
                (found.category[self.box_order], truth.category[self.object_order]),
                (tight, NEAR, LOOSE),
                truth.crowd[self.object_order],
                (pairs, overlap, self.on_crowd),
            )
        pairs, overlap = pairs[:count], overlap[:count]
        cost = np.array([0, 1, 1, 2])[pairs[:, 2]]
        keys = (pairs[:, 1], pairs[:, 0], -self.score[pairs[:, 0]], -overlap, cost)
        self.pairs = np.ascontiguousarray(pairs[np.lexsort(keys)])

    def edits(self, thresholds: NDArray[np.float32]) -> list[Edits]:
        """The edits from each threshold on."""
        from quorate.evaluation.kernels import take_edits

        n, g = len(self.box_order), len(self.object_order)
        taken = np.full(n, -1), np.full(g, -1), np.full(n, -1)
        counts = take_edits(self.pairs, self.score, thresholds, self.on_crowd, taken)
        box, thing, kind = taken
        back = np.argsort(self.box_order)
        self.of_box = np.append(self.object_order, -1)[box][back]
        self.of_object = np.append(self.box_order, -1)[thing][np.argsort(self.object_order)]
        self.kinds = kind[back]
        self.free = (self.on_crowd & (box < 0))[back]
        rising = np.sort(self.score)
        seen = n - np.searchsorted(rising, thresholds)
        return [
            Edits(
                add=self.objects - (keep + move + relabel + both),
                delete=boxes - free - (keep + move + relabel + both),
                relabel=relabel + both,
                move=move + both,
                boxes=boxes,
                objects=self.objects,
            )
            for boxes, (keep, move, relabel, both, free) in zip(
                seen.tolist(), counts.tolist(), strict=True
            )
        ]


def _corners(xywh: Floats) -> Floats:
    return np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])


def _cells(image: Ints, images: int) -> Ints:
    return np.concatenate(([0], np.cumsum(np.bincount(image, minlength=images)))).astype(np.int64)


def _counted(ranks: list[Ints], size: int) -> Ints:
    """(size, 4) how often each rank stands in each of four lists."""
    return np.stack([np.bincount(one, minlength=size) for one in ranks], axis=1)


def best_single(efforts: Mapping[str, Effort], ensemble: str) -> tuple[str, int] | None:
    """The detector that needs the fewest edits at its own best score, and the edits it saves.

    Saved are those that the ensemble needs fewer at the score from which it is published: the
    strictest comparison. None where there is no detector beside it. The first of equals.
    """
    others = [name for name in efforts if name != ensemble]
    if not others or ensemble not in efforts:
        return None
    best = min(others, key=lambda name: efforts[name].best.total)
    return best, efforts[best].best.total - efforts[ensemble].edits.total
