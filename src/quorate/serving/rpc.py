"""The protocol over gRPC: messages to values, values to messages. It decides nothing.

Source: open_inference_grpc.proto, github.com/kserve/open-inference-protocol; RepositoryIndex,
RepositoryModelLoad and RepositoryModelUnload from Triton's model repository extension. Triton's
further calls are refused with a sentence each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from quorate.errors import InputError
from quorate.http.listening import CONNECTIONS, named
from quorate.open_inference.messages import MESSAGES, PUSHBACK, SERVICE
from quorate.open_inference.tensors import CONTENTS, datatype_of, to_bytes
from quorate.open_inference.wire import expanded
from quorate.protobuf import CHOICE
from quorate.serving.access import Access
from quorate.serving.aside import aside
from quorate.serving.plane import NO_SHARED_MEMORY, Plane
from quorate.serving.values import Given, Record, Refused, Reply, Request, Why
from quorate.serving.watching import ID, watched

LOG = logging.getLogger("quorate.serving")
SHARED = tuple(
    f"{kind}SharedMemory{what}"
    for kind in ("System", "Cuda")
    for what in ("Status", "Register", "Unregister")
)
STREAM = "ModelStreamInfer"
NOT_OFFERED = {
    **dict.fromkeys(SHARED, NO_SHARED_MEMORY),
    STREAM: "Streams are not offered; ask with ModelInfer, many at once if you like.",
    "ModelConfig": "Triton's configurations are not offered; ModelMetadata tells the tensors.",
    "ModelStatistics": "Statistics are not offered here; /metrics over HTTP has figures.",
    "TraceSetting": "Settings of traces are not offered; they are those of the environment.",
    "LogSettings": "Settings of the log are not offered; they are options of `quorate serve`.",
}
"""Calls of Triton's that are refused, and what to do instead."""
UNREAD = ("ServerLive", "ServerReady", *NOT_OFFERED)
"""Calls whose requests say nothing, and are not read: they are answered however much arrives."""
ARRIVAL = 60.0
"""Seconds in which a request has to arrive, once there is room for it."""
Context: TypeAlias = grpc.aio.ServicerContext


class Rpc:
    """The calls of the protocol on a data plane."""

    def __init__(self, plane: Plane, access: Access) -> None:
        self.plane, self.access = plane, access
        # How long a request is, nobody knows before it is here; so many of any length have room.
        limits = plane.limits
        self._arriving = asyncio.Semaphore(max(1, limits.memory // limits.request_bytes))

    def handlers(self) -> grpc.GenericRpcHandler:
        """What grpcio calls: for it they are streams, which are read where that is asked for."""
        made = {STREAM: grpc.stream_stream_rpc_method_handler}  # else a refusal had an answer too
        calls = {
            name: made.get(name, grpc.stream_unary_rpc_method_handler)(self._answering(name, call))
            for name, call in {
                "ServerLive": self._live,
                "ServerReady": self._ready,
                "ServerMetadata": self._about,
                "ModelReady": self._model_ready,
                "ModelMetadata": self._model,
                "ModelInfer": self._infer,
                "RepositoryIndex": self._index,
                "RepositoryModelLoad": self._load,
                "RepositoryModelUnload": self._unload,
                **dict.fromkeys(NOT_OFFERED, _not_offered),
            }.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, calls)

    def _answering(
        self, name: str, call: Callable[[Any, Context, Record], Awaitable[Any]]
    ) -> Callable[[object, Context], Awaitable[bytes | None]]:
        """A call to its answer's bytes; to None where it is refused, which the context is told."""

        async def answer(_: object, context: Context) -> bytes | None:
            headers = [(str(k), str(v)) for k, v in context.invocation_metadata() or ()]
            with watched("grpc", name, headers) as record:
                context.set_trailing_metadata(((ID, record.id),))
                try:
                    self.access.check(name, headers, self.plane.limits.headers)
                    with self.plane.memory.holding() as take:
                        request = None if name in UNREAD else await self._read(name, context, take)
                        said: bytes = (await call(request, context, record)).SerializeToString()
                    return said
                except Refused as refusal:
                    _refuse(context, refusal, record)
                except asyncio.CancelledError:
                    late = context.time_remaining() == 0
                    record.code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                    raise
                except Exception:
                    LOG.exception("%s: a fault of the server's own", name)
                    sentence = "A fault of the server's own; its log has it."
                    _refuse(context, Refused(Why.FAULT, sentence), record)
                return None

        return answer

    async def _read(self, name: str, context: Context, take: Callable[[int], None]) -> Any:
        """A call's request; Refused where it is none, does not arrive, or `take` refuses it."""
        async with self._arriving:
            try:
                async with asyncio.timeout(ARRIVAL):
                    data = await context.read()
            except TimeoutError:
                raise Refused(
                    Why.SLOW_SENDER, f"The request did not arrive within {ARRIVAL:g} s."
                ) from None
        try:
            if not isinstance(data, bytes):  # the end came instead
                raise DecodeError
            take(len(data))
            if name == "ModelInfer":
                take(await aside(len(data), expanded, data, self.plane.limits.memory))
            return MESSAGES[f"{name}Request"].FromString(data)
        except DecodeError:
            raise Refused(Why.INVALID, f"This is no {name}Request.") from None

    async def _live(self, request: Any, context: Context, record: Record) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _ready(self, request: Any, context: Context, record: Record) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self.plane.repository.ready)

    async def _about(self, request: Any, context: Context, record: Record) -> Any:
        return MESSAGES["ServerMetadataResponse"](**self.plane.about())

    async def _model_ready(self, request: Any, context: Context, record: Record) -> Any:
        try:
            self.plane.model(request.name, request.version)
        except Refused as refusal:
            if refusal.why is not Why.NOT_NOW:
                raise
            return MESSAGES["ModelReadyResponse"](ready=False)
        return MESSAGES["ModelReadyResponse"](ready=True)

    async def _model(self, request: Any, context: Context, record: Record) -> Any:
        about = self.plane.model(request.name, request.version)
        return MESSAGES["ModelMetadataResponse"](**asdict(about))

    async def _index(self, request: Any, context: Context, record: Record) -> Any:
        index = self.plane.repository.index()
        models = [one for one in index if one["state"] == "READY" or not request.ready]
        return MESSAGES["RepositoryIndexResponse"](models=models)

    async def _load(self, request: Any, context: Context, record: Record) -> Any:
        name = request.model_name or request.repository_name
        await self.plane.load(name)
        return MESSAGES["RepositoryModelLoadResponse"](model_name=name, isLoaded=True)

    async def _unload(self, request: Any, context: Context, record: Record) -> Any:
        name = request.model_name or request.repository_name
        await self.plane.unload(name)
        return MESSAGES["RepositoryModelUnloadResponse"](model_name=name, isUnloaded=True)

    async def _infer(self, request: Any, context: Context, record: Record) -> Any:
        asked = Request(
            request.model_name,
            _inputs(request),
            [one.name for one in request.outputs],
            [_parameters(one.parameters) for one in request.outputs],
            _parameters(request.parameters),
            request.model_version,
            request.id,
            record,
        )
        reply = await self.plane.infer(asked, seconds=context.time_remaining())
        return _answer(reply, raw=bool(request.raw_input_contents))


async def start(
    plane: Plane, access: Access, *, host: str, port: int
) -> tuple[grpc.aio.Server, int]:
    """A server that answers, and its port; InputError where the address cannot be had."""
    limits = plane.limits
    server = grpc.aio.server(
        handlers=[Rpc(plane, access).handlers()],
        options=[
            ("grpc.max_receive_message_length", limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=CONNECTIONS,
    )
    at = f"{named(host)}:{port}"
    try:
        if access.tls is None:
            port = server.add_insecure_port(at)
        else:
            files = (Path(file).read_bytes() for file in (access.tls.key, access.tls.certificate))
            port = server.add_secure_port(at, grpc.ssl_server_credentials([tuple(files)]))
    except RuntimeError:
        raise InputError(
            f"{at}: cannot be listened at for gRPC.",
            hint="--host and --grpc-port choose another address",
        ) from None
    await server.start()
    return server, port


async def _not_offered(request: Any, context: Context, record: Record) -> Any:
    raise Refused(Why.NOT_OFFERED, NOT_OFFERED[record.what])


def _refuse(context: Context, refusal: Refused, record: Record) -> None:
    """Tell why there is no answer.

    `context.abort` would do so by an exception, which the call holds and which holds the request:
    that much memory would be kept until Python next looks for circles.
    """
    record.code = refusal.why.code
    context.set_code(grpc.StatusCode[refusal.why.code])
    context.set_details(refusal.sentence)
    if refusal.retry_after is not None:
        pushback = (PUSHBACK, str(round(1000 * refusal.retry_after)))
        context.set_trailing_metadata(((ID, record.id), pushback))


def _parameters(said: Any) -> dict[str, Any]:
    return {
        name: getattr(value, kind)
        for name, value in said.items()
        if (kind := value.WhichOneof(CHOICE))
    }


def _inputs(request: Any) -> list[Given]:
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refused(
            Why.INVALID, f"{len(request.inputs)} inputs have {len(raw)} raw_input_contents."
        )
    found = []
    for position, one in enumerate(request.inputs):
        data: bytes | list[Any] | None = None
        if raw:
            if one.HasField("contents"):
                raise Refused(
                    Why.INVALID, f"'{one.name[:80]}' has contents beside raw_input_contents."
                )
            data = raw[position]
        elif one.datatype in CONTENTS:
            data = [*getattr(one.contents, CONTENTS[one.datatype])]
        shape, parameters = tuple(one.shape), _parameters(one.parameters)
        found.append(Given(one.name, one.datatype, shape, data, parameters))
    return found


def _answer(reply: Reply, *, raw: bool) -> Any:
    """The message, with tensors in the form in which those of the request came.

    Half precision has no form but the raw one.
    """
    outputs: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype_of(value), "shape": value.shape}
        for name, value in reply.outputs.items()
    ]
    raw = raw or any(one["datatype"] not in CONTENTS for one in outputs)
    if not raw:
        for one in outputs:
            numbers = reply.outputs[one["name"]].reshape(-1)
            one["contents"] = {CONTENTS[one["datatype"]]: numbers}
    return MESSAGES["ModelInferResponse"](
        model_name=reply.model,
        model_version=reply.version,
        id=reply.id,
        parameters={name: _parameter(value) for name, value in reply.parameters.items()},
        outputs=outputs,
        raw_output_contents=map(to_bytes, reply.outputs.values()) if raw else [],
    )


def _parameter(value: Any) -> dict[str, Any]:
    kind = "bool_param" if isinstance(value, bool) else "string_param"
    return {kind: value}
