"""What asks a model of a server, over either of the protocol's two ways; what a refusal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from quorate.networks import Graph

LARGEST = 1 << 30
"""Bytes of an answer; more is not read."""


class Client(Protocol):
    """Asks one model of one server. Calls come from any thread.

    Each raises `Busy` where another try may help, `Refused` where it will not, and DetectorError
    for an answer that makes no sense.
    """

    def metadata(self) -> Graph:
        """The model's inputs and outputs."""

    def ready(self) -> bool:
        """Whether the model can be run now."""

    def models(self) -> list[str]:
        """The names of the server's models, where it tells them."""

    def infer(
        self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Run the model."""


class Refused(Exception):  # noqa: N818  never seen outside this package
    """A request that will not succeed.

    reason   what the server said
    unknown  whether it does not know the model
    access   whether it does not know who asks, or denies it
    """

    def __init__(self, reason: str, *, unknown: bool = False, access: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.unknown, self.access = reason, unknown, access
