"""What a detector is once it is loaded: `Predictor`, and what it finds: `Boxes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from quorate.display import brief
from quorate.masks import Masks


class Boxes(NamedTuple):
    """What a detector found in one picture, by falling score.

    xyxy   float32  (n, 4)  pixels of the picture given, x2 and y2 exclusive
    score  float32  (n,)    0..1
    label  int32    (n,)    position in the predictor's `labels`
    masks  Masks or None    the pixels of each object, in the picture given; None where the
                            detector gives none
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    label: NDArray[np.int32]
    masks: Masks | None = None

    def __repr__(self) -> str:
        return brief(self)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Boxes:
        """The rows of an index array, a mask or a slice, in that order."""
        masks = None if self.masks is None else self.masks.take(rows)
        return Boxes(self.xyxy[rows], self.score[rows], self.label[rows], masks)

    @classmethod
    def nothing(cls) -> Boxes:
        """No boxes."""
        xyxy, score = np.empty((0, 4), np.float32), np.empty(0, np.float32)
        return cls(xyxy, score, np.empty(0, np.int32))


def masks_of(found: Sequence[Boxes]) -> Masks | None:
    """The masks of all boxes, in order; None where none of them has any."""
    if all(boxes.masks is None for boxes in found):
        return None
    return Masks.concat([len(b.score) if b.masks is None else b.masks for b in found])


class Predictor(Protocol):
    """A loaded detector.

    The caller's duties: pictures are uint8 (height, width, 3), RGB, EXIF orientation applied,
    at least 1 x 1; one call may hold pictures of different sizes; calls may come from several
    threads at once.
    The callee's duties: one `Boxes` for each picture, in order; the same boxes whatever else is
    in the call; finite numbers inside the picture; masks, if any, of the picture's size; never a
    change to the pictures.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The detector's own words, in the order of its label numbers."""

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find the boxes of each picture."""
