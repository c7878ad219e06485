"""How many processors there are to work with, and parts of work given to threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time in each period, and the period; `max` without a limit."""


def processors() -> int:
    """How many processors this process may use; a container's limit of 1.5 counts as 2."""
    # Only Linux has the former: elsewhere a process may use them all.
    affine = hasattr(os, "sched_getaffinity")
    found = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return min(found, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return found


def in_threads(work: Callable[[S], T], parts: Sequence[S], threads: int | None = None) -> list[T]:
    """`work` of each part, in the order of the parts; by default one thread for each processor."""
    workers = min(threads or processors(), len(parts))
    if workers <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))
