"""Connections whose client neither asks nor reads: they are closed, so that others have room."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 20.0
"""Seconds between two looks at a connection; where nothing has come of it, it is closed."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, which by itself waits for ever for a request's headers.

    A request that is being answered has all the time that the application gives it.
    """

    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._look(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _look(self, before: object) -> None:
        now = self._waits_for()
        if now is not None and now == before:
            self.transport.abort()
        elif self.transport.get_protocol() is self:  # else it is a web socket by now
            self._looking = self.loop.call_later(PATIENCE, self._look, now)

    def _waits_for(self) -> object:
        """What its client has to do: read an answer, or ask after the last one; None: nothing."""
        unread = self.transport.get_write_buffer_size()
        cycle: Any = self.cycle  # of the last request; None before the first
        answering = cycle is not None and not cycle.response_complete
        return None if answering and not unread else (cycle and weakref.ref(cycle), unread)
