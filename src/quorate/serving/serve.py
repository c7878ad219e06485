"""Load ensembles and answer for them until the process is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from quorate.errors import MissingExtraError
from quorate.http.listening import bound, listen, named
from quorate.serving.access import Access
from quorate.serving.plane import Plane
from quorate.serving.repository import Repository
from quorate.serving.servable import Source
from quorate.serving.served import EnsembleSource, Runnable
from quorate.serving.values import Limits

if TYPE_CHECKING:
    from starlette.applications import Starlette

PORT = 8080
RPC_PORT = 8081
GRACE = 20.0
"""Seconds that calls at work have to be finished in when the process is told to end."""


def serve(
    specs: Sequence[str | Path | Runnable],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    rpc_port: int = RPC_PORT,
    limits: Limits | None = None,
    access: Access = Access(),  # noqa: B008 - it cannot be changed
    ready: Callable[[str, str], None] = lambda rest, rpc: None,
) -> None:
    """Answer the Open Inference Protocol; returns when the process is told to end.

    The server is live at once, and ready when every ensemble is loaded and has looked at a
    picture.

    Args:
        specs: each becomes a model, called as the ensemble is, and each of its detectors another.
            A file that ends in .json is a configuration of OpenVINO Model Server: its models and
            pipelines are served. A file that changes is loaded anew.
        host: address to listen at.
        port: for HTTP; 0 for any that is free.
        rpc_port: for gRPC; likewise.
        limits: what one client may ask for.
        access: what clients have to bear, and whether the connection is encrypted.
        ready: told the addresses, http://… and grpc://…, once all is loaded.

    Raises:
        MissingExtraError: starlette, uvicorn, grpcio or protobuf is not installed.
        InputError: an address cannot be had.
        SpecError: a spec is wrong, or two models have one name.
        DetectorError, LabelError, QuorumError, StorageError: an ensemble that cannot work.
    """
    try:
        import uvicorn  # noqa: F401 - asked for before any work

        from quorate.serving import rpc, traces
        from quorate.serving.rest import Rest
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette", "grpc", "google"):
            raise
        raise MissingExtraError("Serving", "serve") from None

    traces.begin()
    limits = limits or Limits()
    repository = Repository(map(_read, specs), limits)
    plane = Plane(repository, limits)
    address = ""
    ends: Future[None] = Future()

    async def load(rpc_at: int) -> None:
        try:
            await repository.load_all()
        except Exception as error:
            ends.set_exception(error)
            return
        ready(address, f"grpc{'s' if access.tls else ''}://{named(host)}:{rpc_at}")
        await repository.watch()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        """Answer at once, then load; what goes wrong ends the server."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, traces.end)
            stack.push_async_callback(repository.close)
            try:
                server, at = await rpc.start(plane, access, host=host, port=rpc_port)
            except Exception as error:
                ends.set_exception(error)
            else:
                stack.push_async_callback(server.stop, GRACE)
                stack.callback(asyncio.create_task(load(at)).cancel)
            yield

    def listening(url: str) -> None:
        nonlocal address
        address = url

    with bound(host, port) as socket:
        application = Rest(plane, access).application(lifespan)
        listen(application, socket, host=host, ready=listening, ends=ends, tls=access.tls)


def _read(spec: str | Path | Runnable) -> Source:
    if isinstance(spec, str | Path) and str(spec).endswith(".json"):
        from quorate.serving.ovms.served import ConfigurationSource

        return ConfigurationSource.of(spec)
    return EnsembleSource.of(spec)
