"""Quorate: a quorum of object detectors decides."""

from __future__ import annotations

from quorate._version import __version__ as __version__

TYPE_CHECKING = False  # as typing has it, whose import would be a fifth of `quorate --help`

# Where the public names live. A name is imported when it is first used, so that neither the
# command line nor a plug-in pays for what it does not touch.
_HOMES = {
    "annotations": ("Annotations",),
    "classifications": ("Choice", "Classifications", "Decision"),
    "classifiers.base": ("ClassPredictor",),
    "classifiers.onnx": ("OnnxClassifier",),
    "dataset": ("Dataset", "Image"),
    "detections": ("Detections",),
    "detectors.base": ("Boxes", "Predictor"),
    "detectors.onnx.spec": ("OnnxDetector",),
    "ensemble": ("ClassificationEnsemble", "DetectionEnsemble", "read_ensemble"),
    "errors": ("QuorateError",),
    "evaluation.coco": ("evaluate",),
    "evaluation.compare": ("compare",),
    "evaluation.effort": ("effort",),
    "formats": ("read", "read_detections", "write"),
    "fusion": ("fuse",),
    "interop": ("from_supervision", "fuse_boxes", "to_supervision"),
    "labels": ("Labels",),
    "offline": ("fuse_files",),
    "report.drawn": ("draw", "draw_pictures"),
    "steps.look": ("LoadedClassification", "LoadedEnsemble"),
    "spec": (
        "Affirmative",
        "CategoryFusion",
        "Classifier",
        "Consensus",
        "Detector",
        "Majority",
        "Maximum",
        "Nms",
        "NonMaximumMerging",
        "NonMaximumWeighted",
        "Product",
        "Publish",
        "PublishClasses",
        "SoftNms",
        "Sum",
        "Unanimous",
        "Votes",
        "WeightedBoxesFusion",
    ),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from quorate.annotations import Annotations as Annotations
    from quorate.classifications import Choice as Choice
    from quorate.classifications import Classifications as Classifications
    from quorate.classifications import Decision as Decision
    from quorate.classifiers.base import ClassPredictor as ClassPredictor
    from quorate.classifiers.onnx import OnnxClassifier as OnnxClassifier
    from quorate.dataset import Dataset as Dataset
    from quorate.dataset import Image as Image
    from quorate.detections import Detections as Detections
    from quorate.detectors.base import Boxes as Boxes
    from quorate.detectors.base import Predictor as Predictor
    from quorate.detectors.onnx.spec import OnnxDetector as OnnxDetector
    from quorate.ensemble import ClassificationEnsemble as ClassificationEnsemble
    from quorate.ensemble import DetectionEnsemble as DetectionEnsemble
    from quorate.ensemble import read_ensemble as read_ensemble
    from quorate.errors import QuorateError as QuorateError
    from quorate.evaluation.coco import evaluate as evaluate
    from quorate.evaluation.compare import compare as compare
    from quorate.evaluation.effort import effort as effort
    from quorate.formats import read as read
    from quorate.formats import read_detections as read_detections
    from quorate.formats import write as write
    from quorate.fusion import fuse as fuse
    from quorate.interop import from_supervision as from_supervision
    from quorate.interop import fuse_boxes as fuse_boxes
    from quorate.interop import to_supervision as to_supervision
    from quorate.labels import Labels as Labels
    from quorate.offline import fuse_files as fuse_files
    from quorate.report.drawn import draw as draw
    from quorate.report.drawn import draw_pictures as draw_pictures
    from quorate.spec import Affirmative as Affirmative
    from quorate.spec import CategoryFusion as CategoryFusion
    from quorate.spec import Classifier as Classifier
    from quorate.spec import Consensus as Consensus
    from quorate.spec import Detector as Detector
    from quorate.spec import Majority as Majority
    from quorate.spec import Maximum as Maximum
    from quorate.spec import Nms as Nms
    from quorate.spec import NonMaximumMerging as NonMaximumMerging
    from quorate.spec import NonMaximumWeighted as NonMaximumWeighted
    from quorate.spec import Product as Product
    from quorate.spec import Publish as Publish
    from quorate.spec import PublishClasses as PublishClasses
    from quorate.spec import SoftNms as SoftNms
    from quorate.spec import Sum as Sum
    from quorate.spec import Unanimous as Unanimous
    from quorate.spec import Votes as Votes
    from quorate.spec import WeightedBoxesFusion as WeightedBoxesFusion
    from quorate.steps.look import LoadedClassification as LoadedClassification
    from quorate.steps.look import LoadedEnsemble as LoadedEnsemble


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported when first used.

    `homes` has the names of each of its modules.
    """

    def get(name: str) -> Any:
        from importlib import import_module

        for home, names in homes.items():
            if name in names:
                return getattr(import_module(f"{package}.{home}"), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return get


__getattr__ = lazily(__name__, _HOMES)
