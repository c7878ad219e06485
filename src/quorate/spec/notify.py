"""Who is told how a run went, and how.

A secret is never part of a spec: the spec names the Kubernetes Secret and the key that hold it.
In a pod the secret is in an environment variable made of both names; on any other machine it is
read from that variable too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel
from quorate.spec.words import patterned, problem

Event = Literal["started", "succeeded", "degraded", "failed", "trained"]
"""What is told of a run; one that ended well without a detector, or a trainer, is degraded, not
succeeded. `trained` is of a training alone: each trainer with its metrics, when it is done."""

Address = Annotated[
    str,
    patterned(
        r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        "an address such as team@example.org",
        max_length=254,
    ),
]
Url = Annotated[
    str, patterned(r"^https?://[!-~]+$", "an address that begins with https://", max_length=2048)
]


class SecretKey(SpecModel):
    """Where a secret is: a Kubernetes Secret in the run's namespace, and the key in it."""

    secret: str = patterned(
        r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        "the name of a Secret: a-z, 0-9, - and .",
        repr=False,
        examples=["quorate-notify"],
    )
    key: str = patterned(
        r"^[-._A-Za-z0-9]{1,253}$",
        "a key of the Secret: letters, digits, -, _ and .",
        repr=False,
        examples=["slack"],
    )

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
        ("succeeded", "degraded", "failed"),
        min_length=1,
        description="What is told.",
        examples=[["degraded", "failed"]],
    )

    @property
    def secrets(self) -> tuple[SecretKey, ...]:
        """Every secret that it needs."""
        return tuple(value for _, value in self if isinstance(value, SecretKey))


class Slack(_Target):
    """An incoming webhook of Slack, or of what understands the same: Mattermost, Rocket.Chat."""

    kind: Literal["slack"] = "slack"
    url: SecretKey = Field(
        description="The webhook's URL, which is a secret itself.",
        examples=[{"secret": "quorate-notify", "key": "slack"}],
        repr=False,
    )


class Webhook(_Target):
    """Any HTTP receiver; signed as Standard Webhooks describes (standardwebhooks.com)."""

    kind: Literal["webhook"] = "webhook"
    url: Url | SecretKey = Field(
        description="The receiver's address; a secret where the address is one.",
        examples=["https://example.org/hook", {"secret": "quorate-notify", "key": "hook"}],
        repr=False,
    )
    signing: SecretKey | None = Field(
        None,
        description="The key of the HMAC-SHA256 signature.",
        examples=[{"secret": "quorate-notify", "key": "signing"}],
        repr=False,
    )


class Email(_Target):
    """E-mail by SMTP."""

    kind: Literal["email"] = "email"
    to: tuple[Address, ...] = Field(min_length=1, max_length=50, examples=[["team@example.org"]])
    sender: Address = Field(examples=["quorate@example.org"])
    host: str = patterned(
        r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$",
        "the name of a mail server",
        examples=["smtp.example.org"],
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Default: 587 for starttls, 465 for tls, 25 for none."
    )
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = Field(None, min_length=1)
    password: SecretKey | None = Field(
        None, examples=[{"secret": "quorate-notify", "key": "password"}], repr=False
    )

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
