"""The bytes of pictures, asked for before they are wanted where that takes a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Self

from quorate.dataset import Image
from quorate.storage import Tree

READERS = 32
"""Pictures asked of a remote store at once: what it takes to answer is mostly waiting."""
AHEAD = 96
"""Pictures of a remote store in hand at most: asked for, read, or at work …"""
AHEAD_PIXELS = 512 << 20
"""… unless they are so large that together they have more pixels; a file is mostly smaller."""


class Ahead:
    """Reads a tree's files: local ones when they are wanted, remote ones before; close it.

    It is a context manager.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._pool = ThreadPoolExecutor(READERS) if tree.remote else None

    def ask(self, name: str) -> Callable[[], bytes]:
        """A function, to be called once, that returns a file's bytes or raises why it cannot."""
        if self._pool is None:
            return partial(self._tree.read, name)
        return self._pool.submit(self._tree.read, name).result

    def pictures(self, images: Sequence[Image]) -> int:
        """How many of these pictures may be in hand at once, for memory's sake; 0 where local."""
        if self._pool is None:
            return 0
        largest = max((image.width * image.height for image in images), default=0)
        return min(AHEAD, AHEAD_PIXELS // max(largest, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
