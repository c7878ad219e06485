"""What asks a model of a server, over either of the protocol's two ways, and where it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from quorate.networks import Graph

LARGEST = 1 << 30
"""Bytes of an answer; more is not read."""
REASON = 300


@dataclass(frozen=True)
class Endpoint:
    """One model of one server, and how it is asked.

    origin   the model as errors name it
    headers  sent with every request; secrets may be among them
    timeout  seconds for the whole answer
    binary   whether tensors go as bytes over HTTP; None where the server is to say it
    tls_ca   a PEM file of authorities in place of the system's
    """

    url: str
    model: str
    version: str | None
    origin: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    concurrency: int
    binary: bool | None
    tls_verify: bool
    tls_ca: str | None


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


def short(text: str) -> str:
    """What a server said, in one line and without its full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= REASON else f"{text[:REASON]}…"
