"""Work beside the event loop, where it is long enough to be worth a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
SHORT = 1 << 15
"""Bytes that are read or written in less time than it takes to ask another thread."""


async def aside(size: int, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """The result of work on so many bytes: here if they are few, else in a thread."""
    if size <= SHORT:
        return work(*args, **more)
    return await asyncio.to_thread(work, *args, **more)
