"""Telling people how a run went: Slack, e-mail, any webhook.

In the order to read: `notice` is what is told, `channels` sends it once, `send` tries again.
"""

from quorate.notifications.notice import (
    AnyCounts,
    ClassCounts,
    Counts,
    Failure,
    Link,
    Notice,
    TrainingCounts,
    counts_of,
)
from quorate.notifications.send import notify, telling

__all__ = [
    "AnyCounts",
    "ClassCounts",
    "Counts",
    "Failure",
    "Link",
    "Notice",
    "TrainingCounts",
    "counts_of",
    "notify",
    "telling",
]
