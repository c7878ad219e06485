"""Load ensembles and answer for them until the process is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quorate.errors import MissingExtraError, SpecError
from quorate.http.listening import bound, listen
from quorate.serving.plane import Plane, Source
from quorate.serving.values import Limits

if TYPE_CHECKING:
    import grpc
    from starlette.applications import Starlette

PORT = 8080
RPC_PORT = 8081
GRACE = 20.0
"""Seconds that calls at work have to be finished in when the process is told to end."""


def serve(
    sources: Sequence[Source],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    rpc_port: int = RPC_PORT,
    limits: Limits | None = None,
    ready: Callable[[str, str], None] = lambda rest, rpc: None,
) -> None:
    """Answer the Open Inference Protocol; returns when the process is told to end.

    The server is live at once, and ready when every ensemble is loaded and has looked at a
    picture.

    Args:
        sources: each ensemble becomes a model, called as it is, and each of its detectors another;
            of a configuration of OpenVINO Model Server, each model and each pipeline.
        host: address to listen at.
        port: for HTTP; 0 for any that is free.
        rpc_port: for gRPC; likewise.
        limits: what one client may ask for.
        ready: told the addresses, http://… and grpc://…, once all is loaded.

    Raises:
        MissingExtraError: starlette, uvicorn, grpcio or protobuf is not installed.
        InputError: an address cannot be had.
        SpecError: two ensembles have one name.
        DetectorError, LabelError, QuorumError, StorageError: an ensemble that cannot work.
    """
    try:
        import uvicorn  # noqa: F401 - asked for before any work

        from quorate.serving import rpc
        from quorate.serving.rest import Rest
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette", "grpc", "google"):
            raise
        raise MissingExtraError("Serving", "serve") from None

    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"Two specs have the name '{name}': models are told by name.")
    plane = Plane(limits or Limits())
    address = ""
    ends: Future[None] = Future()

    async def begin() -> grpc.aio.Server | None:
        """Answer at once, then load; what goes wrong ends the server."""
        try:
            server, at = await rpc.start(plane, host=host, port=rpc_port)
        except Exception as error:
            ends.set_exception(error)
            return None

        async def load() -> None:
            try:
                await plane.load(sources)
            except Exception as error:
                ends.set_exception(error)
            else:
                ready(address, f"grpc://{rpc.named(host)}:{at}")

        loading.append(asyncio.create_task(load()))
        return server

    loading: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        server = await begin()
        try:
            yield
        finally:
            for task in loading:
                task.cancel()
            if server is not None:
                await server.stop(GRACE)
            plane.close()

    def listening(url: str) -> None:
        nonlocal address
        address = url

    with bound(host, port) as socket:
        application = Rest(plane).application(lifespan)
        listen(application, socket, host=host, ready=listening, ends=ends)
