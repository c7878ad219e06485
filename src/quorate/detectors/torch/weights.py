"""Weights for torch: read without running anything that they hold, and held against a model."""

from __future__ import annotations

import argparse
import contextlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from quorate.detectors.files import start_of, told_of_detector
from quorate.detectors.torch.predictor import first_line
from quorate.errors import DetectorError, MissingExtraError
from quorate.storage import local_copy

try:
    import torch
    from safetensors import safe_open
except ImportError as error:
    raise MissingExtraError("This kind of detector", "torch") from error

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Where training loops put the model's state beside the optimizer's."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What DataParallel, Lightning and torch.compile put before every key."""
UNUSED = ("num_batches_tracked",)
"""The ends of keys that training alone needs."""
SHOWN = 4
DEEPEST = 4
"""How deep a state may lie within what was saved, which may hold itself."""

STATE_HINT = "save `model.state_dict()`, or better a .safetensors file, and name that"


class State(NamedTuple):
    """A model's tensors by key, and what the file says beside them."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def read_state(location: str) -> State:
    """The tensors of a .safetensors file or of a state dict that torch saved.

    What kind of file it is, its first bytes say. A pickle is read by torch's reader for weights
    alone, which refuses whatever is neither tensor nor plain value. DetectorError where there is no
    such file, or it is damaged, has code in it, or no model's state.
    """
    with told_of_detector(), local_copy(location) as path:
        if path.is_dir():
            raise DetectorError(f"{location}: a folder, not a file with weights.")
        if start_of(location, path)[8:9] == b"{":
            return _read_safetensors(path, location)
        return State(_state_of(_read_pickle(path, location), location), {})


def _read_safetensors(path: Path, location: str) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
            return State(_plain(tensors), dict(file.metadata() or {}))
    except Exception as error:  # damaged bytes raise anything
        raise DetectorError(
            f"{location}: a damaged .safetensors file, or cut short: {first_line(error)}"
        ) from None


def _read_pickle(path: Path, location: str) -> Any:
    with contextlib.suppress(zipfile.BadZipFile, ValueError, NotImplementedError):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise DetectorError(
                f"{location}: a TorchScript program, not a state dict.", hint=STATE_HINT
            )
    try:
        # Namespace: torchvision's own training script puts its arguments beside the model.
        with (
            warnings.catch_warnings(action="ignore"),
            torch.serialization.safe_globals([argparse.Namespace]),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error)):
            raise DetectorError(
                f"{location}: a pickle with code in it ({found[1]}), which was not run.",
                hint=STATE_HINT,
            ) from None
        raise DetectorError(
            f"{location}: neither .safetensors nor a state dict that torch saved.", hint=STATE_HINT
        ) from None
    except Exception as error:  # torch's reader raises anything on damaged bytes
        raise DetectorError(
            f"{location}: no weights that torch can read, or cut short: {first_line(error)}"
        ) from None


def _state_of(value: Any, location: str) -> dict[str, torch.Tensor]:
    """The state inside what a training loop saved."""
    for _ in range(DEEPEST):
        if not isinstance(value, Mapping):
            break
        tensors = {str(key): item for key, item in value.items() if isinstance(item, torch.Tensor)}
        if len(tensors) > len(value) / 2:
            return _plain(tensors)
        inner = next((value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)), None)
        if inner is None:
            keys = ", ".join(str(key) for key in list(value)[:SHOWN]) or "nothing"
            raise DetectorError(
                f"{location}: holds no model's state, but {keys}.",
                hint=f"it is looked for under {', '.join(WRAPPERS)}",
            )
        value = inner
    raise DetectorError(
        f"{location}: holds {type(value).__name__}, not a model's state.", hint=STATE_HINT
    )


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the prefixes that wrappers put before every key."""
    tensors.pop("n_averaged", None)
    for prefix in PREFIXES * 2:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): item for key, item in tensors.items()}
    return tensors


def misfit(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """What of these weights is missing, too much or of another shape; None where they fit."""
    own = {key: tuple(item.shape) for key, item in model.state_dict().items()}
    missing = [key for key in own if key not in tensors and not key.endswith(UNUSED)]
    unexpected = [key for key in tensors if key not in own and not key.endswith(UNUSED)]
    wrong = [
        f"{key} {list(item.shape)} where {list(own[key])} belongs"
        for key, item in tensors.items()
        if key in own and tuple(item.shape) != own[key]
    ]
    return describe_misfit(missing, unexpected, wrong)


def describe_misfit(missing: list[str], unexpected: list[str], wrong: list[str]) -> str | None:
    """One phrase that counts and names keys; None where there is nothing to say."""
    said = []
    for keys, what in (
        (missing, "missing"),
        (unexpected, "unexpected"),
        (wrong, "of another shape"),
    ):
        if keys:
            more = ", …" if len(keys) > SHOWN else ""
            said.append(f"{len(keys)} {what} ({', '.join(keys[:SHOWN])}{more})")
    return "; ".join(said) or None
