"""A fusion method as data: the flags and numbers by which the kernels tell methods apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quorate.errors import InputError
from quorate.fusion import boxes
from quorate.fusion.method import Method
from quorate.labels import Labels

CONFIDENCE = {
    "avg": boxes.AVG,
    "max": boxes.MAX,
    "box_and_model_avg": boxes.BOX_AND_MODEL,
    "absent_model_aware_avg": boxes.ABSENT_AWARE,
    "voters": boxes.VOTERS,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """How groups form (see `groups`), and how each becomes a box (see `boxes`)."""

    from_box: int
    from_score: int
    moving: bool = False
    one_each: bool = False
    first: bool = False
    smaller: bool = False
    agnostic: bool = False
    from_category: int = boxes.OF_LEADER
    min_votes: int = 1
    # Soft-NMS forms no groups: each box keeps its place while its score is above `floor`.
    decays: bool = False
    gaussian: bool = False
    sigma: float = 1.0
    floor: float = -1.0
    undecayed: bool = False
    capped: bool = True


@dataclass(frozen=True, slots=True)
class Tables:
    """The numbers that may differ between categories; row 0 holds where none of its own is set.

    special    int32    (s,)        category ids with numbers of their own, rising
    iou        float64  (1 + s,)    a box matches above it
    min_score  float64  (1 + s,)    a box that scores less takes no part
    weights    float64  (1 + s, m)  of the detectors that took part, in the order of their names
    """

    special: NDArray[np.int32]
    iou: NDArray[np.float64]
    min_score: NDArray[np.float64]
    weights: NDArray[np.float64]


def rule_of(method: Method, detectors: int) -> Rule:
    """The rule of a method among `detectors` that took part.

    Raises InputError when the method asks for more votes than there are detectors.
    """
    common = Rule(
        from_box=boxes.LEADER,
        from_score=boxes.STRENGTH,
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


def tables_of(method: Method, detectors: Sequence[str], labels: Labels | None) -> Tables:
    """The numbers of each category, for detectors in the order of their names.

    A weight counts only beside the others, so for all methods but WBF the largest is made 1.
    Raises InputError without `labels` when the method has categories of its own, and LabelError
    for a category that is not among them.
    """
    if method.categories and labels is None:
        raise InputError(
            "The fusion has settings for single labels "
            f"({', '.join(method.categories)}), but no labels are given to find their ids.",
            hint="fuse(..., labels=Labels.from_names([...]))",
        )
    own = []
    if labels is not None:
        own = [(labels.id_of(label), what) for label, what in method.categories.items()]
        own.sort(key=lambda one: one[0])
    weights = np.array(
        [
            [{**method.weights, **each}.get(name, 1.0) for name in detectors]
            for each in ({}, *(what.weights for _, what in own))
        ],
        dtype=np.float64,
    ).reshape(1 + len(own), len(detectors))
    if method.method != "wbf" and len(detectors):
        weights /= weights.max(axis=1, keepdims=True)
    # Scores are float32: a score of 0.7 is not less than a min_score of 0.7.
    min_score = [method.min_score]
    min_score += [method.min_score if w.min_score is None else w.min_score for _, w in own]
    return Tables(
        special=np.array([category for category, _ in own], dtype=np.int32),
        iou=np.array([method.iou, *(method.iou if w.iou is None else w.iou for _, w in own)]),
        min_score=np.array(min_score, dtype=np.float32).astype(np.float64),
        weights=weights,
    )
