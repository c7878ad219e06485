"""One POST, with words for what goes wrong that never contain the URL: it may be a secret."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from quorate._version import __version__
from quorate.errors import NotificationError
from quorate.notifications.retrying import TIMEOUT, TryAgainError

_LATER = (408, 425, 429)
_CODE = re.compile(rb"[a-z_]{3,60}")
"""Slack's words for what is wrong: channel_is_archived. Other bodies may repeat the URL."""


class _Stay(HTTPRedirectHandler):
    """A redirect is an answer: what is signed for one address goes to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send JSON; TryAgainError where it may help, else NotificationError."""
    request = Request(  # noqa: S310  the scheme is checked where the URL comes from
        url,
        data=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": f"quorate/{__version__}",
            **headers,
        },
        method="POST",
    )
    try:
        with build_opener(_Stay()).open(request, timeout=TIMEOUT) as answer:
            answer.read(1 << 16)
    except HTTPError as error:
        with error:
            said = error.read(200).strip() if error.fp else b""
        told = f", {said.decode()}" if _CODE.fullmatch(said) else ""
        why = f"it answered {error.code}{told}"
        if error.code in _LATER or error.code >= 500:
            raise TryAgainError(why, _seconds(error.headers.get("Retry-After"))) from None
        raise NotificationError(f"{why}.") from None
    except URLError as error:
        raise _broken(error.reason) from None
    except (OSError, HTTPException) as error:
        raise _broken(error) from None


def _broken(reason: object) -> TryAgainError | NotificationError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return NotificationError(
            "its certificate is not trusted here.", hint="SSL_CERT_FILE names who to trust"
        )
    if isinstance(reason, TimeoutError):
        return TryAgainError(f"it did not answer within {TIMEOUT:g} s")
    if isinstance(reason, OSError):
        return TryAgainError(f"it cannot be reached ({reason.strerror or type(reason).__name__})")
    return TryAgainError(f"the connection broke ({type(reason).__name__})")


def _seconds(after: str | None) -> float | None:
    return float(after) if after and after.isdecimal() else None
