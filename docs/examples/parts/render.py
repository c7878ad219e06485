"""Render pictures of machine parts on a workbench, with their boxes.

Each picture follows from one integer seed.  A scene is a stack of height fields seen from above:
the bench first, then parts and clutter, each lying on what is already there.  One light gives
highlights and soft shadows; a camera adds blur, noise, vignetting and JPEG.

A box is tight around the *visible* pixels of a part: absolute pixels of the picture, xyxy, right
and bottom edges exclusive.  A part with less than a quarter of itself visible has no box.

    python render.py --out images --first-seed 910000 --count 60

Needs numpy and pillow.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench import (
    BENCHES,
    PART_FINISHES,
    Field,
    Surface,
    bench_surface,
    finish_surface,
)
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from shapes import CLUTTER, LABELS, PARTS, Shape, smoothstep

VISIBLE = 0.25
Owners = NDArray[np.int16]
PART_SIZE = (11.0, 32.0)
"""Smallest and largest usual part (a bolt's shank width), pixels in a picture 640 wide."""
BLURRED = 0.4
"""How often a picture is out of focus; a third as often it is shaken too."""
SIZES = ((640, 480), (640, 480), (480, 360), (560, 420), (512, 384), (480, 640), (600, 338))
OVERSAMPLING = 1.5


@dataclass(frozen=True)
class Box:
    """A labelled part: its name and its visible box, xyxy in pixels, right/bottom exclusive."""

    label: str
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """A rendered picture: a JPEG file's bytes, its size, its boxes and the bench it shows."""

    jpeg: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]
    bench: str


@dataclass
class Canvas:
    """The scene seen from above, one value per (oversampled) pixel.

    `normal` is ``[h, w, 3]``; `owner` ``[h, w]`` is the number of the thing seen, -1 for the bench.
    """

    surface: Surface
    normal: Field
    owner: Owners


def slopes(height: Field) -> Field:
    """Return unit normals ``[h, w, 3]`` (x right, y down, z up to the camera) of a height field."""
    down, right = np.gradient(height)
    normal = np.stack([-right, -down, np.ones_like(height)], axis=-1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def place(
    canvas: Canvas,
    shape: Shape,
    finish: str,
    pose: tuple[float, float, float],
    index: int,
    rng: np.random.Generator,
) -> int:
    """Lay a shape on the canvas and return how many pixels it covers, the hidden ones included.

    Args:
        canvas: The scene, changed in place.
        shape: What to lay down.
        finish: Its material.
        pose: Centre x, centre y (pixels) and angle (radians).
        index: The owner number written where the shape is visible.
        rng: Source of its rust and scratches.
    """
    centre_x, centre_y, angle = pose
    tall, wide = canvas.owner.shape
    reach = shape.reach + 3
    left, top = int(centre_x - reach), int(centre_y - reach)
    y, x = np.mgrid[top : int(centre_y + reach) + 1, left : int(centre_x + reach) + 1]
    x, y = (x - centre_x).astype(np.float32), (y - centre_y).astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    relief, outside = shape.relief(u.astype(np.float32), v.astype(np.float32))
    cover = np.clip(0.5 - outside, 0, 1)
    skin = finish_surface(finish, u, v, rng)
    if shape.paint:
        painted = shape.paint(u, v, skin.colour)
        skin.metal = skin.metal * (np.abs(painted - skin.colour).sum(-1) < 0.05)
        skin.colour = painted
    normal = slopes((relief + skin.height).astype(np.float32))

    # The part may reach over the frame: cut the same window out of it and out of the canvas.
    rows = slice(max(0, -top), max(0, -top, min(y.shape[0], tall - top)))
    columns = slice(max(0, -left), max(0, -left, min(y.shape[1], wide - left)))
    window = (
        slice(top + rows.start, top + rows.stop),
        slice(left + columns.start, left + columns.stop),
    )
    inside, alpha = (rows, columns), cover[rows, columns]
    if not alpha.size:
        return int((cover > 0.5).sum())
    solid = alpha > 0.5
    under = canvas.surface
    if solid.any():
        support = float(np.quantile(under.height[window][solid], 0.8))
        under.height[window] = np.where(solid, relief[inside] + support, under.height[window])
    for target, source in ((under.colour, skin.colour), (canvas.normal, normal)):
        target[window] += alpha[..., None] * (source[inside] - target[window])
    for target, source in ((under.metal, skin.metal), (under.gloss, skin.gloss)):
        target[window] += alpha * (source[inside] - target[window])
    canvas.owner[window] = np.where(solid, index, canvas.owner[window])
    return int((cover > 0.5).sum())


def shadow(height: Field, light: Field, softness: float) -> Field:
    """Return how much of the light is hidden at each pixel, 0..1, by marching towards the light.

    Done at half size: a shadow is soft, and this is the dearest step of a picture.
    """
    small = height[::2, ::2]
    across = float(np.hypot(light[0], light[1]))
    step_x, step_y, rise = light[0] / across, light[1] / across, float(light[2]) / across
    span = float(np.quantile(small, 0.999) - np.quantile(small, 0.2)) / rise / 2
    pad = int(min(span, 60)) + 2
    padded = np.pad(small, pad, mode="edge")
    hidden = np.zeros_like(small)
    tall, wide = small.shape
    for distance in np.arange(1.0, pad, max(1.0, pad / 22)):
        row, column = pad + round(step_y * distance), pad + round(step_x * distance)
        over = padded[row : row + tall, column : column + wide] - small - 2 * distance * rise
        hidden = np.maximum(hidden, np.clip(over / (1.0 + softness * distance) + 0.3, 0, 1))
    return resized(hidden, height.shape)


def resized(field: Field, shape: tuple[int, int]) -> Field:
    """Return a field scaled to `shape` (height, width)."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def crevice(height: Field) -> Field:
    """Return how open the sky is at each pixel, 0.3..1: corners between parts are darker."""
    tall, wide = height.shape
    open_sky = np.ones_like(height)
    for cell in (6, 16):
        coarse = Image.fromarray(height.astype(np.float32)).reduce(cell)
        around = resized(np.asarray(coarse), (tall, wide))
        open_sky -= np.clip((around - height) / (cell * 1.6), 0, 0.4)
    return np.clip(open_sky, 0.3, 1)


def shade(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Return the light that reaches the camera, linear ``[h, w, 3]``."""
    surface = canvas.surface
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(32, 65))
    light = np.float32(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    hidden = shadow(surface.height, light, rng.uniform(0.1, 0.9))
    lit = 1 - rng.uniform(0.7, 0.97) * hidden
    sky = crevice(surface.height)
    albedo = np.clip(surface.colour, 0, 1) ** 2.2
    facing = np.clip(canvas.normal @ light, 0, 1)
    sun, ambient = rng.uniform(0.9, 1.5), rng.uniform(0.10, 0.35)
    diffuse = albedo * (ambient * sky + sun * lit * facing)[..., None]

    # The camera hangs over the middle, so a flat part mirrors another corner of the room at each
    # place: with the view e towards the camera, the mirrored view is 2 (n.e) n - e.
    tall, wide = hidden.shape
    y, x = np.mgrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j].astype(np.float32)
    view = np.stack([-0.38 * x, -0.3 * y, np.ones_like(x)], axis=-1)
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    mirror = 2 * (canvas.normal * view).sum(-1, keepdims=True) * canvas.normal - view
    toward = mirror @ light
    sharp = np.clip(surface.gloss, 0.02, 1)
    spark = np.clip(toward, 0, 1) ** (4 + 90 * sharp**2) * (0.15 + 2.2 * sharp**2)
    lamp = smoothstep(0.35, 0.9, toward)
    window = smoothstep(0.1, 0.35, mirror @ np.roll(light, 1)) * 0.4
    beams = 0.5 + 0.5 * np.sin(9 * mirror[..., 0] + rng.uniform(0, 6)) * np.sin(
        7 * mirror[..., 1] + rng.uniform(0, 6)
    )
    ceiling = np.clip(mirror[..., 2], 0, 1) ** 2 * (0.12 + 0.45 * beams)
    room = 0.08 + ceiling + 1.1 * lamp * lit + window
    polish = albedo * (room * (0.35 + 0.65 * sky))[..., None] * 1.15
    image = diffuse + surface.metal[..., None] * (polish - 0.75 * diffuse)
    gleam = spark * lit * sun * (0.15 + 0.6 * surface.metal)
    image += gleam[..., None] * (0.35 + 0.65 * surface.colour * surface.metal[..., None])
    # The lamp is brighter on its own side of the bench.
    return image * (1 + rng.uniform(0, 0.35) * (x * light[0] + y * light[1]))[..., None]


def camera(light: Field, size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """Return the JPEG that a hand-held camera makes of the linear `light`, of `size` (w, h)."""
    warm = rng.normal(0, 0.07)
    light = light * np.float32([1 + warm, 1 + rng.normal(0, 0.015), 1 - warm])
    grey = light.mean(-1)
    exposure = rng.uniform(0.8, 1.2) * 0.30 / max(float(grey.mean()) * 0.7 + 0.09, 1e-3)
    film = 1 - np.exp(-1.25 * light * exposure)
    wide, tall = size
    image = Image.fromarray((np.clip(film, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
    image = image.resize(
        size, Image.Resampling.BOX if OVERSAMPLING >= 2 else Image.Resampling.HAMMING
    )
    if rng.random() < BLURRED:
        image = _out_of_focus(image, rng)
    if rng.random() < BLURRED / 3:
        image = _shaken(image, rng)
    pixels = np.asarray(image, np.float32)
    y, x = np.mgrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j].astype(np.float32)
    pixels = pixels * (1 - rng.uniform(0.05, 0.35) * (x * x + y * y) / 2)[..., None]
    grain = rng.gamma(2.0, 1.4)
    pixels += rng.normal(0, grain, (tall, wide, 1)) + 0.5 * rng.normal(0, grain, (tall, wide, 3))
    file = io.BytesIO()
    quality = int(rng.integers(48, 88))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _out_of_focus(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur away from a line of focus across the picture, as when the camera is tilted."""
    wide, tall = image.size
    angle, focus = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    y, x = np.mgrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j]
    away = np.abs(x * np.cos(angle) + y * np.sin(angle) - focus)
    strength = rng.uniform(0.8, 2.4)
    for low, radius in ((0.3, 0.45 * strength), (0.75, strength)):
        mask = Image.fromarray((smoothstep(low, low + 0.4, away) * 255).astype(np.uint8))
        image = Image.composite(image.filter(ImageFilter.GaussianBlur(radius)), image, mask)
    return image


def _shaken(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    angle, length = rng.uniform(0, np.pi), rng.uniform(1.5, 5.0)
    steps = np.linspace(-length / 2, length / 2, 5)
    moved = [
        np.roll(pixels, (round(np.sin(angle) * s), round(np.cos(angle) * s)), (0, 1)) for s in steps
    ]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


def render(seed: int, size: tuple[int, int] | None = None) -> Picture:
    """Render the picture of a seed; `size` (width, height) is drawn from the seed by default."""
    rng = np.random.default_rng(seed)
    drawn = SIZES[rng.integers(len(SIZES))]
    wide, tall = size or drawn
    shape = (round(tall * OVERSAMPLING), round(wide * OVERSAMPLING))
    name = str(rng.choice(BENCHES))
    surface = bench_surface(name, shape, rng)
    surface = replace(
        surface,
        **{
            key: np.array(getattr(surface, key), np.float32, order="C")
            for key in ("colour", "height", "metal", "gloss")
        },
    )
    canvas = Canvas(surface, slopes(surface.height), np.full(shape, -1, np.int16))
    labels, areas = _fill(canvas, rng)
    boxes = tuple(_boxes(canvas.owner, labels, areas))
    return Picture(camera(shade(canvas, rng), (wide, tall), rng), wide, tall, boxes, name)


def _fill(canvas: Canvas, rng: np.random.Generator) -> tuple[list[str | None], list[int]]:
    """Lay parts and clutter on the bench; return each one's label (None: clutter) and area."""
    tall, wide = canvas.owner.shape
    unit = max(wide, tall) / 640
    scale = np.exp(rng.uniform(*np.log(PART_SIZE))) * unit
    count = int(rng.integers(4, 9) + rng.integers(0, 9) * min(1.5, 16 * unit / scale))
    lot = rng.choice(PART_FINISHES, 2)
    things: list[str | None] = [str(rng.choice(LABELS)) for _ in range(count)]
    things += [None] * int(rng.integers(2, 8))
    rng.shuffle(things)
    # A heap: some parts gather around one point, so that they lie on one another.
    heap = rng.uniform(0.25, 0.75, 2) * (wide, tall)
    areas = []
    for index, label in enumerate(things):
        size = scale * float(np.clip(np.exp(rng.normal(0, 0.28)), 0.55, 1.9))
        make = PARTS[label] if label else CLUTTER[rng.integers(len(CLUTTER))]
        part = make(size, rng)
        lone = str(rng.choice(PART_FINISHES))
        finish = part.finish or (str(rng.choice(lot)) if rng.random() < 0.7 else lone)
        x, y = rng.uniform(0.02, 0.98, 2) * (wide, tall)
        if rng.random() < 0.4:
            x, y = heap + rng.normal(0, 3.5 * scale, 2)
        pose = (float(x), float(y), float(rng.uniform(0, 2 * np.pi)))
        areas.append(place(canvas, part, finish, pose, index, rng))
    return things, areas


def _boxes(owner: Owners, labels: list[str | None], areas: list[int]) -> Iterator[Box]:
    for index, (label, area) in enumerate(zip(labels, areas, strict=True)):
        if label is None:
            continue
        seen = owner == index
        if seen.sum() < max(VISIBLE * area, 30):
            continue
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        yield Box(label, tuple(round(float(edge) / OVERSAMPLING, 2) for edge in edges))


def coco(pictures: Sequence[tuple[str, Picture]]) -> dict[str, object]:
    """Return a COCO data set of `(file_name, picture)` pairs, in their order."""
    images, annotations = [], []
    for number, (name, picture) in enumerate(pictures, start=1):
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": picture.width,
                "height": picture.height,
                "license": 1,
            }
        )
        for box in picture.boxes:
            x1, y1, x2, y2 = box.xyxy
            w, h = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "iscrowd": 0,
                    "category_id": LABELS.index(box.label) + 1,
                    "bbox": [x1, y1, w, h],
                    "area": round(w * h, 2),
                    "segmentation": [],
                }
            )
    return {
        "info": {"description": "Machine parts on a bench, rendered", "version": "1.0"},
        "licenses": [
            {
                "id": 1,
                "name": "CC0-1.0",
                "url": "https://creativecommons.org/publicdomain/zero/1.0/",
            }
        ],
        "categories": [
            {"id": i, "name": name, "supercategory": "part"}
            for i, name in enumerate(LABELS, start=1)
        ],
        "images": images,
        "annotations": annotations,
    }


def _turned(size: tuple[int, int] | None, seed: int) -> tuple[int, int] | None:
    return size and (size if seed % 6 else size[::-1])


def main() -> None:
    """Write pictures in one folder per bench, and `annotations/instances_SUBSET.json`."""
    parser = argparse.ArgumentParser(description="Render machine parts on a bench.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--first-seed", type=int, default=910_000)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument(
        "--subset", help="its name, and a folder of its own; default: val, without one"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDE", "TALL"),
        help="pixels of every picture, upright in each sixth; default: drawn from its seed",
    )
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    lying = tuple(arguments.size) if arguments.size else None
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(render, seeds, [_turned(lying, seed) for seed in seeds]))
    pictures = []
    for number, picture in enumerate(made):
        name = f"bench-{picture.bench}/{number:04d}.jpg"
        if arguments.subset:
            name = f"{arguments.subset}/{name}"
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.jpeg)
        pictures.append((name, picture))
    pictures.sort(key=lambda pair: pair[0])
    target = arguments.out / "annotations" / f"instances_{arguments.subset or 'val'}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(coco(pictures), indent=1) + "\n")


if __name__ == "__main__":
    main()
