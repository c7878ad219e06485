"""A request's body, as much of it as is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that gets another status than 200, with a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class TooLongError(Exception):
    """The body has more bytes than are taken."""


def declared(request: Request, most: int) -> int:
    """The bytes that a request says it has, 0 where it says none; TooLongError for too many."""
    told = request.headers.get("content-length", "")
    said = int(told[:20]) if told.isdecimal() else 0
    if said > most:
        raise TooLongError
    return said


async def body(
    request: Request,
    most: int,
    *,
    within: float | None = None,
    beyond: Callable[[int], None] | None = None,
) -> bytes:
    """The bytes of a request, at most so many; no more is read than shows that there are too many.

    Args:
        request: whose body has not been read.
        most: bytes.
        within: seconds in which it has to arrive.
        beyond: told how many bytes come that were not declared; what it raises ends the reading.

    Raises:
        TooLongError: it has more, or says so.
        TimeoutError: it did not arrive in time.
        starlette.requests.ClientDisconnect: it was broken off.
    """
    said = declared(request, most)
    parts, size = [], 0
    async with asyncio.timeout(within):
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > most:
                raise TooLongError
            if beyond is not None and size > said:
                beyond(len(part))
    return b"".join(parts)
