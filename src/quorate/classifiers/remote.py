"""Classifiers behind a server that speaks the Open Inference Protocol: `kind: remote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from quorate.classifiers.spec import TensorClassifier
from quorate.detectors.remote.server import ModelServer

if TYPE_CHECKING:
    from quorate.classifiers.predictor import TensorClassPredictor


class RemoteClassifier(ModelServer, TensorClassifier):
    """A model on a server that speaks the Open Inference Protocol, as KServe and Triton do."""

    aside: ClassVar[frozenset[str]] = TensorClassifier.aside | ModelServer.connection

    kind: Literal["remote"] = "remote"

    def load(self) -> TensorClassPredictor:
        """Ask the server about the model, and find out what its numbers are.

        Raises:
            DetectorError: the server does not know the model or refuses access, or the model does
                not classify pictures.
            MissingExtraError: for gRPC, where grpcio or protobuf is not installed.
            ServerError: the server does not answer, or its model is not ready.
        """
        from quorate.classifiers.predictor import TensorClassPredictor
        from quorate.detectors.remote.network import open_network

        return TensorClassPredictor.of(self, open_network(self), origin=self.origin)
