"""A detection ensemble as a user writes it: its detectors, their fusion, what is published."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel
from quorate.spec.calibration import Calibration
from quorate.spec.detector import DetectorField, detector_kinds
from quorate.spec.ensemble import (
    Ensemble,
    EnsembleHead,
    Folder,
    Share,
    schema_of,
)
from quorate.spec.fusion import Consensus, Fusion, FusionField
from quorate.spec.whole import Place, check_known


class Publish(SpecModel):
    """What is written when the quorum has decided."""

    formats: tuple[Literal["cvat", "coco", "voc", "yolo"], ...] = Field(
        ("cvat", "coco"), description="What is written.", examples=[["cvat", "coco"]]
    )
    attributes: tuple[Literal["votes", "score", "agreement", "detectors"], ...] = Field(
        ("votes", "score"),
        examples=[["votes", "score"]],
        description="What each CVAT box carries as label attributes; CVAT calls the score "
        "'confidence'.",
    )
    min_score: float = Field(
        0.25, ge=0.0, le=1.0, description="Boxes that score less are not written for a person."
    )
    masks: Literal["mask", "polygon", "box"] = Field(
        "mask",
        description="A detection with a mask is written as its mask, as a polygon, or as a box.",
    )
    tolerance: float = Field(
        1.5,
        ge=0.0,
        le=100.0,
        description="Pixels that a polygon's outline may stray from its mask's; 0 follows each.",
    )
    renumber: bool = Field(
        False, description="COCO's categories are numbered anew from 1, without gaps."
    )
    folder: Folder = ""
    review: Literal["disagreement"] | None = Field(
        None,
        description="Tag the pictures a person should look at first; in a task, open an issue.",
    )
    review_share: Share = 0.2
    report: bool = Field(True, description="Write report.html.")


class _DetectorsFields(EnsembleHead):
    detectors: tuple[DetectorField, ...] = Field(
        min_length=1,
        description="Who votes.",
        examples=[[{"name": "yolo", "kind": "onnx", "weights": "yolo.onnx"}]],
    )
    fusion: FusionField = Field(
        Consensus(), description="How they decide.", examples=[{"method": "wbf", "iou": 0.6}]
    )


class EnsembleSpec(Ensemble, _DetectorsFields):
    """A detection ensemble: the whole of one spec file."""

    members_field: ClassVar[str] = "detectors"
    noun: ClassVar[str] = "detector"

    kind: Literal["DetectionEnsemble"] = "DetectionEnsemble"
    publish: Publish = Field(
        Publish(), description="What is written.", examples=[{"formats": ["cvat"]}]
    )

    @model_validator(mode="after")
    def _fusion_fits(self) -> Self:
        voters = [voter for detector in self.detectors for voter in detector.voters]
        own = self.fusion.categories
        weighted: list[tuple[Place, str]] = [
            *((("weights", name), name) for name in self.fusion.weights),
            *((("categories", c, "weights", n), n) for c, one in own.items() for n in one.weights),
        ]
        for place, name in weighted:
            check_known(("fusion", *place), "detector", name, voters, "the detectors are")
        used: dict[str, Place] = {name: ("fusion", "categories", name) for name in own}
        for i, detector in enumerate(self.detectors):
            for name in detector.calibration.categories if detector.calibration else ():
                used.setdefault(name, ("detectors", i, "calibration", "categories", name))
        for name, place in used.items() if self.labels else ():
            check_known(place, "label", name, self.labels, "labels are")
        return self

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """The calibration of each voter whose detector has one."""
        return {
            voter: detector.calibration
            for detector in self.detectors
            if detector.calibration is not None
            for voter in detector.voters
        }

    @property
    def voting(self) -> Fusion:
        """The fusion; a view with a vote of its own has the weight of its detector."""

        def spread(weights: dict[str, float]) -> dict[str, float]:
            given = {
                voter: weights[detector.name]
                for detector in self.detectors
                if detector.name in weights
                for voter in detector.voters
            }
            return given | weights

        fusion = self.fusion
        own = {
            label: what.model_copy(update={"weights": spread(what.weights)})
            for label, what in fusion.categories.items()
        }
        return fusion.model_copy(update={"weights": spread(fusion.weights), "categories": own})


def json_schema(model: type[EnsembleSpec] = EnsembleSpec) -> dict[str, Any]:
    """The JSON Schema of a spec file, with the fields of every installed kind of detector."""
    return schema_of(model, detector_kinds())
