"""Who learns: the entries under `trainers:` of a training.

A trainer is a process that keeps the trainer contract (`quorate.training`): a folder in, a folder
out. Kinds of ours (`torch_trainer`) are run as `quorate step train`; `container` is anybody's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from quorate.spec.base import Location, SpecModel
from quorate.spec.program import Program
from quorate.spec.text import Duration, Name


class Trainer(SpecModel):
    """What every trainer is told; kinds have fields of their own beside these."""

    name: Name = Field(description="What it is called.", examples=["detr"])
    kind: str = Field(description="Which architecture, or whose process.")
    epochs: int = Field(50, ge=1, le=100_000, description="How often all pictures are seen.")
    batch_size: int = Field(4, ge=1, le=65_536, description="Pictures a step.")
    seed: int = Field(0, ge=0, lt=2**32, description="Of all that is chosen by chance.")
    checkpoint: Location | None = Field(
        None,
        description="Weights to begin with, a file or a folder, here or in S3; default: none, it "
        "learns from scratch.",
        examples=["s3://models/detr-resnet-50/"],
    )
    hyperparameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further settings of `kind: container`, as the trainer calls them.",
    )
    pool: Name | None = Field(None, description="Which of the training's pools it runs on.")
    timeout: Duration | None = Field(
        None, description="How long it may take before it is given up: 12h."
    )
    image: str | None = Field(
        None, min_length=1, description="The image it runs in on a cluster; default: ours."
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What stands in its `trainer.json`: all that it is told, but not where it runs."""
        return self.model_dump(mode="json", exclude=set(ASIDE))


ASIDE = ("pool", "timeout", "image", "command", "args", "env")
"""The fields that say where and how a trainer runs, not what it learns."""


class ContainerTrainer(Program, Trainer):
    """A container, or a command, that keeps the trainer contract; nothing of ours inside."""

    contract: ClassVar[str] = "trainer"

    kind: Literal["container"] = "container"
