"""What the loop asks of a model that learns, whichever library it is of."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from quorate.detectors.torch.predictor import TorchPredictor, first_line
from quorate.errors import DetectorError, MissingExtraError
from quorate.spec.torch_trainer import TorchTrainer
from quorate.training.torch.samples import Sample, Samples

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("Training", "torch") from error

State = Mapping[str, torch.Tensor]
FINE = 0.1
"""What the backbone's rate is of the others', with weights that know much already: Carion et al.
2020, arXiv:2005.12872, A.4."""
LOWEST_SCORE = 0.001
"""Boxes below add nothing to an AP."""
OPSET = 18


class Loss(NamedTuple):
    """What is made small, and its parts by name, as they count in it."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class Rows(NamedTuple):
    """What a network finds in one picture, before anything is left out, to hold two side by side.

    boxes  (n, 4)  of the picture's sides; a number moves as far as the box does
    score  (n, c)  of each label, 0..1
    masks  (n, m)  each pixel's, 0..1, or None
    floor  the network itself leaves out what scores less
    chosen whether the rows' places mean nothing, for the network chooses which they are
    """

    boxes: NDArray[Any]
    score: NDArray[Any]
    masks: NDArray[Any] | None = None
    floor: float = 0.0
    chosen: bool = True


class Learner(ABC):
    """A model that learns.

    model   what is trained; its norms may differ from those of a finished one
    labels  the words, in the order of `Sample.label`
    notes   what was left out or begun anew, a sentence each
    clip    most that a gradient's norm may be, by the architecture's paper; None for any
    """

    model: nn.Module
    masks = False
    clip: float | None = None
    outputs: tuple[str, ...]
    """The names of the graph's outputs."""
    floor = LOWEST_SCORE
    """Boxes that score less are not kept."""
    backbone: re.Pattern[str]
    """What parameters of the backbone are called."""
    slow: re.Pattern[str] | None = None
    """Parameters that learn at a tenth of the rate."""

    def __init__(self, trainer: TorchTrainer, labels: Sequence[str]) -> None:
        self.trainer = trainer
        self.labels = tuple(labels)
        self.notes: list[str] = []

    @abstractmethod
    def inputs(self, samples: list[Sample]) -> Any:
        """What the model is given of samples, on the CPU: tensors in lists, tuples and dicts."""

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Any) -> Loss:
        """The loss of a batch; `model` is `self.model`, or what wraps it."""

    @abstractmethod
    def finished(self, state: State) -> nn.Module:
        """A model to use, with these weights of `self.model`."""

    @abstractmethod
    def predictor(self, model: nn.Module, *, device: str) -> TorchPredictor:
        """A detector that uses a finished model; it keeps all boxes that can matter to an AP."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a finished model as its library, and a detector of its kind, read it."""

    @abstractmethod
    def export(self, model: nn.Module, path: Path) -> dict[str, Any]:
        """Write a finished model as ONNX; the fields of a detector that tell what it wants."""

    @abstractmethod
    def graph(self, model: nn.Module) -> nn.Module:
        """What of a finished model is written: the input's tensor to those of the outputs."""

    @abstractmethod
    def rows(self, outputs: Sequence[NDArray[Any]], picture: tuple[int, int]) -> Rows:
        """The graph's outputs for one picture of (height, width), in the order of its names."""

    def prepared(self, picture: NDArray[Any]) -> NDArray[Any] | None:
        """The input (1, 3, height, width) that the library makes of a picture, uint8 (h, w, 3).

        None where the graph takes pictures as they are.
        """
        return None

    def remarks(self, samples: Samples) -> list[str]:
        """What a person should know of these pictures and this model, a sentence each."""
        return []

    def groups(self) -> list[dict[str, Any]]:
        """The optimiser's parameter groups: each `name`, `params`, `lr` and `weight_decay`.

        The backbone has a rate of its own. Biases and norms, of one dimension, do not decay.
        """
        rate = self.trainer.learning_rate
        own = self.trainer.backbone_learning_rate
        if own is None:
            own = rate * FINE if self.trainer.checkpoint else rate
        rates = {"head": rate, "backbone": own, "slow": rate * FINE}
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {
            (part, decays): [] for part in rates for decays in (True, False)
        }
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                part = "backbone" if self.backbone.search(name) else "head"
                if part == "head" and self.slow is not None and self.slow.search(name):
                    part = "slow"
                groups[part, parameter.ndim > 1].append(parameter)
        return [
            {
                "name": part if decays else f"{part} without decay",
                "params": parameters,
                "lr": rates[part],
                "weight_decay": self.trainer.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
            if parameters
        ]


def thaw(module: nn.Module) -> None:
    """Put a batch norm that learns in the place of each frozen one.

    For a backbone without weights a frozen norm is none at all.
    """
    for name, child in module.named_children():
        if type(child).__name__.endswith("FrozenBatchNorm2d"):
            norm = nn.BatchNorm2d(len(child.weight), eps=getattr(child, "eps", 1e-5))
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, norm)
        else:
            thaw(child)


def written(
    model: nn.Module, example: torch.Tensor, path: Path, ways: Sequence[Mapping[str, Any]]
) -> None:
    """Write a model as ONNX in the first of the `ways` that works; each is `torch.onnx.export`'s.

    A file that onnxruntime cannot open is none.

    DetectorError where none does.
    """
    import logging
    import warnings

    import onnxruntime

    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.CRITICAL)
    reasons: list[str] = []
    try:
        for how in ways:
            try:
                with warnings.catch_warnings(action="ignore"), torch.no_grad():
                    torch.onnx.export(model.eval(), (example,), path, **how)
                onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                return
            except Exception as error:  # whatever the tracer met
                reasons.append(first_line(error.__cause__ or error))
    finally:
        loud.setLevel(level)
    raise DetectorError(
        f"The model cannot be written as ONNX: {reasons[0]}",
        hint="its weights are kept in `model/`: a detector of their own kind reads them",
    )
