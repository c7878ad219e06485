"""Heads that give one tensor with a row, or a column, for each anchor or cell."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.layouts.layout import (
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
    cells,
    every,
    given,
    of_wishes,
    relative,
    yolo_cells,
)
from quorate.detectors.tensors.layouts.oriented import UPRIGHT, upright
from quorate.detectors.tensors.layouts.rows import (
    RTDETR_ROWS,
    by_six,
    goes_on,
    mixed,
    only,
    prototypes,
)
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.networks import Graph

BLUE_FIRST = Normalisation(scale=1.0, channels="bgr")
NANODET = Normalisation(1.0, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "bgr", pad=0)
ASK_YOLOX = UndecidedError(
    "the output may be YOLOX's, still to be decoded, or YOLOv6's, decoded",
    "say which: `layout: yolox`, or `layout: yolov5` for one that is decoded (YOLOX exported with "
    "its decoding: also `channels: bgr`, `scale: 1`, `resize: corner`)",
)


def planes(extra: int) -> Find:
    """(n, 4 + c + extra, anchors), or the same with its axes swapped; names say which is which."""

    def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
        if not (found := only(graph)):
            return None
        tensor, rows, columns = found
        wanted = 4 + len(wishes.names) + extra
        more = goes_on(graph) and not extra
        if rows == wanted or (more and wanted < rows < columns):
            return (tensor.name, *prototypes(graph, wishes, rows - wanted))
        if columns == wanted or (forced and more and wanted < columns < rows):
            return (tensor.name, *prototypes(graph, wishes, columns - wanted))
        return None

    return find


def _upright(layout: Layout, output: NDArray[Any], extra: int = 0) -> NDArray[np.float32]:
    """The planes (4 + c + …, anchors), whichever way they lie."""
    wanted = 4 + len(layout.wishes.names) + extra
    lying = output.shape[0] != wanted and (
        output.shape[1] == wanted or output.shape[1] < output.shape[0]
    )
    return np.ascontiguousarray(output.T if lying else output, dtype=np.float32)


def read_planes(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Centre, size, a score for each label, of which an anchor gives its best alone.

    So does Ultralytics' own prediction. Keypoints after the scores are passed over.
    """
    rows = _upright(layout, outputs[layout.outputs[0]][index])
    raw, keep = _best_of(layout, rows, floor)
    weights = rows[4 + len(layout.wishes.names) :, keep].T
    return raw._replace(grids=mixed(layout, outputs, index, weights))


def _best_of(
    layout: Layout, rows: NDArray[np.float32], floor: float
) -> tuple[Raw, NDArray[np.intp]]:
    """The boxes of planes, and which anchors they are of."""
    scores = rows[4 : 4 + len(layout.wishes.names)]
    if layout.activation != "none":
        scores = np.ascontiguousarray(activated(scores, layout.activation, 0), np.float32)
    best = scores.max(axis=0)  # NaN where any is
    keep = np.flatnonzero(~(best < floor))
    return Raw(rows[:4, keep].T, best[keep], scores[:, keep].argmax(axis=0)), keep


def by_planes(layout: Layout, graph: Graph, look: Look) -> Layout:
    """Pixels, unless all boxes lie in 0..1: TensorFlow's exports, or Ultralytics' RT-DETR."""
    if found := by_six(layout, graph, look):
        return found
    rows = _upright(layout, look()[layout.outputs[0]][0])
    layout = _with_logits(layout, rows[4 : 4 + len(layout.wishes.names)])
    if not relative(given(rows[:4].T)):
        return layout
    if rows.shape[1] in yolo_cells(layout.wishes.frame):
        return replace(layout, units="relative")
    return of_wishes(RTDETR_PLANES, layout.outputs, layout.wishes)


def _with_logits(layout: Layout, scores: NDArray[np.floating]) -> Layout:
    """No score is below 0: such numbers are logits, of a model without its last sigmoid."""
    return replace(layout, activation="sigmoid") if scores.size and scores.min() < 0 else layout


def read_oriented(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """As `read_planes`, with an angle last; suppressed here, as oriented boxes."""
    rows = _upright(layout, outputs[layout.outputs[0]][index], 1)
    raw, keep = _best_of(layout, rows, floor)
    return upright(raw, rows[-1, keep], iou=layout.nms_iou)


def with_objectness(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(n, anchors, 5 + c)."""
    if not (found := only(graph)):
        return None
    tensor, rows, columns = found
    wanted = 5 + len(wishes.names)
    if columns == wanted or (goes_on(graph) and wanted < columns < rows):
        return (tensor.name, *prototypes(graph, wishes, columns - wanted))
    return None


def read_objectness(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """A score is objectness times the best category's."""
    rows, keep, best, label = _best(layout, outputs[layout.outputs[0]][index], floor)
    grids = mixed(layout, outputs, index, rows[keep, 5 + len(layout.wishes.names) :])
    return Raw(rows[keep, :4], best, label, grids)


def _best(
    layout: Layout, output: NDArray[np.floating], floor: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """The output in single precision; which rows score enough, how much, for which label."""
    rows = np.ascontiguousarray(output, dtype=np.float32)
    names = len(layout.wishes.names)
    if layout.activation != "none":
        rows = rows.copy()
        rows[:, 4 : 5 + names] = activated(rows[:, 4 : 5 + names], layout.activation)
    keep = np.flatnonzero(~(rows[:, 4] < floor))
    scores = rows[keep, 5 : 5 + names]
    best = rows[keep, 4] * scores.max(axis=1)  # NaN where any is
    enough = ~(best < floor)
    label = scores[enough].argmax(axis=1)
    return rows, keep[enough], best[enough], label


def by_objectness(layout: Layout, graph: Graph, look: Look) -> Layout:
    """One row for each cell is YOLOX's, still to be decoded, where a size is a logarithm."""
    if found := by_six(layout, graph, look):
        return found
    rows = look()[layout.outputs[0]]
    boxes = given(rows[..., :4])
    if rows.shape[1] in yolo_cells(layout.wishes.frame):
        if len(boxes) and (boxes[:, 2:] < 0).any():
            return of_wishes(YOLOX, layout.outputs, layout.wishes)
        raise ASK_YOLOX
    layout = _with_logits(layout, rows[..., 4 : 5 + len(layout.wishes.names)])
    return replace(layout, units="relative") if relative(boxes) else layout


def read_yolox(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Decoded here: offsets in cells, and logarithms of sizes."""
    rows, keep, best, label = _best(layout, outputs[layout.outputs[0]][index], floor)
    cell = _cells_of(rows, frame, (8, 16, 32))[keep]
    centre = (rows[keep, :2] + cell[:, :2]) * cell[:, 2:]
    size = np.exp(rows[keep, 2:4]) * cell[:, 2:]
    return Raw(np.concatenate([centre, size], axis=1), best, label)


def _cells_of(rows: NDArray[Any], frame: Frame, strides: tuple[int, ...]) -> NDArray[np.float32]:
    cell = cells(frame, strides)
    if len(cell) != len(rows):
        raise ValueError(f"{len(rows)} rows, but strides {strides} make {len(cell)} cells")
    return cell


def distributions(strides: tuple[int, ...]) -> Find:
    """(n, cells, c + 4 r): scores, and for each side of a box where it lies among r places."""

    def find(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
        if not (found := only(graph)):
            return None
        tensor, rows, columns = found
        places, rest = divmod(columns - len(wishes.names), 4)
        fits = places >= 5 and not rest and rows == len(cells(wishes.frame, strides))
        return (tensor.name,) if fits else None

    return find


def read_distributions(strides: tuple[int, ...], middle: float) -> Read:
    """Distances of the four sides from a point of each cell, as generalised focal loss has them.

    `middle` is where in its cell the point lies: NanoDet-Plus takes the corner, NanoDet the middle.
    """

    def read(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
        rows = np.asarray(outputs[layout.outputs[0]][index], dtype=np.float32)
        cell = _cells_of(rows, frame, strides)
        names = len(layout.wishes.names)
        scores = activated(rows[:, :names], layout.activation)
        row, label = every(scores, floor)
        likely = activated(rows[row, names:].reshape(len(row), 4, -1), "softmax")
        far = likely @ np.arange(likely.shape[-1], dtype=np.float32) * cell[row, 2:]
        point = (cell[row, :2] + np.float32(middle)) * cell[row, 2:]
        boxes = np.concatenate([point - far[:, :2], point + far[:, 2:]], axis=1)
        height, width = frame
        boxes = boxes.clip(0, np.array([width, height, width, height], np.float32))
        return Raw(boxes, scores[row, label], label)

    return read


def one_map(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(n, 5 + c, h, w)."""
    one = graph.outputs[0]
    fits = len(graph.outputs) == 1 and len(one.shape) == 4
    return (one.name,) if fits and one.shape[1] == 5 + len(wishes.names) else None


def read_map(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """A cell's objectness, its box, and a score for each label."""
    grid = np.asarray(outputs[layout.outputs[0]][index], dtype=np.float32)
    height, width = grid.shape[1:]
    rows = grid.reshape(len(grid), -1)
    best = rows[0] * rows[5:].max(axis=0)
    keep = np.flatnonzero(~(best < floor))
    y, x = np.divmod(keep, width)
    centre = [(np.tanh(rows[1, keep]) + x) / width, (np.tanh(rows[2, keep]) + y) / height]
    boxes = np.stack([*centre, *activated(rows[3:5, keep], "sigmoid")], axis=1)
    return Raw(boxes.astype(np.float32), best[keep], rows[5:, keep].argmax(axis=0))


_per_anchor = partial(Layout, activation="none", labels_from=None)
"""Scores are finished unless values or the spec say else; a label is the place of its column."""

YOLOX = _per_anchor(
    "yolox",
    with_objectness,
    read_yolox,
    "YOLOX, not yet decoded",
    form="cxcywh",
    nms_iou=0.45,
    resize="corner",
    normalisation=BLUE_FIRST,
    auto=False,
)
RTDETR_PLANES = replace(
    RTDETR_ROWS,
    find=planes(0),
    read=read_planes,
    what="RT-DETR of Ultralytics, before 2026",
    activation="none",
    labels_from=None,
)
OBB = _per_anchor(
    "yolo_obb",
    planes(1),
    read_oriented,
    "oriented boxes of Ultralytics",
    nms_iou=0.7,
    auto=False,
    oriented=True,
    note=UPRIGHT,
)
DENSE = (
    _per_anchor(
        "yolov8",
        planes(0),
        read_planes,
        "YOLOv8, v9, v11, v12 and others of Ultralytics",
        form="cxcywh",
        nms_iou=0.7,
        settle=by_planes,
    ),
    _per_anchor(
        "yolov5",
        with_objectness,
        read_objectness,
        "YOLOv5, v6, v7 with their decoding inside",
        form="cxcywh",
        nms_iou=0.45,
        settle=by_objectness,
    ),
    YOLOX,
    _per_anchor(
        "nanodet",
        distributions((8, 16, 32, 64)),
        read_distributions((8, 16, 32, 64), 0.0),
        "NanoDet-Plus",
        nms_iou=0.6,
        resize="stretch",
        normalisation=NANODET,
    ),
    _per_anchor(
        "nanodet",
        distributions((8, 16, 32)),
        read_distributions((8, 16, 32), 0.5),
        "NanoDet",
        nms_iou=0.6,
        normalisation=NANODET,
    ),
    Layout(
        "fastestdet",
        one_map,
        read_map,
        "FastestDet",
        form="cxcywh",
        units="relative",
        nms_iou=0.45,
        labels_from=None,
        resize="stretch",
        normalisation=Normalisation(channels="bgr"),
    ),
    RTDETR_PLANES,
    OBB,
)
