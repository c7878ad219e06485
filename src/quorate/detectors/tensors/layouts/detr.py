"""DETR's head: one row of logits and one box for each query, nothing to suppress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from quorate.detectors.tensors.geometry import Resize
from quorate.detectors.tensors.layouts.layout import (
    IMAGENET,
    Activation,
    Arrays,
    Layout,
    Raw,
    Wishes,
    activated,
    corners,
    of_unit,
    same,
)
from quorate.detectors.tensors.preprocess import Normalisation
from quorate.masks.grids import Grids
from quorate.networks import Graph


@dataclass(frozen=True)
class Detr(Layout):
    """`logits` (n, q, c) and `pred_boxes` (n, q, 4): centre and size in 0..1 of the frame.

    As many logits as names are scores each of its own (sigmoid: deformable DETR, RT-DETR,
    D-FINE): every pair of query and label above the score counts, as their reference does. One
    more is the category of no object (softmax: DETR, conditional DETR, YOLOS), which comes
    last: a query has its best other label. `pred_masks` (n, q, h, w), above 0 within an object, are
    the masks of DETR for segmentation.
    """

    name: ClassVar[str] = "detr"
    resize: ClassVar[Resize] = "stretch"
    antialias: ClassVar[bool] = True
    takes_activation: ClassVar[bool] = True

    activation: Activation = "softmax"

    @classmethod
    def fit(cls, graph: Graph, wishes: Wishes, *, forced: bool) -> Self | None:
        """By the outputs' names, or forced by their shapes; the count of logits must agree."""
        logits = graph.output("logits", "pred_logits")
        boxes = graph.output("pred_boxes")
        if forced and not (logits and boxes):
            flat = [t for t in graph.outputs if len(t.shape) == 3 and not t.whole]
            boxes = next((t for t in flat if t.shape[-1] == 4), None)
            logits = next((t for t in flat if t is not boxes), None)
        if logits is None or boxes is None or not same(boxes, 3, 4) or not same(logits, 3):
            return None
        count = logits.shape[-1] if logits.shape else None
        extra = {len(wishes.names): "sigmoid", len(wishes.names) + 1: "softmax"}
        if count not in extra:
            return None
        activation: Activation = "sigmoid" if count == len(wishes.names) else "softmax"
        if wishes.activation not in (None, activation, "none"):
            return None
        planes = graph.output("pred_masks") if wishes.masks else None
        masks = (planes.name,) if planes and same(planes, 4) else ()
        activation = wishes.activation or activation
        # RT-DETR, D-FINE and their kin, which are stretched always and take 0..1.
        plain = activation != "softmax" and graph.input("pixel_mask") is None
        return cls(
            wishes,
            (logits.name, boxes.name, *masks),
            open_resize=None if plain else "shortest_edge",
            normalisation=Normalisation(pad=0) if plain else IMAGENET,
            activation=activation,
        )

    def decode(self, outputs: Arrays, index: int, frame: tuple[int, int], floor: float) -> Raw:
        """See `Layout`."""
        logits = np.asarray(outputs[self.outputs[0]][index], dtype=np.float32)
        boxes = np.asarray(outputs[self.outputs[1]][index], dtype=np.float32)
        names = len(self.wishes.names)
        scores = activated(logits, self.activation)[:, :names]
        if logits.shape[1] > names:
            label = scores.argmax(axis=1)
            query = np.arange(len(scores))
            score = scores[query, label]
            keep = ~(score < floor)
            query, label, score = query[keep], label[keep], score[keep]
        else:
            query, label = np.nonzero(~(scores < floor))
            score = scores[query, label]
        grids = None
        if len(self.outputs) > 2:
            planes = np.asarray(outputs[self.outputs[2]][index], dtype=np.float32)
            grids = Grids(planes, query.astype(np.int64), 0.0)
        return Raw(of_unit(corners(boxes[query], "cxcywh"), frame), score, label, grids)
