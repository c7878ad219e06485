"""Remote detectors as described in a spec; nothing here needs a client's library."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from quorate.detectors.remote.server import ModelServer
from quorate.detectors.tensors.spec import TensorDetector

if TYPE_CHECKING:
    from quorate.detectors.tensors.predictor import TensorPredictor


class RemoteDetector(ModelServer, TensorDetector):
    """A model on a server that speaks the Open Inference Protocol, as KServe and Triton do."""

    aside: ClassVar[frozenset[str]] = TensorDetector.aside | ModelServer.connection

    kind: Literal["remote"] = "remote"

    def load(self) -> TensorPredictor:
        """Ask the server about the model and find out its layout.

        Raises:
            DetectorError: the server does not know the model or refuses access, does not say what
                its tensors are, or they are of no known layout; labels are not known.
            MissingExtraError: for gRPC, where grpcio or protobuf is not installed.
            ServerError: the server does not answer, or its model is not ready.
        """
        from quorate.detectors.remote.network import open_network
        from quorate.detectors.tensors.predictor import TensorPredictor

        return TensorPredictor.of(self, open_network(self), origin=self.origin)
