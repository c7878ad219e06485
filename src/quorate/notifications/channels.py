"""The channels: Slack, any webhook, e-mail.

Each makes of a notice and its target one call that sends the message once. The call raises
TryAgainError where another try may help, else NotificationError. No error repeats a URL or a
secret. Secrets are read from the environment, in a pod as in a shell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from quorate._version import __version__
from quorate.errors import NotificationError
from quorate.notifications.notice import Notice, line
from quorate.spec.notify import Email, SecretKey, Slack, Target, Webhook

TIMEOUT = 10.0
"""Seconds that a receiver has to answer one try."""
COLOURS = {
    "started": "#7f8c8d",
    "trained": "#2e6e9e",
    "succeeded": "#2e9e5b",
    "degraded": "#d9a514",
    "failed": "#c0392b",
}
MOST_TEXT = 3000
"""Characters of the lines of one message: as many as one of Slack's sections may have."""
PORTS = {"starttls": 587, "tls": 465, "none": 25}
BASE64_KEY = "whsec_"
"""The prefix of a signing key that is written in base64; any other key is used as it is."""

_TRY_LATER = (408, 425, 429)
_SLACK_CODE = re.compile(rb"[a-z_]{3,60}")
"""Slack's words for what is wrong: channel_is_archived. Other bodies may repeat the URL."""


class TryAgainError(Exception):
    """One try failed and another may not; `after` is the pause in seconds that was asked for."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


def sender(notice: Notice, target: Target) -> Callable[[], None]:
    """The call that sends a notice to a target once; NotificationError without its secrets."""
    if isinstance(target, Slack):
        url, body = reveal_url(target.url), msgspec.json.encode(slack_message(notice))
        return lambda: post(url, body, {})
    return _mail(notice, target) if isinstance(target, Email) else _webhook(notice, target)


def reveal(key: SecretKey) -> str:
    """A secret without the newline at its end; NotificationError where it is missing or empty."""
    value = os.environ.get(key.variable, "").strip()
    if not value:
        raise NotificationError(
            f"the secret {key.secret}/{key.key} is not there.",
            hint=f"on a cluster, a Secret '{key.secret}' with the key '{key.key}' in the run's "
            f"namespace; elsewhere ${key.variable}",
        )
    return value


def reveal_url(key: SecretKey) -> str:
    """A URL that is secret; NotificationError where it is no http or https URL."""
    value = reveal(key)
    try:
        parts = urlsplit(value)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    if not plain or not value.isascii() or not value.isprintable() or " " in value:
        raise NotificationError(f"the secret {key.secret}/{key.key} is not an http or https URL.")
    return value


# Slack's incoming webhooks: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.


def slack_message(notice: Notice) -> dict[str, object]:
    """The message for Slack: an attachment, which Mattermost and Rocket.Chat understand too."""
    lines = _shortened([_escaped(line) for line in notice.lines])
    for link in notice.links:
        title = _escaped(link.title)
        web = link.url.startswith(("https://", "http://"))
        address = quote(link.url, safe=":/?#[]@!$&'()*+,;=%~") if web else _escaped(link.url)
        lines.append(f"<{address}|{title}>" if web else f"{title}: {address}")
    title = _escaped(notice.title)
    shown = {"color": COLOURS[notice.event], "fallback": title, "mrkdwn_in": []}
    return {"text": title, "attachments": [shown | {"text": "\n".join(lines)}]}


def _shortened(lines: Sequence[str]) -> list[str]:
    """As many of the lines as Slack shows in one text; those left out are counted."""
    kept, length = 0, 0
    while kept < len(lines) and length + len(lines[kept]) < MOST_TEXT:
        length += len(lines[kept]) + 1
        kept += 1
    more = len(lines) - kept
    return [*lines[:kept], f"… and {more:,} more lines"] if more else list(lines)


def _escaped(text: str) -> str:
    """Slack's three special characters escaped: no name becomes a link or mentions everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# Webhooks, signed as Standard Webhooks 1.0 describes: standardwebhooks.com.


def _webhook(notice: Notice, target: Webhook) -> Callable[[], None]:
    url = reveal_url(target.url) if isinstance(target.url, SecretKey) else target.url
    key = signing_key(reveal(target.signing)) if target.signing else None
    body = msgspec.json.encode(
        {"type": f"run.{notice.event}", "timestamp": notice.time, "data": notice}
    )

    def once() -> None:
        # A signature is valid for a few minutes only, so each try has its own.
        stamp = str(int(time.time()))
        headers = {"Webhook-Id": notice.id, "Webhook-Timestamp": stamp}
        if key is not None:
            headers["Webhook-Signature"] = signature(key, notice.id, stamp, body)
        post(url, body, headers)

    return once


def signature(key: bytes, id_: str, stamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256, in base64, of "id.timestamp.body"; the body as it is sent."""
    signed = b".".join((id_.encode(), stamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def signing_key(secret: str) -> bytes:
    """The bytes of a key; NotificationError where the prefix promises base64 and it is none."""
    if not secret.startswith(BASE64_KEY):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(BASE64_KEY), validate=True)
    except binascii.Error:
        raise NotificationError(
            f"the signing key begins with {BASE64_KEY}, but what follows is not base64."
        ) from None


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: what is signed for one address goes to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST JSON once."""
    own = {"Content-Type": "application/json", "User-Agent": f"quorate/{__version__}"}
    request = Request(url, body, {**own, **headers})  # noqa: S310  its scheme has been checked
    try:
        with build_opener(_Stay()).open(request, timeout=TIMEOUT) as answer:
            answer.read(1 << 16)
    except HTTPError as error:
        with error:
            said = error.read(200).strip() if error.fp else b""
        told = f", {said.decode()}" if _SLACK_CODE.fullmatch(said) else ""
        why = f"it answered {error.code}{told}"
        if error.code in _TRY_LATER or error.code >= 500:
            after = error.headers.get("Retry-After") or ""
            raise TryAgainError(why, float(after) if after.isdecimal() else None) from None
        raise NotificationError(f"{why}.") from None
    except (OSError, HTTPException) as error:
        raise _no_answer(error.reason if isinstance(error, URLError) else error) from None


def _no_answer(reason: object) -> TryAgainError | NotificationError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _not_trusted("its certificate")
    if isinstance(reason, TimeoutError):
        return TryAgainError(f"it did not answer within {TIMEOUT:g} s")
    if isinstance(reason, OSError):
        return TryAgainError(f"it cannot be reached ({reason.strerror or type(reason).__name__})")
    return TryAgainError(f"the connection broke ({type(reason).__name__})")


def _not_trusted(certificate: str) -> NotificationError:
    return NotificationError(
        f"{certificate} is not trusted here.", hint="SSL_CERT_FILE names who to trust"
    )


# E-mail: plain text by SMTP, encrypted unless the spec says otherwise.


def mail_message(notice: Notice, target: Email) -> EmailMessage:
    """The e-mail; its id is the notice's, so that a copy can be told from a second event."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[quorate] {notice.title}"
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.to)
    mail["Date"] = format_datetime(notice.time)
    mail["Message-ID"] = f"<{notice.id}@{target.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    links = [f"{link.title}: {link.url}" for link in notice.links]
    text = "\n".join([notice.title, "", *notice.lines, *links, ""])
    mail.set_content(text, cte="quoted-printable")  # every server passes this on unchanged
    return mail


def _mail(notice: Notice, target: Email) -> Callable[[], None]:
    password = reveal(target.password) if target.password else None
    mail, context = mail_message(notice, target), ssl.create_default_context()

    def once() -> None:
        place = (target.host, target.port or PORTS[target.security])
        # The plain name of the host: a resolver may take long to find the full one.
        name = socket.gethostname()
        try:
            tls = partial(smtplib.SMTP_SSL, context=context)
            connect: Callable[..., smtplib.SMTP] = tls if target.security == "tls" else smtplib.SMTP
            with connect(*place, local_hostname=name, timeout=TIMEOUT) as server:
                if target.security == "starttls":
                    server.starttls(context=context)
                if target.username is not None and password is not None:
                    server.login(target.username, password)
                refused = server.send_message(mail)
        except OSError as error:  # every SMTPException is one
            raise _mail_problem(error) from None
        if refused:  # the others have it: another try would send it to them twice
            raise NotificationError(f"{_refused(refused)}.")

    return once


def _mail_problem(error: OSError) -> NotificationError | TryAgainError:
    match error:
        case smtplib.SMTPRecipientsRefused():
            why = _refused(error.recipients)
            later = all(400 <= code < 500 for code, _ in error.recipients.values())
            return TryAgainError(why) if later else NotificationError(f"{why}.")
        case smtplib.SMTPAuthenticationError():
            return NotificationError(f"the server refuses the password ({error.smtp_code}).")
        case smtplib.SMTPResponseException():
            text = error.smtp_error
            said = line(text.decode(errors="replace") if isinstance(text, bytes) else text, 200)
            why = f"the server answered {error.smtp_code} {said}"
            later = 400 <= error.smtp_code < 500
            return TryAgainError(why) if later else NotificationError(f"{why}.")
        case smtplib.SMTPNotSupportedError():
            return NotificationError(
                f"the server offers less than is asked of it: {error}", hint="see `security`"
            )
        case smtplib.SMTPServerDisconnected():
            return TryAgainError("the server hung up")
        case ssl.SSLCertVerificationError():
            return _not_trusted("the server's certificate")
        case smtplib.SMTPException():
            return NotificationError(f"the server cannot be used: {error}")
    return TryAgainError(f"the server cannot be reached ({error.strerror or type(error).__name__})")


def _refused(refused: Mapping[str, tuple[int, bytes]]) -> str:
    who = ", ".join(f"{address} ({code})" for address, (code, _) in refused.items())
    return f"the server refuses {who}"
