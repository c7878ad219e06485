"""Asking a server again while it is busy or away; what it says, in one line."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from quorate.errors import ServerError

T = TypeVar("T")

REASON = 300
"""Characters of what a server says that are told."""
FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
"""Seconds; each wait is twice the last one's, less up to half by chance, so that many clients do
not come back at once."""


def short(text: str) -> str:
    """What a server said, in one line and without its full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= REASON else f"{text[:REASON]}…"


class Busy(Exception):  # noqa: N818  never seen by users
    """A request that may succeed later.

    reason  what the server, or the way to it, said
    wait    seconds that the server asks for, None where it does not say
    hint    what else it may be
    """

    def __init__(self, reason: str, *, wait: float | None = None, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.hint = reason, wait, hint


def retrying(call: Callable[[], T], *, retries: int, origin: str) -> T:
    """Call, and call again while the server is busy or away.

    ServerError where it still is after `retries` more calls, or asks for more than `LONGEST_WAIT`.
    """
    wait = FIRST_WAIT
    for left in range(retries, -1, -1):
        try:
            return call()
        except Busy as busy:
            asked = busy.wait
            if not left or (asked is not None and asked > LONGEST_WAIT):
                tries = retries - left + 1
                said = f", {tries} times" if tries > 1 else ""
                later = f" It asks to come back in {asked:g} s." if asked else ""
                raise ServerError(
                    f"{origin}: no answer{said}: {busy.reason}.{later}", hint=busy.hint
                ) from None
            time.sleep(wait * random.uniform(0.5, 1) if asked is None else asked)  # noqa: S311
            wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError("the last try returns or raises")


def retry_after(text: str | None) -> float | None:
    """Seconds that an HTTP Retry-After asks for: a number, or a date."""
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
