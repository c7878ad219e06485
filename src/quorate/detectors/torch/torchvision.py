"""torchvision's detectors as described in a spec: `kind: torchvision`.

Nothing here needs torch: that comes with `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from quorate.detectors.torch.spec import TorchDetector
from quorate.spec.architectures import TorchvisionArchitecture
from quorate.spec.base import Location

if TYPE_CHECKING:
    from quorate.detectors.torch.torchvision_predictor import TorchvisionPredictor


class TorchvisionDetector(TorchDetector):
    """A detector of torchvision: its architecture by name, its weights from a file."""

    kind: Literal["torchvision"] = "torchvision"
    architecture: TorchvisionArchitecture = Field(description="torchvision's name of the model.")
    weights: Location = Field(
        description="A .safetensors file, or a state dict saved by torch: a path, or an S3 URI."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="Pixels of the shortest side, or [shortest, longest]; default: the "
        "architecture's. SSD's is fixed.",
        examples=[800, [800, 1333]],
    )
    nms_iou: float | None = Field(
        None, ge=0.0, le=1.0, description="Suppress boxes of one label that overlap more."
    )
    batch_norm_eps: float | None = Field(
        None,
        ge=0.0,
        description="Of a frozen batch norm, which no file says; default: torchvision's own.",
    )

    def load(self) -> TorchvisionPredictor:
        """Build the model and fill in its weights.

        Raises:
            DetectorError: the file is missing, damaged, holds code, or does not fit the
                architecture; its labels are not known; the device is not there.
            MissingExtraError: torch or torchvision is not installed.
            StorageError: the file is in S3, which does not answer.
        """
        from quorate.detectors.torch.torchvision_predictor import TorchvisionPredictor

        return TorchvisionPredictor.load(self)
