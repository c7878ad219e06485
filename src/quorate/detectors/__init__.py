"""Detectors: anything that turns pictures into boxes.

The described detector (`quorate.spec.Detector`, what stands in the spec) loads into a
`Predictor` (what answers pictures). A family is one module here, or one in a package of
somebody else's that has an entry point in the group `quorate.detectors`.
"""

from __future__ import annotations

import numpy as np

from quorate.detectors.base import Boxes, Predictor

__all__ = ["Boxes", "Predictor", "compile_kernels"]


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it."""
    from quorate.detectors.tensors.geometry import letterbox
    from quorate.detectors.tensors.preprocess import Normalisation, fill
    from quorate.detectors.tensors.suppress import suppress

    picture = np.zeros((3, 5, 3), dtype=np.uint8)
    planes = np.zeros((3, 4, 4), dtype=np.float32)
    fill(planes, picture, letterbox((3, 5), (4, 4)), Normalisation(), antialias=False)
    suppress(np.zeros((1, 4), dtype=np.float32), np.zeros(1, dtype=np.int32), 0.5, 1)
