"""How many processors there are to work with, and parts of work given to threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def processors() -> int:
    """How many processors this process may use."""
    # Only Linux has the former: elsewhere a process may use them all.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[S], T], parts: Sequence[S], threads: int | None = None) -> list[T]:
    """`work` of each part, in the order of the parts; by default one thread for each processor."""
    workers = min(threads or processors(), len(parts))
    if workers <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))
