"""ONNX classifiers as described in a spec: `kind: onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from quorate.classifiers.spec import TensorClassifier
from quorate.detectors.onnx.spec import OnnxFile

if TYPE_CHECKING:
    from quorate.classifiers.predictor import TensorClassPredictor


class OnnxClassifier(OnnxFile, TensorClassifier):
    """A model in an ONNX file."""

    kind: Literal["onnx"] = "onnx"

    def load(self) -> TensorClassPredictor:
        """Read the model and find out what its numbers are.

        Raises:
            DetectorError: the file is missing or no ONNX model, its operators are not supported,
                or it is no network that classifies pictures.
            StorageError: the file is in S3, which does not answer.
        """
        from quorate.classifiers.predictor import TensorClassPredictor
        from quorate.detectors.onnx.session import open_session

        session = open_session(self.weights, threads=self.threads, providers=self.providers)
        return TensorClassPredictor.of(self, session, origin=self.weights)
