"""A layout: what a model's outputs mean, and what its network wants to see.

A layout knows how its models want their picture (`resize`, `normalisation`, `antialias`), and
`decode` turns their outputs into `Raw` boxes in the network's frame. Everything that a spec says
goes before what a layout says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph, Tensor

Activation = Literal["none", "sigmoid", "softmax"]
BoxFormat = Literal["xyxy", "yxyx", "cxcywh"]
Arrays = Mapping[str, NDArray[Any]]

UNIT = Normalisation()
LEVELS = Normalisation(scale=1.0, pad=0)
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BACKGROUND = ("__background__", "background")


class Raw(NamedTuple):
    """Boxes of one picture as a layout reads them; they are still to be checked and ordered.

    xyxy   float (n, 4)  pixels of the network's frame
    score  float (n,)
    label  int   (n,)    position in the model's names
    grids  Grids or None their masks, over the network's frame, still to be drawn
    """

    xyxy: NDArray[np.floating]
    score: NDArray[np.floating]
    label: NDArray[np.integer]
    grids: Grids | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is known when a layout is fitted to a graph.

    names       the model's labels
    frame       (height, width) of the network's input, None where it is open
    activation  from the spec; None for the layout's own
    box_format  likewise
    masks       whether masks are wanted, where the model has them
    """

    names: tuple[str, ...]
    frame: tuple[int, int] | None = None
    activation: Activation | None = None
    box_format: BoxFormat | None = None
    masks: bool = True


@dataclass(frozen=True)
class Layout:
    """One way of writing boxes into tensors, fitted to one graph.

    outputs        the tensors that `decode` reads
    open_resize    in place of `resize` where the network takes any size
    normalisation  what its networks want of a pixel
    """

    name: ClassVar[str]
    resize: ClassVar[Resize] = "letterbox"
    antialias: ClassVar[bool] = False
    nms_iou: ClassVar[float | None] = None
    default_size: ClassVar[int] = 640
    takes_activation: ClassVar[bool] = False
    background: ClassVar[bool] = False  # whether names may begin with the background's
    batches: ClassVar[bool] = True

    wishes: Wishes
    outputs: tuple[str, ...]
    open_resize: Resize | None = None
    normalisation: Normalisation = UNIT

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """Fit to a graph, or None where it is not of this layout.

        `forced`, the spec's own choice, lets shapes stand for names, and ends ambiguity.
        """
        raise NotImplementedError

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """The boxes of picture `index` of the batch that score at least `floor`.

        `frame` is the (height, width) of the network's input.
        """
        raise NotImplementedError


def yolo_cells(frame: tuple[int, int] | None) -> set[int]:
    """How many cells the usual sets of strides divide a frame into."""
    if frame is None:
        return set()
    sets = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
    return {sum(-(-frame[0] // s) * -(-frame[1] // s) for s in strides) for strides in sets}


def activated(
    scores: NDArray[np.floating], activation: Activation, axis: int = -1
) -> NDArray[np.floating]:
    """Logits to 0..1, along `axis` for softmax."""
    if activation == "none":
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


def of_unit(xyxy: NDArray[np.floating], frame: tuple[int, int]) -> NDArray[np.floating]:
    """Boxes in 0..1 of the frame -> pixels of the frame."""
    height, width = frame
    return xyxy * np.array([width, height, width, height], dtype=xyxy.dtype)


def scored(xyxy: Any, score: Any, label: Any, floor: float, grids: Grids | None = None) -> Raw:
    """The rows that score at least `floor`, with those whose score is no number, to be reported."""
    score = np.asarray(score, dtype=np.float32).reshape(-1)
    keep = np.flatnonzero(~(score < floor))
    boxes = np.asarray(xyxy, dtype=np.float32).reshape(-1, 4)[keep]
    labels = np.asarray(label).reshape(-1)[keep]
    return Raw(boxes, score[keep], whole(labels), None if grids is None else grids.take(keep))


def whole(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Label numbers, which some models give as floats."""
    if labels.dtype.kind == "f":
        labels = np.nan_to_num(np.rint(labels.astype(np.float64)), nan=-1, posinf=-1, neginf=-1)
        labels = labels.clip(-1, 1 << 30)
    return labels.astype(np.int32)


def same(tensor: Tensor | None, rank: int, last: int | None = None) -> bool:
    """Whether a tensor is there and has this rank and last size, as far as the graph says."""
    if tensor is None:
        return False
    if not tensor.shape:
        return True
    return len(tensor.shape) == rank and (last is None or tensor.shape[-1] in (last, None))
