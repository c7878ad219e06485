"""How an ensemble decides: one model per fusion method, told apart by `method`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from quorate.errors import SpecError, did_you_mean
from quorate.spec.base import SpecModel, by_method, method_name
from quorate.spec.words import problem

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[PositiveFloat, Field(allow_inf_nan=False)]


class CategoryFusion(SpecModel):
    """What one label does differently; a field left out keeps the method's own value."""

    iou: Fraction | None = None
    min_score: Fraction | None = None
    weights: dict[str, Weight] = Field(default_factory=dict, examples=[{"yolo": 2, "retinanet": 1}])


class _Fusion(SpecModel):
    @property
    def methods(self) -> Mapping[str, type[Fusion]]:
        """Every method that another could be put in the place of this one."""
        return METHODS

    iou: Fraction = Field(0.5, description="Boxes overlap when their IoU is above this.")
    min_score: Fraction = Field(0.0, description="Boxes that score less take no part.")
    weights: dict[str, Weight] = Field(
        default_factory=dict,
        description="Detector: weight; 1 for a detector left out.",
        examples=[{"yolo": 2, "retinanet": 1}],
    )
    categories: dict[str, CategoryFusion] = Field(
        default_factory=dict,
        description="Label: what is different for it.",
        examples=[{"car": {"iou": 0.7}}],
    )
    classes: Literal["separate", "majority", "max"] = Field(
        "separate",
        description="separate: only boxes of one label meet. Otherwise all do, and a group has "
        "the label most detectors name (majority) or its best box has (max).",
    )
    overlap: Literal["iou", "ios"] = Field(
        "iou", description="Intersection over the union, or over the smaller box."
    )
    masks: Literal["majority", "union", "intersection", "best"] | None = Field(
        None,
        description="How the members' masks become one: pixels that most of them cover, any, or "
        "all; or the best member's mask. Default: majority; nms and soft_nms best, nmm union.",
    )

    @model_validator(mode="after")
    def _categories_fit_classes(self) -> Self:
        for label, own in self.categories.items() if self.classes != "separate" else ():
            if own.iou is not None or own.weights:
                said = (
                    f"with classes '{self.classes}' a group may have several labels, so a label "
                    "can have a min_score of its own, but no iou or weights"
                )
                raise problem("category", said, ("categories", label))
        return self


class _Voting(_Fusion):
    confidence: Literal["avg", "voters", "max"] = Field(
        "avg",
        description="Score of a group: its mean over all detectors, one without a vote counting "
        "0 (avg), its mean over those that voted (voters), or its best (max).",
    )


class Affirmative(_Voting):
    """Keep a group that any detector votes for (votes >= 1)."""

    method: Literal["affirmative"] = "affirmative"


class Consensus(_Voting):
    """Keep a group that a majority votes for (votes > m / 2 of m detectors)."""

    method: Literal["consensus"] = "consensus"


class Unanimous(_Voting):
    """Keep a group that every detector votes for (votes = m)."""

    method: Literal["unanimous"] = "unanimous"


class Votes(_Voting):
    """Keep a group with at least `min_votes` votes."""

    method: Literal["votes"] = "votes"
    min_votes: int = Field(ge=1, description="Votes that a group needs.", examples=[2])


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
    min_decayed_score: Fraction = Field(
        0.001, description="Boxes decayed to this or less are dropped."
    )
    compatible: Literal["ensemble-boxes"] | None = Field(
        None, description="ensemble-boxes: return the scores from before the decay, as it does."
    )


class NonMaximumWeighted(_Fusion):
    """Non-maximum weighted: a box is the mean of those it suppresses (Zhou et al. 2017)."""

    method: Literal["nmw"] = "nmw"


class NonMaximumMerging(_Fusion):
    """Greedy non-maximum merging: a box is the union of those it suppresses, as for tiles."""

    method: Literal["nmm"] = "nmm"


Fusion = (
    Affirmative
    | Consensus
    | Unanimous
    | Votes
    | WeightedBoxesFusion
    | Nms
    | SoftNms
    | NonMaximumWeighted
    | NonMaximumMerging
)

METHODS: dict[str, type[Fusion]] = {
    kind.model_fields["method"].default: kind for kind in get_args(Fusion)
}
"""Every fusion method by its name."""


def with_method(fusion: Any, method: str) -> tuple[Any, tuple[str, ...]]:
    """The same settings under another method, and a sentence for each that it does not have.

    `fusion` is a `Fusion`, or a `ClassFusion` of an ensemble of classifiers.

    Weights, labels, thresholds and overlap that the spec gives hold for every method; those that
    it does not give have the new method's defaults. Raises SpecError for an unknown method, and
    for one with a required setting that the spec does not give.
    """
    method = method_name(method)
    if method == fusion.method:
        return fusion, ()
    methods = fusion.methods
    if method not in methods:
        raise SpecError(
            f"There is no fusion method '{method}'; there are {', '.join(methods)}.",
            hint=did_you_mean(method, methods),
        )
    kind = methods[method]
    given = fusion.model_dump(exclude_unset=True, exclude={"method"})
    kept = {name: value for name, value in given.items() if _takes(kind, name, value)}
    lost = [
        f"`fusion: {{{name}: {value}}}` means nothing to {method}; it is left out."
        for name, value in given.items()
        if name not in kept
    ]
    missing = [n for n, f in kind.model_fields.items() if f.is_required() and n not in kept]
    if missing:
        raise SpecError(
            f"The fusion method '{method}' needs {missing[0]}, which the spec does not say.",
            hint=f"write `fusion: {{method: {method}, {missing[0]}: …}}` in the spec",
        )
    if kind.model_fields["method"].default != method:
        kept["method"] = method
    return kind.model_validate(kept), tuple(lost)


def _takes(kind: type[SpecModel], name: str, value: Any) -> bool:
    """Whether a method has a setting, and accepts the value."""
    if name not in kind.model_fields:
        return False
    try:
        kind.parsed({name: value})
    except ValidationError as error:
        return all(problem["loc"][:1] != (name,) for problem in error.errors())
    return True


FusionField = Annotated[Fusion, Field(discriminator="method"), by_method(Fusion)]
