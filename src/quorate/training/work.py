"""The folder of a training: where each part finds its input and leaves its output.

out/
  training.yaml                the training as it was prepared, its paths absolute
  prepared.json                what was prepared of the pictures; written last
  data/                        what every trainer is given
  test/                        likewise, pictures that no trainer sees: test.json, images/
  trainers/NAME/data/          one trainer's: links to the above, and its trainer.json
  trainers/NAME/out/           what it leaves
  trainers/NAME/log.txt        what it printed
  trainers/NAME/trained.json   that it is done, with what
  trainers/NAME/failed.json    why it is not, or what is wrong with the detector that it left
  trainers/NAME/found.parquet  what its detector finds on the pictures that are held out
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quorate.storage.owner import owned


class Part(msgspec.Struct, frozen=True):
    """How much is in a part of the split, the boxes by label in the order of the labels."""

    images: int
    boxes: tuple[int, ...]


class Prepared(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was prepared. `test` is None where the trainers are compared on validation."""

    fingerprint: str
    labels: tuple[str, ...]
    train: Part
    validation: Part
    test: Part | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """One line of how the pictures are split."""
        test = "" if self.test is None else f", {self.test.images:,} to compare"
        return (
            f"{self.train.images:,} pictures to learn from, "
            f"{self.validation.images:,} to validate{test}"
        )

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that there are, by what they are for."""
        parts = {"to learn from": self.train, "validation": self.validation, "test": self.test}
        return {word: part for word, part in parts.items() if part is not None}


class Trained(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a trainer is done with just this input. `seconds` is of all its runs together."""

    fingerprint: str
    seconds: float
    notes: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """Why a trainer is not done, or its detector of no use: `trained.json` is there as well."""

    reason: str
    hint: str = ""


@dataclass(frozen=True)
class TrainerWork:
    """The paths of one trainer."""

    root: Path

    @property
    def data(self) -> Path:
        """What it is given."""
        return self.root / "data"

    @property
    def out(self) -> Path:
        """What it leaves."""
        return self.root / "out"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.root / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by its process, which may outlive a killed run."""
        return self.root / ".owner"

    @property
    def begun(self) -> Path:
        """The fingerprint of what it was begun with."""
        return self.root / "begun.json"

    @property
    def trained(self) -> Path:
        """That it is done."""
        return self.root / "trained.json"

    @property
    def failed(self) -> Path:
        """Why it is not, or is of no use."""
        return self.root / "failed.json"

    @property
    def found(self) -> Path:
        """The boxes of its detector on what is held out."""
        return self.root / "found.parquet"


@dataclass(frozen=True)
class TrainingWork:
    """The paths of a training."""

    root: Path

    @property
    def spec_file(self) -> Path:
        """`training.yaml`."""
        return self.root / "training.yaml"

    @property
    def prepared(self) -> Path:
        """`prepared.json`."""
        return self.root / "prepared.json"

    @property
    def data(self) -> Path:
        """What every trainer is given."""
        return self.root / "data"

    @property
    def test(self) -> Path:
        """What no trainer sees."""
        return self.root / "test"

    @property
    def compare(self) -> Path:
        """What the ensemble's detectors find on what is held out."""
        return self.root / "compare"

    @property
    def held_out(self) -> Path:
        """The truth that is judged by: test.json where there is one, else validation.json."""
        there = self.test / "test.json"
        return there if there.exists() else self.data / "validation.json"

    def trainer(self, name: str) -> TrainerWork:
        """One trainer's folder."""
        return TrainerWork(self.root / "trainers" / name)

    def owned(self) -> AbstractContextManager[object]:
        """Be the only one at work here; BusyError where another process is."""
        return owned(self.root / ".owner")
