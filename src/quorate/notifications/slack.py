"""Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.

The message is an attachment, with which Mattermost and Rocket.Chat can do something as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from quorate.notifications.channels import post
from quorate.notifications.notice import Notice
from quorate.notifications.retrying import WAITS, deliver
from quorate.notifications.secrets import reveal_url
from quorate.spec.notify import Slack

COLOURS = {"started": "#7f8c8d", "succeeded": "#2e9e5b", "degraded": "#d9a514", "failed": "#c0392b"}


def send(notice: Notice, target: Slack, *, waits: Sequence[float] = WAITS) -> None:
    """Post it; NotificationError where that cannot be done."""
    url = reveal_url(target.url)
    body = msgspec.json.encode(message(notice))
    deliver(lambda: post(url, body, {}), waits=waits)


def message(notice: Notice) -> dict[str, object]:
    """The message as Slack takes it."""
    lines = [_escaped(line) for line in notice.lines]
    for link in notice.links:
        title = _escaped(link.title)
        web = link.url.startswith(("https://", "http://"))
        address = quote(link.url, safe=":/?#[]@!$&'()*+,;=%~") if web else _escaped(link.url)
        lines.append(f"<{address}|{title}>" if web else f"{title}: {address}")
    title = _escaped(notice.title)
    attachment = {
        "color": COLOURS[notice.event],
        "fallback": title,
        "text": "\n".join(lines),
        "mrkdwn_in": [],
    }
    return {"text": title, "attachments": [attachment]}


def _escaped(text: str) -> str:
    """Slack's three characters, so that no name becomes a link or a mention of everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
