"""Who may ask: a token that every request has to bear, and the number of its headers."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quorate.errors import InputError
from quorate.http.listening import Tls
from quorate.serving.values import Refused, Why

HEALTH = ("/v2/health/live", "/v2/health/ready", "ServerLive", "ServerReady")
PAGE = ("/", "/page.css", "/page.js", "/icon.svg")
OPEN = (*HEALTH, *PAGE)
"""What everybody may ask: whoever watches over the server has no token, and the page, which tells
nothing of it, asks for one."""


class Access(NamedTuple):
    """How clients come in.

    token  what they bear, as `Authorization: Bearer TOKEN`; None: nothing
    tls    the certificate for both protocols; None: no encryption
    """

    token: str | None = None
    tls: Tls | None = None

    def check(self, what: str, headers: Sequence[tuple[str, str]], most: int) -> None:
        """Refused where a path, or a call of gRPC, is not to be answered. Names are lower-case."""
        if len(headers) > most:
            raise Refused(Why.HEADERS, f"{len(headers)} headers are more than {most}.")
        if self.token is None or what in OPEN:
            return
        borne = [value for name, value in headers if name == "authorization"]
        scheme, _, token = borne[0].partition(" ") if len(borne) == 1 else ("", "", "")
        same = hmac.compare_digest(token.strip().encode(), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            raise Refused(Why.WHO, "This server asks for a token: Authorization: Bearer TOKEN.")


def read_token(file: str) -> str:
    """The token of a file; InputError where there is none."""
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: no token can be read ({error}).") from None
    if not token or not token.isascii() or " " in token:
        raise InputError(f"{file}: holds no token, one word of ASCII.")
    return token


def read_tls(certificate: str, key: str) -> Tls:
    """The files of a certificate; InputError where they are none, or do not fit each other."""
    import ssl

    def locked() -> str:
        raise InputError(f"{key}: the key is locked by a pass phrase; `openssl pkey` unlocks it.")

    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key, password=locked)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        if "MISMATCH" in reason:
            reason = "the key is that of another certificate"
        elif "PEM" in reason:
            reason = "one of them is not what it should be, in PEM"
        raise InputError(f"{certificate}, {key}: no certificate with its key ({reason}).") from None
    return Tls(certificate, key)
