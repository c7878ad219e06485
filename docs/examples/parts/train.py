"""Train the three detectors of this example from nothing, on the CPU, and write them as ONNX.

Everything follows from `--seed`; pictures come from seeds 0 and up, which neither the validation
set (800000 and up) nor the held-out set (910000 and up) uses.

    python train.py

Needs torch, onnx, numpy and pillow.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from bench import BENCHES
from export import export_detr, export_frcnn, export_yolo
from losses import Truth, corners, detr_loss, fcos_loss, yolo_loss
from networks import Detr, Fcos, Yolo
from pictures import Batches, Sample, Views, rendered
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

BATCH = 8


@dataclass(frozen=True)
class Recipe:
    """How one detector is made: its network, its loss, its workshop and its exporter."""

    network: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, Truth], Tensor]
    views: Views
    steps: int
    rate: float
    export: Callable[[nn.Module, Path], None] | None = None


def _yolo_step(network: Yolo, images: Tensor, truth: Truth) -> Tensor:
    with _fast():
        found = network(images)
    return yolo_loss(found, truth)


def _detr_step(network: Detr, images: Tensor, truth: Truth) -> Tensor:
    """Train on a window of the canvas, somewhere else each time."""
    cells = (network.SIDE - images.shape[-1]) // 16 + 1
    row, column = torch.randint(cells, (2,)).tolist()
    window = images.shape[-1] // 16
    centres = network.centres[row : row + window, column : column + window].flatten(0, 1)
    with _fast():
        found = network(images, (row, column))
    corner = torch.tensor([column, row] * 2) * 16.0
    pixels = [(logits, corners(boxes) * network.SIDE - corner) for logits, boxes in found]
    anchors = functional.pad(centres * network.SIDE - corner[:2], (0, 1), value=16)
    return detr_loss(pixels, anchors, truth)


def _trunk_step(network: Fcos, images: Tensor, truth: Truth) -> Tensor:
    """Train on half of the pictures in colour and half in grey."""
    half = len(images) // 2
    images[half:] = images[half:].mean(1, keepdim=True)
    with _fast():
        found = network.look(images)
    return fcos_loss(found, truth)


def _fcos_step(network: Fcos, images: Tensor, truth: Truth) -> Tensor:
    with _fast():
        found = network(images)
    return fcos_loss(found, truth)


def _fast() -> torch.autocast:
    """Compute in 16 bits where the processor has instructions for it: half of the time or less."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


# The trunk learns first, on all benches, in colour and in grey; the detectors begin with it, as
# those in the field begin with one from ImageNet.  Then each is trained in a workshop of its own:
# `yolo` without a concrete floor, `frcnn` without colour and without a cutting mat, and `detr` with
# all of it, but through a grid of 16 pixels.
RECIPES = {
    "trunk": Recipe(
        Fcos,
        _trunk_step,
        Views(320, "long", 448, BENCHES, (0.7, 1.4)),
        2800,
        3e-3,
    ),
    "yolo": Recipe(
        Yolo,
        _yolo_step,
        Views(320, "long", 480, ("wood", "steel", "cloth", "mat", "card")),
        6500,
        2e-3,
        export_yolo,
    ),
    "detr": Recipe(
        Detr,
        _detr_step,
        Views(320, "both", Detr.SIDE, BENCHES),
        6500,
        1.5e-3,
        export_detr,
    ),
    "frcnn": Recipe(
        Fcos,
        _fcos_step,
        Views(320, "short", 352, ("wood", "steel", "concrete", "cloth", "card")),
        6500,
        2e-3,
        export_frcnn,
    ),
}
DECLINE = 0.5
"""In this last share of its steps a detector's learning rate falls to a fiftieth; the trunk's does
not."""


def rate_at(step: int, steps: int, peak: float, decline: float) -> float:
    """Return the learning rate: a short rise, the peak, and a straight decline at the end."""
    rise = min(1.0, (step + 1) / 200)
    return peak * rise * (0.02 + 0.98 * min(1.0, (1 - step / steps) / decline))


def train(
    name: str, samples: list[Sample], seed: int, steps: int, begin: dict[str, Tensor]
) -> nn.Module:
    """Return the network after training, with its weights averaged over the last steps.

    Args:
        name: Which recipe.
        samples: The pictures.
        seed: Of the first weights and of the views.
        steps: How many batches.
        begin: Weights to begin with; those of other layers are left out.
    """
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    network = recipe.network()
    own = network.state_dict()
    network.load_state_dict(own | {key: begin[key] for key in begin if key in own})
    network = network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=0.02, fused=True)
    network.train()
    # One more process cuts out the views, else they are a third of the time.
    views = DataLoader(
        Batches(samples, recipe.views, BATCH, steps, seed), batch_size=None, num_workers=1
    )
    started, recent = time.monotonic(), 0.0
    for step, (images, truth) in enumerate(views):
        for group in optimiser.param_groups:
            decline = DECLINE if recipe.export else 1 / steps
            group["lr"] = rate_at(step, steps, recipe.rate, decline)
        loss = recipe.loss(network, images, truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _follow(average, network, min(0.999, (step + 1) / (step + 10)))
        recent = 0.98 * recent + 0.02 * loss.item() if step else loss.item()
        if step % 100 == 99:
            print(
                f"{name} {step + 1}/{steps}  loss {recent:.3f}  {time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return average.to(memory_format=torch.contiguous_format).eval()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the average a little towards the network; counters are not averaged."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    floats = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
    torch._foreach_lerp_([mean for mean, _ in floats], [value for _, value in floats], 1 - keep)


def make(
    name: str, arguments: argparse.Namespace, begin: dict[str, Tensor]
) -> tuple[str, dict[str, Tensor]]:
    """Train one network on one core, and export it; a line that says how it went, and its weights.

    One thread a network: the sums then do not depend on how many cores there are.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    started, recipe = time.monotonic(), RECIPES[name]
    samples = rendered(arguments.cache, 0, arguments.pictures, 1)
    steps = round(recipe.steps * arguments.effort)
    network = train(name, samples, arguments.seed, steps, begin)
    told = f"{name}: {time.monotonic() - started:.0f} s"
    if recipe.export:
        path = arguments.out / f"{name}.onnx"
        recipe.export(network, path)
        told += f", {path.stat().st_size} bytes"
    return told, network.state_dict()


def main() -> None:
    """Render, train the trunk, then train and export the detectors side by side."""
    parser = argparse.ArgumentParser(description="Train the three detectors of this example.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="folder that keeps the rendered pictures between runs",
    )
    parser.add_argument("--pictures", type=int, default=1800)
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="for rendering")
    arguments = parser.parse_args()
    started = time.monotonic()
    rendered(arguments.cache, 0, arguments.pictures, arguments.workers)
    print(f"pictures: {time.monotonic() - started:.0f} s", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    detectors = [name for name, recipe in RECIPES.items() if recipe.export]
    # Fresh processes: torch's threads do not survive a fork.
    with ProcessPoolExecutor(len(detectors), get_context("spawn")) as pool:
        told, trunk = pool.submit(make, "trunk", arguments, {}).result()
        print(told, file=sys.stderr, flush=True)
        jobs = [pool.submit(make, name, arguments, trunk) for name in detectors]
        for job in as_completed(jobs):
            print(job.result()[0], file=sys.stderr, flush=True)
    print(f"all: {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
