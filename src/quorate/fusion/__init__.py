"""Fusion: many detectors' boxes become one set, each box with the votes that carried it.

columns         what fusion reads and writes, and the tables that its kernels share
order           the order in which boxes are looked at, ties settled
overlap         IoU and IoS, and which boxes are near enough to ask
groups          how boxes form groups
decay           soft-NMS, which forms none
boxes           how a group becomes one box
masks           how the members' masks become one mask
rules           a method of the spec as plain values, and as the kernels take it
pipeline        `fuse`: a whole data set, range by range, in parallel over pictures
classes         the labels of whole pictures: sums, votes and products of probabilities
ensemble_boxes  the functions of ensemble-boxes on the same kernels, one picture a call
"""

from quorate.detections import Detections
from quorate.fusion.ensemble_boxes import (
    nms,
    nms_method,
    non_maximum_weighted,
    soft_nms,
    weighted_boxes_fusion,
)
from quorate.fusion.pipeline import carried, fuse
from quorate.fusion.rules import Method

__all__ = [
    "carried",
    "compile_kernels",
    "fuse",
    "nms",
    "nms_method",
    "non_maximum_weighted",
    "soft_nms",
    "weighted_boxes_fusion",
]


def compile_kernels() -> None:
    """Compile every kernel now, or load it from the cache, so that no later call waits for it.

    The compiled code lies beside the modules, or where NUMBA_CACHE_DIR says.
    """
    one = Detections.build(
        image_id=[0], category_id=1, xyxy=[[0.0, 0.0, 1.0, 1.0]], score=0.5, detectors=("a",)
    )
    for method in ("consensus", "soft_nms"):
        fuse(one, Method.named(method))
