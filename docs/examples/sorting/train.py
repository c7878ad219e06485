"""Train the two classifiers of this example from nothing, on the CPU, and write them as ONNX.

Everything follows from `--seed`. Parts are cut out of pictures of ../parts, seeds from 0, which the
held-out pictures (910000 and up) do not use.

    python train.py

Needs torch, onnx, numpy and pillow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from crops import AROUND, PARTS, SHORTEST, cut
from families import SIDE, Inception, Residual
from numpy.typing import NDArray
from onnx import helper
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

sys.path.append(str(PARTS))
from pictures import Sample, rendered
from shapes import LABELS

HERE = Path(__file__).parent
OPSET = 17
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """How one classifier is made: its network, what it never sees, and what its file is like.

    without  the bench whose pictures it is not shown
    shown    its network as the file has it, for an input of `example`'s shape
    """

    network: type[Residual] | type[Inception]
    without: str
    normalise: Callable[[Tensor], Tensor]
    shown: Callable[[nn.Module], Callable[[Tensor], Tensor]]
    example: tuple[int, ...]
    names: tuple[str, str]


def _imagenet(planes: Tensor) -> Tensor:
    mean, std = (torch.tensor(three)[:, None, None] for three in (MEAN, STD))
    return (planes - mean) / std


RECIPES = {
    "resnet": Recipe(
        Residual, "mat", _imagenet, lambda network: network, (1, 3, SIDE, SIDE), ("input", "logits")
    ),
    "googlenet": Recipe(
        Inception,
        "concrete",
        lambda planes: planes,
        lambda network: network.classify,  # type: ignore[union-attr]
        (1, SIDE, SIDE, 3),
        ("image", "probabilities"),
    ),
}


class _As(nn.Module):
    """The exporter calls `forward`; this calls what the file is to do."""

    def __init__(self, network: nn.Module, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, pixels: Tensor) -> Tensor:
        return self.call(pixels)


def parts_of(samples: list[Sample], side: int) -> list[NDArray[np.uint8]]:
    """Every part, by its label: uint8 (n, side, side, 3), with more around it than is shown."""
    found: list[list[NDArray[np.uint8]]] = [[] for _ in LABELS]
    for sample in samples:
        for box, label in zip(sample.boxes, sample.labels.tolist(), strict=True):
            if (box[2:] - box[:2]).max() >= SHORTEST:
                part = Image.fromarray(cut(sample.pixels, box, AROUND * side / SIDE))
                image = part.resize((side, side), Image.Resampling.BILINEAR)
                found[label].append(np.asarray(image))
    return [np.stack(one) for one in found]


def views(parts: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random views of parts, float32 (n, SIDE, SIDE, 3) 0..1: shifted, turned and tinted."""
    room = parts.shape[1] - SIDE
    shown = np.empty((len(parts), SIDE, SIDE, 3), np.float32)
    for i, part in enumerate(parts):
        top, left = rng.integers(room + 1, size=2).tolist()
        pixels = part[top : top + SIDE, left : left + SIDE]
        pixels = np.rot90(pixels, int(rng.integers(4)))
        shown[i] = pixels[:, ::-1] if rng.random() < 0.5 else pixels
    count = len(parts)
    tint = np.exp(0.15 * rng.normal(size=(count, 1)) + rng.normal(0, 0.06, (count, 3)))
    shown *= tint[:, None, None].astype(np.float32) / 255
    return (shown + rng.normal(0, 0.008, shown.shape).astype(np.float32)).clip(0, 1)


def train(recipe: Recipe, samples: list[Sample], steps: int, rate: float, seed: int) -> nn.Module:
    """Train one network; every batch has as many parts of each label."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = recipe.network(len(LABELS))
    parts = parts_of([one for one in samples if one.bench != recipe.without], SIDE + 8)
    print("parts:", ", ".join(f"{len(p)} {n}" for n, p in zip(LABELS, parts, strict=True)))
    labels = torch.arange(len(LABELS)).repeat_interleave(BATCH // len(LABELS))
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.15)
    network.train()
    for step in range(steps):
        some = [one[rng.integers(len(one), size=BATCH // len(LABELS))] for one in parts]
        planes = torch.from_numpy(views(np.concatenate(some), rng)).permute(0, 3, 1, 2)
        found = network(recipe.normalise(planes))
        loss = functional.cross_entropy(found, labels, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        if step % 100 == 99:
            print(f"{step + 1:5} loss {loss.item():.3f}, {time.process_time():.0f} s", flush=True)
    return network.eval()


def export(recipe: Recipe, network: nn.Module, path: Path) -> None:
    """Write the file, with the names of its labels inside, for any number of pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, last = recipe.names
    with warnings.catch_warnings():
        # The tracing exporter is the one that writes opset 17 without a converter.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _As(network, recipe.shown(network)).eval(),
            (torch.zeros(recipe.example),),
            path,
            input_names=[first],
            output_names=[last],
            dynamic_axes={first: {0: "n"}, last: {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(path)
    helper.set_model_props(model, {"names": repr(dict(enumerate(LABELS)))})
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main() -> None:
    """Render what is not there yet, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--pictures", type=int, default=350)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=RECIPES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the sums then do not depend on how many cores there are
    torch.use_deterministic_algorithms(True)
    samples = rendered(arguments.cache, 0, arguments.pictures, arguments.workers)
    for name, recipe in RECIPES.items():
        if arguments.only in (None, name):
            print(name)
            made = train(recipe, samples, arguments.steps, arguments.rate, arguments.seed)
            export(recipe, made, arguments.out / f"{name}.onnx")


if __name__ == "__main__":
    main()
