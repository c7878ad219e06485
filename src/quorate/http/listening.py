"""An ASGI application at an address, until the process is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from quorate.errors import InputError

CONNECTIONS = 1000
"""Requests that wait at once; further ones are answered with 503."""
BACKLOG = 128
SHUTDOWN = 20
"""Seconds that requests at work have to be finished in when the process is told to end."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that has its address, and does not listen yet; InputError where it cannot be had."""
    with _refused(host, port):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # asyncio lets small answers go at once (TCP_NODELAY) only where the protocol is named.
        one = socket.socket(family, kind, protocol)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
        except OSError:
            one.close()
            raise
    return one


def named(host: str) -> str:
    """A host as addresses have it."""
    return f"[{host}]" if ":" in host else host


class Tls(NamedTuple):
    """The files of a certificate, with those that vouch for it, and of its key; both PEM."""

    certificate: str
    key: str


def listen(
    application: Any,
    at: socket.socket,
    *,
    host: str,
    ready: Callable[[str], None],
    ends: Future[None] | None = None,
    tls: Tls | None = None,
) -> None:
    """Answer at a bound socket; `ready` is told the address. Returns when told to end.

    `ends` tells so from within the process: an error that it holds is raised.
    """
    import uvicorn

    from quorate.http.patience import PatientProtocol

    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN,
        backlog=BACKLOG,
        # h11, written in Python, holds the headers of a request to a length.
        http=PatientProtocol,
        ssl_certfile=tls and tls.certificate,
        ssl_keyfile=tls and tls.key,
    )
    port = at.getsockname()[1]
    with _refused(host, port):
        at.listen(BACKLOG)
    server = uvicorn.Server(config)
    if ends is not None:
        ends.add_done_callback(lambda _: setattr(server, "should_exit", True))
    ready(f"http{'s' if tls else ''}://{named(host)}:{port}")
    server.run(sockets=[at])
    if ends is not None and ends.done():
        ends.result()


@contextmanager
def _refused(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot be listened at ({(error.strerror or str(error)).lower()}).",
            hint="--host and --port choose another address",
        ) from None
