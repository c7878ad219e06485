"""What asks a model of a server, over either of the protocol's two ways; what a refusal means."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from quorate.errors import DetectorError
from quorate.http.retrying import short
from quorate.networks import Arrays, Graph

LARGEST = 1 << 30
"""Bytes of an answer; more is not read."""


class Client(Protocol):
    """Asks one model of one server. Calls come from any thread.

    Each raises `Busy` where another try may help, `Refused` where it will not, and DetectorError
    for an answer that makes no sense.
    """

    def metadata(self) -> Graph:
        """The model's inputs and outputs."""

    def ready(self) -> bool:
        """Whether the model can be run now."""

    def models(self) -> list[str]:
        """The names of the server's models, where it tells them."""

    def infer(self, outputs: Sequence[str], feed: Arrays) -> dict[str, NDArray[Any]]:
        """Run the model."""


class Refused(Exception):  # noqa: N818  never seen outside this package
    """A request that will not succeed.

    reason   what the server said
    unknown  whether it does not know the model
    access   whether it does not know who asks, or denies it
    """

    def __init__(self, reason: str, *, unknown: bool = False, access: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.unknown, self.access = reason, unknown, access


_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL and BoringSSL say of an answer that is not encrypted."""
_VERIFY = re.compile(r"certificate.verify.failed: (?P<why>[^:(]+)", re.IGNORECASE)


def no_tls(said: str, plain: str) -> Refused | None:
    """What a failed handshake means, as OpenSSL and gRPC tell it; None where it is another fault.

    plain  how the address of a server without encryption begins
    """
    if any(word in said for word in _NO_TLS):
        return Refused(f"it speaks no TLS; where that is meant, its address begins with {plain}")
    if found := _VERIFY.search(said):
        why = found["why"].strip()
        hint = "; `tls_ca` names a file of those who vouch for it"
        return Refused(f"its certificate is not trusted: {why}" + hint * ("expired" not in why))
    return None


def authorities(file: str | None) -> ssl.SSLContext:
    """Whom to trust: those of a file, or the system's; DetectorError where it holds none."""
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        reason = short(error.strerror or str(error))
        raise DetectorError(f"{file}: no authorities can be read ({reason}).") from None
