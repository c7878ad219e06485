"""A training as a user writes it: the labelled pictures, who learns from them, who is compared."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from quorate.errors import SpecError
from quorate.spec.base import Location, SpecModel
from quorate.spec.notify import Notifications
from quorate.spec.text import Name
from quorate.spec.torch_trainer import TrainerField
from quorate.spec.whole import MostPixels, Pools, Whole, published
from quorate.spec.words import problem
from quorate.spec.workflow import WorkflowSettings

By = Literal["auto", "picture", "folder"]
"""What is never torn apart: alike pictures and frames of one video; one picture; a folder."""
Held = Annotated[float, Field(gt=0.0, lt=1.0)] | Annotated[str, Field(min_length=1)]


class Split(SpecModel):
    """Which pictures are learnt from, and which are held out to judge."""

    validation: Held | None = Field(
        None,
        description="A share of the pictures, or a subset by its name; default: the subset that is "
        "called val, valid or validation, else 0.2.",
        examples=[0.2, "Validation"],
    )
    test: Held | None = Field(
        None,
        description="Likewise, for the comparison alone; default: the subset that is called test, "
        "else none, and the trainers are compared on the validation pictures.",
        examples=[0.1, "Test"],
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the draw.")
    by: By = Field(
        "auto",
        description="What stays together: frames of one video and pictures that are nearly the "
        "same (auto), nothing (picture), all pictures of a folder (folder).",
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        shares = [one for one in (self.validation, self.test) if isinstance(one, float)]
        if sum(shares) >= 1:
            raise problem("split", "nothing is left to learn from", ("validation",))
        if isinstance(self.validation, str) and self.validation == self.test:
            raise problem("split", f"'{self.test}' is the validation subset already", ("test",))
        return self


class Compare(SpecModel):
    """How the trained detectors are measured against each other."""

    ensemble: Location | None = Field(
        None,
        description="A spec of detectors: does a trained one raise their mAP?",
        examples=["ensemble.yaml"],
    )
    samples: int = Field(
        1000, ge=0, le=100_000, description="Draws of the bootstrap over pictures; 0 for none."
    )
    confidence: float = Field(0.95, gt=0.0, lt=1.0, description="Of the intervals.")
    worst: int = Field(24, ge=0, le=500, description="Pictures shown beside their truth.")


class Training(Whole):
    """The whole of one spec file of `kind: Training`."""

    members_field: ClassVar[str] = "trainers"
    noun: ClassVar[str] = "trainer"
    title: ClassVar[str] = "training"

    kind: Literal["Training"] = "Training"
    name: Name = Field(description="What it is called.", examples=["bolts"])
    data: Location | None = Field(
        None,
        description="Labelled pictures, of any format that is read; relative to this file.",
        examples=["dump.zip"],
    )
    images: Location | None = Field(
        None, description="Where the pictures are that `data` does not hold.", examples=["photos"]
    )
    labels: tuple[str, ...] = Field(
        (), description="What is learnt; default: all labels of the data.", examples=[["car"]]
    )
    split: Split = Field(Split(), description="Which pictures are held out.")
    trainers: tuple[TrainerField, ...] = Field(min_length=1, description="Who learns.")
    compare: Compare = Field(Compare(), description="How they are compared.")
    licence: str = Field(
        "",
        max_length=200,
        description="Of the trained weights, for the model card.",
        examples=["CC-BY-4.0"],
    )
    publish: Location | None = Field(
        None,
        description="Where the best detector is written: a folder, or s3://.",
        examples=["s3://models/bolts"],
    )
    max_pixels: MostPixels = None
    pools: Pools = Field(default_factory=dict)
    workflow: WorkflowSettings = Field(
        WorkflowSettings(), description="On a cluster: what its workflows share."
    )
    notify: Notifications = Field((), description="Who is told how it went.")

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for i, name in enumerate(labels):
            if not name.strip():
                raise problem("label", "a label has no name", (i,))
            if name in labels[:i]:
                raise problem("label", f"'{name}' stands twice", (i,))
        return labels

    def where(self) -> str:
        """Where the labelled pictures are; SpecError where the spec does not say it."""
        if self.data is None:
            raise SpecError(
                "No data: the spec does not say where the labelled pictures are.",
                hint="add `data: DUMP` to the spec, or name it on the command line: "
                "`quorate train SPEC DUMP`, `quorate submit SPEC --data DUMP`",
            )
        return self.data


def training_json_schema() -> dict[str, Any]:
    """The JSON Schema of such a spec file."""
    return published(Training.model_json_schema())
