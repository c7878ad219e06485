"""Streams that are read at the same time, and begin while others are read already."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from quorate.errors import QuorateError

T = TypeVar("T")


class Streams(Generic[T]):
    """Each stream has a name, and a thread of its own that reads it to its end."""

    def __init__(self, read: Callable[[str], Iterator[T]]) -> None:
        """`read` gives the items of a stream by its name."""
        self._read = read
        self._items: queue.SimpleQueue[T | QuorateError | None] = queue.SimpleQueue()
        self._begun: set[str] = set()
        self.open = 0
        """How many have begun and not ended."""

    def begin(self, name: str) -> None:
        """Read one, unless it is read already."""
        if name not in self._begun:
            self._begun.add(name)
            self.open += 1
            threading.Thread(target=self._pass_on, args=(name,), daemon=True).start()

    def items(self, within: float) -> Iterator[T]:
        """What comes until a stream ends, or nothing has come for so many seconds.

        Raises the QuorateError that a stream ended with.
        """
        with suppress(queue.Empty):
            while (found := self._items.get(timeout=within)) is not None:
                if isinstance(found, QuorateError):
                    raise found
                yield found
            self.open -= 1

    def _pass_on(self, name: str) -> None:
        try:
            for item in self._read(name):
                self._items.put(item)
        except QuorateError as error:
            self._items.put(error)
        self._items.put(None)
