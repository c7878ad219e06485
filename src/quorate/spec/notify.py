"""Who is told how a run went, and how.

A secret is never part of a spec: the spec names the Kubernetes Secret and the key that hold it.
In a pod the secret is in an environment variable made of both names; on any other machine it is
read from that variable too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel, problem

Event = Literal["started", "succeeded", "degraded", "failed"]
"""What is told of a run; one that ended well without a detector is degraded, not succeeded."""

Address = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        max_length=254,
    ),
]
Url = Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2048)]


class SecretKey(SpecModel):
    """Where a secret is: a Kubernetes Secret in the run's namespace, and the key in it."""

    secret: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
    key: str = Field(pattern=r"^[-._A-Za-z0-9]{1,253}$")

    @model_validator(mode="before")
    @classmethod
    def _is_named(cls, value: Any) -> Any:
        if isinstance(value, str):
            said = "a secret is named, {secret: NAME, key: KEY}, never written here"
            raise problem("secret", said)
        return value

    @property
    def variable(self) -> str:
        """The environment variable that holds it: `quorate-notify`, `slack` → QUORATE_NOTIFY_SLACK.

        Names that differ only in punctuation give the same variable; see `secret_keys`.
        """
        return re.sub(r"[^A-Z0-9]", "_", f"{self.secret}_{self.key}".upper())


class _Target(SpecModel):
    when: tuple[Event, ...] = Field(
        ("succeeded", "degraded", "failed"), min_length=1, description="What is told."
    )

    @property
    def secrets(self) -> tuple[SecretKey, ...]:
        """Every secret that it needs."""
        return tuple(value for _, value in self if isinstance(value, SecretKey))


class Slack(_Target):
    """An incoming webhook of Slack, or of what understands the same: Mattermost, Rocket.Chat."""

    kind: Literal["slack"] = "slack"
    url: SecretKey = Field(description="The webhook's URL, which is a secret itself.")


class Webhook(_Target):
    """Any HTTP receiver; signed as Standard Webhooks describes (standardwebhooks.com)."""

    kind: Literal["webhook"] = "webhook"
    url: Url | SecretKey = Field(description="Where to; a secret where the URL is one.")
    signing: SecretKey | None = Field(None, description="The key of the HMAC-SHA256 signature.")


class Email(_Target):
    """E-mail by SMTP."""

    kind: Literal["email"] = "email"
    to: tuple[Address, ...] = Field(min_length=1, max_length=50)
    sender: Address
    host: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$")
    port: int | None = Field(
        None, ge=1, le=65535, description="Default: 587 for starttls, 465 for tls, 25 for none."
    )
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = Field(None, min_length=1)
    password: SecretKey | None = None

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.password is not None and self.security == "none":
            raise ValueError("a password is not sent without encryption: security starttls or tls")
        return self


Target = Slack | Webhook | Email
Notifications = tuple[Annotated[Target, Field(discriminator="kind")], ...]


def secret_keys(targets: Notifications) -> tuple[SecretKey, ...]:
    """Every secret that the targets need, each once, in the order of the targets.

    ValueError where two of them would need the same environment variable.
    """
    found: dict[str, SecretKey] = {}
    for key in (key for target in targets for key in target.secrets):
        other = found.setdefault(key.variable, key)
        if other != key:
            raise ValueError(
                f"{other.secret}/{other.key} and {key.secret}/{key.key} would both be "
                f"${key.variable}; rename one"
            )
    return tuple(found.values())
