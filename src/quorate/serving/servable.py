"""What the data plane asks of whatever it serves: an ensemble, or another server's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from quorate.serving.values import ModelInfo, Reply, Request


class Servable(Protocol):
    """Models that are loaded together. `warm` belongs in a thread, the rest to the event loop.

    name    what it is known by
    models  what can be asked for, by the names that clients use
    users   requests that are being answered
    """

    users: int

    @property
    def name(self) -> str:
        """The ensemble's name, or the file's."""

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """The newest version of each model."""

    def info(self, name: str, version: str) -> ModelInfo:
        """A model's metadata, "" being the newest version; Refused where that is not there."""

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
