"""A fusion method and its numbers as plain values, and as the arrays that the kernels take.

Nothing here needs the spec, which checks settings: `quorate fuse` on two small files takes less
time than loading pydantic would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quorate.errors import InputError
from quorate.fusion import boxes
from quorate.fusion.columns import IOU, LEAST, OF, TOP, TOTAL, WEIGHT, Floats
from quorate.labels import Labels

if TYPE_CHECKING:
    from quorate.masks.fusion import MaskRule
    from quorate.spec.fusion import CategoryFusion, Fusion

_OWN_IOU = {"wbf": 0.55}


@dataclass(frozen=True)
class Method:
    """The settings of all methods, as `quorate.spec.fusion` says them; others' are idle."""

    method: str
    iou: float
    min_score: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[str, CategoryFusion] = field(default_factory=dict)
    classes: str = "separate"
    overlap: str = "iou"
    masks: MaskRule | None = None
    confidence: str = "avg"
    min_votes: int = 1
    allows_overflow: bool = False
    decay: str = "gaussian"
    sigma: float = 0.5
    min_decayed_score: float = 0.001
    compatible: str | None = None

    @classmethod
    def named(cls, method: str, **settings: Any) -> Self:
        """A method with the given settings, which are not checked, and its own for the rest."""
        return cls(method, **{"iou": _OWN_IOU.get(method, 0.5), **settings})

    @classmethod
    def of(cls, fusion: Fusion | Method) -> Method:
        """What a spec says, or the same where it is one already."""
        if isinstance(fusion, Method):
            return fusion
        names = [one.name for one in fields(cls) if hasattr(fusion, one.name)]
        return cls(**{name: getattr(fusion, name) for name in names})


CONFIDENCE = {
    "avg": boxes.AVG,
    "max": boxes.MAX,
    "box_and_model_avg": boxes.BOX_AND_MODEL,
    "absent_model_aware_avg": boxes.ABSENT_AWARE,
    "voters": boxes.VOTERS,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """How groups form (see `groups`), and how each becomes a box (see `boxes`).

    The order of the fields is that of the columns in `columns`.
    """

    from_box: int
    from_score: int
    from_category: int = boxes.OF_LEADER
    min_votes: int = 1
    moving: bool = False
    one_each: bool = False
    first: bool = False
    smaller: bool = False
    agnostic: bool = False
    gaussian: bool = False
    sigma: float = 1.0
    # Soft-NMS forms no groups: each box keeps its place while its strength is above the floor.
    floor: float = -1.0
    undecayed: bool = False
    capped: bool = True
    single: bool = True  # boxes and scores are rounded to float32
    decays: bool = False  # no column: what decays is known before a kernel is called

    def array(self) -> Floats:
        """(15,) as the kernels take it."""
        return np.array([getattr(self, name) for name in self.__slots__[:-1]], dtype=np.float64)


def rule_of(method: Method, detectors: int) -> Rule:
    """The rule of a method among `detectors` that took part.

    Raises InputError when the method asks for more votes than there are detectors.
    """
    common = Rule(
        from_box=boxes.LEADER,
        from_score=boxes.OF_BEST,
        smaller=method.overlap == "ios",
        agnostic=method.classes != "separate",
        from_category=boxes.OF_MAJORITY if method.classes == "majority" else boxes.OF_LEADER,
    )
    match method.method:
        case "wbf":
            from_score = CONFIDENCE[method.confidence]
            overflows = method.allows_overflow and from_score == boxes.AVG
            return replace(
                common,
                from_box=boxes.WBF_MEAN,
                from_score=boxes.AVG_OVERFLOW if overflows else from_score,
                moving=True,
                capped=not overflows,
            )
        case "soft_nms":
            return replace(
                common,
                decays=True,
                gaussian=method.decay == "gaussian",
                sigma=method.sigma,
                floor=method.min_decayed_score,
                undecayed=method.compatible == "ensemble-boxes",
            )
        case "nms":
            return common
        case "nmw":
            return replace(common, from_box=boxes.NMW_MEAN)
        case "nmm":
            return replace(common, from_box=boxes.UNION, first=True)
        case _:
            return replace(
                common,
                from_box=boxes.MEAN,
                from_score=CONFIDENCE[method.confidence],
                one_each=True,
                min_votes=needed_votes(method, detectors),
            )


def needed_votes(method: Method, detectors: int) -> int:
    """The votes that carry a box when `detectors` took part; 1 for methods that do not vote."""
    match method.method:
        case "consensus":
            return detectors // 2 + 1
        case "unanimous":
            return max(detectors, 1)
        case "votes":
            if method.min_votes < 1:
                raise InputError(f"min_votes is {method.min_votes}, but a box has 1 at least.")
            if method.min_votes > detectors:
                raise InputError(
                    f"min_votes is {method.min_votes}, but only {detectors} detectors took part, "
                    "so no box could be carried.",
                    hint="ask for fewer votes, or for a quorum of as many detectors",
                )
            return method.min_votes
        case _:
            return 1


def numbers_of(method: Method, detectors: Sequence[str], labels: Labels | None) -> Floats:
    """(1 + s, 5 + m) The numbers of each category, for detectors in the order of their names.

    Row 0 holds for categories without a row of their own; the others' ids (OF) rise. IOU: boxes
    match above it; LEAST: boxes that score less take no part; TOTAL and TOP: the sum and the
    largest of the weights. A weight counts only beside the others, so for all methods but WBF the
    largest is made 1. Raises InputError without `labels` when the method has categories of its
    own, and LabelError for a category that is not among them.
    """
    if method.categories and labels is None:
        raise InputError(
            "The fusion has settings for single labels "
            f"({', '.join(method.categories)}), but no labels are given to find their ids.",
            hint="fuse(..., labels=Labels.from_names([...]))",
        )
    own: list[tuple[int, CategoryFusion]] = []
    if labels is not None:
        own = [(labels.id_of(label), what) for label, what in method.categories.items()]
        own.sort(key=lambda one: one[0])
    each = [method.weights, *({**method.weights, **what.weights} for _, what in own)]
    given = [[weights.get(name, 1.0) for name in detectors] for weights in each]
    weights = np.array(given, dtype=np.float64).reshape(len(each), len(detectors))
    if method.method != "wbf" and len(detectors):
        weights /= weights.max(axis=1, keepdims=True)
    numbers = numbers_with(weights, method.iou, method.min_score)
    for row, (category, what) in enumerate(own, 1):
        numbers[row, OF] = category
        numbers[row, IOU] = method.iou if what.iou is None else what.iou
        numbers[row, LEAST] = method.min_score if what.min_score is None else what.min_score
    # Scores are float32: a score of 0.7 is not less than a min_score of 0.7.
    numbers[:, LEAST] = numbers[:, LEAST].astype(np.float32)
    return numbers


def numbers_with(weights: Floats, iou: float, least: float) -> Floats:
    """(s, 5 + m) The numbers of weights (s, m), with one threshold and one least score for all."""
    numbers = np.empty((len(weights), WEIGHT + weights.shape[1]))
    numbers[:, OF], numbers[:, IOU], numbers[:, LEAST] = -1.0, iou, least
    numbers[:, TOTAL], numbers[:, TOP] = weights.sum(axis=1), weights.max(axis=1, initial=0.0)
    numbers[:, WEIGHT:] = weights
    return numbers
