"""What the data plane serves, an ensemble or another server's file, and where that is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from quorate.serving.values import Limits, ModelInfo, Reply, Request


class Servable(Protocol):
    """Models that are loaded together.

    `warm` and `close` belong in threads, the rest to the event loop.
    """

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """What can be asked for, by the names that clients use: the newest version of each."""

    def info(self, name: str, version: str) -> ModelInfo:
        """A model's metadata, "" being the newest version; Refused where that is not there."""

    @property
    def waiting(self) -> int:
        """How much waits to be looked at."""

    def warm(self) -> None:
        """Compute something once; QuorateError where that fails."""

    def check(self) -> None:
        """Refused where there is no room for one more request."""

    async def answer(self, request: Request) -> Reply:
        """The answer; Refused or QuorateError where there is none.

        Where the caller is cancelled, what has not begun is not computed.
        """

    def close(self) -> None:
        """Give back what is held, once nobody is answered any more."""


class Source(Protocol):
    """Where a `Servable` is from: a description that was read. All methods belong in threads."""

    @property
    def name(self) -> str:
        """What clients load and unload it by."""

    @property
    def models(self) -> Sequence[str]:
        """The names of the models that it has when it is loaded."""

    @property
    def files(self) -> Sequence[str]:
        """The files it is made of; where one changes, it is read and loaded anew."""

    def anew(self) -> Self:
        """The same as its file says now; QuorateError where that cannot take its place."""

    def load(self, limits: Limits) -> Servable:
        """What answers, not yet warm; QuorateError where it cannot be loaded."""
