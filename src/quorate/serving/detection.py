"""A detection ensemble as models of the protocol: its tensors, and those of each detector.

    boxes       FP32   [m, 4]  x1, y1, x2, y2 in pixels of the picture as shown; x2, y2 exclusive
    scores      FP32   [m]     0..1
    categories  INT32  [m]     the category ids of the ensemble's vocabulary
    labels      BYTES  [m]     their names
    votes       INT32  [m]     how many carried the box; of the ensemble alone
    counts      INT32  [n]     how many of the m boxes are each picture's, picture after picture
    voters      BYTES  [n]     who took part in each picture, with commas; of the ensemble alone

By falling score within a picture. A detector's own boxes, before calibration, are the outputs
`NAME.boxes` and so on of the ensemble, where they are asked for, and those of the model
ENSEMBLE.NAME.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.labels import Labels
from quorate.serving.values import Parameters, TensorInfo
from quorate.steps.look import Answer


class Detection:
    """See `quorate.serving.served.Tensors`."""

    own: tuple[TensorInfo, ...] = (
        TensorInfo("boxes", "FP32", (-1, 4)),
        TensorInfo("scores", "FP32", (-1,)),
        TensorInfo("categories", "INT32", (-1,)),
        TensorInfo("labels", "BYTES", (-1,)),
        TensorInfo("counts", "INT32", (-1,)),
    )
    decided: tuple[TensorInfo, ...] = (
        *own,
        TensorInfo("votes", "INT32", (-1,)),
        TensorInfo("voters", "BYTES", (-1,)),
    )
    on_request: tuple[str, ...] = ()

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def tensors(
        self, answers: Sequence[Answer], wanted: Sequence[str], parameters: Parameters
    ) -> dict[str, NDArray[Any]]:
        """The outputs wanted; a detector that failed has no boxes."""
        known = {"": _columns([one.boxes for one in answers], self.labels)}
        told = {}
        for name in wanted:
            detector, _, column = name.rpartition(".")
            if detector not in known:
                own = [one.own.get(detector, Detections.empty((detector,))) for one in answers]
                known[detector] = _columns(own, self.labels)
            if name == "voters":
                told[name] = np.array([",".join(one.own).encode() for one in answers], object)
            else:
                told[name] = known[detector][column]
        return told

    @staticmethod
    def voters(answer: Answer) -> tuple[str, ...]:
        """Who took part."""
        return tuple(answer.own)

    @staticmethod
    def votes(answer: Answer) -> list[int]:
        """The votes of each box."""
        votes: list[int] = answer.boxes.votes.tolist()
        return votes


def _columns(found: Sequence[Detections], labels: Labels) -> Mapping[str, NDArray[Any]]:
    together = Detections.concat(found) if len(found) > 1 else found[0]
    names = dict(zip(labels.ids, labels.names, strict=True))
    return {
        "boxes": np.ascontiguousarray(together.xyxy, np.float32),
        "scores": together.score,
        "categories": together.category_id,
        "labels": np.array([names[i].encode() for i in together.category_id.tolist()], object),
        "votes": together.votes.astype(np.int32),
        "counts": np.array([len(one) for one in found], np.int32),
    }
