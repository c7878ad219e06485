"""A classification ensemble as a user writes it: whole pictures get a label by a vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel, by_method
from quorate.spec.classifier import ClassifierField, classifier_kinds
from quorate.spec.ensemble import Ensemble, EnsembleHead, Folder, Share, schema_of
from quorate.spec.fusion import Weight
from quorate.spec.whole import check_known
from quorate.spec.words import problem


class _Rule(SpecModel):
    @property
    def methods(self) -> Mapping[str, type[ClassFusion]]:
        """Every method that another could be put in the place of this one."""
        return CLASS_METHODS


class _Weighted(_Rule):
    weights: dict[str, Weight] = Field(
        default_factory=dict,
        description="Classifier: weight; 1 for a classifier left out.",
        examples=[{"googlenet": 1, "resnet": 2}],
    )


class Sum(_Weighted):
    """Add the classifiers' probabilities, the label of the largest sum wins (soft voting).

    `mean` and `weighted` are other names of the same rule, for a sum is divided by the sum of all
    labels before it is told; `weighted` asks for weights.
    """

    method: Literal["sum", "mean", "weighted"] = "sum"

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if self.method == "weighted" and not self.weights:
            raise problem("weights", "write `weights: {NAME: 2, …}`", ("weights",))
        return self


class Majority(_Weighted):
    """Each classifier votes for its own first choice, the label with most votes wins."""

    method: Literal["majority"] = "majority"


class Product(_Weighted):
    """Multiply the classifiers' probabilities, each to the power of its weight (in logarithms)."""

    method: Literal["product"] = "product"


class Maximum(_Rule):
    """The label that any one classifier is surest of."""

    method: Literal["max"] = "max"


ClassFusion = Sum | Majority | Product | Maximum
CLASS_METHODS: dict[str, type[ClassFusion]] = {
    name: kind
    for kind in get_args(ClassFusion)
    for name in get_args(kind.model_fields["method"].annotation)
}
"""Every way to decide on a label, by its name."""
ClassFusionField = Annotated[ClassFusion, Field(discriminator="method"), by_method(ClassFusion)]


class PublishClasses(SpecModel):
    """What is written when the quorum has decided."""

    formats: tuple[Literal["cvat", "csv", "coco"], ...] = Field(
        ("cvat", "csv"), description="What is written.", examples=[["cvat", "csv"]]
    )
    attributes: tuple[Literal["votes", "score"], ...] = Field(
        ("votes", "score"),
        examples=[["votes"]],
        description="What each CVAT tag carries as label attributes; CVAT calls the score, here "
        "the probability, 'confidence'.",
    )
    top: int = Field(5, ge=1, description="How many of the likeliest labels the CSV file lists.")
    min_probability: float = Field(
        0.0, ge=0.0, le=1.0, description="Labels less probable are not written for a person."
    )
    folder: Folder = ""
    review: Literal["disagreement"] | None = Field(
        None, description="Tag the pictures a person should look at first."
    )
    review_share: Share = 0.2
    report: bool = Field(True, description="Write report.html.")


class _ClassifiersFields(EnsembleHead):
    classifiers: tuple[ClassifierField, ...] = Field(
        min_length=1,
        description="Who votes.",
        examples=[[{"name": "resnet", "kind": "onnx", "weights": "resnet.onnx"}]],
    )
    fusion: ClassFusionField = Field(
        Sum(), description="How they decide.", examples=[{"method": "majority"}]
    )


class ClassificationSpec(Ensemble, _ClassifiersFields):
    """A classification ensemble: the whole of one spec file."""

    members_field: ClassVar[str] = "classifiers"
    noun: ClassVar[str] = "classifier"

    kind: Literal["ClassificationEnsemble"] = "ClassificationEnsemble"
    quorum: int | None = Field(
        None, ge=1, description="Classifiers that must finish; default: more than half."
    )
    publish: PublishClasses = Field(
        PublishClasses(), description="What is written.", examples=[{"formats": ["cvat"]}]
    )

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        names = [one.name for one in self.classifiers]
        for name in self.weights:
            check_known(
                ("fusion", "weights", name), "classifier", name, names, "the classifiers are"
            )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weights that the fusion gives; 1 for a classifier that is not among them."""
        return self.fusion.weights if isinstance(self.fusion, _Weighted) else {}


def class_json_schema(model: type[ClassificationSpec] = ClassificationSpec) -> dict[str, Any]:
    """The JSON Schema of such a spec file, with the fields of every installed classifier kind."""
    return schema_of(model, classifier_kinds())
