"""Sending notices: one to all who want it, or all those of a run in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from quorate.errors import NotificationError, QuorateError
from quorate.notifications.channels import TryAgainError, sender
from quorate.notifications.notice import Failure, Link, Notice, counts_of
from quorate.spec.notify import Event, Notifications, Target

WAITS = (1.0, 2.0, 4.0)
"""Seconds before the second, third and last try."""
LONGEST_WAIT = 30.0
"""The longest pause in seconds that a receiver may ask for."""


def notify(
    notice: Notice, targets: Notifications, *, waits: Sequence[float] = WAITS
) -> tuple[int, list[NotificationError]]:
    """Send a notice to all targets that want its event, at the same time, each with its own tries.

    Returns:
        How many were told, and what went wrong with the others, in the spec's order. Nothing is
        raised: a message that does not arrive changes no run.
    """
    wanted = [target for target in targets if notice.event in target.when]
    if not wanted:
        return 0, []
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        found = list(pool.map(lambda target: _problem(notice, target, waits), wanted))
    problems = [problem for problem in found if problem is not None]
    return len(wanted) - len(problems), problems


def _problem(notice: Notice, target: Target, waits: Sequence[float]) -> NotificationError | None:
    """Tell one target, with all its tries; what went wrong, or None."""
    said = f"{target.kind} was not told"
    try:
        once = sender(notice, target)
        for wait in (*waits, None):
            try:
                once()
                break
            except TryAgainError as error:
                if wait is None:
                    return NotificationError(f"{said}: {error} ({len(waits) + 1} tries).")
                time.sleep(min(LONGEST_WAIT, max(wait, error.after or 0.0)))
    except NotificationError as error:
        return NotificationError(f"{said}: {error.message}", hint=error.hint)
    return None


@contextmanager
def telling(
    targets: Notifications,
    *,
    ensemble: str,
    run: str,
    problem: Callable[[NotificationError], None],
) -> Iterator[Callable[..., None]]:
    """Tell that a run starts and how it ends; call what it yields with the Summary and links.

    Called with a `trainer` as well, it tells that this one of a training is trained.
    An error inside is told and raised again. An interrupt is not told: whoever interrupts knows.
    `problem` is called with each message that did not arrive.
    """
    uid = uuid4().hex

    def tell(event: Event, **what: Any) -> None:
        notice = Notice(event=event, ensemble=ensemble, run=run, uid=uid, **what)
        for one in notify(notice, targets)[1]:
            problem(one)

    def ended(summary: Any, *links: Link, trainer: str = "") -> None:
        counts = counts_of(summary)
        event: Event = "degraded" if counts.degraded else "succeeded"
        tell("trained" if trainer else event, counts=counts, links=links, trainer=trainer)

    tell("started")
    try:
        yield ended
    except Exception as error:
        own = error.message if isinstance(error, QuorateError) else ""
        why = own or f"{type(error).__name__}: {error}"
        tell("failed", failures=(Failure(node="run", message=why),))
        raise
