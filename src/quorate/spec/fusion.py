"""How an ensemble decides: one model per fusion method, told apart by `method`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat

from quorate.spec.base import SpecModel

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class CategoryFusion(SpecModel):
    """What one label does differently; a field left out keeps the method's own value."""

    iou: Fraction | None = None
    min_score: Fraction | None = None
    weights: dict[str, PositiveFloat] = Field(default_factory=dict)


class _Fusion(SpecModel):
    iou: Fraction = Field(0.5, description="Boxes overlap when their IoU is above this.")
    min_score: Fraction = Field(0.0, description="Boxes that score less take no part.")
    weights: dict[str, PositiveFloat] = Field(
        default_factory=dict, description="Detector: weight; 1 for a detector left out."
    )
    categories: dict[str, CategoryFusion] = Field(
        default_factory=dict, description="Label: what is different for it."
    )


class Affirmative(_Fusion):
    """Keep a group that any detector votes for (votes >= 1)."""

    method: Literal["affirmative"] = "affirmative"


class Consensus(_Fusion):
    """Keep a group that a majority votes for (votes > m / 2 of m detectors)."""

    method: Literal["consensus"] = "consensus"


class Unanimous(_Fusion):
    """Keep a group that every detector votes for (votes = m)."""

    method: Literal["unanimous"] = "unanimous"


class Votes(_Fusion):
    """Keep a group with at least `min_votes` votes."""

    method: Literal["votes"] = "votes"
    min_votes: int = Field(ge=1)


class WeightedBoxesFusion(_Fusion):
    """Weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302)."""

    method: Literal["wbf"] = "wbf"
    iou: Fraction = 0.55
    confidence: Literal["avg", "max", "box_and_model_avg", "absent_model_aware_avg"] = "avg"
    allows_overflow: bool = Field(
        False, description="Let a score exceed its average over detectors."
    )


class Nms(_Fusion):
    """Greedy non-maximum suppression over all detectors' boxes."""

    method: Literal["nms"] = "nms"


class SoftNms(_Fusion):
    """Soft-NMS: overlapping boxes lose score rather than their place (arXiv:1704.04503)."""

    method: Literal["soft_nms"] = "soft_nms"
    decay: Literal["linear", "gaussian"] = "gaussian"
    sigma: PositiveFloat = 0.5
    min_decayed_score: Fraction = Field(0.001, description="Boxes decayed below this are dropped.")


class NonMaximumWeighted(_Fusion):
    """Non-maximum weighted: a box is the mean of those it suppresses (Zhou et al. 2017)."""

    method: Literal["nmw"] = "nmw"


Fusion = (
    Affirmative
    | Consensus
    | Unanimous
    | Votes
    | WeightedBoxesFusion
    | Nms
    | SoftNms
    | NonMaximumWeighted
)


def _named(value: Any) -> Any:
    """`fusion: wbf` is short for `fusion: {method: wbf}`."""
    return {"method": value} if isinstance(value, str) else value


FusionField = Annotated[Annotated[Fusion, Field(discriminator="method")], BeforeValidator(_named)]
