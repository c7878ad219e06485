"""The ensemble's description: vocabulary, defaults, validation, JSON Schema."""

from quorate.spec.base import Location, SpecModel
from quorate.spec.calibration import (
    Beta,
    BetaCalibration,
    Calibration,
    Isotonic,
    IsotonicCalibration,
    Temperature,
    TemperatureCalibration,
)
from quorate.spec.detector import Detector
from quorate.spec.ensemble import EnsembleSpec, Publish, json_schema
from quorate.spec.fusion import (
    Affirmative,
    CategoryFusion,
    Consensus,
    Fusion,
    Nms,
    NonMaximumMerging,
    NonMaximumWeighted,
    SoftNms,
    Unanimous,
    Votes,
    WeightedBoxesFusion,
)

__all__ = [
    "Affirmative",
    "Beta",
    "BetaCalibration",
    "Calibration",
    "CategoryFusion",
    "Consensus",
    "Detector",
    "EnsembleSpec",
    "Fusion",
    "Isotonic",
    "IsotonicCalibration",
    "Location",
    "Nms",
    "NonMaximumMerging",
    "NonMaximumWeighted",
    "Publish",
    "SoftNms",
    "SpecModel",
    "Temperature",
    "TemperatureCalibration",
    "Unanimous",
    "Votes",
    "WeightedBoxesFusion",
    "json_schema",
]
