"""A plug-in for Quorate: the cascade detectors that ship inside OpenCV 4 (Viola and Jones 2001).

A kind of detector is two classes: what stands in the spec (a `Detector`, with fields of its own
and `load`), and what answers pictures (a `Predictor`: `labels` and `predict`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from quorate.detectors import Boxes
from quorate.errors import DetectorError, did_you_mean
from quorate.spec import Detector


class CascadeDetector(Detector):
    """A cascade of OpenCV, as it stands in a spec."""

    kind: Literal["cascade"] = "cascade"
    cascade: str = Field("frontalface_default", description="A shipped cascade, by its name.")
    label: str = Field("face", description="What it finds.")
    scale_factor: float = Field(1.1, gt=1.0, le=4.0, description="Between sizes that are tried.")
    min_neighbors: int = Field(2, ge=0, description="Windows that must agree; fewer: more alarms.")
    min_size: PositiveInt = Field(24, description="Pixels of the smallest side.")

    def load(self) -> CascadePredictor:
        """Read the cascade; DetectorError when OpenCV has none of that name."""
        import cv2  # as late as it can be: describing a detector must stay quick

        folder = Path(cv2.data.haarcascades)
        shipped = {p.stem.removeprefix("haarcascade_"): p for p in folder.glob("*.xml")}
        if self.cascade not in shipped:
            raise DetectorError(
                f"OpenCV {cv2.__version__} ships no cascade '{self.cascade}'.",
                hint=did_you_mean(self.cascade, shipped) or f"it has {', '.join(sorted(shipped))}",
            )
        cv2.setNumThreads(1)  # Quorate shows it a picture on every core already
        return CascadePredictor(self, shipped[self.cascade])


class CascadePredictor:
    """A cascade that is ready."""

    def __init__(self, spec: CascadeDetector, file: Path) -> None:
        self._spec = spec
        self._file = file
        self._own = threading.local()  # a classifier keeps state, so each thread has its own
        stages = ElementTree.parse(file).findall(".//stages/_/stageThreshold")
        self._stages = len(stages)
        self._threshold = float(stages[-1].text or 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The one word it knows."""
        return (self._spec.label,)

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        """Find the boxes of each picture."""
        return [self._predict(picture) for picture in pictures]

    def _predict(self, picture: NDArray[np.uint8]) -> Boxes:
        import cv2

        if not hasattr(self._own, "classifier"):
            self._own.classifier = cv2.CascadeClassifier(str(self._file))
        xywh, levels, weights = self._own.classifier.detectMultiScale3(
            cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY),
            scaleFactor=self._spec.scale_factor,
            minNeighbors=self._spec.min_neighbors,
            minSize=(self._spec.min_size, self._spec.min_size),
            outputRejectLevels=True,
        )
        xywh = np.asarray(xywh, dtype=np.float32).reshape(-1, 4)
        # OpenCV also lists what failed at one of the last stages.
        passed = np.ravel(levels) == self._stages
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)[passed]
        # How far the last stage's sum lies above its threshold, squashed: 0 at it, 1 far above.
        margin = np.maximum(np.ravel(weights)[passed] - self._threshold, 0)
        score = (margin / (1 + margin)).astype(np.float32)
        kept = np.flatnonzero(score >= self._spec.min_score)
        order = kept[np.lexsort((*xyxy[kept].T, -score[kept]))][: self._spec.max_detections]
        return Boxes(xyxy[order], score[order], np.zeros(len(order), dtype=np.int32))
