"""Test-time augmentation: a detector is shown several views of a picture, or tiles of it.

maps         where a point of a view lies in the picture
geometric    views that move pixels, with their maps
photometric  views that change colours
opencv       OpenCV with one thread, imported by the views that need it
masks        the way back for masks
views        all views of a picture through one detector
tiles        large pictures in overlapping tiles

The words of the spec, names and ranges, are in `quorate.spec.tta`.
"""

from __future__ import annotations

from quorate.detectors.base import Predictor
from quorate.spec import Detector
from quorate.spec.tta import View
from quorate.tta.tiles import Tiled
from quorate.tta.views import Augmented, see

__all__ = ["Augmented", "Tiled", "augmented", "see"]


def augmented(detector: Detector, predictor: Predictor) -> Predictor:
    """The predictor as the spec wants it asked: by tiles, by several views, or as it is.

    With both, each view is tiled.
    """
    if detector.tiles is not None:
        predictor = Tiled(predictor, detector.tiles, detector.max_detections)
    if detector.tta:
        views = tuple(View.parse(text) for text in detector.tta)
        predictor = Augmented(predictor, views, detector.max_detections)
    return predictor
