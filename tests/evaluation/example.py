"""A made-up run with textured pictures, to look at its report and to test it.

python -m tests.evaluation.example report.html [--bare | --degraded] [--pictures 24]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.fusion import fuse
from quorate.labels import Labels
from quorate.report import Report, write_report
from quorate.spec.fusion import Consensus

LABELS = Labels.from_names(["bolt", "nut", "washer", "screw"])
DETECTORS = ("yolo", "retinanet", "detr-small")
SKILL = {"yolo": (0.86, 0.05, 0.5), "retinanet": (0.78, 0.035, 1.2), "detr-small": (0.7, 0.07, 0.9)}
SPEC = """kind: DetectionEnsemble
name: parts
data: pictures/
detectors:
  - {name: yolo, kind: onnx, weights: yolo.onnx}
  - {name: retinanet, kind: onnx, weights: retinanet.onnx}
  - {name: detr-small, kind: onnx, weights: detr.onnx}
fusion: {method: consensus, iou: 0.5}   # <more than half>
"""


def scene(number: int) -> tuple[int, int, list[tuple[int, int, float, float, float]]]:
    """Width, height and (label, size, x, y, angle) of a picture's parts."""
    random = np.random.default_rng([7, number])
    width, height = [(960, 720), (800, 600), (720, 960), (1280, 720)][number % 4 % (3 + number % 2)]
    parts = []
    for _ in range(random.integers(3, 13)):
        size = int(random.uniform(0.05, 0.17) * min(width, height))
        x, y = random.uniform(size, width - size), random.uniform(size, height - size)
        if all(np.hypot(x - p[2], y - p[3]) > (size + p[1]) * 0.75 for p in parts):
            parts.append((int(random.integers(4)), size, x, y, float(random.uniform(0, 180))))
    return width, height, parts


def box(part: tuple[int, int, float, float, float]) -> list[float]:
    label, size, x, y, angle = part
    if label in (1, 2):
        half_w = half_h = size
    else:
        turn = np.deg2rad(angle)
        half_w = size * 1.5 * abs(np.cos(turn)) + size * 0.45 * abs(np.sin(turn))
        half_h = size * 1.5 * abs(np.sin(turn)) + size * 0.45 * abs(np.cos(turn))
    return [x - half_w, y - half_h, x + half_w, y + half_h]


def _clouds(
    random: np.random.Generator, width: int, height: int, grain: int
) -> NDArray[np.float64]:
    small = random.random((max(2, height // grain), max(2, width // grain))) * 255
    big = Pillow.fromarray(small.astype(np.uint8)).resize(
        (width, height), Pillow.Resampling.BICUBIC
    )
    return np.asarray(big, dtype=np.float64) / 255 - 0.5


def picture(number: int) -> NDArray[np.uint8]:
    """A bench with parts on it: wood or steel, shadows, highlights, noise."""
    width, height, parts = scene(number)
    random = np.random.default_rng([8, number])
    wood = number % 3 != 1
    base = np.array([134, 98, 66] if wood else [118, 124, 128], dtype=np.float64)
    stripes = _clouds(random, width, height, 6)
    stripes = (stripes.mean(1, keepdims=True) * 3 + _clouds(random, width, height, 90) * 0.5) * (
        60 if wood else 22
    )
    bench = base + (stripes + _clouds(random, width, height, 160) * 50)[..., None]
    image = Pillow.fromarray(np.clip(bench, 0, 255).astype(np.uint8))
    shadow = Pillow.new("L", (width, height), 0)
    layer = Pillow.new("RGBA", (width, height), (0, 0, 0, 0))
    below, above = ImageDraw.Draw(shadow), ImageDraw.Draw(layer)
    for label, size, x, y, angle in parts:
        tone = int(random.uniform(120, 190))
        metal = (tone, tone - int(random.uniform(0, 25)), tone - int(random.uniform(5, 60)), 255)
        for draw, dx, fill in ((below, size * 0.18, 170), (above, 0.0, metal)):
            centre = (x + dx, y + dx)
            if label in (1, 2):
                sides = 6 if label == 1 else 40
                draw.regular_polygon((*centre, size), sides, rotation=angle, fill=fill)
            else:
                turn = np.deg2rad(angle)
                along = np.array([np.cos(turn), np.sin(turn)])
                across = np.array([-along[1], along[0]])
                for start, end, thick in ((-1.5, -0.9, 0.45), (-0.9, 1.5, 0.22)):
                    corners = [
                        tuple(np.array(centre) + size * (a * along + b * across))
                        for a, b in ((start, thick), (end, thick), (end, -thick), (start, -thick))
                    ]
                    draw.polygon(corners, fill=fill)
        if label in (1, 2):
            hole = size * (0.5 if label == 1 else 0.6)
            above.ellipse((x - hole, y - hole, x + hole, y + hole), fill=(30, 26, 22, 255))
    dark = Pillow.new("RGB", (width, height), (14, 11, 9))
    image = Pillow.composite(dark, image, shadow.filter(ImageFilter.GaussianBlur(7)))
    image.paste(layer, (0, 0), layer)
    image = image.filter(ImageFilter.GaussianBlur(1.0 + 0.8 * (number % 4 == 2)))
    light = (
        np.linspace(1.12, 0.78, width)[None, :, None]
        * np.linspace(1.05, 0.9, height)[:, None, None]
    )
    pixels = np.asarray(image) * light + random.normal(0, 6, (height, width, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def detect(number: int, detector: int) -> list[tuple[list[float], int, float]]:
    """What a detector of its own skill makes of a picture."""
    found, jitter, alarms = SKILL[DETECTORS[detector]]
    random = np.random.default_rng([9, number, detector])
    width, height, parts = scene(number)
    difficulty = 0.55 + 0.9 * float(np.random.default_rng([10, number]).random())
    rows = []
    for part in parts:
        true = np.array(box(part))
        if random.random() < (1 - found) * difficulty * (2 if part[1] < 50 else 1):
            continue
        size = true[2] - true[0]
        label = part[0]
        if random.random() < 0.09 * difficulty:
            label = (label + 3) % 4 if label % 2 else (label + 1) % 4
        noisy = true + random.normal(0, jitter * difficulty, 4) * size
        rows.append((noisy.tolist(), label, float(np.clip(random.beta(7, 2), 0.06, 0.99))))
    for _ in range(random.poisson(alarms * difficulty)):
        w, h = random.uniform(30, 160, 2)
        x, y = random.uniform(0, width - w), random.uniform(0, height - h)
        score = float(random.beta(2.2, 3.5))
        rows.append(([x, y, x + w, y + h], int(random.integers(4)), max(score, 0.06)))
    return rows


def data(pictures: int) -> tuple[Dataset, Detections]:
    images = tuple(
        Image(id=i + 1, file_name=f"bench {i % 3}/part_{i + 1:04d}.jpg", width=w, height=h)
        for i in range(pictures)
        for w, h, _ in [scene(i)]
    )
    truth = [(i + 1, p[0] + 1, box(p)) for i in range(pictures) for p in scene(i)[2]]
    found = [(i + 1, d, *row) for i in range(pictures) for d in range(3) for row in detect(i, d)]
    dataset = Dataset(
        root="pictures",
        images=images,
        labels=LABELS,
        annotations=Annotations.build(
            image_id=[t[0] for t in truth],
            category_id=[t[1] for t in truth],
            xyxy=[t[2] for t in truth],
        ),
    )
    return dataset, Detections.build(
        image_id=[f[0] for f in found],
        category_id=[f[3] + 1 for f in found],
        xyxy=[f[2] for f in found],
        score=[f[4] for f in found],
        detector=[f[1] for f in found],
        detectors=DETECTORS,
    )


def report(
    pictures: int = 60,
    *,
    on_the_wall: int = 24,
    bare: bool = False,
    degraded: bool = False,
    read: Callable[[int], NDArray[np.uint8]] | None = None,
) -> Report:
    """The report of the made-up run; `bare` is without truth, `degraded` with all troubles."""
    from dataclasses import replace

    dataset, detections = data(pictures)
    names = DETECTORS
    if degraded:
        names = DETECTORS[:2]
        detections = detections.take(detections.detector < 2)
    if bare:
        dataset = replace(dataset, annotations=None)
    return Report.of(
        "parts",
        dataset,
        detections,
        fuse(detections, Consensus(iou=0.5), detectors=names),
        detectors=names,
        spec=SPEC,
        fusion="A box stands when more than half of the detectors vote for it.",
        skipped=[("bench 0/broken.jpg", "the file ends early")] if degraded else [],
        failed={"detr-small": "ran out of memory on the first picture"} if degraded else {},
        notes=["yolo: knows nothing of 'screw', so it has no vote there."] if degraded else [],
        read=read or (lambda image_id: picture(image_id - 1)),
        pictures=on_the_wall,
    )


def rendered(report: Report) -> str:
    """The page of a report as text, its pictures inside."""
    with TemporaryDirectory() as folder:
        assert write_report(Path(folder) / "report.html", report) == ["report.html"]
        return (Path(folder) / "report.html").read_text("utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--degraded", action="store_true")
    parser.add_argument("--pictures", type=int, default=24)
    asked = parser.parse_args()
    write_report(
        asked.path,
        report(240, on_the_wall=asked.pictures, bare=asked.bare, degraded=asked.degraded),
    )


if __name__ == "__main__":
    main()
