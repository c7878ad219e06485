"""CVAT's webhooks, received: checked, kept, answered at once; acted on by a thread of its own.

CVAT waits ten seconds for an answer, and 2.73 sends again what was answered with 5xx. So what is
answered with 200 is in the store, and is acted on even after a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from quorate.companion.hooks import deliveries
from quorate.companion.hooks.events import Events
from quorate.companion.store import Run, Store
from quorate.cvat.client import SignedOutError
from quorate.errors import BusyError, ClusterError, QuorateError, ServerError
from quorate.http import receiving

LOG = logging.getLogger("quorate.companion")
LARGEST = 1 << 20
"""Bytes of a delivery; those of real servers have one or two thousand."""
PATIENCE = 5.0
"""Seconds for a whole body to arrive."""
MOST = 1000
"""Deliveries that wait to be acted on; further ones are to be sent again later."""
PAUSE = 30.0
"""Seconds until what could not be done now is tried again."""
GIVEN_UP = 86400.0
"""Seconds after an event for which it is tried again."""


class Hooks:
    """Receives deliveries, and acts on them one after the other."""

    def __init__(self, store: Store, events: Events, secret: str) -> None:
        self._store, self._events, self._secret = store, events, secret
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._later: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="hooks")
        self._closing = threading.Event()
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin, with what the process before left undone."""
        for name, body in self._store.unhandled():
            self._act(name, body)
        self._thread.start()

    def close(self) -> None:
        """Answer for the runs that have ended; deliveries that wait stay in the store."""
        self._closing.set()
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.put(None)
        self._thread.join()

    def ended(self, run: Run) -> None:
        """A run has ended: tell who asked for it, and look again at what waited for its task."""
        self._waiting.put(lambda: self._events.ended(run))
        self._again()

    async def receive(self, request: Request) -> Response:
        """Answer one delivery."""
        try:
            body = await receiving.body(request, LARGEST, within=PATIENCE)
        except receiving.TooLongError:
            return _said(413, f"More than {LARGEST >> 20} MB is no event of CVAT's.")
        except TimeoutError:
            return _said(408, "The body did not arrive in time.")
        except ClientDisconnect:
            return _said(400, "The request was broken off.")
        if not deliveries.signed(body, request.headers.get("x-signature-256", ""), self._secret):
            LOG.warning("webhook: a delivery with a wrong signature, or without one, is refused")
            return _said(
                401, "The signature is not that of these bytes and the companion's secret."
            )
        try:
            delivery, old = deliveries.read(body), deliveries.age(body, time.time())
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _said(400, "This is no event as CVAT tells it.")
        if old is not None and old > deliveries.OLDEST:
            return _said(400, "This event is too old to be acted on.")
        if not self._events.concerns(delivery):
            return _said(200, "Nothing is to be done about it.")
        if self._waiting.qsize() >= MOST:
            return _said(503, "Too many events wait; send it again later.")
        name = hashlib.sha256(body).hexdigest()
        if await asyncio.to_thread(self._store.delivered, name, body):
            return _said(200, "This came before; nothing is done again.")
        self._act(name, body)
        return _said(200, "Taken.")

    def _act(self, name: str, body: bytes) -> None:
        self._waiting.put(lambda: self._handle(name, body))

    def _again(self) -> None:
        with self._lock:
            later, self._later = self._later, []
        for name, body in later:
            self._act(name, body)

    def _handle(self, name: str, body: bytes) -> None:
        if self._closing.is_set():
            return
        try:
            self._events.handle(deliveries.read(body))
        except (BusyError, ServerError, SignedOutError, ClusterError) as error:
            if (deliveries.age(body, time.time()) or 0.0) < GIVEN_UP:
                LOG.warning("webhook: %s It is tried again.", error.message)
                self._put_off(name, body)
                return
            LOG.warning("webhook: %s It is given up.", error.message)
        except QuorateError as error:
            LOG.warning("webhook: %s", error.message)
        self._store.handled(name)

    def _put_off(self, name: str, body: bytes) -> None:
        with self._lock:
            self._later.append((name, body))
            if self._timer is None or not self._timer.is_alive():
                self._timer = threading.Timer(PAUSE, self._again)
                self._timer.daemon = True
                self._timer.start()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                job()
            except QuorateError as error:
                LOG.warning("webhook: %s", error.message)
            except Exception:
                LOG.exception("webhook: a fault of the companion's")


def _said(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status)
