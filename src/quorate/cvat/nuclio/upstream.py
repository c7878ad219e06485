"""A real Nuclio dashboard behind: its functions are listed too, and its requests passed on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import urllib3

from quorate.errors import InputError
from quorate.http.timed import pool_manager

LOG = logging.getLogger("quorate.cvat")
Headers = Iterable[tuple[bytes, bytes]]
_ONE_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length",
}  # fmt: skip
"""Headers that are about one connection, not about what is passed on."""


class Away(Exception):  # noqa: N818 - a state, told to CVAT as 502
    """The dashboard behind does not answer; the message says so."""


class Told(NamedTuple):
    """An answer to be passed on."""

    status: int
    headers: dict[str, str]
    body: bytes


class Upstream:
    """A Nuclio dashboard. Calls come from any thread.

    url    such as http://nuclio:8070
    notes  the last things that are wrong with it, for the page
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        split = urlsplit(url if "//" in url else f"http://{url}")
        if split.scheme not in ("http", "https") or not split.hostname:
            raise InputError(
                f"--upstream {url}: is no address of a dashboard.",
                hint="for example http://nuclio:8070",
            )
        self.url = f"{split.scheme}://{split.netloc}{split.path.rstrip('/')}"
        self.timeout = timeout
        self.notes: deque[str] = deque(maxlen=5)
        self._pool = pool_manager(maxsize=16)

    def functions(self, ours: Collection[str], headers: Headers) -> dict[str, Any]:
        """Its functions by name; that one has a name of ours as well is told.

        `headers` are those of the request: they say of which project and namespace.
        """
        plain = [(name, value) for name, value in headers if name.lower() != b"accept-encoding"]
        try:
            told = self.passed("GET", "/api/functions", plain, b"")
            if told.status != 200:
                raise Away(f"{self.url}: answers {told.status} to GET /api/functions")
            found = msgspec.json.decode(told.body, type=dict[str, Any])
        except (Away, msgspec.MsgspecError) as error:
            self._note(f"its functions are not listed: {error}")
            return {}
        for name in sorted(set(ours) & set(found)):
            self._note(f"it has a function '{name}' too: ours is called")
        return found

    def passed(self, method: str, target: str, headers: Headers, body: bytes) -> Told:
        """Its answer to a request. Raises Away."""
        kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        try:
            answer = self._pool.request(
                method,
                f"{self.url}{target}",
                headers={name: value for name, value in kept if name.lower() not in _ONE_HOP},
                body=body or None,
                timeout=self.timeout,
                retries=False,
                redirect=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(f"{self.url}: the dashboard behind does not answer ({error})") from None
        told = {n: v for n, v in answer.headers.items() if n.lower() not in _ONE_HOP}
        return Told(answer.status, told, answer.data)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            LOG.warning("upstream %s: %s", self.url, note)
            self.notes.append(note)
