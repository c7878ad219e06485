"""Classifiers: anything that gives a whole picture probabilities of labels.

The described classifier (`quorate.spec.Classifier`, what stands in the spec) loads into a
`ClassPredictor` (what answers pictures). In the order to read: `base` is the contract; `spec` what
networks of tensors have in common, `predictor` such a network at work; `onnx` and `remote` say
who runs it. A kind of somebody else's is an entry point in the group `quorate.classifiers`.
"""

from quorate.classifiers.base import ClassPredictor
from quorate.classifiers.onnx import OnnxClassifier
from quorate.classifiers.remote import RemoteClassifier

__all__ = ["ClassPredictor", "OnnxClassifier", "RemoteClassifier"]
