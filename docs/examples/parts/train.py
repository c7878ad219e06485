"""Train the three detectors of this example from nothing, on the CPU, and write them as ONNX.

Everything follows from `--seed`; pictures come from seeds 0 and up, which neither the validation
set (800000 and up) nor the held-out set (910000 and up) uses.

    python train.py

Needs torch, onnx, numpy and pillow.
"""

from __future__ import annotations

import argparse
import copy
import math
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
from losses import detr_loss, fcos_loss, yolo_loss
from networks import Detr, Fcos, Yolo
from pictures import Batch, Sample, Views, batches, rendered
from torch import Tensor, nn

BATCH = 8


@dataclass(frozen=True)
class Recipe:
    """How one detector is made: its network, its loss, its workshop and its exporter."""

    network: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    views: Views
    steps: int
    rate: float
    export: Callable[[nn.Module, Path], None]


def _detr_step(network: Detr, batch: Batch) -> Tensor:
    """Train on a window of the canvas, somewhere else each time."""
    cells = (network.SIDE - batch.images.shape[-1]) // 16 + 1
    row, column = torch.randint(cells, (2,)).tolist()
    offset = torch.tensor([column, row] * 2) * 16.0
    boxes = [box + offset for box in batch.boxes]
    window = batch.images.shape[-1] // 16
    centres = network.centres[row : row + window, column : column + window].flatten(0, 1)
    found = network(batch.images, (row, column))
    return detr_loss(found, centres, boxes, batch.labels, network.SIDE)


# Each was trained in a workshop of its own, as detectors in the field are: `yolo` never saw a
# concrete floor, `frcnn` no colour and no cutting mat, and `detr` saw it all, but through a grid
# of 16 pixels.  They train on windows of the picture, around parts: empty bench teaches little.
RECIPES = {
    "yolo": Recipe(
        Yolo,
        lambda net, batch: yolo_loss(net(batch.images), batch.boxes, batch.labels),
        Views(192, "long", 320, ("wood", "steel", "cloth", "mat", "card")),
        2600,
        3e-3,
        export_yolo,
    ),
    "detr": Recipe(
        Detr,
        _detr_step,
        Views(208, "both", 320, BENCHES),
        3200,
        1.5e-3,
        export_detr,
    ),
    "frcnn": Recipe(
        Fcos,
        lambda net, batch: fcos_loss(net(batch.images), batch.boxes, batch.labels),
        Views(192, "short", 256, ("wood", "steel", "concrete", "cloth", "card")),
        2600,
        3e-3,
        export_frcnn,
    ),
}


def rate_at(step: int, steps: int, peak: float) -> float:
    """Return the learning rate: a short rise, then half a cosine down to a fiftieth."""
    rise = min(100, steps // 10)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * (0.02 + 0.98 * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2)


def train(recipe: Recipe, samples: list[Sample], seed: int, steps: int, name: str) -> nn.Module:
    """Return the network after training, with its weights averaged over the last steps."""
    torch.manual_seed(seed)
    network = recipe.network().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=0.02, fused=True)
    network.train()
    started, recent = time.monotonic(), 0.0
    for step, batch in enumerate(batches(samples, recipe.views, BATCH, steps, seed)):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, steps, recipe.rate)
        loss = recipe.loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _follow(average, network, min(0.997, (step + 1) / (step + 10)))
        recent = 0.97 * recent + 0.03 * loss.item() if step else loss.item()
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


def make(name: str, cache: Path, pictures: int, out: Path, seed: int, effort: float) -> str:
    """Train and export one detector, on one core, and return a line that says how it went.

    One thread a detector: the sums then do not depend on how many cores there are.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    started, recipe = time.monotonic(), RECIPES[name]
    samples = rendered(cache, 0, pictures, 1)
    network = train(recipe, samples, seed, round(recipe.steps * effort), name)
    path = out / f"{name}.onnx"
    recipe.export(network, path)
    return f"{name}: {time.monotonic() - started:.0f} s, {path.stat().st_size} bytes"


def main() -> None:
    """Render, then train and export the detectors side by side."""
    parser = argparse.ArgumentParser(description="Train the three detectors of this example.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="folder that keeps the rendered pictures between runs",
    )
    parser.add_argument("--pictures", type=int, default=1400)
    parser.add_argument("--only", choices=RECIPES, action="append", help="train just this one")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="for rendering")
    arguments = parser.parse_args()
    started = time.monotonic()
    rendered(arguments.cache, 0, arguments.pictures, arguments.workers)
    print(f"pictures: {time.monotonic() - started:.0f} s", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = arguments.only or list(RECIPES)
    # Fresh processes: torch's threads do not survive a fork.
    with ProcessPoolExecutor(len(names), get_context("spawn")) as pool:
        jobs = [
            pool.submit(
                make,
                name,
                arguments.cache,
                arguments.pictures,
                arguments.out,
                arguments.seed,
                arguments.effort,
            )
            for name in names
        ]
        for job in as_completed(jobs):
            print(job.result(), file=sys.stderr, flush=True)
    print(f"all: {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
