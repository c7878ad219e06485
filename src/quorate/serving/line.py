"""Pictures that wait for an ensemble: a bounded queue before a few threads, in one event loop.

What waits is at no thread, so a request that is cancelled or too late costs nothing but its bytes.
Where detectors like several pictures at once, those that wait are shown together, whichever
request they came with; nothing is held back to wait for more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from quorate.errors import QuorateError
from quorate.pictures import Picture
from quorate.serving.values import Look, Refused, Why
from quorate.steps.asking import Unwanted


class Looked(NamedTuple):
    """What an ensemble says of a picture, and when its members looked."""

    answer: Any
    looks: Sequence[Look]


Answered = Looked | QuorateError
Ask = Callable[
    [Sequence[Picture], Sequence[str], str | None, Callable[[], bool], bool], Sequence[Answered]
]
"""Pictures, what messages call them, the one detector meant or None, whether anybody waits, and
whether nothing else is at work: the answers, in order."""


class _Item:
    """One picture that waits, or is looked at; its name is its place in its request."""

    def __init__(
        self, picture: Picture, name: str, only: str | None, told: asyncio.Future[Answered]
    ) -> None:
        self.picture, self.name, self.only, self.told = picture, name, only, told

    @property
    def wanted(self) -> bool:
        return not self.told.done()


class Line:
    """The queue of one ensemble. All methods belong to the event loop.

    look     what is called in a thread
    threads  groups of pictures that are looked at at once
    batch    pictures in one group
    limit    pictures that wait
    """

    def __init__(self, look: Ask, *, threads: int, batch: int, limit: int) -> None:
        self._look, self.batch, self.limit = look, batch, limit
        self._waiting: deque[_Item] = deque()
        self._free = self._all = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="serve")

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return len(self._waiting)

    def check(self, pictures: int = 1) -> None:
        """Refused where there is no room for so many more pictures."""
        if self._waiting and len(self._waiting) + pictures > self.limit:
            raise Refused(
                Why.BUSY,
                f"{len(self._waiting)} pictures wait already; try again later.",
                retry_after=1,
            )

    async def ask(self, given: Sequence[Picture], only: str | None = None) -> list[Looked]:
        """The answers to some pictures; QuorateError where one of them has none.

        Where the caller is cancelled, what has not begun is not computed.
        """
        self.check(len(given))
        loop = asyncio.get_running_loop()
        items = [
            _Item(picture, f"picture {position}", only, loop.create_future())
            for position, picture in enumerate(given)
        ]
        self._waiting.extend(items)
        self._start()
        try:
            found = []
            for item in items:
                answer = await item.told
                if isinstance(answer, QuorateError):
                    raise answer
                found.append(answer)
            return found
        finally:
            gone = [item for item in items if item.told.cancel() or item.told.cancelled()]
            for item in gone:
                if item in self._waiting:
                    self._waiting.remove(item)

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=False)

    def _start(self) -> None:
        """Give what waits to threads that are free."""
        loop = asyncio.get_running_loop()
        while self._free and self._waiting:
            group = [self._waiting.popleft()]
            while (
                self._waiting and len(group) < self.batch and self._waiting[0].only == group[0].only
            ):
                group.append(self._waiting.popleft())
            alone = self._free == self._all and not self._waiting
            self._free -= 1
            work = loop.run_in_executor(self._threads, self._looked, group, alone)
            work.add_done_callback(partial(self._done, group))

    def _looked(self, group: list[_Item], alone: bool) -> Sequence[Answered]:
        def wanted() -> bool:
            return any(item.wanted for item in group)

        pictures, names = [item.picture for item in group], [item.name for item in group]
        return self._look(pictures, names, group[0].only, wanted, alone)

    def _done(self, group: list[_Item], work: asyncio.Future[Sequence[Answered]]) -> None:
        self._free += 1
        error = work.exception()
        if error is None:
            for item, answer in zip(group, work.result(), strict=True):
                if item.wanted:
                    item.told.set_result(answer)
        elif not isinstance(error, Unwanted):
            for item in group:
                if item.wanted:
                    item.told.set_exception(error)
        self._start()
