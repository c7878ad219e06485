"""Somebody else's container, or a command: `kind: container` of detectors and of trainers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel
from quorate.spec.words import problem

RESERVED = "QUORATE_"
Word = Annotated[str, Field(min_length=1)]


class Program(SpecModel):
    """What is run. Who takes it has an `image` too; `contract` is what it has to keep."""

    contract: ClassVar[str]

    command: tuple[str, ...] = Field(
        (), description="What is run, word by word; default: the image's own entrypoint."
    )
    args: tuple[str, ...] = Field((), description="Further words; default: the image's own.")
    env: dict[Word, str] = Field(
        default_factory=dict, description="Environment variables beside those of the contract."
    )

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if not getattr(self, "image", None) and not self.command:
            raise ValueError("say what is run: an `image`, a `command`, or both")
        for name in self.env:
            if name.startswith(RESERVED):
                said = f"'{name}' is for the {self.contract} contract to set"
                raise problem("env", said, ("env", name))
        return self
