"""All kernels of fusion, compiled ahead."""

from __future__ import annotations

from quorate.detections import Detections
from quorate.fusion.pipeline import fuse
from quorate.fusion.rules import Method


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it.

    The compiled code lies beside the modules, or where NUMBA_CACHE_DIR says.
    """
    one = Detections.build(
        image_id=[0], category_id=1, xyxy=[[0.0, 0.0, 1.0, 1.0]], score=0.5, detectors=("a",)
    )
    for method in ("consensus", "soft_nms"):
        fuse(one, Method.named(method))
