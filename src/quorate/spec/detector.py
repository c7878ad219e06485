"""What every kind of detector has in common, and how a kind is found.

A kind is an entry point of the group `quorate.detectors`: its name is the spec's `kind`, its
object a subclass of `Detector` with a `kind` of that name, fields of its own, and `load`. The
built-in kinds are found in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from quorate.errors import did_you_mean
from quorate.labels import VOCABULARIES
from quorate.spec.base import SpecModel
from quorate.spec.calibration import CalibrationField
from quorate.spec.text import Duration, Name
from quorate.spec.tta import Tiles, Views
from quorate.spec.words import problem

if TYPE_CHECKING:
    from quorate.detectors.base import Predictor

ENTRY_POINTS = "quorate.detectors"


class Detector(SpecModel):
    """One voter of an ensemble, as described; `load` makes it ready to see pictures."""

    aside: ClassVar[frozenset[str]] = frozenset(
        {"name", "weights", "calibration", "pool", "timeout", "image"}
    )
    """The fields whose text its boxes do not depend on."""

    name: Name = Field(description="What it is called.", examples=["yolo"])
    kind: str = Field(description="What reads it.", examples=["onnx"])
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="The detector's word: the data set's word.",
        examples=[{"vehicle": "car"}],
    )
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
    pool: Name | None = Field(None, description="Which of the ensemble's pools it runs on.")
    timeout: Duration | None = Field(
        None, description="How long a shard may take on a cluster before it is given up: 1h30m."
    )
    image: str | None = Field(
        None, min_length=1, description="The image it runs in on a cluster; default: ours."
    )

    @property
    def voters(self) -> tuple[str, ...]:
        """The names of its votes: its own, and with `views: vote` one for each further view."""
        further = self.tta if self.views == "vote" else ()
        return (self.name, *(f"{self.name}+{view}" for view in further))

    @property
    def files(self) -> tuple[str, ...]:
        """The files, or folders of files, that its boxes depend on."""
        names = getattr(self, "names", None)
        named = isinstance(names, str) and names not in VOCABULARIES
        found = getattr(self, "weights", None), names if named else None
        return tuple(location for location in found if location)

    def load(self) -> Predictor:
        """Read the weights and return what detects; DetectorError where that fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")


def detector_kinds() -> dict[str, EntryPoint]:
    """Every installed kind, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _of_its_kind(
    value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Detector:
    if isinstance(value, Detector) and type(value) is not Detector:
        return value
    if not isinstance(value, dict) or "kind" not in value:
        checked: Detector = handler(value)
        return checked
    kinds = detector_kinds()
    kind = value["kind"]
    if kind not in kinds:
        raise problem("unknown_kind", _unknown_kind(str(kind), kinds))
    model: type[Detector] = kinds[kind].load()
    return model.parsed(value, context=info.context)


def _unknown_kind(kind: str, kinds: Iterable[str]) -> str:
    known = f"no kind of detector is called '{kind}'"
    if hint := did_you_mean(kind, kinds):
        return f"{known}, {hint}"
    for words, advice in _MEANT:
        if re.search(words, kind.lower()):
            return f"{known}; {advice}"
    return f"{known}; there are {', '.join(sorted(kinds))}"


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


DetectorField = Annotated[SerializeAsAny[Detector], WrapValidator(_of_its_kind)]
