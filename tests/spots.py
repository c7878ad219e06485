"""A detector that is small yet real: it finds plain red and green rectangles by their colour.

Tests of the steps use it where weights do not matter. It keeps the whole protocol, so that it
also stands for a plug-in.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from quorate.detectors import Boxes
from quorate.spec import Detector

WORDS = ("red", "green")


class Spots(Detector):
    """Finds one rectangle of each colour; `blind`, `shift` and the rest make voters differ.

    Where the environment has SPOTS_HOLD_AT, it stops for ever before that many pictures are seen.
    """

    kind: Literal["spots"] = "spots"
    blind: str = ""
    shift: float = 0.0
    score: float = 0.9
    seconds: float = 0.0
    fails_at_width: int = 0
    nan: bool = False

    def load(self) -> SpotsPredictor:
        return SpotsPredictor(self)


class SpotsPredictor:
    labels = WORDS

    def __init__(self, spots: Spots) -> None:
        self.spots = spots
        # Outside the spec, so that a run with it and a run without are the same run.
        self.holds_at = int(os.environ.get("SPOTS_HOLD_AT", "-1"))
        self.seen = 0

    def predict(self, pictures):
        return [self._one(picture) for picture in pictures]

    def _one(self, picture):
        spots = self.spots
        if 0 <= self.holds_at <= self.seen:
            threading.Event().wait()  # until the process is killed
        self.seen += 1
        time.sleep(spots.seconds)
        if spots.fails_at_width == picture.shape[1]:
            raise RuntimeError("out of sorts")
        found = []
        for label, word in enumerate(WORDS):
            others = [c for c in range(3) if c != label]
            mask = (picture[..., label] > 150) & (picture[..., others] < 100).all(axis=2)
            ys, xs = np.nonzero(mask)
            if len(xs) and word != spots.blind:
                box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) + spots.shift
                found.append((box, label))
        n = len(found)
        return Boxes(
            xyxy=np.array([b for b, _ in found], dtype=np.float32).reshape(n, 4),
            score=np.full(n, np.nan if spots.nan else spots.score, dtype=np.float32),
            label=np.array([i for _, i in found], dtype=np.int32),
        )


def rectangles(seed: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Where the two rectangles of a picture are: one in each half."""
    generator = np.random.default_rng(seed)
    half = width // 2
    boxes = []
    for side in range(2):
        x1 = side * half + int(generator.integers(0, half // 2))
        y1 = int(generator.integers(0, height // 2))
        x2 = x1 + int(generator.integers(half // 4, half // 2))
        boxes.append((x1, y1, x2, y1 + int(generator.integers(height // 4, height // 2))))
    return boxes


def draw(path: Path, seed: int, *, width: int = 64, height: int = 48) -> None:
    """Write a PNG with one red and one green rectangle on grey."""
    picture = np.full((height, width, 3), 128, dtype=np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(rectangles(seed, width, height)):
        picture[y1:y2, x1:x2] = 0
        picture[y1:y2, x1:x2, label] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def pool(folder: Path, count: int) -> Path:
    """A folder of pictures in two sub-folders."""
    for seed in range(count):
        draw(folder / ("north" if seed % 2 else "south") / f"{seed:04d}.png", seed)
    return folder


if __name__ == "__main__":
    import sys

    from quorate.ensemble import DetectionEnsemble

    data, out = sys.argv[1:]
    DetectionEnsemble(
        name="spots",
        data=data,
        detectors=(
            Spots(name="a", kind="spots"),
            Spots(name="b", kind="spots", shift=1.0, score=0.8),
            Spots(name="c", kind="spots", blind="green", score=0.7),
        ),
    ).run(out=out)
