"""Secrets, where a pod or a shell has them: in the environment, and nowhere else."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from quorate.errors import NotificationError
from quorate.spec.notify import SecretKey


def reveal(key: SecretKey) -> str:
    """The secret itself, without the newline that files end in; NotificationError without one."""
    value = os.environ.get(key.variable, "").strip()
    if not value:
        raise NotificationError(
            f"the secret {key.secret}/{key.key} is not there.",
            hint=f"on a cluster, a Secret '{key.secret}' with the key '{key.key}' in the run's "
            f"namespace; elsewhere ${key.variable}",
        )
    return value


def reveal_url(key: SecretKey) -> str:
    """A URL that is secret; an error does not repeat it."""
    value = reveal(key)
    try:
        parts = urlsplit(value)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain or not value.isascii() or not value.isprintable() or " " in value:
        raise NotificationError(f"the secret {key.secret}/{key.key} is not an http or https URL.")
    return value
