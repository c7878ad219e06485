"""Trying again where another try may help."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from quorate.errors import NotificationError

WAITS = (1.0, 2.0, 4.0)
"""Seconds before the second, third and last try."""
LONGEST_WAIT = 30.0
"""Seconds that a receiver may ask to be left alone."""
TIMEOUT = 10.0
"""Seconds for a receiver to answer one try."""


class TryAgainError(Exception):
    """One try failed and another may not; `after` seconds where the receiver said when."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


def deliver(once: Callable[[], None], *, waits: Sequence[float] = WAITS) -> None:
    """Call `once` until it raises no TryAgainError; NotificationError after the last try."""
    for wait in (*waits, None):
        try:
            return once()
        except TryAgainError as error:
            if wait is None:
                raise NotificationError(f"{error} ({len(waits) + 1} tries).") from None
            time.sleep(min(LONGEST_WAIT, max(wait, error.after or 0.0)))
    raise AssertionError("the last wait is None")
