"""Who is told how far the work is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told how far a named part of the work is."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """`done` of `total` (pictures, settings, bytes …) of `task` are finished."""


def silent(task: str, done: int, total: int) -> None:
    """Tell nobody."""


def adding(tell: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """What is told of each few more that are finished; it tells how many of `total` are."""
    done = 0

    def more(finished: int) -> None:
        nonlocal done
        done += finished
        tell(done, total)

    return more
