"""A layout: what a model's outputs mean, and what its network wants to see.

A layout is an entry of a table: which outputs are of its kind (`find`), how boxes, scores and
labels are read from them (`read`), and what they and the network's input are measured in.
Everything that a spec says goes before what a layout says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Arrays as Arrays
from quorate.networks import Graph, Tensor

Activation = Literal["none", "sigmoid", "softmax"]
BoxFormat = Literal["xyxy", "yxyx", "cxcywh"]
BoxUnits = Literal["pixels", "relative"]
Frame = tuple[int, int]
"""(height, width) of a network's input."""

UNIT = Normalisation()
LEVELS = Normalisation(scale=1.0, pad=0)
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
IMAGENET_LEVELS = Normalisation(1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), pad=0)
BACKGROUND = ("__background__", "background")


class Raw(NamedTuple):
    """Boxes of one picture as a layout reads them; they are still to be checked and ordered.

    boxes  float (n, 4)  in the layout's form and units; of `Layout.decode`: xyxy in pixels of the
                         network's frame
    score  float (n,)
    label  int   (n,)    as the model numbers them; of `Layout.decode`: position in the names
    grids  Grids or None their masks, over the network's frame, still to be drawn
    """

    boxes: NDArray[np.floating]
    score: NDArray[np.floating]
    label: NDArray[np.integer]
    grids: Grids | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is known when a layout is fitted to a graph.

    names        the model's labels, without the background's
    frame        (height, width) of the network's input, (640, 640) where it is open
    labels_from  the number of the first name; None for the layout's own
    activation, box_format, box_units, nms_iou  from the spec; None for the layout's own
    masks        whether masks are wanted, where the model has them
    """

    names: tuple[str, ...]
    frame: Frame = (640, 640)
    labels_from: int | None = None
    activation: Activation | None = None
    box_format: BoxFormat | None = None
    box_units: BoxUnits | None = None
    nms_iou: float | None = None
    masks: bool = True


Found = tuple[str, ...] | None
"""The outputs that a layout reads, in the order in which it reads them; None: it does not fit."""
Find = Callable[["Layout", Graph, Wishes, bool], Found]
Read = Callable[["Layout", Arrays, int, Frame, float], Raw]
Look = Callable[[], Arrays]
"""All outputs for one black picture."""
Settle = Callable[["Layout", Graph, Look], "Layout"]


class UndecidedError(Exception):
    """Two layouts fit, and neither names nor values tell them apart: a sentence, and a hint."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint


@dataclass(frozen=True, slots=True)
class Layout:
    """One way of writing boxes into tensors; `fitted` to a graph once `outputs` are known.

    find           the outputs of a graph that are of this layout. `forced`, the spec's own choice,
                   lets shapes stand for names, and ends ambiguity
    read           boxes of one picture of the batch that score at least a floor
    what           what writes it so, for people
    form, units    what four numbers of a box are, and in what: pixels of the network, or 0..1
    inputs         one of these must be there, or nothing is said of them
    auto           whether it is recognised by shapes, or only by metadata, values and the spec
    labels_from    the number of the first name: 1 where 0 is the background; None where a label is
                   the place of a column, which leaves nothing to say
    activation     what makes scores of the numbers; None where scores are finished
    nms_iou        None where nothing is to be suppressed, or `oriented`: `read` does it
    resize         how pictures fit the network; `open_resize` where it takes any size
    normalisation  what the network wants of a pixel
    batches        whether outputs tell the pictures of a batch apart
    settle         settles by values what names and shapes leave open, or says that they cannot
    asks           what a spec must say of pixels, its `channels` at least, where nothing tells it
    note           what else a user should know of it
    why            what it was recognised by
    """

    name: str
    find: Find
    read: Read
    what: str = ""
    form: BoxFormat = "xyxy"
    units: BoxUnits = "pixels"
    labels_from: int | None = 0
    activation: Activation | None = None
    nms_iou: float | None = None
    resize: Resize = "letterbox"
    open_resize: Resize | None = None
    antialias: bool = False
    normalisation: Normalisation = UNIT
    batches: bool = True
    inputs: tuple[str, ...] = ()
    auto: bool = True
    oriented: bool = False
    settle: Settle | None = None
    asks: str = ""
    note: str = ""
    why: str = ""
    outputs: tuple[str, ...] = ()
    wishes: Wishes = Wishes(())

    @property
    def base(self) -> int:
        """The number of the first name, as the spec or the layout says."""
        said = self.wishes.labels_from
        return (self.labels_from or 0) if said is None else said

    def decode(self, outputs: Arrays, index: int, frame: Frame, floor: float) -> Raw:
        """The boxes of picture `index` of the batch that score at least `floor`.

        `frame` is the (height, width) of the network's input.
        """
        raw = self.read(self, outputs, index, frame, floor)
        xyxy = corners(raw.boxes, self.form)
        if self.units == "relative":
            height, width = frame
            xyxy = xyxy * np.array([width, height, width, height], dtype=xyxy.dtype)
        return raw._replace(boxes=xyxy, label=raw.label - self.base)


def of_wishes(layout: Layout, outputs: tuple[str, ...], wishes: Wishes) -> Layout:
    """The layout of a graph, with what the spec says of it."""
    return replace(
        layout,
        outputs=outputs,
        wishes=wishes,
        form=wishes.box_format or layout.form,
        units=wishes.box_units or layout.units,
        activation=layout.activation and (wishes.activation or layout.activation),
        nms_iou=layout.nms_iou if wishes.nms_iou is None else wishes.nms_iou,
    )


def cells(frame: Frame, strides: tuple[int, ...] = (8, 16, 32)) -> NDArray[np.float32]:
    """(n, 3): column, row and stride of each cell, stride by stride, row by row."""
    grid = []
    for stride in strides:
        y, x = np.mgrid[: -(-frame[0] // stride), : -(-frame[1] // stride)]
        grid.append(np.stack([x, y, np.full_like(x, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(grid).astype(np.float32)


def yolo_cells(frame: Frame) -> set[int]:
    """How many cells the usual sets of strides divide a frame into."""
    sets = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
    return {sum(-(-frame[0] // s) * -(-frame[1] // s) for s in strides) for strides in sets}


def activated(
    scores: NDArray[np.floating], activation: Activation | None, axis: int = -1
) -> NDArray[np.floating]:
    """Logits to 0..1, along `axis` for softmax."""
    if activation in (None, "none"):
        return scores
    if activation == "sigmoid":
        # Both branches of the usual form overflow for some value; tanh does not.
        sigmoid: NDArray[np.floating] = np.tanh(scores * np.float32(0.5)) * np.float32(0.5)
        return sigmoid + np.float32(0.5)
    shifted = np.exp(scores - scores.max(axis=axis, keepdims=True))
    softmax: NDArray[np.floating] = shifted / shifted.sum(axis=axis, keepdims=True)
    return softmax


def corners(boxes: NDArray[Any], box_format: BoxFormat) -> NDArray[np.floating]:
    """(n, 4) boxes of a format -> (n, 4) xyxy, of the same unit; half precision becomes single."""
    if boxes.dtype == np.float16:
        boxes = boxes.astype(np.float32)  # from 512 on, its steps are half a pixel
    if box_format == "xyxy":
        return boxes
    if box_format == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def scored(boxes: Any, score: Any, label: Any, floor: float, grids: Grids | None = None) -> Raw:
    """The rows that score at least `floor`, with those whose score is no number, to be reported."""
    score = np.asarray(score, dtype=np.float32).reshape(-1)
    keep = np.flatnonzero(~(score < floor))
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[keep]
    labels = np.asarray(label).reshape(-1)[keep]
    return Raw(boxes, score[keep], whole(labels), None if grids is None else grids.take(keep))


def every(scores: NDArray[np.floating], floor: float) -> tuple[NDArray[np.intp], ...]:
    """(n, c) scores -> rows and columns of all that are at least `floor`."""
    return np.nonzero(~(scores < floor))


def best(scores: NDArray[np.floating], floor: float) -> tuple[NDArray[np.intp], ...]:
    """Likewise, of each row its best alone, the first of equals."""
    rows = np.flatnonzero(~(scores.max(axis=1) < floor))
    return rows, scores[rows].argmax(axis=1)


def whole(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Label numbers, which some models give as floats; ValueError where one has a fraction."""
    if labels.dtype.kind == "f":
        labels = np.nan_to_num(labels.astype(np.float64), nan=-1, posinf=-1, neginf=-1)
        if (bad := np.abs(labels - np.rint(labels)) > 1e-3).any():
            raise ValueError(
                f"a label number of {labels[bad][0]:g}, which is no whole number: are labels and "
                "scores taken for each other?"
            )
        labels = np.rint(labels).clip(-1, 1 << 30)
    return labels.astype(np.int64)


def inverted(boxes: NDArray[np.floating]) -> float:
    """How many of the boxes, 0..1, would end before they begin if they were corners."""
    return float(((boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])).mean())


def given(boxes: NDArray[Any]) -> NDArray[np.float32]:
    """(n, 4) of the boxes that are not all zeros."""
    rows = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    there: NDArray[np.float32] = rows[np.isfinite(rows).all(axis=1) & (rows != 0).any(axis=1)]
    return there


def relative(boxes: NDArray[np.float32]) -> bool:
    """Whether boxes are in 0..1 of the frame: in pixels, none would go beyond the second."""
    return len(boxes) > 0 and float(np.abs(boxes).max()) <= 2


def same(tensor: Tensor | None, rank: int, last: int | None = None) -> bool:
    """Whether a tensor is there and has this rank and last size, as far as the graph says."""
    if tensor is None:
        return False
    if not tensor.shape:
        return True
    return len(tensor.shape) == rank and (last is None or tensor.shape[-1] in (last, None))


def planes_of(graph: Graph, wishes: Wishes, *names: str) -> tuple[str, ...]:
    """The output of masks, of rank 4 and one of these names, where it is there and wanted."""
    planes = graph.output(*names) if wishes.masks else None
    return (planes.name,) if planes and same(planes, 4) else ()
