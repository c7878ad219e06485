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
ensemble_boxes  the functions of ensemble-boxes on the same kernels, one picture a call
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.fusion.compile import compile_kernels
from quorate.fusion.pipeline import carried, fuse

if TYPE_CHECKING:
    from quorate.fusion.ensemble_boxes import (
        nms,
        nms_method,
        non_maximum_weighted,
        soft_nms,
        weighted_boxes_fusion,
    )

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'quorate.fusion' has no attribute '{name}'")
    from quorate.fusion import ensemble_boxes

    return getattr(ensemble_boxes, name)
