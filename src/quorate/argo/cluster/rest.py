"""JSON over HTTP, as argo-server and Kubernetes speak it, with errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from quorate.errors import AccessError, ClusterError, InputError, QuorateError

if TYPE_CHECKING:
    import urllib3

Json = dict[str, Any]

JSON = "application/json"
CONNECT = 10.0
"""Seconds until a server that does not accept the connection is given up."""
ANSWER = 60.0
"""Seconds until a server that does not answer is given up."""


class ConflictError(ClusterError):
    """Somebody else has changed the object since it was read: nothing was done."""


@dataclass(frozen=True)
class Rest:
    """One server.

    pool           urllib3's pool, which knows certificates and proxies
    base           scheme, host, port and the path that all requests' paths are below
    authorization  called before each request, so that a short-lived token is renewed
    where          the server's name in errors: "argo-server at …", "the cluster at …"
    renew          what to do when the server does not accept the credentials
    """

    pool: urllib3.PoolManager
    base: str
    authorization: Callable[[], str | None]
    where: str
    renew: str

    def __call__(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
    ) -> Json:
        """The answer to one request; the body of a PATCH is a merge patch.

        Raises AccessError (401, 403, an untrusted certificate), InputError (the object does not
        exist or is not valid), ClusterError (no answer, or one that asks to try later).
        """
        with _reached(self.where):
            answer = self._request(method, path, query or {}, body, accept=accept)
        try:
            found: Json = json.loads(answer.data or b"{}")
        except ValueError:
            raise InputError(
                f"{self.where} answers with something else than JSON.",
                hint="is the address that of the server itself? Behind a path it needs "
                "ARGO_BASE_HREF",
            ) from None
        return found

    def items(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str = JSON
    ) -> list[Json]:
        """The objects of a list, oldest first; those that bear no time as they come."""
        found: list[Json] = self("GET", path, query=query, accept=accept).get("items") or []
        return sorted(
            found, key=lambda one: str(one.get("metadata", {}).get("creationTimestamp", ""))
        )

    def lines(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str = "*/*",
        silence: float | None = None,
    ) -> Iterator[str]:
        """The lines of a stream; it ends after `silence` seconds without a new one."""
        import urllib3

        with _reached(self.where):
            answer = self._request(
                "GET", path, query, accept=accept, timeout=silence, preload=False
            )
            rest = b""
            try:
                for part in answer.stream(1 << 16, decode_content=True):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
                if rest:
                    yield rest.decode(errors="replace")
            except urllib3.exceptions.ReadTimeoutError:
                if silence is None:
                    raise
            except urllib3.exceptions.ProtocolError:
                return  # the server closed a stream that had begun: its reader asks again
            finally:
                answer.close()

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        accept: str = JSON,
        timeout: float | None = ANSWER,
        preload: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        headers = {"Accept": accept}
        if token := self.authorization():
            headers["Authorization"] = token
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        answer = self.pool.request(
            method,
            self.base.rstrip("/") + path + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else json.dumps(body).encode(),
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT, read=timeout),
            # Only a connection that was never made is tried again: a request may have had effects.
            retries=urllib3.Retry(
                connect=2, read=0, status=0, other=0, redirect=2, backoff_factor=0.3
            ),
            preload_content=preload,
        )
        if answer.status >= 400:
            raise refusal(answer.status, answer.data, where=self.where, renew=self.renew)
        return answer


@contextmanager
def _reached(where: str) -> Iterator[None]:
    """Turn what urllib3 raises into ClusterError or AccessError."""
    import urllib3

    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise unreachable(error, where=where) from None


def refusal(status: int, body: bytes, *, where: str, renew: str) -> QuorateError:
    """The error for an HTTP status of 400 or more; both servers put a sentence into `message`."""
    try:
        value = json.loads(body.removeprefix(b"data:"))
        value = value["error"] if isinstance(value.get("error"), dict) else value
        said = str(value.get("message") or value.get("error") or "")
    except (ValueError, AttributeError):
        said = body.decode(errors="replace").strip()
    said = said.strip().removesuffix(".")[:500] or f"status {status}"
    message = f"{where}: {said}."
    if status == 401:
        return AccessError(f"{where} does not know who you are: {said}.", hint=renew)
    if status == 403:
        hint = "`quorate doctor` lists every permission that is missing, and who needs it"
        return AccessError(message, hint=hint)
    missing = ("page not found", "could not find the requested resource")
    if status == 404 and any(words in said for words in missing):
        return InputError(
            f"{where} has no Argo Workflows: its resource definitions are missing.",
            hint="install Argo Workflows 4, then `quorate doctor`",
        )
    if status == 409:
        return ConflictError(message, hint="somebody else changed it at the same time: try again")
    if status == 429 or status >= 500:
        return ClusterError(f"{where} could not answer ({status}): {said}.")
    return InputError(message, hint="`quorate list` shows what is there" if status == 404 else None)


def unreachable(error: Exception, *, where: str) -> QuorateError:
    """The error for a server that gave no answer at all."""
    import urllib3.exceptions as of

    cause: BaseException = error
    while isinstance(cause, of.MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    said = str(cause)
    if isinstance(cause, of.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in said:
            return AccessError(
                f"{where}: its certificate is not trusted here.",
                hint="SSL_CERT_FILE names the authority to trust; "
                "ARGO_INSECURE_SKIP_VERIFY=true trusts any argo-server",
            )
        if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER" in said:
            return AccessError(
                f"{where} speaks plain HTTP.", hint="export ARGO_SECURE=false, or --server http://…"
            )
    if isinstance(cause, of.NameResolutionError):
        return ClusterError(f"{where}: there is no host of that name.", hint="check the address")
    if isinstance(cause, of.NewConnectionError):
        return ClusterError(
            f"{where} refuses the connection.", hint="is it running, and is the address right?"
        )
    if isinstance(cause, of.TimeoutError):
        return ClusterError(f"{where} does not answer.", hint="is the network, or a VPN, up?")
    return ClusterError(f"{where}: the connection broke ({said}).")
