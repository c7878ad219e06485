"""What a training goes on from: whole or not there, safe to read, and kept elsewhere if wished.

    checkpoint/state.json      where it was, and of which slot the files are; written last
    checkpoint/a/, b/          model.safetensors, optimiser.safetensors, and where there are any
                               average.safetensors and best.safetensors

The slots take turns, so that a checkpoint is whole before the one before it goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from quorate.errors import InputError, MissingExtraError, QuorateError
from quorate.storage import remove_tree, write_bytes
from quorate.training.keeping import State, keep, restore

try:
    import torch
    from safetensors.torch import load, save
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

STATE = "state.json"
SLOTS = ("a", "b")
Tensors = Mapping[str, torch.Tensor]


class Window(msgspec.Struct):
    """What was seen since the last line of progress: sums, and the pictures they are of."""

    loss: float = 0.0
    losses: dict[str, float] = {}
    steps: int = 0


class Place(msgspec.Struct):
    """Where a training is.

    step      optimiser's steps that are done
    per_epoch steps of an epoch
    parts     in which a step's pictures are computed
    averaged  steps whose weights are in the average
    best      the highest mAP of a validation so far
    stale     validations since then
    seconds   that were spent
    window    since the last line of progress
    scaler    of float16, the scale of the loss
    """

    per_epoch: int
    parts: int = 1
    step: int = 0
    averaged: int = 0
    best: float | None = None
    stale: int = 0
    seconds: float = 0.0
    window: Window = msgspec.field(default_factory=Window)
    scaler: dict[str, float] = {}


class _State(msgspec.Struct):
    slot: str
    place: Place
    settings: dict[str, Any]
    files: dict[str, str]


class Checkpoints:
    """The checkpoint of one training, in a folder and maybe at a place that outlives it."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        *,
        elsewhere: str | None = None,
        warn: Callable[[str], None],
    ) -> None:
        """`settings` are the trainer's; `elsewhere` is a folder or an S3 prefix of it alone.

        The curve so far, `progress.jsonl` beside the folder, is kept elsewhere too.
        """
        self.folder, self.settings, self.elsewhere = folder, settings, elsewhere
        self._kept: State = ()
        self._warn = warn
        self._slot = SLOTS[0]
        self.step = 0
        """Of the last checkpoint."""

    def load(self) -> tuple[Place, dict[str, Tensors]] | None:
        """Where the training was and its tensors by file; None where it has not begun.

        Raises InputError where the files are not those that were written.
        """
        if not (self.folder / STATE).exists() and not self._restored():
            return None
        try:
            state = msgspec.json.decode((self.folder / STATE).read_bytes(), type=_State)
            if state.slot not in SLOTS or any("/" in name for name in state.files):
                raise ValueError("it names files outside of the folder")
            tensors: dict[str, Tensors] = {}
            for name, digest in state.files.items():
                data = (self.folder / state.slot / f"{name}.safetensors").read_bytes()
                if hashlib.sha256(data).hexdigest() != digest:
                    raise ValueError(f"{name}.safetensors is not what was written")
                tensors[name] = load(data)
        except Exception as error:  # damaged bytes raise anything
            raise InputError(
                f"{self.folder}: the checkpoint is damaged ({error}).",
                hint="remove the folder to begin anew",
            ) from None
        if changed := differing(state.settings, self.settings):
            self._warn(f"goes on from a checkpoint that was made with other {', '.join(changed)}")
        self._slot = SLOTS[1 - SLOTS.index(state.slot)]
        self.step = state.place.step
        return state.place, tensors

    def save(self, place: Place, tensors: Mapping[str, Tensors]) -> None:
        """Keep a checkpoint; StorageError where the disk is full, and the one before is kept."""
        slot = self._slot
        remove_tree(self.folder / slot)
        files = {}
        for name, group in tensors.items():
            data = save({key: _own(item) for key, item in group.items()})
            files[name] = hashlib.sha256(data).hexdigest()
            write_bytes(self.folder / slot / f"{name}.safetensors", data)
        state = msgspec.json.encode(_State(slot, place, self.settings, files))
        write_bytes(self.folder / STATE, state)
        self.step = place.step
        self._slot = SLOTS[1 - SLOTS.index(slot)]
        remove_tree(self.folder / self._slot)
        if self.elsewhere is None:
            return
        try:
            self._kept = keep(self.folder.parent, self.elsewhere, self._kept)
        except QuorateError as error:  # a comfort: the training goes on without it
            self._warn(f"the checkpoint is not kept at {self.elsewhere}: {error.message}")

    def done(self) -> None:
        """Forget what is kept elsewhere: the training is over."""
        if self.elsewhere is not None:
            try:
                remove_tree(self.elsewhere)
            except QuorateError as error:
                self._warn(f"{self.elsewhere} is not cleared away: {error.message}")

    def _restored(self) -> bool:
        """Whether a checkpoint was kept elsewhere, and is now here."""
        if self.elsewhere is None:
            return False
        try:
            return restore(self.elsewhere, self.folder.parent)
        except QuorateError as error:
            self._warn(f"no checkpoint can be read from {self.elsewhere}: {error}")
            return False


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings that are not the same."""
    return [key for key in now if key in before and before[key] != now[key]]


def packed(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What an optimiser knows of each parameter, by its number: `12.exp_avg`."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, known in state.items()
        for name, value in known.items()
        if value is not None
    }


def unpack(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """The way back: an optimiser of the same parameters knows again what it knew."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """On the CPU, with memory of its own: safetensors takes no two that share theirs."""
    return tensor.detach().to("cpu", copy=True).contiguous()
