"""The requests of CVAT and of a browser, answered: an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from quorate.cvat.nuclio.page import HEADERS, page
from quorate.cvat.nuclio.served import Broken, Served
from quorate.cvat.nuclio.upstream import Away, Upstream
from quorate.errors import did_you_mean
from quorate.http import receiving
from quorate.http.receiving import Refused

LOG = logging.getLogger("quorate.cvat")
LARGEST = 256 << 20
"""Bytes of a request's body."""
ARRIVAL = 60.0
"""Seconds in which a request's body has to arrive, once there is a thread for it."""
PATIENCE = 30.0
"""Seconds in which an ensemble has to answer when it is asked whether it is ready."""
SENT = '{"image": "<the file in base64>", "threshold": 0.5}'


class Call(msgspec.Struct):
    """What CVAT sends of a frame; the threshold is left out where it is zero."""

    image: bytes
    threshold: float | None = None


class Dashboard:
    """Answers CVAT and browsers for functions, and passes on what belongs to another dashboard.

    Each frame is read and looked at by one of `workers` threads; others wait outside of memory, in
    the order in which they came.

    functions  what is served, by name
    port       where this is reached, for CVAT's direct calls
    timeout    seconds after which a frame is given up
    """

    def __init__(
        self,
        functions: Mapping[str, Served],
        *,
        workers: int,
        timeout: float,
        port: int = 0,
        upstream: Upstream | None = None,
    ) -> None:
        self.functions, self.port = functions, port
        self.timeout, self.upstream = timeout, upstream
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="frame")
        self._checks = ThreadPoolExecutor(4, thread_name_prefix="check")
        self._slots = asyncio.Semaphore(workers)

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self._page, methods=["GET"]),
            Route("/", self._call, methods=["POST"]),
            Route("/api/functions", self._list, methods=["GET"]),
            Route("/api/functions/{name}", self._one, methods=["GET"]),
            Route("/api/function_invocations", self._call, methods=["POST"]),
            Route("/{rest:path}", self._other, methods=METHODS),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={Refused: _refused, Broken: _broken, Away: _away},
        )

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(page(self.functions, self.upstream), headers=HEADERS)

    async def _list(self, request: Request) -> Response:
        """All functions. A dashboard behind that is away takes none of ours from the list."""
        theirs: dict[str, Any] = {}
        if self.upstream is not None:
            theirs = await run_in_threadpool(
                self.upstream.functions, [*self.functions], request.headers.raw
            )
        ours = {name: one.about(self.port) for name, one in self.functions.items()}
        return _json(theirs | ours)

    async def _one(self, request: Request) -> Response:
        """One function, and whether it works: CVAT deletes old annotations after this."""
        served = self.functions.get(request.path_params["name"])
        if served is None:
            return await self._other(request)
        loop, patience = asyncio.get_running_loop(), min(self.timeout, PATIENCE)
        checked = loop.run_in_executor(self._checks, served.check)
        try:
            await asyncio.wait_for(asyncio.shield(checked), patience)
        except TimeoutError:
            checked.add_done_callback(lambda done: done.exception())
            served.failed("a grey picture", "not ready", f"it took more than {patience:g} s")
            raise Broken(f"no answer within {patience:g} s") from None
        return _json(served.about(self.port))

    async def _call(self, request: Request) -> Response:
        name = request.headers.get("x-nuclio-function-name")
        if name is None and request.url.path == "/" and len(self.functions) == 1:
            name = next(iter(self.functions))  # CVAT calls directly: each function has a port
        served = self.functions.get(name or "")
        if served is None:
            if self.upstream is not None:
                return await self._other(request)
            raise self._unknown(name)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        try:
            await asyncio.wait_for(self._slots.acquire(), self.timeout)
        except TimeoutError:
            served.failed("a picture", "refused", f"no thread was free for {self.timeout:g} s")
            raise Refused(503, f"{served.name}: all threads are at work; try again.") from None
        work: Future[bytes] | None = None
        try:
            call = _parsed(await _body(request))
            work = self._threads.submit(served.answer, call.image, call.threshold)
        finally:
            if work is None:
                self._slots.release()
        # The thread's place is free when it has ended, not when nobody waits for it any more.
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._slots.release))
        waited = asyncio.wrap_future(work)
        try:
            body = await asyncio.wait_for(asyncio.shield(waited), deadline - loop.time())
        except TimeoutError:
            waited.add_done_callback(lambda done: done.exception())
            served.failed("a picture", "no boxes", f"it took more than {self.timeout:g} s")
            body = b"[]"
        return Response(body, media_type="application/json")

    async def _other(self, request: Request) -> Response:
        """What is no function of ours."""
        if self.upstream is None:
            name = request.path_params.get("name")
            if name is not None:
                raise self._unknown(name)
            raise Refused(404, f"{request.url.path}: CVAT's functions are at /api/functions.")
        body = await _body(request)
        told = await run_in_threadpool(
            self.upstream.passed, request.method, _target(request), request.headers.raw, body
        )
        return Response(told.body, told.status, headers=told.headers)

    def _unknown(self, name: str | None) -> Refused:
        known = f"served are {', '.join(self.functions)}"
        if name is None:
            return Refused(
                400,
                f"No header x-nuclio-function-name says which function is meant; {known}. "
                "CVAT sends it where CVAT_NUCLIO_INVOKE_METHOD is dashboard.",
            )
        return Refused(
            404, f"No function is called '{name}': {did_you_mean(name, self.functions) or known}."
        )


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _target(request: Request) -> str:
    """Path and query as they were sent, not decoded."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


async def _body(request: Request) -> bytes:
    """A request's body; Refused where it is too long or does not arrive."""
    try:
        return await receiving.body(request, LARGEST, within=ARRIVAL)
    except receiving.TooLongError:
        raise Refused(413, f"A request of more than {LARGEST >> 20} MB is not read.") from None
    except TimeoutError:
        raise Refused(408, f"The request did not arrive within {ARRIVAL:g} s.") from None
    except ClientDisconnect:
        raise Refused(400, "The request was broken off.") from None


def _parsed(body: bytes) -> Call:
    try:
        return msgspec.json.decode(body, type=Call)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(400, f"This is no call of a function: {error}. CVAT sends {SENT}.") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    LOG.warning("%s %s: %d: %s", request.method, request.url.path, error.status, error.sentence)
    return _json({"error": error.sentence}, error.status)


async def _broken(request: Request, error: Exception) -> Response:
    return _json({"error": f"Not ready: {error}"}, 503)


async def _away(request: Request, error: Exception) -> Response:
    LOG.warning("%s %s: %s", request.method, request.url.path, error)
    return _json({"error": str(error)}, 502)
