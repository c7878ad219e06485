"""Heads that give boxes in one tensor and a number for each label in another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.layouts.layout import (
    IMAGENET,
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
    activated,
    best,
    cells,
    every,
    given,
    inverted,
    of_wishes,
    planes_of,
    relative,
    same,
)
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

PADDLE = ("scale_factor", "im_shape")
SOME = 0.2
"""Share of the boxes that end before they begin; a few do so where there is nothing to see."""
BOX_WORDS = ("box", "loc", "det")
"""What boxes are called, where scores have four columns too."""
SSD = Normalisation(scale=1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0), pad=0)


def _named(graph: Graph, box: str, *scores: str, forced: bool) -> tuple[Tensor, Tensor] | None:
    """Boxes and logits of queries, by name or forced by shape."""
    boxes, logits = graph.output(box), graph.output(*scores)
    if forced and not (logits and boxes):
        return _pair(graph)
    return (boxes, logits) if boxes and logits and same(boxes, 3, 4) and same(logits, 3) else None


def _pair(graph: Graph) -> tuple[Tensor, Tensor] | None:
    """Boxes and scores among two tensors of rank 3, told by their names where shapes do not."""
    flat = [t for t in graph.outputs if len(t.shape) == 3 and not t.whole]
    fours = [t for t in flat if t.shape[-1] == 4]
    named = [t for t in fours if any(word in t.name.lower() for word in BOX_WORDS)]
    if len(flat) != 2 or not fours or (len(fours) == 2 and not named):
        return None
    boxes = (named or fours)[0]
    return boxes, flat[0] if flat[1] is boxes else flat[1]


def queries(extra: int) -> Find:
    """Logits of as many labels as there are names, and `extra` more."""

    def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
        found = _named(graph, "pred_boxes", "logits", "pred_logits", forced=forced)
        if found is None or not found[1].shape:
            return None
        boxes, logits = found
        first = wishes.labels_from or 0
        if logits.shape[-1] != first + len(wishes.names) + extra:
            return None
        if wishes.activation not in (None, layout.activation, "none"):
            return None
        return (boxes.name, logits.name, *planes_of(graph, wishes, "pred_masks"))

    return find


def rfdetr(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """`dets` (n, q, 4) and `labels` (n, q, c or c + 1), which are logits."""
    found = _named(graph, "dets", "labels", forced=forced)
    if found is None or found[1].whole or not found[1].shape:
        return None
    boxes, logits = found
    wanted = (wishes.labels_from or 0) + len(wishes.names)
    if logits.shape[-1] not in (wanted, wanted + 1):
        return None
    return (boxes.name, logits.name, *planes_of(graph, wishes, "masks", "pred_masks"))


def by_cocos_numbers(layout: Layout, graph: Graph, look: Look) -> Layout:
    """RF-DETR's own weights number labels as COCO does, from 1; those trained later from 0."""
    names = layout.wishes.names
    if layout.wishes.labels_from is None and (len(names), names[0]) == (90, "person"):
        raise UndecidedError(
            "the 91 logits may count labels from 1, as RF-DETR's own weights do, or from 0",
            "say which: `labels_from: 1` (as `names: coco91` has it), or `labels_from: 0`",
        )
    return layout


def by_selection(layout: Layout, graph: Graph, look: Look) -> Layout:
    """RT-DETR and D-FINE choose their queries by a TopK; conditional DETR has fixed ones."""
    if graph.selects is None:
        raise UndecidedError(
            "logits and boxes of queries may be RT-DETR's or D-FINE's, whose pixels are 0..1, or "
            "conditional DETR's, whose pixels have ImageNet's mean and deviation",
            "say `layout: detr`; for conditional DETR also `mean: [0.485, 0.456, 0.406]` and "
            "`std: [0.229, 0.224, 0.225]`",
        )
    return layout if graph.selects else of_wishes(MASKED, layout.outputs, layout.wishes)


def columns(extra: int) -> Find:
    """Boxes (n, a, 4), and scores (n, a, c + extra) or (n, c + extra, a)."""

    def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
        found = _pair(graph)
        if found is None:
            return None
        anchors, sides = found[0].shape[1], found[1].shape[1:]
        count = sides[1] if sides[0] in (anchors, None) else sides[0]
        if count != len(wishes.names) + extra:
            return None
        return tuple(tensor.name for tensor in found)

    return find


def by_pair(layout: Layout, graph: Graph, look: Look) -> Layout:
    """Units and activation, by values; UndecidedError where boxes are still to be decoded."""
    boxes = given(look()[layout.outputs[0]])
    scores = _upright(layout, look(), 0)
    if layout.name == "ssd" and len(boxes) and inverted(boxes) > SOME:
        if scores.shape == (len(_priors(layout.wishes.frame)), 2):
            return of_wishes(ULTRAFACE, layout.outputs, layout.wishes)
        raise UndecidedError(
            "there are boxes that end before they begin: they are offsets from SSD's anchors, "
            "still to be decoded, or centre and size",
            "export the model with its decoding (pytorch-ssd: `is_test=True`), or say "
            "`box_format: cxcywh` with `layout: ssd`",
        )
    told = layout.name == "ssd" or layout.wishes.box_format
    if not told and len(boxes) and inverted(boxes) > SOME:
        raise UndecidedError(
            "boxes end before they begin: they are centre and size, as DETR has them",
            "say `layout: detr` or `layout: rfdetr`; or `box_format: cxcywh` where overlapping "
            "boxes are still to be suppressed",
        )
    finished = scores.min() >= 0 and scores.max() <= 1
    activation = layout.activation if finished else "softmax" if layout.base else "sigmoid"
    units = layout.units if not len(boxes) else "relative" if relative(boxes) else "pixels"
    first = layout.base
    if first and layout.wishes.labels_from is None and scores.shape[1] > first:
        shown = activated(scores, activation).mean(axis=0)
        first = 0 if shown[-1] > shown[0] else first  # the background comes last
    wishes = replace(layout.wishes, labels_from=first)
    return replace(layout, units=units, activation=activation, wishes=wishes)


def read_ultraface(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Offsets from UltraFace's own anchors, decoded with SSD's variances."""
    scores = np.asarray(outputs[layout.outputs[1]][index], dtype=np.float32)[:, 1:]
    row, label = every(scores, floor)
    given = np.asarray(outputs[layout.outputs[0]][index], dtype=np.float32)[row]
    prior = _priors(frame)[row]
    centre = prior[:, :2] + given[:, :2] * np.float32(0.1) * prior[:, 2:]
    size = prior[:, 2:] * np.exp(given[:, 2:] * np.float32(0.2))
    return Raw(np.concatenate([centre, size], axis=1), scores[row, label], label + layout.base)


def _priors(frame: Frame) -> NDArray[np.float32]:
    """(n, 4) centre and size in 0..1 of UltraFace's anchors (Linzaer's `generate_priors`)."""
    sizes = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
    size = np.array(frame[::-1], dtype=np.float32)
    made = []
    for stride, sides in sizes.items():
        cell = cells(frame, (stride,))
        centre = np.repeat((cell[:, :2] + 0.5) * stride / size, len(sides), axis=0)
        own = np.tile(np.array(sides, np.float32)[:, None] / size, (len(cell), 1))
        made.append(np.concatenate([centre, own], axis=1))
    return np.concatenate(made).clip(0, 1).astype(np.float32)


def _upright(layout: Layout, outputs: Arrays, index: int) -> NDArray[np.float32]:
    """Scores (a, c), whichever way they lie."""
    boxes, given = (outputs[name][index] for name in layout.outputs[:2])
    scores = np.asarray(given, dtype=np.float32)
    return scores if len(scores) == len(boxes) else scores.T


def read_pair(*, one: bool) -> Read:
    """A box and its scores: the best label alone, or every one that scores enough."""

    def read(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
        boxes = np.asarray(outputs[layout.outputs[0]][index], dtype=np.float32)
        scores = activated(_upright(layout, outputs, index), layout.activation)
        shown = scores[:, layout.base : layout.base + len(layout.wishes.names)]
        row, label = (best if one else every)(shown, floor)
        grids = None
        if len(layout.outputs) > 2:
            planes = np.asarray(outputs[layout.outputs[2]][index], dtype=np.float32)
            grids = Grids(planes, row.astype(np.int64), 0.0)
        return Raw(boxes[row], shown[row, label], label + layout.base, grids)

    return read


DETR = Layout(
    "detr",
    queries(0),
    read_pair(one=False),
    "RT-DETR, D-FINE of transformers",
    form="cxcywh",
    units="relative",
    activation="sigmoid",
    resize="stretch",
    antialias=True,
    normalisation=Normalisation(pad=0),
)
MASKED = replace(
    DETR,
    inputs=("pixel_mask",),
    what="deformable and conditional DETR",
    open_resize="shortest_edge",
    normalisation=IMAGENET,
)
ULTRAFACE = Layout(
    "ultraface",
    columns(1),
    read_ultraface,
    "UltraFace, not yet decoded",
    form="cxcywh",
    units="relative",
    labels_from=1,
    activation="none",
    nms_iou=0.45,
    resize="stretch",
    normalisation=SSD,
    auto=False,
)
RAW = Layout(
    "yolo_nas",
    columns(0),
    read_pair(one=False),
    "YOLO-NAS and MMYOLO without their suppression",
    labels_from=None,
    activation="none",
    nms_iou=0.7,
    settle=by_pair,
)
PAIRS = (
    ULTRAFACE,
    MASKED,
    replace(DETR, settle=by_selection),
    replace(
        DETR,
        find=queries(1),
        read=read_pair(one=True),
        what="DETR, YOLOS: the last logit means no object",
        activation="softmax",
        open_resize="shortest_edge",
        normalisation=IMAGENET,
    ),
    Layout(
        "rfdetr",
        rfdetr,
        read_pair(one=False),
        "RF-DETR",
        form="cxcywh",
        units="relative",
        activation="sigmoid",
        resize="stretch",
        antialias=True,
        normalisation=IMAGENET,
        settle=by_cocos_numbers,
    ),
    Layout(
        "ssd",
        columns(1),
        read_pair(one=False),
        "SSD with its boxes decoded: UltraFace, pytorch-ssd",
        units="relative",
        labels_from=1,
        activation="none",
        nms_iou=0.45,
        resize="stretch",
        normalisation=SSD,
        settle=by_pair,
        note="those of VGG want `mean: [123, 117, 104]` and `std: [1, 1, 1]`",
    ),
    replace(RAW, name="paddle", inputs=PADDLE, what="PP-YOLOE without NMS", resize="stretch"),
    RAW,
)
