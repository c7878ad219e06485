"""A fusion method as data: the flags and numbers by which the kernels tell methods apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quorate.errors import InputError
from quorate.fusion import boxes
from quorate.labels import Labels
from quorate.spec.fusion import (
    Affirmative,
    Consensus,
    Fusion,
    Nms,
    NonMaximumMerging,
    NonMaximumWeighted,
    SoftNms,
    Unanimous,
    Votes,
    WeightedBoxesFusion,
)

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


def rule_of(fusion: Fusion, detectors: int) -> Rule:
    """The rule of a method among `detectors` that took part.

    Raises InputError when the method asks for more votes than there are detectors.
    """
    smaller = fusion.overlap == "ios"
    agnostic = fusion.classes != "separate"
    kind = boxes.OF_MAJORITY if fusion.classes == "majority" else boxes.OF_LEADER
    match fusion:
        case Affirmative() | Consensus() | Unanimous() | Votes():
            return Rule(
                from_box=boxes.MEAN,
                from_score=CONFIDENCE[fusion.confidence],
                one_each=True,
                min_votes=needed_votes(fusion, detectors),
                smaller=smaller,
                agnostic=agnostic,
                from_category=kind,
            )
        case WeightedBoxesFusion():
            from_score = CONFIDENCE[fusion.confidence]
            overflows = fusion.allows_overflow and from_score == boxes.AVG
            return Rule(
                from_box=boxes.WBF_MEAN,
                from_score=boxes.AVG_OVERFLOW if overflows else from_score,
                moving=True,
                capped=not overflows,
                smaller=smaller,
                agnostic=agnostic,
                from_category=kind,
            )
        case SoftNms():
            return Rule(
                from_box=boxes.LEADER,
                from_score=boxes.STRENGTH,
                decays=True,
                gaussian=fusion.decay == "gaussian",
                sigma=fusion.sigma,
                floor=fusion.min_decayed_score,
                undecayed=fusion.compatible == "ensemble-boxes",
                smaller=smaller,
                agnostic=agnostic,
                from_category=kind,
            )
        case Nms() | NonMaximumWeighted() | NonMaximumMerging():
            return Rule(
                from_box={
                    "nms": boxes.LEADER,
                    "nmw": boxes.NMW_MEAN,
                    "nmm": boxes.UNION,
                }[fusion.method],
                from_score=boxes.STRENGTH,
                first=isinstance(fusion, NonMaximumMerging),
                smaller=smaller,
                agnostic=agnostic,
                from_category=kind,
            )


def needed_votes(fusion: Fusion, detectors: int) -> int:
    """The votes that carry a box when `detectors` took part; 1 for methods that do not vote."""
    match fusion:
        case Consensus():
            return detectors // 2 + 1
        case Unanimous():
            return max(detectors, 1)
        case Votes():
            if fusion.min_votes > detectors:
                raise InputError(
                    f"min_votes is {fusion.min_votes}, but only {detectors} detectors took part, "
                    "so no box could be carried.",
                    hint="ask for fewer votes, or for a quorum of as many detectors",
                )
            return fusion.min_votes
        case _:
            return 1


def tables_of(fusion: Fusion, detectors: Sequence[str], labels: Labels | None) -> Tables:
    """The numbers of each category, for detectors in the order of their names.

    A weight counts only beside the others, so for all methods but WBF the largest is made 1.
    Raises InputError without `labels` when the method has categories of its own, and LabelError
    for a category that is not among them.
    """
    if fusion.categories and labels is None:
        raise InputError(
            "The fusion has settings for single labels "
            f"({', '.join(fusion.categories)}), but no labels are given to find their ids.",
            hint="fuse(..., labels=Labels.from_names([...]))",
        )
    own = []
    if labels is not None:
        own = [(labels.id_of(label), what) for label, what in fusion.categories.items()]
        own.sort(key=lambda one: one[0])
    weights = np.array(
        [
            [{**fusion.weights, **each}.get(name, 1.0) for name in detectors]
            for each in ({}, *(what.weights for _, what in own))
        ],
        dtype=np.float64,
    ).reshape(1 + len(own), len(detectors))
    if not isinstance(fusion, WeightedBoxesFusion) and len(detectors):
        weights /= weights.max(axis=1, keepdims=True)
    # Scores are float32: a score of 0.7 is not less than a min_score of 0.7.
    min_score = [fusion.min_score]
    min_score += [fusion.min_score if w.min_score is None else w.min_score for _, w in own]
    return Tables(
        special=np.array([category for category, _ in own], dtype=np.int32),
        iou=np.array([fusion.iou, *(fusion.iou if w.iou is None else w.iou for _, w in own)]),
        min_score=np.array(min_score, dtype=np.float32).astype(np.float64),
        weights=weights,
    )
