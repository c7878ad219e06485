"""What is told while a model learns: progress.jsonl, and TensorBoard's event files."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from quorate.training.contract import Event, events

TENSORBOARD = "tensorboard"


def note(out: Path, sentence: str, *, step: int, steps: int, epoch: int) -> None:
    """Write a sentence that a person should read into `progress.jsonl`, while nobody else does."""
    event = Event(epoch=epoch, step=step, steps=steps, note=sentence)
    with open(out / "progress.jsonl", "ab") as file:
        file.write(msgspec.json.encode(event) + b"\n")


class Told:
    """Writes each event to `progress.jsonl`, and its numbers to TensorBoard's files beside it."""

    def __init__(
        self, out: Path, *, step: int, warn: Callable[[str], None], quiet: bool = False
    ) -> None:
        """Goes on after `step`; `quiet` writes nothing, for all processes but the first."""
        self._board: Any = None
        self._file = None
        self._quiet = quiet
        self._warn = warn
        if quiet:
            return
        self._file = open(out / "progress.jsonl", "ab")  # noqa: SIM115  closed by `close`
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            warn("no event files of TensorBoard: pip install 'quorate[torch]'")
        else:
            begun = (out / TENSORBOARD).exists()
            # Steps after this one that a killed run had written are not shown twice.
            self._board = SummaryWriter(str(out / TENSORBOARD), purge_step=step + 1)
            for event in () if begun else events(out):  # of another machine
                self._show(event)

    def __call__(self, event: Event) -> None:
        """One event."""
        if event.note:
            self._warn(event.note)
        if self._file is None:
            return
        self._file.write(msgspec.json.encode(event) + b"\n")
        self._file.flush()
        if self._board is not None:
            self._show(event)

    def _show(self, event: Event) -> None:
        """Its numbers to TensorBoard."""
        numbers = {
            "train/loss": event.loss,
            **{f"train/loss_{name}": value for name, value in event.losses.items()},
            "train/learning_rate": event.learning_rate,
            "train/images_per_second": event.images_per_second,
            "validation/map": event.map,
        }
        for name, value in numbers.items():
            if value is not None and math.isfinite(value):
                self._board.add_scalar(name, value, event.step)
        self._board.flush()

    def close(self) -> None:
        """End the files."""
        for file in (self._file, self._board):
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()
