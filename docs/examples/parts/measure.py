"""Measure each detector and their ensemble on a COCO data set, with peers' tools only.

Independent of Quorate on purpose: the numbers in this example's page come from onnxruntime,
ensemble-boxes and pycocotools.  `--tune` chooses the fusion's parameters on freshly rendered
validation pictures (seeds 800000 and up); the held-out pictures are only ever measured.

    python measure.py
    python measure.py --tune

Needs onnxruntime, ensemble-boxes, pycocotools, numpy and pillow.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from ensemble_boxes import nms, weighted_boxes_fusion
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from render import coco, render

HERE = Path(__file__).parent
NAMES = ("yolo", "detr", "frcnn")
YOLO_SIDE, DETR_SIDE = 576, 512
CHOSEN = {"yolo": 0.4, "detr": 0.75, "frcnn": 0.35, "wbf": 0.3, "consensus": 0.35}
"""The score at which each has the fewest false alarms and misses, as `--tune` found it."""
WEIGHTS = (2, 1, 2)
"""What `yolo`, `detr` and `frcnn` weigh in WBF, as `--tune` found it."""
WBF_IOU = 0.7
CONSENSUS_IOU, VOTING_SCORE = 0.6, 0.2
FLOOR = 0.05
"""Scores below this are left out, for detectors and for the ensemble."""


@dataclass(frozen=True)
class Found:
    """Boxes ``[n, 4]`` (xyxy, pixels), scores ``[n]`` and category ids ``[n]`` (1..4)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def above(self, score: float) -> Found:
        """Return those that score at least `score`."""
        keep = self.scores >= score
        return Found(self.boxes[keep], self.scores[keep], self.labels[keep])


def session(name: str, models: Path) -> onnxruntime.InferenceSession:
    """Open a detector."""
    return onnxruntime.InferenceSession(models / f"{name}.onnx", providers=["CPUExecutionProvider"])


def run_yolo(net: onnxruntime.InferenceSession, image: Image.Image) -> Found:
    """Letterbox to 576 (grey 114, centred), infer, undo, NMS at 0.6 within a category."""
    scale = YOLO_SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    left, top = (YOLO_SIDE - size[0]) // 2, (YOLO_SIDE - size[1]) // 2
    canvas = Image.new("RGB", (YOLO_SIDE, YOLO_SIDE), (114, 114, 114))
    canvas.paste(image.resize(size, Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(canvas, np.float32).transpose(2, 0, 1)[None] / 255
    rows = net.run(None, {"images": pixels})[0][0].T
    half = rows[:, 2:4] / 2
    boxes = np.hstack([rows[:, :2] - half, rows[:, :2] + half])
    boxes = (boxes - [left, top, left, top]) / scale
    labels, scores = rows[:, 4:].argmax(1) + 1, rows[:, 4:].max(1)
    found = _inside(Found(boxes, scores, labels).above(FLOOR), image.size)
    return _fused([found], image.size, lambda b, s, n: nms(b, s, n, iou_thr=0.6))


def run_detr(net: onnxruntime.InferenceSession, image: Image.Image) -> Found:
    """Stretch to 512 by 512, normalise as ImageNet, infer; no NMS."""
    pixels = image.resize((DETR_SIDE, DETR_SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(pixels, np.float32) / 255
    pixels = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    logits, boxes = net.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None]})
    odds = np.exp(logits[0] - logits[0].max(1, keepdims=True))
    odds = (odds / odds.sum(1, keepdims=True))[:, :-1]
    half = boxes[0][:, 2:] / 2
    boxes = np.hstack([boxes[0][:, :2] - half, boxes[0][:, :2] + half]) * (image.size * 2)
    return Found(boxes, odds.max(1), odds.argmax(1) + 1).above(FLOOR)


def run_frcnn(net: onnxruntime.InferenceSession, image: Image.Image) -> Found:
    """Give the picture as it is, RGB in 0..1."""
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
    boxes, labels, scores = net.run(None, {"image": pixels})
    return Found(boxes, scores, labels).above(FLOOR)


RUN = {"yolo": run_yolo, "detr": run_detr, "frcnn": run_frcnn}


def _inside(found: Found, size: tuple[int, int]) -> Found:
    """Cut boxes at the picture's edges, and drop what has no area left."""
    boxes = np.clip(found.boxes, 0, np.array(size * 2))
    keep = (boxes[:, 2:] - boxes[:, :2] > 0).all(1)
    return Found(boxes[keep], found.scores[keep], found.labels[keep])


def _fused(found: Iterable[Found], size: tuple[int, int], method: object) -> Found:
    """Apply a function of ensemble-boxes, which wants boxes in 0..1."""
    found, extent = list(found), np.array(size * 2, np.float64)
    boxes, scores, labels = method(
        [(np.clip(f.boxes / extent, 0, 1)).tolist() for f in found],
        [f.scores.tolist() for f in found],
        [f.labels.tolist() for f in found],
    )
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4) * extent
    return Found(boxes, np.asarray(scores), np.asarray(labels, np.int64))


def wbf(
    found: list[Found], size: tuple[int, int], iou: float, weights: Sequence[int] = WEIGHTS
) -> Found:
    """Fuse with Weighted Boxes Fusion."""
    return _fused(
        found,
        size,
        lambda b, s, n: weighted_boxes_fusion(b, s, n, weights=list(weights), iou_thr=iou),
    )


def consensus(found: list[Found], size: tuple[int, int], iou: float, score: float) -> Found:
    """Keep what at least two detectors saw; the box and score are those of WBF.

    Only boxes that score at least `score` vote.
    """
    voters = [f.above(score) for f in found]
    fused = wbf(voters, size, iou)
    votes = np.zeros(len(fused.boxes), int)
    for voter in voters:
        same = voter.labels[None] == fused.labels[:, None]
        votes += ((_iou(fused.boxes, voter.boxes) > iou) & same).any(1)
    keep = votes >= 2
    return Found(fused.boxes[keep], fused.scores[keep], fused.labels[keep])


def _iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def scored(truth: dict[str, object], found: list[Found]) -> tuple[float, float, float]:
    """Return AP, AP at IoU 0.50 and AP of small parts (COCO), in 0..1."""
    results = [
        {
            "image_id": image["id"],
            "category_id": int(label),
            "score": float(score),
            "bbox": [float(b) for b in (x1, y1, x2 - x1, y2 - y1)],
        }
        for image, one in zip(truth["images"], found, strict=True)
        for (x1, y1, x2, y2), score, label in zip(one.boxes, one.scores, one.labels, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = truth
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], evaluation.stats[1], evaluation.stats[3]


def errors(truth: dict[str, object], found: list[Found], score: float) -> tuple[int, int]:
    """Return false alarms and misses at IoU 0.5 among boxes that score at least `score`."""
    alarms = misses = 0
    for image, one in zip(truth["images"], found, strict=True):
        notes = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        real = np.array([a["bbox"] for a in notes], float).reshape(-1, 4)
        real[:, 2:] += real[:, :2]
        names = np.array([a["category_id"] for a in notes])
        one = one.above(score)
        match = (_iou(one.boxes, real) >= 0.5) & (one.labels[:, None] == names[None])
        free = np.ones(len(real), bool)
        for row in np.argsort(-one.scores, kind="stable"):
            hits = np.flatnonzero(match[row] & free)
            free[hits[:1]] = False
            alarms += not len(hits)
        misses += int(free.sum())
    return alarms, misses


def detections(models: Path, images: list[Image.Image]) -> dict[str, list[Found]]:
    """Return what each detector finds in each picture."""
    return {
        name: [_inside(RUN[name](net, image), image.size) for image in images]
        for name in NAMES
        for net in [session(name, models)]
    }


def best_score(truth: dict[str, object], found: list[Found]) -> float:
    """Return the score threshold that costs the fewest false alarms and misses together."""
    return float(min(np.arange(0.1, 0.8, 0.05), key=lambda s: sum(errors(truth, found, s))))


def tune(models: Path, count: int) -> None:
    """Print each method's AP on validation pictures over its parameters, and score thresholds."""
    pictures = [(str(seed), render(seed)) for seed in range(800_000, 800_000 + count)]
    truth = coco(pictures)
    images = [Image.open(io.BytesIO(picture.jpeg)) for _, picture in pictures]
    found = detections(models, images)
    for name, one in found.items():
        print(name, f"AP {scored(truth, one)[0]:.3f}  score {best_score(truth, one):.2f}")
    together = list(zip(*found.values(), strict=True))
    for weights, iou in itertools.product(
        ((1, 1, 1), (2, 1, 2), (3, 1, 3), (2, 1, 3)), (0.5, 0.55, 0.6, 0.65, 0.7)
    ):
        fused = [wbf(list(f), i.size, iou, weights) for f, i in zip(together, images, strict=True)]
        print(
            f"wbf weights {weights} iou {iou}: AP {scored(truth, fused)[0]:.3f}  score "
            f"{best_score(truth, fused):.2f}"
        )
    for iou, score in itertools.product((0.4, 0.5, 0.6), (0.05, 0.1, 0.2, 0.3)):
        fused = [
            consensus(list(f), i.size, iou, score) for f, i in zip(together, images, strict=True)
        ]
        print(
            f"consensus iou {iou} score {score}: AP {scored(truth, fused)[0]:.3f}  "
            f"errors {errors(truth, fused, 0.0)}  score {best_score(truth, fused):.2f}"
        )


def main() -> None:
    """Print the table of the page, or tune."""
    parser = argparse.ArgumentParser(description="Measure the detectors and their ensemble.")
    parser.add_argument("--models", type=Path, default=HERE / "models")
    parser.add_argument("--images", type=Path, default=HERE / "images")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--count", type=int, default=80, help="validation pictures for --tune")
    arguments = parser.parse_args()
    if arguments.tune:
        tune(arguments.models, arguments.count)
        return
    truth = json.loads((arguments.images / "annotations" / "instances_val.json").read_text())
    images = [Image.open(arguments.images / image["file_name"]) for image in truth["images"]]
    found = detections(arguments.models, images)
    together = list(zip(*found.values(), strict=True))
    found["wbf"] = [wbf(list(f), i.size, WBF_IOU) for f, i in zip(together, images, strict=True)]
    found["consensus"] = [
        consensus(list(f), i.size, CONSENSUS_IOU, VOTING_SCORE)
        for f, i in zip(together, images, strict=True)
    ]
    print("| | AP | AP50 | AP small | at score | false alarms | misses |")
    print("|---|---|---|---|---|---|---|")
    for name, one in found.items():
        averages = " | ".join(f"{value:.3f}" for value in scored(truth, one))
        alarms, misses = errors(truth, one, CHOSEN[name])
        print(f"| {name} | {averages} | {CHOSEN[name]:.2f} | {alarms} | {misses} |")


if __name__ == "__main__":
    main()
