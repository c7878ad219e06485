"""The companion, until the process is told to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from quorate.companion.here import Here
from quorate.companion.hooks.events import Events
from quorate.companion.running import Running
from quorate.companion.settings import Settings, own_token, webhook_secret
from quorate.companion.store import Store
from quorate.companion.work import Runner
from quorate.errors import MissingExtraError
from quorate.http.listening import bound, listen
from quorate.storage.owner import owned

if TYPE_CHECKING:
    from quorate.companion.hooks.receiving import Hooks


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer browsers; returns when the process is told to end.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
        InputError: the address cannot be had, or a file of the state is no such file.
        AccessError: webhooks are wanted, and the environment lacks their secrets.
        BusyError: another companion has the state's folder.
        SpecError: a spec that is wrong.
    """
    try:
        import uvicorn  # noqa: F401 - asked for before any work

        from quorate.companion.web.app import Companion
    except ImportError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise MissingExtraError("The companion", "serve") from None
    with (
        at_work(settings) as running,
        hooked(settings, running) as hooks,
        bound(host, port) as listening,
    ):
        application = Companion(settings, running, hooks).application()
        running.resume()
        listen(application, listening, host=host, ready=ready)


@contextmanager
def at_work(settings: Settings) -> Iterator[Running]:
    """All runs of a state's folder, which this process has alone while the block runs."""
    folder = settings.folder
    runners: dict[str, Runner] = {}
    if settings.specs:
        runners["here"] = Here(settings.specs, folder / "work")
    if settings.cluster is not None and settings.storage is not None:
        from quorate.argo.cluster.connect import connect
        from quorate.companion.there import There

        asked = partial(
            connect, server=settings.cluster.server, namespace=settings.cluster.namespace
        )
        runners["cluster"] = There(asked, settings.storage)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with owned(folder / "lock", of=folder):
        store = Store(folder / "companion.db")
        running = Running(store, settings.cvat, runners)
        try:
            yield running
        finally:
            running.close()
            store.close()


@contextmanager
def hooked(settings: Settings, running: Running) -> Iterator[Hooks | None]:
    """CVAT's webhooks, taken while the block runs; None where the settings want none.

    AccessError where the environment lacks their secret or a token.
    """
    if settings.hooks is None:
        yield None
        return
    from quorate.companion.hooks.receiving import Hooks

    hooks = Hooks(running.store, Events(settings, running, own_token()), webhook_secret())
    running.at_end = hooks.ended
    hooks.start()
    try:
        yield hooks
    finally:
        running.close()  # so that the runs that end now are answered
        hooks.close()
