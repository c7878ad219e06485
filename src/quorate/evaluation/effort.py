"""What a person still has to do to a result: add, delete, relabel, move.

AP ranks boxes by their scores; who corrects them sees no ranks. Effort counts the edits that make
the truth of what is published, as the correction cost of Otani et al. (Optimal Correction Cost for
Object Detection Evaluation, CVPR 2022) does, but in whole edits. What is near enough to an object
to be mended instead of drawn anew follows the kinds of error of TIDE (Bolya et al., ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX
from quorate.columns import offsets_of
from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.errors import InputError
from quorate.evaluation.truth import Floats, Frame, Ints, ScoredBoxes, TruthBoxes

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
    best_score  of .00, .01 … 1 the score that makes the edits least, `best`; the middle of equals
    pictures    int64  (p, 4)          edits of each picture in the data set's order, as `KINDS`
    labels      int64  (c, 4)          of each label in the vocabulary's order: a box that is
                                       deleted counts for its own label, all else for the object's
    confusion   int64  (c + 1, c + 1)  boxes by the label of their object (rows) and their own; the
                                       last column: objects to add; the last row: boxes to delete
    fate        int8   (n,)            what becomes of each box, in the order given: `KEPT` …
    becomes     int64  (n,)            the category that each box's object has; -1 without one
    missing     bool   (a,)            the annotations that no published box fits, in their order
    """

    min_score: float
    edits: Edits
    best_score: float
    best: Edits
    pictures: Ints
    labels: Ints
    confusion: Ints
    fate: NDArray[np.int8]
    becomes: Ints
    missing: NDArray[np.bool_]

    __repr__ = brief

    @property
    def each(self) -> float:
        """Edits a picture."""
        return self.edits.total / max(len(self.pictures), 1)

    def told(self, row: int, dataset: Dataset, *, to: str = "") -> str:
        """What is to be done to a box, such as 'delete' or 'is car, move'; '' for nothing."""
        fate = int(self.fate[row])
        if fate in (RELABELLED, BOTH):
            label = dataset.labels.name_of(int(self.becomes[row]))
            return f"is {label}" + (f", {to}move" if fate == BOTH else "")
        return {DELETED: f"{to}delete", MOVED: f"{to}move"}.get(fate, "")

    def to_dict(self, dataset: Dataset, *, pictures: bool = True) -> dict[str, Any]:
        """Plain values for JSON, with the edits of each label, and of each picture if asked."""
        labels = zip(dataset.labels.names, self.labels, strict=True)
        told = {
            "min_score": self.min_score,
            **asdict(self.edits),
            "edits": self.edits.total,
            "edits_per_picture": self.each,
            "best_score": self.best_score,
            "best": {**asdict(self.best), "edits": self.best.total},
            "labels": [{"label": label} | by_kind(edits) for label, edits in labels],
        }
        return told | ({"pictures": self.rows(dataset)} if pictures else {})

    def rows(self, dataset: Dataset) -> list[dict[str, Any]]:
        """The edits of each picture that needs any, those of most edits first."""
        rows = [
            {"picture": image.name, "edits": int(edits.sum())} | by_kind(edits)
            for image, edits in zip(dataset.images, self.pictures, strict=True)
            if edits.any()
        ]
        return sorted(rows, key=lambda row: -row["edits"])


def by_kind(edits: Ints) -> dict[str, int]:
    """(4,) counts by their names."""
    return dict(zip(KINDS, edits.tolist(), strict=True))


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
    least = min(cut.total for cut in cuts)
    equal = [at for at, cut in enumerate(cuts) if cut.total == least]
    best = equal[len(equal) // 2]
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
    assert dataset.annotations is not None  # or TruthBoxes would have refused
    missing = np.zeros(len(dataset.annotations), np.bool_)
    missing[np.isin(dataset.annotations.kind, HAVE_A_BOX)] = added
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
    return Effort(
        min_score=float(min_score),
        edits=published,
        best_score=round(float(_GRID[best]), 2),
        best=cuts[best],
        pictures=_counted([image for image, _ in columns], images)[frame.place],
        labels=_counted([label for _, label in columns], categories)[frame.order],
        confusion=confusion,
        fate=fate,
        becomes=np.where(matched, np.append(frame.category_id, 0)[object_label], -1),
        missing=missing,
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
                offsets_of(found.image, images),
                _corners(truth.xywh[self.object_order]),
                offsets_of(truth.image, images),
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


def _counted(ranks: list[Ints], size: int) -> Ints:
    """(size, 4) how often each rank stands in each of four lists."""
    return np.stack([np.bincount(one, minlength=size) for one in ranks], axis=1)


@dataclass(frozen=True)
class Saved:
    """The edits of an ensemble beside those of the best single detector, the first of equals."""

    edits: int
    best: str
    best_edits: int

    @property
    def saved(self) -> int:
        """How many edits fewer the ensemble needs; below 0 where it needs more."""
        return self.best_edits - self.edits

    @property
    def told(self) -> str:
        """The difference in words."""
        word = "fewer" if self.saved >= 0 else "more"
        return f"{abs(self.saved):,} {word} than {self.best} alone ({self.best_edits:,})"

    @classmethod
    def of(cls, edits: Mapping[str, int], ensemble: str) -> Saved | None:
        """From each voter's edits; None without the ensemble, or a detector beside it."""
        others = [name for name in edits if name != ensemble]
        if not others or ensemble not in edits:
            return None
        best = min(others, key=lambda name: edits[name])
        return cls(edits[ensemble], best, edits[best])
