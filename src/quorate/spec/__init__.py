"""The ensemble's description: vocabulary, defaults, validation, JSON Schema.

In the order to read: `base` is what all parts share, `whole` what all spec files share, `member`
what all who vote share, `ensemble` what all ensembles share; `detection`, `classification` and
`training` are the wholes; `detector`, `classifier`, `fusion`, `calibration`, `tta`, `trainer`,
`program`, `notify`, `pods` and `workflow` are their parts; `kubernetes` knows the fields of pods.
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
from quorate.spec.classification import (
    ClassificationSpec,
    Majority,
    Maximum,
    Product,
    PublishClasses,
    Sum,
    class_json_schema,
)
from quorate.spec.classifier import Classifier
from quorate.spec.detection import EnsembleSpec, Publish, json_schema
from quorate.spec.detector import Detector
from quorate.spec.ensemble import Ensemble
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
from quorate.spec.whole import read_spec
from quorate.spec.workflow import Git, Images, WorkflowSettings

__all__ = [
    "Affirmative",
    "Beta",
    "BetaCalibration",
    "Calibration",
    "CategoryFusion",
    "ClassificationSpec",
    "Classifier",
    "Consensus",
    "Detector",
    "Email",
    "Ensemble",
    "EnsembleSpec",
    "Fusion",
    "Git",
    "Images",
    "Isotonic",
    "IsotonicCalibration",
    "Location",
    "Majority",
    "Maximum",
    "Nms",
    "NonMaximumMerging",
    "NonMaximumWeighted",
    "Notifications",
    "Pool",
    "Product",
    "Publish",
    "PublishClasses",
    "SecretKey",
    "Slack",
    "SoftNms",
    "SpecModel",
    "Step",
    "Steps",
    "Sum",
    "Temperature",
    "TemperatureCalibration",
    "Toleration",
    "Unanimous",
    "Votes",
    "Webhook",
    "WeightedBoxesFusion",
    "WorkflowSettings",
    "class_json_schema",
    "json_schema",
    "read_spec",
    "secret_keys",
    "with_method",
]
