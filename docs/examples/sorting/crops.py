"""Parts cut out of pictures, one part a picture, for networks that say what it is.

    python crops.py      # images/: the parts of the held-out pictures of ../parts

A cut is a square around a part, a quarter longer than the longer side of its box; beyond the edge
of the picture it repeats the outermost pixels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PARTS = Path(__file__).parents[1] / "parts"
HERE = Path(__file__).parent
AROUND = 1.25
SHORTEST = 20
"""Pixels of the longer side of a box below which nobody could say what it is."""
LONGEST = 96
OF_EACH = 40
"""How many pictures of each label are kept."""


def cut(
    pixels: NDArray[np.uint8], box: NDArray[np.float32], around: float = AROUND
) -> NDArray[np.uint8]:
    """The square around a box x1, y1, x2, y2, uint8 (side, side, 3)."""
    x1, y1, x2, y2 = box.tolist()
    side = max(round(around * max(x2 - x1, y2 - y1)), 2)
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    rows = np.arange(top, top + side).clip(0, pixels.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, pixels.shape[1] - 1)
    return pixels[rows][:, columns]


def main() -> None:
    """Write `images/LABEL/NUMBER.jpg`, the same number of each label."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "images")
    out = parser.parse_args().out
    truth = json.loads((PARTS / "images/annotations/instances_val.json").read_text())
    names = {one["id"]: one["file_name"] for one in truth["images"]}
    labels = {one["id"]: one["name"] for one in truth["categories"]}
    written = dict.fromkeys(labels.values(), 0)
    pictures: dict[int, NDArray[np.uint8]] = {}
    for one in truth["annotations"]:
        x, y, w, h = one["bbox"]
        label = labels[one["category_id"]]
        if max(w, h) < SHORTEST or written[label] == OF_EACH:
            continue
        number = one["image_id"]
        if number not in pictures:
            pictures[number] = np.asarray(Image.open(PARTS / "images" / names[number]))
        image = Image.fromarray(cut(pictures[number], np.float32([x, y, x + w, y + h])))
        if image.width > LONGEST:
            image = image.resize((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        path = out / label / f"{written[label]:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=85)
        written[label] += 1


if __name__ == "__main__":
    main()
