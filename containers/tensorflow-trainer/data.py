"""The pictures and boxes that the trainer contract hands over, as arrays.

A picture is shown with its EXIF orientation, shrunk so that its longer side is the network's, at
the upper left of a square; the rest of the square is grey.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

GREY = 114


class InputError(Exception):
    """What was given cannot be trained on; the message is one sentence for a person."""


@dataclass(frozen=True)
class Sample:
    """One picture: its id in the COCO file, its file, its size as shown, and what is on it.

    boxes   float32 (n, 4): x1, y1, x2, y2 in pixels of the picture; x2 and y2 exclusive
    labels  int32 (n): from 0, in the order of labels.txt
    """

    id: int
    file: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray


def read_json(path: Path) -> dict:
    """A JSON object; InputError where the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read ({error}).") from None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} does not hold an object.")
    return value


def read_labels(folder: Path) -> list[str]:
    """The labels, in the order of their category ids 1..n."""
    try:
        names = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"labels.txt cannot be read ({error}).") from None
    if not names or not all(names):
        raise InputError("labels.txt has no labels, or an empty line.")
    return names


def read_samples(folder: Path, name: str, labels: int) -> list[Sample]:
    """The pictures of `train.json` or `validation.json`, in the file's order."""
    coco = read_json(folder / name)
    found: dict[int, list[tuple[list[float], int]]] = {}
    try:
        for one in coco["annotations"]:
            x, y, width, height = map(float, one["bbox"])
            label = int(one["category_id"]) - 1
            if not 0 <= label < labels:
                raise InputError(f"{name}: category {label + 1} is not in labels.txt.")
            if width > 0 and height > 0 and not one.get("iscrowd"):
                box = [x, y, x + width, y + height]
                found.setdefault(int(one["image_id"]), []).append((box, label))
        return [
            Sample(
                id=int(one["id"]),
                file=folder / "images" / one["file_name"],
                width=int(one["width"]),
                height=int(one["height"]),
                boxes=np.array([b for b, _ in found.get(one["id"], ())], "f4").reshape(-1, 4),
                labels=np.array([c for _, c in found.get(one["id"], ())], "i4"),
            )
            for one in coco["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name} is not COCO's instances ({error!r}).") from None


def inner(sample: Sample, side: int) -> tuple[int, int]:
    """The width and height that a picture is resized to in the network's square; rounded down."""
    scale = side / max(sample.width, sample.height)
    return max(1, int(sample.width * scale)), max(1, int(sample.height * scale))


def scale_of(sample: Sample, side: int) -> np.ndarray:
    """float32 (4,): what a box of the picture is multiplied with to be one in the square."""
    width, height = inner(sample, side)
    return np.array([width / sample.width, height / sample.height] * 2, "f4")


def shown(sample: Sample, side: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (side, side, 3) RGB, and the boxes in its pixels; InputError for what is no picture."""
    try:
        with Image.open(sample.file) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{sample.file.name} cannot be read as a picture ({error}).") from None
    if upright.size != (sample.width, sample.height):
        listed = f"{sample.width} x {sample.height}"
        raise InputError(f"{sample.file.name} is {upright.size}, and is listed as {listed}.")
    size = inner(sample, side)
    frame = np.full((side, side, 3), GREY, np.uint8)
    frame[: size[1], : size[0]] = np.asarray(upright.resize(size, Image.Resampling.BILINEAR))
    return frame, sample.boxes * scale_of(sample, side)


def augmented(
    frame: np.ndarray, boxes: np.ndarray, width: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrored in half of the cases, lighter or darker; `width` of the picture in the frame."""
    if random.random() < 0.5:
        frame, boxes = frame.copy(), boxes.copy()
        frame[:, :width] = frame[:, :width][:, ::-1]
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    gain = random.uniform(0.8, 1.2)
    return np.clip(frame * gain, 0, 255).astype(np.uint8), boxes
