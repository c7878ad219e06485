"""Waiting for what another thread or process does, however slow the machine is."""

import time
from collections.abc import Callable

PATIENCE = 600.0
"""Seconds after which a test that waits has failed rather than met a busy machine."""


def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; AssertionError after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
