"""How much the requests hold that are being read or answered, all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quorate.serving.values import Refused, Why


class Memory:
    """Bytes that are held, of at most `limit`. All methods belong to the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Gives what takes so many bytes more, Refused where they are not left; all end with it."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if mine + count > self.limit:
                raise Refused(
                    Why.TOO_LARGE,
                    "This request alone takes more memory than there is for all; send tensors in "
                    "the binary form, or fewer pictures at once.",
                )
            if self.held + count > self.limit:
                raise Refused(
                    Why.BUSY,
                    "The requests that are being answered hold all the memory there is for them; "
                    "try again later.",
                    retry_after=1,
                )
            self.held += count
            mine += count

        try:
            yield take
        finally:
            self.held -= mine
