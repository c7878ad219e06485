"""Detectors of Hugging Face's transformers as described in a spec: `kind: transformers`.

Nothing here needs torch: that comes with `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from quorate.detectors.torch.spec import TorchDetector
from quorate.spec.base import Location

if TYPE_CHECKING:
    from quorate.detectors.torch.transformers_predictor import TransformersPredictor


def _as_a_folder(value: str) -> str:
    return f"{value.rstrip('/')}/" if value.startswith("s3://") else value


class TransformersDetector(TorchDetector):
    """DETR and its kin, from a folder as `save_pretrained` writes it; nothing is downloaded."""

    kind: Literal["transformers"] = "transformers"
    weights: Annotated[Location, AfterValidator(_as_a_folder)] = Field(
        description="The folder with config.json, preprocessor_config.json and the weights: "
        "a path, or an S3 URI."
    )

    def load(self) -> TransformersPredictor:
        """Build the model that the folder describes and fill in its weights.

        Raises:
            DetectorError: no such folder, or a file of it is missing, damaged, holds code, or
                does not fit the model; its labels are not known; the device is not there.
            MissingExtraError: torch or transformers is not installed.
            StorageError: the folder is in S3, which does not answer.
        """
        from quorate.detectors.torch.transformers_predictor import TransformersPredictor

        return TransformersPredictor.load(self)
