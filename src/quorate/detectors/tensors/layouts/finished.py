"""Heads that end in boxes, scores and labels of their own, in several tensors or in one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quorate.detectors.tensors.layouts.layout import (
    IMAGENET,
    IMAGENET_LEVELS,
    LEVELS,
    Arrays,
    Find,
    Found,
    Frame,
    Layout,
    Look,
    Raw,
    Read,
    UndecidedError,
    Wishes,
    given,
    of_wishes,
    planes_of,
    relative,
    same,
    scored,
    whole,
)
from quorate.detectors.tensors.layouts.pairs import PADDLE
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

MASK_BEYOND_BOX = 2.0
"""Pixels: torchvision draws masks into boxes that it has widened to whole pixels."""
SIZES = ("orig_target_sizes", "target_sizes")

EFFICIENT = (
    ("det_boxes", "nmsed_boxes"),
    ("det_scores", "nmsed_scores"),
    ("det_classes", "nmsed_classes"),
    ("num_dets", "num_detections"),
)
TENSORFLOW = (
    ("detection_boxes",),
    ("detection_scores",),
    ("detection_classes",),
    ("num_detections",),
)
MMYOLO = (("boxes",), ("scores",), ("labels",), ("num_dets",))
YOLO_NAS = (("pred_boxes",), ("pred_scores",), ("pred_classes",), ("num_predictions",))
PLAIN = (("boxes", "pred_boxes", "bboxes"), ("scores",), ("labels", "classes"))
SSD = (("bboxes",), ("scores",), ("labels",))
Words = tuple[tuple[str, ...], ...]


def _three(words: Words, graph: Graph, *, forced: bool) -> list[Tensor]:
    """Boxes, scores, labels and what else is named, by name, or forced by shape and type."""
    said = {plain(t.name): t for t in reversed(graph.outputs)}
    found = [next((said[word] for word in some if word in said), None) for some in words]
    if None in found[:3] and forced:
        boxes = next((t for t in graph.outputs if t.shape and t.shape[-1] == 4), None)
        rest = [t for t in graph.outputs if boxes and len(t.shape) == len(boxes.shape) - 1]
        labels = next((t for t in rest if t.whole), None)
        found[:3] = boxes, next((t for t in rest if not t.whole), None), labels
    return [] if None in found[:3] else [tensor for tensor in found if tensor]


def plain(name: str) -> str:
    """A tensor's name without what exporters put around it: `graph2_pred_boxes`, `boxes:0`."""
    name = name.lower().split(":")[0]
    return name.split("_", 1)[1] if name.startswith("graph") and "_" in name else name


def triple(words: Words, needed: int = 3, rank: int | None = None) -> Find:
    """Boxes, of a rank where one is said, scores and labels, the first `needed` words named so."""

    def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
        found = _three(words, graph, forced=forced)
        if not found or (rank and not same(found[0], rank, 4)):
            return None
        return tuple(t.name for t in found) if forced or len(found) >= needed else None

    return find


def squeezed(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """Boxes (k, 4), labels (k,), scores (k,) of one picture; `masks` (k, 1, h, w) if any."""
    found = triple(PLAIN, rank=2)(layout, graph, wishes, forced)
    return found and (*found, *planes_of(graph, wishes, "masks"))


def by_units(layout: Layout, graph: Graph, look: Look) -> Layout:
    """Boxes in pixels, unless they all lie in 0..1."""
    in_one = relative(given(look()[layout.outputs[0]]))
    return replace(layout, units="relative") if in_one else layout


def by_labels(layout: Layout, graph: Graph, look: Look) -> Layout:
    """As `by_units`; labels from 0, where one is 0."""
    if layout.wishes.labels_from is None and not _has_zero(layout, look):
        raise UndecidedError(
            "labels beside boxes and scores may count from 0, as RT-DETR's do, or from 1, 0 being "
            "the background",
            "say which: `labels_from: 0`, or `labels_from: 1`",
        )
    return by_units(layout, graph, look)


def by_openness(layout: Layout, graph: Graph, look: Look) -> Layout:
    """Torchvision's graphs find as many boxes as there are, in pictures of any size, or masks.

    They never give a label 0, for it is the background.
    """
    boxes = next(t for t in graph.outputs if t.name == layout.outputs[0])
    said = layout.wishes.labels_from is not None or len(layout.outputs) > 3
    if said or None in boxes.shape[:1] or any(None in t.shape[-2:] for t in graph.inputs):
        return layout
    if _has_zero(layout, look):
        return of_wishes(replace(RTDETR, batches=False), layout.outputs, layout.wishes)
    raise UndecidedError(
        "boxes, labels and scores of one picture may be torchvision's, whose labels count from 1, "
        "or those of RT-DETR or DEIM, whose labels count from 0",
        "say which: `layout: torchvision`, or `layout: rtdetr`",
    )


def by_zoo(layout: Layout, graph: Graph, look: Look) -> Layout:
    """SSD's boxes lie in 0..1; in pixels, they are another's under the same names."""
    boxes = given(look()[layout.outputs[0]])
    if not len(boxes) or relative(boxes):
        return layout
    other = of_wishes(RTDETR, layout.outputs, layout.wishes)
    return by_labels(other, graph, look)


def _has_zero(layout: Layout, look: Look) -> bool:
    """Whether a box that scores has label 0."""
    _, score, label = (np.asarray(look()[name]).reshape(-1) for name in layout.outputs[:3])
    return bool((label[: len(score)][score > 0] == 0).any())


def by_order(layout: Layout, graph: Graph, look: Look) -> Layout:
    """TensorFlow's models keep to the operator's definition; PyTorch's do not."""
    if layout.wishes.box_format is None and not any(":" in name for name in layout.outputs):
        raise UndecidedError(
            "boxes that ONNX's NonMaxSuppression chooses among are y first by its definition, but "
            "models from PyTorch have x first, or centre and size",
            "say which: `box_format: yxyx`, `box_format: xyxy` or `box_format: cxcywh`",
        )
    return layout


def read_triple(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """With a count of the rows that mean something, or without."""
    boxes, score, label = (outputs[name] for name in layout.outputs[:3])
    if boxes.ndim == 2:  # of one picture
        boxes, score, label = boxes[None], score.reshape(1, -1), label.reshape(1, -1)
    n = boxes.shape[1]
    if len(layout.outputs) > 3:
        n = max(int(np.asarray(outputs[layout.outputs[3]]).reshape(-1)[index]), 0)
    return scored(boxes[index, :n], score[index, :n], label[index, :n], floor)


def read_masked(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Of torchvision: one picture, maybe with masks."""
    boxes, score, label = (outputs[name] for name in layout.outputs[:3])
    grids = None
    if len(layout.outputs) > 3:
        planes = np.asarray(outputs[layout.outputs[3]][:, 0], dtype=np.float32)
        grids = Grids(planes, np.arange(len(planes)), 0.5, MASK_BEYOND_BOX)
    return scored(boxes, score, label, floor, grids)


def dets(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """`dets` (n, k, 5) and `labels` (n, k)."""
    rows, labels = graph.output("dets"), graph.output("labels")
    if not (rows and labels) or len(labels.shape) == 3 or not same(rows, 3, 5):
        return None
    return rows.name, labels.name


def read_dets(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Boxes with their scores in one tensor, labels in another."""
    rows, label = (outputs[name][index] for name in layout.outputs)
    return scored(rows[:, :4], rows[:, 4], label, floor)


def indices(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """Boxes (n, a, 4), scores (n, c, a), and whole numbers (m, 3) or (1, m, 3)."""
    chosen = [t for t in graph.outputs if t.whole and t.shape and t.shape[-1] == 3]
    flat = [t for t in graph.outputs if not t.whole and len(t.shape) == 3]
    boxes = [t for t in flat if t.shape[-1] == 4]
    scores = [t for t in flat if t.shape[1] == len(wishes.names) and t not in boxes[:1]]
    if not (len(chosen) == 1 and boxes and scores):
        return None
    return boxes[0].name, scores[0].name, chosen[0].name


def read_indices(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Rows of picture, category and box choose among boxes and scores."""
    boxes, scores, chosen = (outputs[name] for name in layout.outputs)
    rows = chosen.reshape(-1, 3)
    rows = rows[rows[:, 0] == index]
    label, box = rows[:, 1], rows[:, 2]
    given = np.asarray(boxes[index][box], dtype=np.float32)
    if layout.form != "cxcywh":
        # The operator lets any two opposite corners stand for a box.
        low, high = np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])
        given = np.concatenate([low, high], axis=1)
    return scored(given, scores[index, label, box], label, floor)


def listed(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(m, 7), the rows of all pictures."""
    one = len(graph.outputs) == 1 and graph.outputs[0]
    return (one.name,) if one and len(one.shape) == 2 and one.shape[-1] == 7 else None


def flat(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(m, 7) of YOLO-NAS: named so, or of a network that takes grey levels in whole numbers."""
    found = listed(layout, graph, wishes, forced)
    told = forced or any(t.whole for t in graph.inputs) or "flat" in graph.outputs[0].name.lower()
    return found if found and told else None


def read_listed(label: int, score: int) -> Read:
    """Rows of picture, four numbers of a box, and these two columns."""

    def read(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
        rows = np.asarray(outputs[layout.outputs[0]]).reshape(-1, 7)
        rows = rows[whole(rows[:, 0]) == index]
        return scored(rows[:, 1:5], rows[:, score], rows[:, label], floor)

    return read


def counted(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(m, 6), the rows of all pictures, and (n,), how many each has."""
    rows = next((t for t in graph.outputs if same(t, 2, 6) and not t.whole), None)
    count = next((t for t in graph.outputs if t.whole and len(t.shape) <= 1), None)
    if rows is None:
        return None
    return (rows.name, count.name) if count else (rows.name,)


def read_counted(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Rows of label, score and box."""
    rows = outputs[layout.outputs[0]]
    if len(layout.outputs) > 1:
        ends = np.cumsum(np.asarray(outputs[layout.outputs[1]]).reshape(-1))
        rows = rows[ends[index - 1] if index else 0 : ends[index]]
    return scored(rows[:, 2:6], rows[:, 1], rows[:, 0], floor)


RTDETR = Layout(
    "rtdetr",
    triple(PLAIN, rank=3),
    read_triple,
    "RT-DETR, D-FINE, DEIM with their last step inside",
    inputs=SIZES,
    resize="stretch",
    antialias=True,
    note="those of a DINOv3 backbone (DEIMv2 S to X) want `mean` and `std` of ImageNet",
)
FINISHED = (
    Layout(
        "efficient_nms",
        triple(EFFICIENT, 4),
        read_triple,
        "TensorRT's EfficientNMS, BatchedNMS",
        settle=by_units,
    ),
    Layout(
        "tensorflow",
        triple(TENSORFLOW),
        read_triple,
        "the TensorFlow Object Detection API",
        form="yxyx",
        units="relative",
        labels_from=1,
        resize="stretch",
        open_resize="none",  # these graphs resize and normalise inside
        normalisation=LEVELS,
    ),
    Layout(
        "mmyolo",
        triple(MMYOLO, 4),
        read_triple,
        "MMYOLO's and YOLO-World's easydeploy",
        note="RTMDet wants `channels: bgr`, `scale: 1` and the `mean` and `std` of its config",
    ),
    Layout("yolo_nas", triple(YOLO_NAS, 4), read_triple, "YOLO-NAS (SuperGradients), batch format"),
    Layout(
        "selected_indices",
        indices,
        read_indices,
        "ONNX's own NonMaxSuppression",
        form="yxyx",
        settle=by_order,
    ),
    Layout(
        "paddle",
        counted,
        read_counted,
        "PaddleDetection: PP-YOLOE, RT-DETR",
        inputs=PADDLE,
        resize="stretch",
        note="PicoDet and some others want `mean` and `std` of ImageNet",
    ),
    RTDETR,
    replace(RTDETR, find=triple(PLAIN, rank=2), batches=False),
    Layout(
        "ssd",
        triple(SSD),
        read_triple,
        "SSD of ONNX's model zoo",
        units="relative",
        labels_from=1,
        resize="stretch",
        normalisation=IMAGENET,
        settle=by_zoo,
    ),
    replace(RTDETR, inputs=(), settle=by_labels),
    Layout(
        "torchvision",
        squeezed,
        read_masked,
        "torchvision's detectors",
        labels_from=1,
        resize="stretch",
        open_resize="none",  # these graphs resize and normalise inside
        batches=False,
        settle=by_openness,
    ),
    Layout(
        "mmdeploy",
        dets,
        read_dets,
        "MMDeploy",
        resize="corner",
        normalisation=IMAGENET_LEVELS,
        asks="`channels`, and `mean` and `std` or `scale`, as `data_preprocessor` of the model's "
        "config has them. Faster R-CNN, RetinaNet and most: `channels: rgb` alone. RTMDet: "
        "`channels: bgr, scale: 1, mean: [103.53, 116.28, 123.675], std: [57.375, 57.12, 58.395], "
        "pad: 114`. YOLOX: `channels: bgr, scale: 1, mean: [0, 0, 0], std: [1, 1, 1], pad: 114`",
    ),
    Layout("yolo_nas", flat, read_listed(label=6, score=5), "YOLO-NAS, flat format"),
    Layout("yolov7_end2end", listed, read_listed(label=5, score=6), "YOLOv7 --end2end"),
)
