"""Somebody else's container as a detector: `kind: container`.

It keeps the step contract and needs nothing of ours inside. It sees a whole shard at once, so it
is not loaded as other detectors are: `quorate.steps.container` runs it and reads what it leaves.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NoReturn, Self

from pydantic import Field, model_validator

from quorate.errors import DetectorError
from quorate.spec.base import Location
from quorate.spec.detector import Detector
from quorate.spec.program import Program, Word
from quorate.spec.words import problem


class ContainerDetector(Program, Detector):
    """A container, or a command, that keeps the step contract; nothing of ours inside."""

    contract: ClassVar[str] = "step"

    kind: Literal["container"] = "container"
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
    def _names_fit(self) -> Self:
        if self.tta or self.tiles:
            raise ValueError("a container decides itself what it looks at: no `tta`, no `tiles`")
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
