"""Rendered pictures in memory, and the random views of them that a network trains on."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from losses import Truth
from numpy.typing import NDArray
from PIL import Image
from render import render
from shapes import LABELS
from torch.utils.data import IterableDataset

TRAINING_SIZES = ((512, 384),) * 5 + ((384, 512),)
GREY = 114


@dataclass(frozen=True)
class Sample:
    """A picture ``[h, w, 3]`` uint8 RGB, its boxes ``[n, 4]`` xyxy pixels, labels ``[n]`` 0..3."""

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    bench: str


@dataclass(frozen=True)
class Views:
    """How one network sees its training pictures.

    Attributes:
        canvas: Side of the square it trains on, pixels: four views, each half as wide.
        fit: The side of the picture that has `side` pixels at zoom 1: "long", "short" or "both"
            (stretched to a square).
        side: Target of that side, as at inference.
        zoom: Smallest and largest random zoom on top of the fit.
        colour: Strength of the random change of brightness and tint.
        benches: Benches of the workshop it was trained in.
    """

    canvas: int
    fit: str
    side: int
    benches: Sequence[str]
    zoom: tuple[float, float] = (0.75, 1.35)
    colour: float = 0.2


def rendered(cache: Path, first_seed: int, count: int, workers: int) -> list[Sample]:
    """Render the pictures of a range of seeds, or read them from the cache folder.

    The folder's name carries a digest of the renderer, so a changed renderer renders anew.
    """
    digest = hashlib.sha256()
    for name in ("bench.py", "render.py", "shapes.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    folder = cache / f"parts-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + count)
    missing = [seed for seed in seeds if not (folder / f"{seed}.json").exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_keep, missing, [folder] * len(missing), chunksize=8))
    return [_read(folder, seed) for seed in seeds]


def _keep(seed: int, folder: Path) -> None:
    picture = render(seed, TRAINING_SIZES[seed % len(TRAINING_SIZES)])
    (folder / f"{seed}.jpg").write_bytes(picture.jpeg)
    boxes = [[*box.xyxy, LABELS.index(box.label)] for box in picture.boxes]
    (folder / f"{seed}.json").write_text(json.dumps({"bench": picture.bench, "boxes": boxes}))


def _read(folder: Path, seed: int) -> Sample:
    truth = json.loads((folder / f"{seed}.json").read_text())
    table = np.array(truth["boxes"], np.float32).reshape(-1, 5)
    pixels = np.asarray(Image.open(io.BytesIO((folder / f"{seed}.jpg").read_bytes())))
    return Sample(pixels, table[:, :4], table[:, 4].astype(np.int64), truth["bench"])


def view(
    sample: Sample, views: Views, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Return a random view: pixels ``[canvas / 2, canvas / 2, 3]``, its boxes and labels.

    The picture is zoomed, shifted, tinted, flipped and turned by a quarter.  A box keeps what is
    left of it inside the canvas, and goes when that is less than 35 %.
    """
    side = views.canvas // 2
    tall, wide = sample.pixels.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(views.zoom)))
    across = down = views.side / (max(tall, wide) if views.fit == "long" else min(tall, wide))
    if views.fit == "both":
        across, down = views.side / wide, views.side / tall
    size = (round(wide * across * zoom), round(tall * down * zoom))
    left, top = _corner(sample.boxes, (wide, tall), size, side, rng)
    # Scale only what will be seen: the rest costs as much and is cut off.
    seen = (max(0, -left), max(0, -top), min(size[0], side - left), min(size[1], side - top))
    source = np.array(seen) * ([wide / size[0], tall / size[1]] * 2)
    x, y = source[:2].astype(int)
    part = sample.pixels[y : math.ceil(source[3]), x : math.ceil(source[2])]
    image = Image.fromarray(part).resize(
        (seen[2] - seen[0], seen[3] - seen[1]),
        Image.Resampling.BILINEAR,
        box=tuple((source - [x, y, x, y]).clip(0, [part.shape[1], part.shape[0]] * 2)),
    )
    canvas = Image.new("RGB", (side, side), (GREY, GREY, GREY))
    canvas.paste(image, (left + seen[0], top + seen[1]))
    factors = np.float32([size[0] / wide, size[1] / tall] * 2)
    boxes = sample.boxes * factors + np.float32([left, top, left, top])
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    boxes = boxes.clip(0, side)
    keep = (boxes[:, 2:] - boxes[:, :2]).prod(1) > 0.35 * whole
    tint = 1 + views.colour * (0.7 * rng.normal() + rng.normal(0, 0.4, 3))
    levels = np.clip(tint[:, None] * np.arange(256), 0, 255).astype(np.uint8)
    pixels, boxes = _turned(np.asarray(canvas.point(levels.ravel().tolist())), boxes[keep], rng)
    return pixels, boxes, sample.labels[keep]


def _corner(
    boxes: NDArray[np.float32],
    picture: tuple[int, int],
    size: tuple[int, int],
    side: int,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Return where the scaled picture's corner goes on the canvas, so that some part is on it.

    Where the picture is smaller than the canvas it goes anywhere; sizes are (width, height).
    """
    corner = []
    focus = boxes[rng.integers(len(boxes))] if len(boxes) else None
    for axis in (0, 1):
        room = side - size[axis]
        if room >= 0 or focus is None:
            corner.append(int(rng.integers(min(0, room), max(0, room) + 1)))
            continue
        middle = (focus[axis] + focus[axis + 2]) / 2 * size[axis] / picture[axis]
        shifted = side * rng.uniform(0.2, 0.8) - middle
        corner.append(int(np.clip(shifted, room, 0)))
    return corner[0], corner[1]


def _turned(
    pixels: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Flip and turn a square view and its boxes."""
    side = pixels.shape[0]
    if rng.random() < 0.5:
        pixels, boxes = pixels[:, ::-1], boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [side, 0] * 2
    if rng.random() < 0.5:
        pixels, boxes = pixels[::-1], boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, side] * 2
    if rng.random() < 0.5:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return pixels, boxes.astype(np.float32)


class Batches(IterableDataset[tuple[torch.Tensor, Truth]]):
    """Batches of random views, passing over the samples in a new order each time.

    A batch is pictures ``[n, 3, s, s]`` (RGB, 0..1) and their parts.  Each picture is put together
    of four views around parts: empty bench teaches little, and costs as much.
    """

    def __init__(
        self, samples: Sequence[Sample], views: Views, size: int, steps: int, seed: int
    ) -> None:
        super().__init__()
        self.samples = [sample for sample in samples if sample.bench in views.benches]
        self.views, self.size, self.steps, self.seed = views, size, steps, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Truth]]:
        """Yield `steps` batches of `size` pictures."""
        rng = np.random.default_rng(self.seed)
        order: list[int] = []
        for _ in range(self.steps):
            while len(order) < 4 * self.size:
                order = [*order, *rng.permutation(len(self.samples)).tolist()]
            chosen, order = order[: 4 * self.size], order[4 * self.size :]
            yield self._batch([self.samples[index] for index in chosen], rng)

    def _batch(
        self, chosen: Sequence[Sample], rng: np.random.Generator
    ) -> tuple[torch.Tensor, Truth]:
        side = self.views.canvas
        pixels = np.empty((self.size, side, side, 3), np.uint8)
        boxes: list[list[NDArray[np.float32]]] = [[] for _ in range(self.size)]
        labels: list[list[NDArray[np.int64]]] = [[] for _ in range(self.size)]
        half = side // 2
        for number, sample in enumerate(chosen):
            picture, left, top = number // 4, number % 2 * half, number // 2 % 2 * half
            tile, some, names = view(sample, self.views, rng)
            pixels[picture, top : top + half, left : left + half] = tile
            boxes[picture].append(some + np.float32([left, top, left, top]))
            labels[picture].append(names)
        # Channels stay last in memory, which is how the networks want them.
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        return images, _truth([*map(np.concatenate, boxes)], [*map(np.concatenate, labels)])


def _truth(boxes: list[NDArray[np.float32]], labels: list[NDArray[np.int64]]) -> Truth:
    most = max(1, *map(len, boxes))
    truth = Truth(
        torch.zeros(len(boxes), most, 4),
        torch.zeros(len(boxes), most, dtype=torch.int64),
        torch.zeros(len(boxes), most, dtype=torch.bool),
    )
    for row, (some, names) in enumerate(zip(boxes, labels, strict=True)):
        truth.boxes[row, : len(some)] = torch.from_numpy(some)
        truth.labels[row, : len(some)] = torch.from_numpy(names)
        truth.real[row, : len(some)] = True
    return truth
