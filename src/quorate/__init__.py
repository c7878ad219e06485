"""Quorate: a quorum of object detectors decides."""

from __future__ import annotations

from quorate._version import __version__ as __version__

TYPE_CHECKING = False  # as typing has it, whose import would be a fifth of `quorate --help`
if TYPE_CHECKING:
    from typing import Any

# Where the public names live. A name is imported when it is first used, so that neither the
# command line nor a plug-in pays for what it does not touch.
_HOMES = {
    "annotations": ("Annotations",),
    "dataset": ("Dataset", "Image"),
    "detections": ("Detections",),
    "detectors.base": ("Boxes", "Predictor"),
    "detectors.onnx.spec": ("OnnxDetector",),
    "ensemble": ("DetectionEnsemble",),
    "errors": ("QuorateError",),
    "evaluation.coco": ("evaluate",),
    "evaluation.compare": ("compare",),
    "evaluation.effort": ("effort",),
    "formats": ("read", "read_detections", "write"),
    "fusion": ("fuse",),
    "interop": ("from_supervision", "fuse_boxes", "to_supervision"),
    "labels": ("Labels",),
    "offline": ("fuse_files",),
    "steps.look": ("LoadedEnsemble",),
    "spec": (
        "Affirmative",
        "CategoryFusion",
        "Consensus",
        "Detector",
        "Nms",
        "NonMaximumMerging",
        "NonMaximumWeighted",
        "Publish",
        "SoftNms",
        "Unanimous",
        "Votes",
        "WeightedBoxesFusion",
    ),
}

__all__ = [
    "Affirmative",
    "Annotations",
    "Boxes",
    "CategoryFusion",
    "Consensus",
    "Dataset",
    "DetectionEnsemble",
    "Detections",
    "Detector",
    "Image",
    "Labels",
    "LoadedEnsemble",
    "Nms",
    "NonMaximumMerging",
    "NonMaximumWeighted",
    "OnnxDetector",
    "Predictor",
    "Publish",
    "QuorateError",
    "SoftNms",
    "Unanimous",
    "Votes",
    "WeightedBoxesFusion",
    "compare",
    "effort",
    "evaluate",
    "from_supervision",
    "fuse",
    "fuse_boxes",
    "fuse_files",
    "read",
    "read_detections",
    "to_supervision",
    "write",
]

if TYPE_CHECKING:
    from quorate.annotations import Annotations
    from quorate.dataset import Dataset, Image
    from quorate.detections import Detections
    from quorate.detectors.base import Boxes, Predictor
    from quorate.detectors.onnx.spec import OnnxDetector
    from quorate.ensemble import DetectionEnsemble
    from quorate.errors import QuorateError
    from quorate.evaluation.coco import evaluate
    from quorate.evaluation.compare import compare
    from quorate.evaluation.effort import effort
    from quorate.formats import read, read_detections, write
    from quorate.fusion import fuse
    from quorate.interop import from_supervision, fuse_boxes, to_supervision
    from quorate.labels import Labels
    from quorate.offline import fuse_files
    from quorate.spec import (
        Affirmative,
        CategoryFusion,
        Consensus,
        Detector,
        Nms,
        NonMaximumMerging,
        NonMaximumWeighted,
        Publish,
        SoftNms,
        Unanimous,
        Votes,
        WeightedBoxesFusion,
    )
    from quorate.steps.look import LoadedEnsemble


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"quorate.{home}"), name)
    raise AttributeError(f"module 'quorate' has no attribute '{name}'")
