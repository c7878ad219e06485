"""A POST to any receiver, signed as Standard Webhooks 1.0 describes (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence

import msgspec

from quorate.errors import NotificationError
from quorate.notifications.channels import post
from quorate.notifications.notice import Notice
from quorate.notifications.retrying import WAITS, deliver
from quorate.notifications.secrets import reveal, reveal_url
from quorate.spec.notify import SecretKey, Webhook

PREFIX = "whsec_"
"""What a key in base64 begins with; any other is taken as it is."""


def send(notice: Notice, target: Webhook, *, waits: Sequence[float] = WAITS) -> None:
    """Post it; NotificationError where that cannot be done."""
    url = reveal_url(target.url) if isinstance(target.url, SecretKey) else target.url
    key = signing_key(reveal(target.signing)) if target.signing else None
    body = msgspec.json.encode(
        {"type": f"run.{notice.event}", "timestamp": notice.time, "data": notice}
    )

    def once() -> None:
        # A signature holds for a few minutes only, so each try has its own.
        stamp = str(int(time.time()))
        headers = {"Webhook-Id": notice.id, "Webhook-Timestamp": stamp}
        if key is not None:
            headers["Webhook-Signature"] = signature(key, notice.id, stamp, body)
        post(url, body, headers)

    deliver(once, waits=waits)


def signature(key: bytes, id_: str, stamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256, in base64, of "id.timestamp.body": the body as it is sent."""
    signed = b".".join((id_.encode(), stamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def signing_key(secret: str) -> bytes:
    """The bytes of a key; NotificationError where it begins like base64 and is none."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise NotificationError(
            f"the signing key begins with {PREFIX}, but what follows is not base64."
        ) from None
