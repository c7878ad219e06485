"""Somebody else's container as a detector: `kind: container`.

It keeps the step contract and needs nothing of ours inside. It sees a whole shard at once, so it
is not loaded as other detectors are: `quorate.steps.container` runs it and reads what it leaves.
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, Self

from pydantic import Field, model_validator

from quorate.errors import DetectorError
from quorate.spec.base import Location
from quorate.spec.detector import Detector
from quorate.spec.words import problem

RESERVED = "QUORATE_"
Word = Annotated[str, Field(min_length=1)]


class ContainerDetector(Detector):
    """A container, or a command, that keeps the step contract; nothing of ours inside."""

    kind: Literal["container"] = "container"
    command: tuple[str, ...] = Field(
        (), description="What is run, word by word; default: the image's own entrypoint."
    )
    args: tuple[str, ...] = Field((), description="Further words; default: the image's own.")
    env: dict[Word, str] = Field(
        default_factory=dict, description="Environment variables beside those of the contract."
    )
    weights: Location | None = Field(
        None, description="A file or folder that it finds at QUORATE_WEIGHTS."
    )
    names: tuple[Word, ...] | dict[int, Word] = Field(
        (),
        description="Its labels in the order of its numbers, or by number; default: it gives the "
        "category ids of images.json, or words.",
        examples=[["car", "person"], {1: "car", 3: "person"}],
    )

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if not self.image and not self.command:
            raise ValueError("say what is run: an `image`, a `command`, or both")
        if self.tta or self.tiles:
            raise ValueError("a container decides itself what it looks at: no `tta`, no `tiles`")
        for name in self.env:
            if name.startswith(RESERVED):
                said = f"'{name}' is for the step contract to set"
                raise problem("env", said, ("env", name))
        known = set(self.words.values())
        if self.names and len(known) < len(self.names):
            raise problem("names", "one label stands twice", ("names",))
        for word in self.labels if known else ():
            if word not in known:
                raise problem("label", f"'{word}' is not among `names`", ("labels", word))
        return self

    @property
    def words(self) -> dict[int, str]:
        """Its labels by number; empty where the numbers are those of images.json."""
        return dict(self.names) if isinstance(self.names, dict) else dict(enumerate(self.names))

    def load(self) -> NoReturn:
        """It cannot be asked picture by picture; DetectorError."""
        raise DetectorError(
            f"{self.name}: a container sees a whole shard at once, not a picture.",
            hint="`quorate run`, `tune`, `calibrate` and the workflows run it so; for single "
            "pictures, put its model behind a model server (`kind: remote`)",
        )
