"""The protocol over HTTP: requests to values, values to answers. It decides nothing.

Source: open_inference_rest.yaml, github.com/kserve/open-inference-protocol; the binary tensor data
and model repository extensions as Triton's documentation describes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from quorate.http import receiving
from quorate.open_inference.tensors import JSON_LENGTH, datatype_of, to_bytes
from quorate.serving import page, values
from quorate.serving.access import Access
from quorate.serving.aside import aside
from quorate.serving.metrics import METRICS
from quorate.serving.plane import NO_SHARED_MEMORY, Plane
from quorate.serving.values import Given, Refused, Reply, Why
from quorate.serving.watching import CODES, ID, watched

LOG = logging.getLogger("quorate.serving")
MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
ARRIVAL = 60.0
"""Seconds in which a request's body has to arrive."""


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: Any = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct):
    """The JSON of a request; `id` and `parameters` are the client's own."""

    inputs: list[_Input]
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}
    id: str = ""


class Rest:
    """The routes of the protocol on a data plane."""

    def __init__(self, plane: Plane, access: Access) -> None:
        self.plane, self.access = plane, access

    def application(self, lifespan: Lifespan[Starlette] | None = None) -> ASGIApp:
        """The ASGI application."""
        plane, shared = self.plane, "sharedmemory/{rest:path}"
        infer = [Route(f"{base}/infer", self._infer, methods=["POST"]) for base in MODEL]
        routes = [
            *infer,  # asked most, so it is looked for first
            *page.routes(),
            Route("/v2", _telling(plane.about)),
            Route("/v2/health/live", _telling(lambda: {"live": True})),
            Route("/v2/health/ready", self._ready),
            Route("/metrics", self._metrics),
            Route("/v2/models", _telling(lambda: {"models": plane.models()})),
            Route("/v2/repository/index", _telling(plane.repository.index), methods=["POST"]),
            Route("/v2/repository/models/{model}/load", self._load, methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", self._unload, methods=["POST"]),
            Route(f"/v2/system{shared}", self._shared, methods=["GET", "POST"]),
            Route(f"/v2/cuda{shared}", self._shared, methods=["GET", "POST"]),
        ]
        for base in MODEL:
            routes += [Route(base, self._model), Route(f"{base}/ready", self._model_ready)]
        inner = Starlette(
            routes=routes,
            lifespan=lifespan,
            exception_handlers={
                Refused: refusal,
                HTTPException: _http,
                Exception: _fault,
            },
        )
        inner.router.redirect_slashes = False  # it would send clients wherever their Host says

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return
            headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in scope["headers"]
            ]
            with watched("http", scope["path"], headers) as record:
                scope["record"] = record

                async def told(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        record.code = CODES.get(message["status"], "INVALID_ARGUMENT")
                        message["headers"] = [
                            *message.get("headers", ()),
                            (ID.encode(), record.id.encode()),
                        ]
                    await send(message)

                try:
                    self.access.check(scope["path"], headers, self.plane.limits.headers)
                except Refused as refusal:
                    await refused(refusal)(scope, receive, told)
                    return
                await inner(scope, receive, told)

        return guarded

    async def _ready(self, request: Request) -> Response:
        ready = self.plane.repository.ready
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(METRICS.text(), media_type="text/plain; version=0.0.4")

    async def _load(self, request: Request) -> Response:
        await self.plane.load(request.path_params["model"])
        return JSONResponse({"name": request.path_params["model"], "load": True})

    async def _unload(self, request: Request) -> Response:
        await self.plane.unload(request.path_params["model"])
        return JSONResponse({"name": request.path_params["model"], "unload": True})

    async def _model(self, request: Request) -> Response:
        return JSONResponse(asdict(self.plane.model(*_named(request))))

    async def _model_ready(self, request: Request) -> Response:
        name, version = _named(request)
        self.plane.model(name, version)
        return JSONResponse({"name": name, "ready": True})

    async def _shared(self, request: Request) -> Response:
        raise Refused(Why.NOT_OFFERED, NO_SHARED_MEMORY)

    async def _infer(self, request: Request) -> Response:
        name, version = _named(request)
        # What will be refused anyway is refused before a byte of the body is read.
        self.plane.admit(name, version)
        with self.plane.memory.holding() as take:
            body = await _body(request, self.plane.limits.request_bytes, take)
            length = _json_length(request, body)
            take(await aside(length, _values_of, body, length))
            asked, binary = await aside(len(body), _parsed, body, length, name, version)
            asked = replace(asked, record=request.scope["record"])
            reply = await _unless_gone(request, self.plane.infer(asked))
        size = sum(value.nbytes for value in reply.outputs.values())
        return await aside(size, _answer, reply, binary)


def _telling(what: Callable[[], object]) -> Callable[[Request], Awaitable[Response]]:
    """What answers with that, as it is then, whatever the request says."""

    async def answer(request: Request) -> Response:
        return JSONResponse(what())

    return answer


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["model"], request.path_params.get("version", "")


async def _body(request: Request, most: int, take: Callable[[int], None]) -> bytes:
    """A request's body; Refused where it is too long, does not arrive, or `take` refuses it."""
    try:
        take(receiving.declared(request, most))
        if "content-encoding" in request.headers:
            raise Refused(Why.INVALID, "A packed request is not read; send it without encoding.")
        return await receiving.body(request, most, within=ARRIVAL, beyond=take)
    except receiving.TooLongError:
        raise Refused(
            Why.TOO_LARGE, f"A request of more than {most:,} bytes is not read."
        ) from None
    except TimeoutError:
        raise Refused(
            Why.SLOW_SENDER, f"The request did not arrive within {ARRIVAL:g} s."
        ) from None
    except ClientDisconnect:
        raise Refused(Why.GONE, "The request was broken off.") from None


def _json_length(request: Request, body: bytes) -> int:
    """How many bytes of a body are JSON; Refused where the header says what cannot be."""
    said = request.headers.getlist(JSON_LENGTH)
    if not said:
        return len(body)
    length = ", ".join(said)  # told twice, it is no number
    digits = length.isascii() and length.isdigit() and len(length) <= len(str(len(body)))
    if not digits or int(length) > len(body):
        raise Refused(
            Why.INVALID, f"{JSON_LENGTH} is '{length[:40]}', the body has {len(body)} bytes."
        )
    return int(length)


def _values_of(body: bytes, length: int) -> int:
    """About how many bytes the values of the JSON take, beside its text: many short ones take more.

    A number takes a place in a list and one in an array, and a list or an object itself.
    """
    nested = body.count(b"[", 0, length) + body.count(b"{", 0, length)
    return 24 * body.count(b",", 0, length) + 64 * nested


def _parsed(
    body: bytes, length: int, model: str, version: str
) -> tuple[values.Request, Callable[[str], bool]]:
    """A request, and which of its outputs are wanted as bytes behind the JSON."""
    rest = memoryview(body)[:length]
    try:
        said = msgspec.json.decode(rest, type=_Infer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(
            Why.INVALID, f"This is no request for inference: {error or 'nested too deeply'}."
        ) from None
    behind = memoryview(body)[len(rest) :]
    inputs = []
    for one in said.inputs:
        size = one.parameters.get("binary_data_size")
        data = one.data
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(behind) or data is not None:
                raise Refused(
                    Why.INVALID,
                    f"'{one.name[:80]}' cannot have {str(size)[:40]} bytes: {len(behind)} are left "
                    f"behind the JSON, whose length {JSON_LENGTH} tells; and such a tensor has no "
                    "`data`.",
                )
            data, behind = behind[:size], behind[size:]
        given = Given(one.name, one.datatype, tuple(one.shape), data, one.parameters)
        inputs.append(given)
    if behind:
        raise Refused(Why.INVALID, f"{len(behind)} bytes behind the JSON belong to no input.")
    wanted = {one.name: one.parameters.get("binary_data") for one in said.outputs}
    all_binary = said.parameters.get("binary_data_output") is True

    def binary(name: str) -> bool:
        one = wanted.get(name)
        return all_binary if one is None else one is True

    about = [one.parameters for one in said.outputs]
    asked = values.Request(model, inputs, [*wanted], about, said.parameters, version, said.id)
    return asked, binary


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Reply]) -> Reply:
    """The answer; where the client breaks off before, the work is cancelled."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(Why.GONE, "The client has gone.")
        return await working
    finally:
        gone.cancel()
        working.cancel()


def _answer(reply: Reply, binary: Callable[[str], bool]) -> Response:
    outputs, behind = [], []
    for name, value in reply.outputs.items():
        one = {"name": name, "datatype": datatype_of(value), "shape": value.shape}
        if binary(name):
            behind.append(to_bytes(value))
            outputs.append({**one, "parameters": {"binary_data_size": len(behind[-1])}})
        else:
            outputs.append({**one, "data": _listed(name, value)})
    said = {
        "model_name": reply.model,
        "model_version": reply.version,
        **({"id": reply.id} if reply.id else {}),
        "parameters": reply.parameters,
        "outputs": outputs,
    }
    start = msgspec.json.encode(said)
    if not behind:
        return Response(start, media_type="application/json")
    return Response(
        b"".join([start, *behind]),
        media_type="application/octet-stream",
        headers={JSON_LENGTH: str(len(start))},
    )


def _listed(name: str, value: NDArray[Any]) -> list[Any]:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise Refused(
            Why.INVALID,
            f"'{name}' has numbers that are NaN or infinite, which JSON does not have; ask "
            "for it as bytes, with `binary_data`.",
        )
    listed: list[Any] = value.reshape(-1).tolist()
    return [one.decode() for one in listed] if value.dtype == object else listed


def refused(refusal: Refused) -> Response:
    """A refusal as the protocol has it."""
    headers = {"WWW-Authenticate": "Bearer"} if refusal.why is Why.WHO else {}
    if refusal.retry_after is not None:
        headers = {"Retry-After": f"{refusal.retry_after:g}"}
    return JSONResponse({"error": refusal.sentence}, refusal.why.status, headers=headers)


async def refusal(request: Request, error: Exception) -> Response:
    """Starlette's handler of refusals."""
    assert isinstance(error, Refused)
    return refused(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    said = {
        404: f"There is nothing at {path}; models are at /v2/models.",
        405: f"{path} takes no {request.method}.",
    }
    return JSONResponse(
        {"error": said.get(error.status_code, error.detail)},
        error.status_code,
        headers=error.headers,
    )


async def _fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "A fault of the server's own; its log has it."}, 500)
