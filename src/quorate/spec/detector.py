"""What every kind of detector has in common.

A kind is an entry point of the group `quorate.detectors`: see `quorate.spec.member`.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from quorate.spec.calibration import CalibrationField
from quorate.spec.member import Member, MemberHead, kinds, of_its_kind
from quorate.spec.tta import Tiles, Views

if TYPE_CHECKING:
    from quorate.detectors.base import Predictor

ENTRY_POINTS = "quorate.detectors"


class _BoxFields(MemberHead):
    min_score: float = Field(
        0.05, ge=0.0, le=1.0, description="Boxes that score less are not kept."
    )
    max_detections: int = Field(300, ge=1, description="Most boxes kept in one picture.")
    tta: Views = Field(
        (),
        description="Test-time augmentation: views beside the picture as it is.",
        examples=[["hflip", "scale-0.8"]],
    )
    views: Literal["fuse", "vote"] = Field(
        "fuse", description="One vote for all views together (fuse), or one for each (vote)."
    )
    tiles: Tiles | None = Field(
        None, description="Cut large pictures into tiles.", examples=[{"size": 640}]
    )
    calibration: CalibrationField | None = Field(
        None,
        description="From its score to the probability that a box is right, before boxes are "
        "fused.",
        examples=[{"method": "temperature", "temperature": 1.5}],
    )


class Detector(Member, _BoxFields):
    """One voter of an ensemble, as described; `load` makes it ready to see pictures."""

    aside: ClassVar[frozenset[str]] = Member.aside | {"calibration"}
    """The fields whose text its boxes do not depend on."""

    @property
    def voters(self) -> tuple[str, ...]:
        """The names of its votes: its own, and with `views: vote` one for each further view."""
        further = self.tta if self.views == "vote" else ()
        return (self.name, *(f"{self.name}+{view}" for view in further))

    def load(self) -> Predictor:
        """Read the weights and return what detects; DetectorError where that fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")


def detector_kinds() -> dict[str, EntryPoint]:
    """Every installed kind, by name."""
    return kinds(ENTRY_POINTS)


def _advice(kind: str) -> str | None:
    return next((said for words, said in _MEANT if re.search(words, kind.lower())), None)


_MEANT = (
    ("darknet|yolov?[234](?![0-9])", "it says what reads the file: `kind: darknet` for a .cfg and "
     "a .weights file, `kind: onnx` for a model exported to ONNX"),
    ("hugging|hf|auto", "for a model of Hugging Face it is `kind: transformers`"),
    ("triton|kserve|server|http|grpc|openvino|ovms|mlserver", "for a model behind a server it is "
     "`kind: remote`; OpenVINO, TensorRT and CUDA run ONNX models too: see `providers`"),
    ("docker|image|command|script", "for a program of your own it is `kind: container`"),
    ("rcnn|retinanet|fcos|ssd", "for a model of torchvision it is `kind: torchvision` with "
     "`architecture`; for one exported to ONNX `kind: onnx`"),
    ("yolo|ultralytics|detr|deim|dfine|torch|tensorrt|trt|tflite|keras|tensorflow|paddle|nas|mm|net",
     "it says what reads the file, not what the network is: export the model to ONNX, then "
     "`kind: onnx`; what its outputs mean is recognised"),
)  # fmt: skip
"""What a wrong kind looks like, and what is meant by it most likely."""


DetectorField = Annotated[SerializeAsAny[Detector], of_its_kind(Detector, ENTRY_POINTS, _advice)]
