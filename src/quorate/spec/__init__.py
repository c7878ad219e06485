"""The ensemble's description: vocabulary, defaults, validation, JSON Schema.

In the order to read: `base` is what all parts share, `ensemble` the whole; `detector`, `fusion`,
`calibration`, `tta`, `notify`, `pods` and `workflow` are its parts; `kubernetes` knows the fields
of pods.
"""

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
    with_method,
)
from quorate.spec.notify import Email, Notifications, SecretKey, Slack, Webhook, secret_keys
from quorate.spec.pods import Pool, Step, Steps, Toleration
from quorate.spec.workflow import Git, Images, WorkflowSettings

__all__ = [
    "Affirmative",
    "Beta",
    "BetaCalibration",
    "Calibration",
    "CategoryFusion",
    "Consensus",
    "Detector",
    "Email",
    "EnsembleSpec",
    "Fusion",
    "Git",
    "Images",
    "Isotonic",
    "IsotonicCalibration",
    "Location",
    "Nms",
    "NonMaximumMerging",
    "NonMaximumWeighted",
    "Notifications",
    "Pool",
    "Publish",
    "SecretKey",
    "Slack",
    "SoftNms",
    "SpecModel",
    "Step",
    "Steps",
    "Temperature",
    "TemperatureCalibration",
    "Toleration",
    "Unanimous",
    "Votes",
    "Webhook",
    "WeightedBoxesFusion",
    "WorkflowSettings",
    "json_schema",
    "secret_keys",
    "with_method",
]
