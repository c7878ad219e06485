"""Who is told how far the work is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told how far a named part of the work is."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """`done` of `total` (pictures, settings, bytes …) of `task` are finished."""


def silent(task: str, done: int, total: int) -> None:
    """Tell nobody."""
