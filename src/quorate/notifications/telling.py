"""Telling of a run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgspec

from quorate.errors import NotificationError, QuorateError
from quorate.notifications.notice import Counts, Failure, Link, Notice
from quorate.notifications.send import notify
from quorate.spec.notify import Event, Notifications


@contextmanager
def telling(
    targets: Notifications,
    *,
    ensemble: str,
    run: str,
    problem: Callable[[NotificationError], None],
) -> Iterator[Callable[..., None]]:
    """Tell that a run starts, and how it ends; what it yields takes the run's Summary, and links.

    An error inside is told and goes on its way; an interrupt is not told, for who interrupts
    knows. `problem` hears of every message that did not arrive.
    """
    uid = uuid4().hex

    def tell(event: Event, **what: Any) -> None:
        notice = Notice(event=event, ensemble=ensemble, run=run, uid=uid, **what)
        for one in notify(notice, targets)[1]:
            problem(one)

    def ended(summary: Any, *links: Link) -> None:
        counts = msgspec.convert(summary, Counts, from_attributes=True)
        tell("degraded" if counts.degraded else "succeeded", counts=counts, links=links)

    tell("started")
    try:
        yield ended
    except Exception as error:
        why = (
            error.message if isinstance(error, QuorateError) else f"{type(error).__name__}: {error}"
        )
        tell("failed", failures=(Failure(node="run", message=why),))
        raise
