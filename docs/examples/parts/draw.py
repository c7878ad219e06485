"""Draw the picture of the README: what each detector sees in a part of a picture, and the quorum.

Solid boxes are right, dashed ones are not: the truth has no part of that label there (IoU 0.5).
The part is chosen by what the picture is to show: the quorum is right about every part in it, and
each detector is wrong about something.

    quorate run docs/examples/parts/spec.yaml --out out/demo
    python docs/examples/parts/draw.py out/demo docs/images/demo.jpg
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quorate import DetectionEnsemble, Detections, read
from quorate.drawing import draw_boxes
from quorate.steps import Work
from quorate.steps.results import Results

SIDE = 300
STEP = 20
SHOWN = 0.25
"""The least score that is drawn, of detectors and of the quorum: that of what is published."""
TITLE, GAP, TIMES = 34, 16, 1.56
PAPER, INK, OURS = "#ffffff", "#16201f", "#00684f"


class Panel(NamedTuple):
    """What one of them sees in one picture: boxes by falling score, and which are right."""

    xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    missed: NDArray[np.bool_]


def judged(found: Detections, truth: NDArray[np.float64], labels: NDArray[np.int64]) -> Panel:
    """The boxes of a picture, each part of the truth taken by the best box of its label."""
    found = found.take(np.argsort(-found.score, kind="stable"))
    right, free = np.zeros(len(found), bool), np.ones(len(truth), bool)
    for row, (box, label) in enumerate(zip(found.xyxy, found.category_id, strict=True)):
        shared = np.minimum(truth[:, 2:], box[2:]) - np.maximum(truth[:, :2], box[:2])
        shared = shared.clip(0).prod(1)
        areas = (truth[:, 2:] - truth[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
        fits = (shared / (areas - shared) >= 0.5) & (labels == label) & free
        if fits.any():
            right[row] = True
            free[np.flatnonzero(fits)[0]] = False
    return Panel(found.xyxy, found.category_id, found.score, right, free)


def inside(boxes: NDArray[np.floating], left: int, top: int) -> NDArray[np.bool_]:
    """Which boxes have their centre in the window."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - [left, top]
    return ((centre > 0) & (centre < SIDE)).all(1)


def whole(boxes: NDArray[np.floating], left: int, top: int) -> bool:
    """Whether no box is cut by the window's edge."""
    low, high = boxes[:, :2] - [left, top], boxes[:, 2:] - [left, top]
    away = (high <= 0).any(1) | (low >= SIDE).any(1)
    return bool((away | ((low >= 2) & (high <= SIDE - 2)).all(1)).all())


def windows(
    panels: list[Panel], truth: NDArray[np.float64], size: tuple[int, int]
) -> Iterator[tuple[float, int, int]]:
    """How well each window of a picture shows what is to be shown, and where it is."""
    for top in range(0, size[1] - SIDE + 1, STEP):
        for left in range(0, size[0] - SIDE + 1, STEP):
            here = inside(truth, left, top)
            counts = [
                int((~p.right & inside(p.xyxy, left, top)).sum() + (p.missed & here).sum())
                for p in panels
            ]
            *theirs, ours = counts
            cut = not whole(truth, left, top) or not whole(panels[-1].xyxy, left, top)
            if ours or cut or min(theirs) == 0 or here.sum() < 4:
                continue
            # More parts and more that the others get wrong, but not a thicket of boxes.
            yield here.sum() + sum(min(count, 2) for count in theirs) - 0.7 * max(theirs), left, top


def main() -> None:
    """Find the window and write the picture."""
    parser = argparse.ArgumentParser(description="Draw the picture of the README.")
    parser.add_argument("out", type=Path, help="folder of the demo's results")
    parser.add_argument("picture", type=Path, help="the JPEG to write")
    arguments = parser.parse_args()
    here = Path(__file__).parent
    ensemble = DetectionEnsemble.from_yaml(here / "spec.yaml")
    dataset = read(here / "images")
    work = Work(arguments.out / "work")
    results = Results(work, {one.name: one.voters for one in ensemble.detectors})
    seen = Detections.concat([results.detections(shard) for shard in results.shards])
    fused = Detections.concat([results.fused(shard) for shard in results.shards])
    names = [*results.detectors, "quorum"]
    found = {name: seen.of(name) for name in results.detectors} | {"quorum": fused}
    found = {name: boxes.take(boxes.score >= SHOWN) for name, boxes in found.items()}
    truth = dataset.annotations
    assert truth is not None
    best: tuple[float, int, int, int] = (0.0, 0, 0, 0)
    judgements: dict[int, list[Panel]] = {}
    sizes = {image.id: (image.width, image.height) for image in dataset.images}
    for image in dataset.images:
        rows = truth.image_id == image.id
        boxes, labels = truth.xyxy[rows], truth.category_id[rows]
        judgements[image.id] = panels = [
            judged(found[name].take(found[name].image_id == image.id), boxes, labels)
            for name in names
        ]
        for worth, left, top in windows(panels, boxes, sizes[image.id]):
            best = max(best, (worth, image.id, left, top))
    _, image_id, left, top = best
    name = next(image.file_name for image in dataset.images if image.id == image_id)
    print(f"{name}, {left} {top}, worth {best[0]:.1f}")
    pixels = Image.open(Path(dataset.root) / name).convert("RGB")
    part = pixels.crop((left, top, left + SIDE, top + SIDE))
    side = round(SIDE * TIMES)
    part = part.resize((side, side), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (2 * side + GAP, 2 * (side + TITLE) + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for number, (title, panel) in enumerate(zip(names, judgements[image_id], strict=True)):
        rows = inside(panel.xyxy, left, top)
        drawn = draw_boxes(
            np.asarray(part),
            ((panel.xyxy[rows] - [left, top] * 2) * TIMES).clip(0, side),
            [
                f"{dataset.labels.name_of(label)} {score:.2f}"
                for label, score in zip(
                    panel.labels[rows].tolist(), panel.scores[rows].tolist(), strict=True
                )
            ],
            [dataset.labels.ids.index(label) for label in panel.labels[rows].tolist()],
            dashed=(~panel.right[rows]).tolist(),
        )
        corner = (number % 2 * (side + GAP), number // 2 * (side + TITLE + GAP))
        draw.text((corner[0] + 4, corner[1] + 6), title, OURS if title == "quorum" else INK, font)
        sheet.paste(Image.fromarray(drawn).resize((side, side)), (corner[0], corner[1] + TITLE))
    sheet.save(arguments.picture, quality=90)


if __name__ == "__main__":
    main()
