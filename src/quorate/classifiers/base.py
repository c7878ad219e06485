"""What a classifier is once it is loaded: `ClassPredictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ClassPredictor(Protocol):
    """A loaded classifier.

    The caller's duties: pictures are uint8 (height, width, 3), RGB, EXIF orientation applied, at
    least 1 x 1; one call may hold pictures of different sizes; calls may come from several threads
    at once.
    The callee's duties: a row for each picture, in order; the same row whatever else is in the
    call; finite numbers, 0..1; never a change to the pictures.

    It may have more: `batch`, how many pictures it likes at once; `told`, what its model was taken
    for, in words; `notes`, sentences for the summary.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The classifier's own words, in the order of its probabilities."""

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """float32 (n, k), the probability of each label in each picture."""
