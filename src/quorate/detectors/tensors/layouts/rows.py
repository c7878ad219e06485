"""Heads that end in one tensor with a row for each box that they found: (n, k, 6) and its kin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.layouts.layout import (
    Arrays,
    Found,
    Frame,
    Layout,
    Look,
    Raw,
    UndecidedError,
    Wishes,
    given,
    inverted,
    of_wishes,
    relative,
    scored,
    yolo_cells,
)
from quorate.detectors.tensors.layouts.oriented import UPRIGHT, upright
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

FEW_ROWS = 1000
"""An end-to-end head has at most so many rows; it has 300 unless asked otherwise."""
CENTERNET_STRIDE = 4
CENTERNET_ROWS = 100
CENTERNET = Normalisation(
    mean=(0.408, 0.447, 0.470), std=(0.289, 0.274, 0.278), channels="bgr", pad=0
)


def only(graph: Graph) -> tuple[Tensor, int, int] | None:
    """The one output of rank 3, with its two known sizes; masks' prototypes have rank 4."""
    flat = [tensor for tensor in graph.outputs if len(tensor.shape) == 3]
    if len(flat) != 1 or any(len(t.shape) not in (3, 4, 5) for t in graph.outputs):
        return None
    _, rows, columns = flat[0].shape
    return None if rows is None or columns is None else (flat[0], rows, columns)


def goes_on(graph: Graph) -> bool:
    """Whether a row goes on after its scores: mask coefficients, keypoints."""
    return graph.metadata.get("task") in ("segment", "pose") or len(graph.outputs) > 1


def prototypes(graph: Graph, wishes: Wishes, more: int) -> tuple[str, ...]:
    """The output of prototypes, one for each of `more` numbers of a row, if there is one."""
    if not wishes.masks or more < 1 or graph.metadata.get("task") == "pose":
        return ()
    planes = [t for t in graph.outputs if len(t.shape) == 4 and t.shape[1] == more]
    return (planes[0].name,) if len(planes) == 1 else ()


def mixed(layout: Layout, outputs: Arrays, index: int, weights: NDArray[Any]) -> Grids | None:
    """Masks by (n, k) weights of prototypes.

    The prototypes are an output (n, k, h, w) of their own; mixed, they are above 0 within an
    object, and are cut off at its box (Bolya et al. 2019, arXiv:1904.02689; Ultralytics).
    """
    if len(layout.outputs) == 1:
        return None
    planes = np.asarray(outputs[layout.outputs[1]][index], dtype=np.float32)
    return Grids(planes, np.asarray(weights, dtype=np.float32), 0.0, 0.0)


def rows_of_six(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(n, k, 6), and few rows: 25,200 rows of six are YOLOv5's with one category."""
    if not (found := only(graph)):
        return None
    tensor, rows, columns = found
    if columns == 6 or (columns > 6 and goes_on(graph) and rows <= FEW_ROWS and rows > columns):
        names = len(wishes.names)
        count = yolo_cells(wishes.frame)
        anchors = count if columns == 6 and names == 2 else {3 * cell for cell in count} | count
        # Six columns of as many rows are a dense head's too, which looks at the values.
        dense = rows in anchors and (columns > 6 or names in (1, 2))
        if forced or (rows <= FEW_ROWS and not dense):
            return (tensor.name, *prototypes(graph, wishes, columns - 6))
    return None


def read_rows(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """Four numbers of a box, score, label; maybe weights of masks."""
    rows = outputs[layout.outputs[0]][index]
    grids = mixed(layout, outputs, index, rows[:, 6:])
    return scored(rows[:, :4], rows[:, 4], rows[:, 5], floor, grids)


def by_rows(layout: Layout, graph: Graph, look: Look) -> Layout:
    """Corners in pixels, unless values say what else (n, k, 6) may be.

    A head that finds nothing in a black picture leaves rows out by their score; RT-DETR and
    CenterNet never do.
    """
    rows = look()[layout.outputs[0]]
    boxes = given(rows[..., :4])
    if relative(boxes):
        if inverted(boxes):
            return of_wishes(RTDETR_ROWS, layout.outputs, layout.wishes)
        raise UndecidedError(
            "the output's rows are boxes in 0..1, as corners, or as centre and size (RT-DETR of "
            "Ultralytics)",
            "say which: `layout: ultralytics_rtdetr`, or `layout: yolov10` with "
            "`box_units: relative`",
        )
    height, width = layout.wishes.frame
    most = max(height, width) / CENTERNET_STRIDE + 1
    if len(boxes) and rows.shape[1] == CENTERNET_ROWS and boxes.max() <= most:
        raise UndecidedError(
            "the output's 100 rows may be CenterNet's, in quarters of the network's pixels, or "
            "boxes in pixels, as YOLOv10 gives them",
            "say which: `layout: centernet`, or `layout: yolov10`",
        )
    return layout


def by_six(layout: Layout, graph: Graph, look: Look) -> Layout | None:
    """Rows of boxes that are found already, where a dense head's shape is theirs too; else None.

    Their labels are whole numbers, and their scores fall from row to row. Where all of it is
    zeros, or the scores do not fall, a dense head may give such numbers as well.
    """
    found = rows_of_six(layout, graph, layout.wishes, forced=True)
    if not found or (rows := np.asarray(look()[found[0]])).shape[1] > FEW_ROWS:
        return None
    score, label = rows[0, :, 4], rows[0, :, 5]
    if not set(np.unique(label).tolist()) <= set(range(len(layout.wishes.names))):
        return None
    if not (score[0] > score[-1] and (np.diff(score) <= 0).all()):
        raise UndecidedError(
            f"the output's {rows.shape[1]} rows may be boxes that are found already, each with its "
            f"score and label, or be one for each cell of the network ({layout.name})",
            f"say which: `layout: yolov10` for boxes that are found, or `layout: {layout.name}`",
        )
    return by_rows(of_wishes(ROWS[0], found, layout.wishes), graph, look)


def read_quarters(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """As `read_rows`, on CenterNet's map of a quarter of the network's size."""
    raw = read_rows(layout, outputs, index, frame, floor)
    return raw._replace(boxes=raw.boxes * CENTERNET_STRIDE)


def rows_of_seven(layout: Layout, graph: Graph, wishes: Wishes, forced: bool) -> Found:
    """(n, k, 7): centre, size, score, label, angle."""
    found = only(graph)
    return (found[0].name,) if found and found[2] == 7 and found[1] <= FEW_ROWS else None


def read_sevens(layout: Layout, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
    """What is suppressed already."""
    rows = np.asarray(outputs[layout.outputs[0]][index], dtype=np.float32)
    keep = ~(rows[:, 4] < floor)
    raw = scored(rows[:, :4], rows[:, 4], rows[:, 5], floor)
    return upright(raw, rows[keep, 6], iou=None)


RTDETR_ROWS = Layout(
    "ultralytics_rtdetr",
    rows_of_six,
    read_rows,
    "RT-DETR of Ultralytics, from 2026 on",
    form="cxcywh",
    units="relative",
    resize="stretch",
    auto=False,
)
ROWS = (
    Layout(
        "yolov10",
        rows_of_six,
        read_rows,
        "YOLOv10, YOLO26, Ultralytics' `nms=True`",
        settle=by_rows,
    ),
    Layout(
        "centernet",
        rows_of_six,
        read_quarters,
        "CenterNet's best k",
        auto=False,
        normalisation=CENTERNET,
    ),
    RTDETR_ROWS,
    Layout(
        "yolo_obb",
        rows_of_seven,
        read_sevens,
        "oriented boxes of Ultralytics, suppressed already",
        auto=False,
        oriented=True,
        note=UPRIGHT,
    ),
)
