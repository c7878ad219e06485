"""A model on a server as a `Network`: found, asked about, and run by requests."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from quorate.detectors.remote.client import Client, Refused
from quorate.errors import DetectorError, did_you_mean
from quorate.http.retrying import Busy, retrying
from quorate.networks import Arrays, Graph
from quorate.open_inference.tensors import checked

if TYPE_CHECKING:
    from quorate.detectors.remote.server import ModelServer

SHOWN = 8
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteNetwork:
    """A graph that a server runs; see `quorate.networks.Network`.

    At most as many requests are under way as there are `slots`. One that waits for its next try
    keeps its slot, so a server that is busy is asked less.
    """

    graph: Graph
    client: Client
    spec: ModelServer
    slots: threading.BoundedSemaphore

    def run(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """The named outputs; DetectorError where the server refuses, or its answer is no sense.

        ServerError where it does not answer, however often it is asked.
        """
        with self.slots:
            found = _asked(lambda: self.client.infer(outputs, feed), self.client, self.spec)
        return checked(self.graph, outputs, found)


def open_network(spec: ModelServer) -> RemoteNetwork:
    """Find the model on its server; see `ModelServer.load` for errors."""
    client = connect(spec)
    graph = _asked(client.metadata, client, spec)

    def ready() -> None:
        if not client.ready():
            raise Busy("the model is not ready")

    _asked(ready, client, spec)
    return RemoteNetwork(graph, client, spec, threading.BoundedSemaphore(spec.concurrency))


def connect(spec: ModelServer) -> Client:
    """What asks the server; nothing is sent yet."""
    if spec.rpc:
        from quorate.detectors.remote.rpc import RpcClient

        return RpcClient(spec, _headers(spec))
    from quorate.detectors.remote.rest import RestClient

    return RestClient(spec, _headers(spec))


def models(spec: ModelServer) -> list[str]:
    """The names of the server's models, [] where it does not tell them; errors as of `load`."""
    client = connect(spec)
    return _asked(client.models, client, spec)


def _headers(spec: ModelServer) -> dict[str, str]:
    """The values of the spec's headers, from the environment; they are never repeated."""
    values = {}
    for header, variable in spec.headers.items():
        value = os.environ.get(variable, "").strip()
        if not value:
            raise DetectorError(
                f"{spec.origin}: the environment variable '{variable}', for the header "
                f"'{header}', is not set."
            )
        if not (value.isascii() and value.isprintable()):
            raise DetectorError(
                f"{spec.origin}: the environment variable '{variable}' holds characters that no "
                "header may have."
            )
        values[header] = value
    return values


def _asked(call: Callable[[], T], client: Client, spec: ModelServer) -> T:
    """Call with retries, and say in one sentence why the server refuses."""
    try:
        return retrying(call, retries=spec.retries, origin=spec.origin)
    except Refused as refusal:
        raise _refusal(refusal, client, spec) from None


def _refusal(refusal: Refused, client: Client, spec: ModelServer) -> DetectorError:
    if refusal.access:
        return DetectorError(
            f"{spec.origin}: the server refuses access: {refusal.reason}.",
            hint="name under `headers` the environment variable that holds the token: "
            "`headers: {Authorization: MODEL_TOKEN}`",
        )
    if refusal.unknown:
        try:
            known = client.models()
        except (Busy, Refused, DetectorError):
            known = []  # not every server lists its models
        if known and spec.model not in known:
            some = ", ".join(known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
            return DetectorError(
                f"{spec.origin}: the server has no such model.",
                hint=did_you_mean(spec.model, known) or f"it has {some}",
            )
    return DetectorError(f"{spec.origin}: the server refuses: {refusal.reason}.")
