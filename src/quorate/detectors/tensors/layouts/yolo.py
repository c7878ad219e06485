"""The YOLO heads: one tensor with a row, or a column, for each anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.layouts.layout import (
    Arrays,
    Layout,
    Raw,
    Wishes,
    activated,
    corners,
    scored,
    yolo_cells,
)
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

BLUE_FIRST = Normalisation(scale=1.0, channels="bgr")
STRIDES = (8, 16, 32)
FEW_ROWS = 1000
"""An end-to-end head has at most so many rows; it has 300 unless asked otherwise."""


def _only(graph: Graph) -> tuple[Tensor, int, int] | None:
    """The one output of rank 3, with its two known sizes; masks' prototypes have rank 4."""
    flat = [tensor for tensor in graph.outputs if len(tensor.shape) == 3]
    if len(flat) != 1 or any(len(t.shape) not in (3, 4, 5) for t in graph.outputs):
        return None
    _, rows, columns = flat[0].shape
    return None if rows is None or columns is None else (flat[0], rows, columns)


def _more(graph: Graph) -> bool:
    """Whether a row goes on after its scores: mask coefficients, keypoints."""
    return graph.metadata.get("task") in ("segment", "pose") or len(graph.outputs) > 1


@dataclass(frozen=True)
class Yolo(Layout):
    """A head that may tell masks as well: after the scores a row has weights of prototypes.

    The prototypes are an output (n, k, h, w) of their own; mixed, they are above 0 within an
    object, and are cut off at its box (Bolya et al. 2019, arXiv:1904.02689; Ultralytics).
    """

    def _grids(self, outputs: Arrays, index: int, weights: NDArray[Any]) -> Grids | None:
        """Masks by (n, k) weights."""
        if len(self.outputs) == 1:
            return None
        planes = np.asarray(outputs[self.outputs[1]][index], dtype=np.float32)
        return Grids(planes, np.asarray(weights, dtype=np.float32), 0.0, 0.0)


def _prototypes(graph: Graph, wishes: Wishes, more: int) -> tuple[str, ...]:
    """The output of prototypes, one for each of `more` numbers of a row, if there is one."""
    if not wishes.masks or more < 1 or graph.metadata.get("task") == "pose":
        return ()
    planes = [t for t in graph.outputs if len(t.shape) == 4 and t.shape[1] == more]
    return (planes[0].name,) if len(planes) == 1 else ()


@dataclass(frozen=True)
class Yolov10(Yolo):
    """(n, k, 6): x1, y1, x2, y2, score, label, in the network's pixels; nothing to suppress.

    YOLOv10, YOLO26, and any Ultralytics export with `nms=True`.
    """

    name: ClassVar[str] = "yolov10"

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """Six columns, and few rows: 25,200 rows of six are YOLOv5's with one category."""
        found = _only(graph)
        if not found:
            return None
        tensor, rows, columns = found
        if columns == 6 or (columns > 6 and _more(graph) and rows <= FEW_ROWS and rows > columns):
            ambiguous = len(wishes.names) in (1, 2) and _is_dense(rows, len(wishes.names), wishes)
            if forced or (rows <= FEW_ROWS and not ambiguous):
                return cls(wishes, (tensor.name, *_prototypes(graph, wishes, columns - 6)))
        return None

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        rows = outputs[self.outputs[0]][index]
        grids = self._grids(outputs, index, rows[:, 6:])
        return scored(rows[:, :4], rows[:, 4], rows[:, 5], floor, grids)


def _is_dense(rows: int, names: int, wishes: Wishes) -> bool:
    """Whether (n, rows, 6) has a row for each anchor: 5 + 1 category, or 4 + 2."""
    cells = yolo_cells(wishes.frame)
    return rows in ({3 * count for count in cells} | cells if names == 1 else cells)


@dataclass(frozen=True)
class Yolov8(Yolo):
    """(n, 4 + c, anchors) or (n, anchors, 4 + c): centre, size, a score for each category.

    YOLOv8, v9, v11, v12 and others of Ultralytics. Keypoints after the scores are passed over.
    An anchor gives its best category only, as Ultralytics' own prediction does.
    """

    name: ClassVar[str] = "yolov8"
    nms_iou: ClassVar[float | None] = 0.7
    takes_activation: ClassVar[bool] = True

    planes: bool = True

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """The number of names says which of the two sizes is 4 + c."""
        found = _only(graph)
        if not found or graph.metadata.get("task") == "obb":
            return None
        tensor, rows, columns = found
        wanted = 4 + len(wishes.names)
        more = _more(graph)
        if rows == wanted or (more and wanted < rows < columns):
            masks = _prototypes(graph, wishes, rows - wanted)
            return cls(wishes, (tensor.name, *masks), planes=True)
        if columns == wanted or (forced and more and wanted < columns < rows):
            masks = _prototypes(graph, wishes, columns - wanted)
            return cls(wishes, (tensor.name, *masks), planes=False)
        return None

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        planes = outputs[self.outputs[0]][index]
        planes = np.ascontiguousarray(planes if self.planes else planes.T, dtype=np.float32)
        scores = planes[4 : 4 + len(self.wishes.names)]
        if self.wishes.activation:
            scores = np.ascontiguousarray(activated(scores, self.wishes.activation, 0), np.float32)
        best = scores.max(axis=0)  # NaN where any is
        keep = np.flatnonzero(~(best < floor))
        label = scores[:, keep].argmax(axis=0).astype(np.int32)
        weights = planes[4 + len(self.wishes.names) :, keep].T
        grids = self._grids(outputs, index, weights)
        return Raw(corners(planes[:4, keep].T, "cxcywh"), best[keep], label, grids)


@dataclass(frozen=True)
class Yolov5(Yolo):
    """(n, anchors, 5 + c): centre, size, objectness, a score for each category.

    YOLOv5, v6 and v7 with their decoding inside. A score is objectness times the category's.
    """

    name: ClassVar[str] = "yolov5"
    nms_iou: ClassVar[float | None] = 0.45
    takes_activation: ClassVar[bool] = True

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """5 + c columns; one anchor a cell may be YOLOX's, so that is left to the spec."""
        found = _only(graph)
        if not found:
            return None
        tensor, rows, columns = found
        wanted = 5 + len(wishes.names)
        fits = columns == wanted or (_more(graph) and wanted < columns < rows)
        if fits and (forced or rows not in yolo_cells(wishes.frame)):
            return cls(wishes, (tensor.name, *_prototypes(graph, wishes, columns - wanted)))
        return None

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        rows, keep, best, label = self._best(outputs[self.outputs[0]][index], floor)
        grids = self._grids(outputs, index, rows[keep, 5 + len(self.wishes.names) :])
        return Raw(corners(rows[keep, :4], "cxcywh"), best, label, grids)

    def _best(
        self, output: NDArray[np.floating], floor: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
        """The output in single precision; which rows score enough, how much, for which label."""
        rows = np.ascontiguousarray(output, dtype=np.float32)
        names = len(self.wishes.names)
        if self.wishes.activation:
            rows = rows.copy()
            rows[:, 4 : 5 + names] = activated(rows[:, 4 : 5 + names], self.wishes.activation)
        keep = np.flatnonzero(~(rows[:, 4] < floor))
        scores = rows[keep, 5 : 5 + names]
        best = rows[keep, 4] * scores.max(axis=1)  # NaN where any is
        enough = ~(best < floor)
        label = scores[enough].argmax(axis=1).astype(np.int32)
        return rows, keep[enough], best[enough], label


@dataclass(frozen=True)
class Yolox(Yolov5):
    """(n, cells, 5 + c) of YOLOX, decoded here: offsets in cells and logarithms of sizes.

    It sees grey levels as they are, blue first. Only by the spec's `layout: yolox`, for the same
    shape may be decoded already.
    """

    name: ClassVar[str] = "yolox"
    resize: ClassVar[Resize] = "corner"

    normalisation: Normalisation = BLUE_FIRST

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """Only where it is asked for."""
        found = _only(graph)
        if not found or not forced or found[2] != 5 + len(wishes.names):
            return None
        return cls(wishes, (found[0].name,))

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        rows, keep, best, label = self._best(outputs[self.outputs[0]][index], floor)
        grid = []
        for stride in STRIDES:
            y, x = np.mgrid[: frame[0] // stride, : frame[1] // stride]
            grid.append(np.stack([x, y, np.full_like(x, stride)], axis=-1).reshape(-1, 3))
        cell = np.concatenate(grid).astype(np.float32)
        if len(cell) != len(rows):
            raise ValueError(f"{len(rows)} rows, but strides 8, 16, 32 make {len(cell)} cells")
        cell, boxes = cell[keep], rows[keep, :4]
        centre = (boxes[:, :2] + cell[:, :2]) * cell[:, 2:]
        size = np.exp(boxes[:, 2:]) * cell[:, 2:]
        return Raw(corners(np.concatenate([centre, size], axis=1), "cxcywh"), best, label)
