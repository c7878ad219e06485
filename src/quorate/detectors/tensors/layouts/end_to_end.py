"""Heads that end in boxes, scores and labels of their own, in several tensors or in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.layouts.layout import (
    LEVELS,
    Arrays,
    BoxFormat,
    Layout,
    Raw,
    Wishes,
    corners,
    of_unit,
    same,
    scored,
    whole,
)
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

IMAGENET_LEVELS = Normalisation(1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), pad=0)
MASK_BEYOND_BOX = 2.0
"""Pixels: torchvision draws masks into boxes that it has widened to whole pixels."""


@dataclass(frozen=True)
class EfficientNms(Layout):
    """`num_dets` (n, 1), `det_boxes` (n, k, 4), `det_scores` (n, k), `det_classes` (n, k).

    TensorRT's EfficientNMS and BatchedNMS, and exports that imitate them; xyxy in the network's
    pixels, labels from 0. Rows after `num_dets` mean nothing.
    """

    name: ClassVar[str] = "efficient_nms"

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """By name only."""
        found = (
            graph.output("num_dets", "num_detections"),
            graph.output("det_boxes", "nmsed_boxes"),
            graph.output("det_scores", "nmsed_scores"),
            graph.output("det_classes", "nmsed_classes"),
        )
        if None in found:
            return None
        return cls(wishes, tuple(tensor.name for tensor in found if tensor))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        count, boxes, score, label = (outputs[name][index] for name in self.outputs)
        n = max(int(np.asarray(count).reshape(-1)[0]), 0)
        xyxy = corners(boxes[:n], self.wishes.box_format or "xyxy")
        return scored(xyxy, score[:n], label[:n], floor)


@dataclass(frozen=True)
class Tensorflow(Layout):
    """`detection_boxes` (n, k, 4), `detection_scores` and `detection_classes` (n, k).

    The TensorFlow Object Detection API: y1, x1, y2, x2 in 0..1 of the picture, labels from 1
    (0 is the background, which may stand first in `names`).
    """

    name: ClassVar[str] = "tensorflow"
    resize: ClassVar[Resize] = "stretch"
    background: ClassVar[bool] = True

    open_resize: Resize | None = "none"  # these graphs resize and normalise inside
    normalisation: Normalisation = LEVELS
    count: str | None = None

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """By name only; some exporters add ":0"."""
        said = {t.name.lower().split(":")[0]: t.name for t in reversed(graph.outputs)}
        words = "detection_boxes", "detection_scores", "detection_classes", "num_detections"
        boxes, scores, labels, count = map(said.get, words)
        if boxes is None or scores is None or labels is None:
            return None
        extra = () if count is None else (count,)
        return cls(wishes, (boxes, scores, labels, *extra), count=count)

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        boxes, score, label = (outputs[name][index] for name in self.outputs[:3])
        n = len(boxes)
        if self.count:
            n = max(int(np.asarray(outputs[self.count]).reshape(-1)[index]), 0)
        xyxy = of_unit(corners(boxes[:n], self.wishes.box_format or "yxyx"), frame)
        raw = scored(xyxy, score[:n], label[:n], floor)
        return raw._replace(label=raw.label - 1)  # 0 is the background


@dataclass(frozen=True)
class SelectedIndices(Layout):
    """Boxes (n, a, 4), scores (n, c, a) and `selected_indices` (m, 3): picture, category, box.

    ONNX's own NonMaxSuppression, whose rows choose among boxes and scores. Its boxes are y1, x1,
    y2, x2 by definition, but models from PyTorch put x first, for which the spec says
    `box_format: xyxy`; `cxcywh` is its `center_point_box`. In the network's pixels.
    """

    name: ClassVar[str] = "selected_indices"

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """By the one output of whole numbers with three columns."""
        chosen = [t for t in graph.outputs if t.whole and same(t, 2, 3) and t.shape]
        flat = [t for t in graph.outputs if not t.whole and len(t.shape) == 3]
        boxes = [t for t in flat if t.shape[-1] == 4]
        scores = [t for t in flat if t.shape[1] == len(wishes.names) and t not in boxes[:1]]
        if not (len(chosen) == 1 and boxes and scores):
            return None
        return cls(wishes, (boxes[0].name, scores[0].name, chosen[0].name))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        boxes, scores, chosen = (outputs[name] for name in self.outputs)
        rows = chosen[chosen[:, 0] == index]
        label, box = rows[:, 1], rows[:, 2]
        box_format: BoxFormat = self.wishes.box_format or "yxyx"
        given = np.asarray(boxes[index][box], dtype=np.float32)
        xyxy = corners(given, box_format)
        if box_format != "cxcywh":
            # The operator lets any two opposite corners stand for a box.
            low, high = np.minimum(xyxy[:, :2], xyxy[:, 2:]), np.maximum(xyxy[:, :2], xyxy[:, 2:])
            xyxy = np.concatenate([low, high], axis=1)
        return scored(xyxy, scores[index, label, box], label, floor)


def _three(graph: Graph, rank: int, *, forced: bool) -> tuple[Tensor, Tensor, Tensor] | None:
    """Boxes of this rank, scores, labels: by name, or forced by shape and type."""
    boxes = graph.output("boxes", "pred_boxes", "bboxes")
    scores = graph.output("scores")
    labels = graph.output("labels", "classes")
    if forced and not (boxes and scores and labels):
        boxes = next((t for t in graph.outputs if len(t.shape) == rank and t.shape[-1] == 4), None)
        rest = [t for t in graph.outputs if len(t.shape) == rank - 1]
        labels = next((t for t in rest if t.whole), None)
        scores = next((t for t in rest if not t.whole), None)
    if boxes and scores and labels and same(boxes, rank, 4) and boxes.shape:
        return boxes, scores, labels
    return None


@dataclass(frozen=True)
class RtDetr(Layout):
    """`labels` (n, k), `boxes` (n, k, 4), `scores` (n, k), asked with `orig_target_sizes`.

    The exports of RT-DETR, D-FINE and DEIM with their last step inside: xyxy, labels from 0.
    They are told the network's own size, so boxes come in the network's pixels.
    """

    name: ClassVar[str] = "rtdetr"
    resize: ClassVar[Resize] = "stretch"
    antialias: ClassVar[bool] = True

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """Names as above, boxes of rank 3."""
        found = _three(graph, 3, forced=forced)
        return None if found is None else cls(wishes, tuple(t.name for t in found))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        boxes, score, label = (outputs[name][index] for name in self.outputs)
        return scored(corners(boxes, self.wishes.box_format or "xyxy"), score, label, floor)


@dataclass(frozen=True)
class Torchvision(Layout):
    """`boxes` (k, 4), `labels` (k,), `scores` (k,) of one picture; `masks` (k, 1, h, w) if any.

    torchvision's detectors, which resize and normalise inside: they take the picture at its own
    size. xyxy in pixels; labels from 1, for 0 is the background (which may stand first
    in `names`, as `__background__` does in torchvision's).
    """

    name: ClassVar[str] = "torchvision"
    resize: ClassVar[Resize] = "stretch"
    background: ClassVar[bool] = True
    batches: ClassVar[bool] = False

    open_resize: Resize | None = "none"  # these graphs resize inside

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """Names as above, boxes of rank 2."""
        found = _three(graph, 2, forced=forced)
        if found is None:
            return None
        planes = graph.output("masks") if wishes.masks else None
        masks = (planes.name,) if planes and same(planes, 4) else ()
        return cls(wishes, (*(t.name for t in found), *masks))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        boxes, score, label = (outputs[name] for name in self.outputs[:3])
        grids = None
        if len(self.outputs) > 3:
            planes = np.asarray(outputs[self.outputs[3]][:, 0], dtype=np.float32)
            grids = Grids(planes, np.arange(len(planes)), 0.5, MASK_BEYOND_BOX)
        raw = scored(boxes, score, label, floor, grids)
        return raw._replace(label=raw.label - 1)  # 0 is the background


@dataclass(frozen=True)
class MmDeploy(Layout):
    """`dets` (n, k, 5): xyxy and score, `labels` (n, k) from 0. Exports of MMDeploy.

    Normalised as MMDetection usually does: ImageNet's mean and deviation in grey levels.
    """

    name: ClassVar[str] = "mmdeploy"
    resize: ClassVar[Resize] = "corner"

    normalisation: Normalisation = IMAGENET_LEVELS

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """By name, and five columns."""
        dets, labels = graph.output("dets"), graph.output("labels")
        if dets is None or labels is None or not same(dets, 3, 5):
            return None
        return cls(wishes, (dets.name, labels.name))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        rows, label = (outputs[name][index] for name in self.outputs)
        return scored(rows[:, :4], rows[:, 4], label, floor)


@dataclass(frozen=True)
class Yolov7EndToEnd(Layout):
    """(m, 7): picture, x1, y1, x2, y2, label, score. YOLOv7's `--end2end` for onnxruntime."""

    name: ClassVar[str] = "yolov7_end2end"

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """One output of seven columns."""
        one = len(graph.outputs) == 1 and graph.outputs[0]
        fits = one and len(one.shape) == 2 and one.shape[-1] == 7
        return cls(wishes, (one.name,)) if one and fits else None

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        rows = np.asarray(outputs[self.outputs[0]])
        rows = rows[whole(rows[:, 0]) == index]
        return scored(rows[:, 1:5], rows[:, 6], rows[:, 5], floor)
