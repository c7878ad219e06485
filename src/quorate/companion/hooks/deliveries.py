"""What CVAT's webhooks deliver: who signed it, whether it came before, what it says.

The API tells jobs and comments likewise, when they are looked up again.

A delivery has neither a number nor a time of its own. The same bytes are taken for the same
delivery: what a body tells has a time to the microsecond, so two events are never the same bytes. A
replay from before what the store remembers is known by that time.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import Any

import msgspec

from quorate.companion.store import REMEMBERED

OLDEST = REMEMBERED - 86400
"""Seconds after which an event is too old to be acted on: the store soon forgets it."""


class Somebody(msgspec.Struct, frozen=True):
    """A user of CVAT's."""

    id: int | None = None
    username: str = ""


class ATask(msgspec.Struct, frozen=True):
    """A task that was created or changed."""

    id: int


class AJob(msgspec.Struct, frozen=True):
    """A job that was created or changed."""

    id: int
    task_id: int
    project_id: int | None = None
    organization: int | None = None
    assignee: Somebody | None = None
    type: str = "annotation"
    stage: str = ""
    state: str = ""


class AComment(msgspec.Struct, frozen=True):
    """A comment; of its thread it says the number alone."""

    id: int
    issue: int
    message: str = ""
    owner: Somebody | None = None


class AnOperation(msgspec.Struct, frozen=True):
    """What a request was about."""

    type: str = ""
    task_id: int | None = None


class ARequest(msgspec.Struct, frozen=True):
    """A request that a worker of CVAT's has carried out, or failed to."""

    status: str
    operation: AnOperation


class Delivery(msgspec.Struct, frozen=True):
    """One event, as far as anything here needs it.

    before_update  what the changed fields were
    """

    event: str
    sender: Somebody | None = None
    task: ATask | None = None
    job: AJob | None = None
    comment: AComment | None = None
    request: ARequest | None = None
    before_update: dict[str, Any] = {}


def signed(body: bytes, header: str, secret: str) -> bool:
    """Whether a header `X-Signature-256` is that of these very bytes."""
    mine = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mine.encode(), header.encode("utf-8", "replace"))


def read(body: bytes) -> Delivery:
    """What a body says; msgspec's DecodeError where it is not as CVAT's are."""
    return msgspec.json.decode(body, type=Delivery)


def age(body: bytes, now: float) -> float | None:
    """Seconds since what a body tells of; None where it tells no time."""
    whole = msgspec.json.decode(body, type=dict[str, Any])
    resource = whole["event"].partition(":")[2].partition("[")[0]
    about = whole.get(resource)
    if not isinstance(about, dict):
        return None
    found = []
    for name in ("updated_date", "finished_date", "created_date"):
        try:
            found.append(datetime.datetime.fromisoformat(about[name]).timestamp())
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return now - max(found) if found else None
