"""Telling people how a run went: Slack, e-mail, any webhook."""

from quorate.notifications.notice import Counts, Failure, Link, Notice
from quorate.notifications.send import notify
from quorate.notifications.telling import telling

__all__ = ["Counts", "Failure", "Link", "Notice", "notify", "telling"]
