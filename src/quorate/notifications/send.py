"""Sending one notice everywhere that wants it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from quorate.errors import NotificationError
from quorate.notifications.notice import Notice
from quorate.notifications.retrying import WAITS
from quorate.spec.notify import Email, Notifications, Slack, Target


def notify(
    notice: Notice, targets: Notifications, *, waits: Sequence[float] = WAITS
) -> tuple[int, list[NotificationError]]:
    """Tell all targets that want this event, at the same time, each with its own tries.

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
    from quorate.notifications import mail, slack, webhook

    try:
        if isinstance(target, Slack):
            slack.send(notice, target, waits=waits)
        elif isinstance(target, Email):
            mail.send(notice, target, waits=waits)
        else:
            webhook.send(notice, target, waits=waits)
    except NotificationError as error:
        return NotificationError(f"{target.kind} was not told: {error.message}", hint=error.hint)
    return None
