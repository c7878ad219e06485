"""The trainers of ours, which learn in torch: `kind: transformers` and `kind: torchvision`.

Nothing here needs torch. Where a paper has a value, the default is that value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, PositiveInt, model_validator

from quorate.errors import did_you_mean
from quorate.spec.architectures import (
    Device,
    Precision,
    TorchvisionArchitecture,
    TransformersArchitecture,
)
from quorate.spec.base import SpecModel
from quorate.spec.schedule import Cosine, ScheduleField, check_length
from quorate.spec.text import Duration
from quorate.spec.trainer import ContainerTrainer, Trainer
from quorate.spec.words import problem

Rate = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0.0, le=1000.0, allow_inf_nan=False)]
Change = Literal["hflip", "vflip", "rot90", "crop", "colour"]


class TorchTrainer(Trainer):
    """What both kinds have in common; a step is one of the optimiser."""

    learning_rate: Rate = Field(1e-4, description="The highest rate of the schedule.")
    backbone_learning_rate: Rate | None = Field(
        None, description="Likewise of the backbone; default: a tenth with a checkpoint, else as "
        "all.",
    )  # fmt: skip
    schedule: ScheduleField = Field(
        Cosine(),
        description="How the learning rate goes.",
        examples=[{"method": "cosine", "warmup": 1, "cooldown": 5}],
    )
    optimiser: Literal["adamw", "sgd"] = Field(
        "adamw", description="AdamW, or SGD with a momentum of 0.9."
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        1e-4, description="Of the weights, not of biases and norms."
    )
    clip: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Most that a gradient's norm may be; default: the architecture's."
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=4096,
        description="Parts in which a step's pictures are computed, their gradients added up; out "
        "of memory, a trainer takes more by itself.",
    )
    precision: Precision = Field(
        "float32", description="Of the network's matrices; weights and losses stay float32."
    )
    device: Device = Field("auto", description="auto, cpu, cuda or cuda:1; auto: cuda if there.")
    processes: PositiveInt | None = Field(
        None, le=64, description="Each with a part of every step; default: one for each GPU."
    )
    threads: PositiveInt | None = Field(
        None, le=256, description="Of torch on a CPU; default: as many as processors."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="Pixels of both sides (transformers) or of the shortest (torchvision), or "
        "[shortest, longest]; default: the checkpoint's or the architecture's.",
        examples=[640, [800, 1333]],
    )
    augment: tuple[Change, ...] = Field(
        ("hflip", "crop"), description="How pictures are changed, each by chance."
    )
    evaluate_every: PositiveInt = Field(1, description="Epochs between two validations.")
    patience: PositiveInt | None = Field(
        None, description="Validations in a row without a better mAP after which it stops."
    )
    keep: Literal["best", "last"] = Field(
        "best", description="The weights of the best validation, or those of the end."
    )
    checkpoint_every: Duration = Field(
        "10m", description="How often it keeps what it goes on from after a crash."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_length(self.schedule, self.epochs)
        if self.hyperparameters:
            name = next(iter(self.hyperparameters))
            known = type(self).model_fields
            said = f"'{self.kind}' has a key for each setting and takes none here"
            said += f"; write `{name}: …` beside `kind`" if name in known else ""
            raise problem("hyperparameters", said, ("hyperparameters", name))
        if self.accumulate > self.batch_size:
            said = f"{self.batch_size} pictures cannot be parted in {self.accumulate}"
            raise problem("accumulate", said, ("accumulate",))
        if isinstance(self.image_size, tuple) and self.image_size[0] > self.image_size[1]:
            raise problem("image_size", "the shortest side stands first", ("image_size",))
        return self


class Costs(SpecModel):
    """What a pair of a query and an object costs, of which the cheapest assignment is sought."""

    label: Weight | None = Field(None, description="Of the label's probability.")
    box: Weight | None = Field(None, description="Of the L1 distance of the boxes.")
    giou: Weight | None = Field(None, description="Of the generalised IoU of the boxes.")


class Losses(Costs):
    """How much each part of the loss of the matched pairs counts."""

    nothing: Weight | None = Field(
        None, description="Of queries that no object belongs to, where labels share a softmax."
    )


class TransformersTrainer(TorchTrainer):
    """DETR and its kin, with the model, the matcher and the loss of transformers.

    `config` are fields of the library's configuration, for all that has no field here.
    """

    kind: Literal["transformers"] = "transformers"
    architecture: TransformersArchitecture | None = Field(
        None, description="The model_type of its config.json; default: the checkpoint's."
    )
    queries: PositiveInt | None = Field(
        None, le=10_000, description="Most objects it can find; default: the configuration's."
    )
    auxiliary_losses: bool = Field(
        True, description="The loss after each layer of the decoder, not the last alone."
    )
    costs: Costs = Field(Costs(), description="Of the matching.", examples=[{"giou": 2}])
    losses: Losses = Field(Losses(), description="Weights of the loss.", examples=[{"giou": 2}])
    config: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Fields of the library's configuration.",
        examples=[{"d_model": 128, "decoder_layers": 3}],
    )

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.architecture is None and self.checkpoint is None:
            said = "say which `architecture` is to be learnt from scratch, or name a `checkpoint`"
            raise problem("architecture", said, ("architecture",))
        return self


class TorchvisionTrainer(TorchTrainer):
    """Faster R-CNN, Mask R-CNN, RetinaNet, FCOS and SSD, with torchvision's model and loss."""

    kind: Literal["torchvision"] = "torchvision"
    architecture: TorchvisionArchitecture = Field(description="torchvision's name of the model.")
    config: dict[str, int | float] = Field(
        default_factory=dict,
        description="Numbers that torchvision's class takes for its training.",
        examples=[{"box_batch_size_per_image": 64}],
    )

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        if self.image_size is not None and self.architecture.startswith("ssd"):
            said = f"'{self.architecture}' sees every picture at one size, leave it out"
            raise problem("image_size", said, ("image_size",))
        return self


KINDS = tuple(
    kind.model_fields["kind"].default
    for kind in (TransformersTrainer, TorchvisionTrainer, ContainerTrainer)
)
"""Every kind of trainer by its name."""
_MEANT = {
    "detr dino deim dfine d_fine conditional rtdetr huggingface hf": "transformers",
    "rcnn retinanet fcos ssd mask": "torchvision",
    "docker image command keras tensorflow mmdet rfdetr yolo ultralytics jax": "container",
}


def _unknown(kind: str) -> str:
    said = f"no kind of trainer is called '{kind}'"
    plain = kind.lower().replace("-", "").replace("_", "")
    for words, meant in _MEANT.items():
        if any(word.replace("_", "") in plain for word in words.split()):
            what = {
                "transformers": f" with `architecture: {kind}`",
                "container": ", with the image or the command of a program that trains it",
            }.get(meant, "")
            return f"{said}; write `kind: {meant}`{what}"
    return f"{said}, {did_you_mean(kind, KINDS) or 'there are ' + ', '.join(KINDS)}"


def _of_a_known_kind(value: Any) -> Any:
    if isinstance(value, dict) and "kind" in value and str(value["kind"]) not in KINDS:
        raise problem("unknown_kind", _unknown(str(value["kind"])), ("kind",))
    return value


AnyTrainer = TransformersTrainer | TorchvisionTrainer | ContainerTrainer
TrainerField = Annotated[
    Annotated[AnyTrainer, Field(discriminator="kind")], BeforeValidator(_of_a_known_kind)
]
"""Any kind of trainer, told by its `kind`."""
