"""ONNX detectors as described in a spec: `kind: onnx`.

Nothing here needs onnxruntime, nor the compiled kernels: those come with `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from quorate.detectors.tensors.spec import Providers, TensorDetector
from quorate.spec.base import Location, SpecModel

if TYPE_CHECKING:
    from quorate.detectors.tensors.predictor import TensorPredictor


class OnnxFile(SpecModel):
    """An ONNX file, and how onnxruntime runs it."""

    weights: Location = Field(description="The .onnx file: a path, or an S3 URI.")
    threads: PositiveInt = Field(1, description="Threads inside one run of the network.")
    providers: Providers = Field(
        ("CPUExecutionProvider",),
        description="onnxruntime's execution providers, in order; auto: the fastest there is.",
    )


class OnnxDetector(OnnxFile, TensorDetector):
    """A model in an ONNX file. What is left out is read from the file, or is its layout's own."""

    kind: Literal["onnx"] = "onnx"

    def load(self) -> TensorPredictor:
        """Read the model and find out its layout.

        Raises:
            DetectorError: the file is missing or no ONNX model, its operators are not supported,
                its outputs are of no known layout, or its labels are not known.
            StorageError: the file is in S3, which does not answer.
        """
        from quorate.detectors.onnx.session import open_session
        from quorate.detectors.tensors.predictor import TensorPredictor

        session = open_session(self.weights, threads=self.threads, providers=self.providers)
        return TensorPredictor.of(self, session, origin=self.weights)
