"""Load ensembles and answer for them until the process is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quorate.ensemble import DetectionEnsemble
from quorate.errors import MissingExtraError, SpecError
from quorate.http.listening import bound, listen
from quorate.serving.plane import Plane
from quorate.serving.values import Limits

if TYPE_CHECKING:
    from starlette.applications import Starlette

PORT = 8080


def serve(
    ensembles: Sequence[DetectionEnsemble],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    limits: Limits | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer the Open Inference Protocol; returns when the process is told to end.

    The server is live at once, and ready when every ensemble is loaded and has looked at a
    picture.

    Args:
        ensembles: each becomes a model, called as it is, and each of its detectors another.
        host: address to listen at.
        port: for HTTP; 0 for any that is free.
        limits: what one client may ask for.
        ready: told the address once all is loaded.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
        InputError: the address cannot be had.
        SpecError: two ensembles have one name.
        DetectorError, LabelError, QuorumError, StorageError: an ensemble that cannot work.
    """
    try:
        import uvicorn  # noqa: F401 - asked for before any work

        from quorate.serving.rest import Rest
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise MissingExtraError("Serving", "serve") from None

    names = [ensemble.name for ensemble in ensembles]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"Two specs have the name '{name}': models are told by name.")
    plane = Plane(limits or Limits())
    address = ""
    ends: Future[None] = Future()

    async def load() -> None:
        try:
            await plane.load(ensembles)
        except Exception as error:
            ends.set_exception(error)
        else:
            ready(address)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(load())
        try:
            yield
        finally:
            loading.cancel()
            plane.close()

    def listening(url: str) -> None:
        nonlocal address
        address = url

    with bound(host, port) as socket:
        application = Rest(plane).application(lifespan)
        listen(application, socket, host=host, ready=listening, ends=ends)
