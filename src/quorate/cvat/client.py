"""How a CVAT server is asked: its REST API over HTTP, with tries again and errors in sentences."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from quorate._version import __version__
from quorate.errors import AccessError, BusyError, InputError, ServerError, file_error
from quorate.http.retrying import Busy, retry_after, retrying, short
from quorate.http.timed import pool_manager

T = TypeVar("T")
TRIES = 4
"""How many more times a request is sent, of those that `once` sends too."""
FIRST_WAIT = 1.0
"""Seconds before `once` sends again; they double."""
LOOKS = 5
"""How often `once` looks whether a change was carried out; the waits before double."""
BUSY = (429, 502, 503, 504)
LARGEST = 1 << 31
"""Bytes of an answer; more is refused."""
PIECE = 1 << 20
PAGE = 100
SECONDS = 60.0
SLOW = 900.0
"""Seconds for requests on whole jobs' annotations: 100,000 shapes take a server minutes."""


class SignedOutError(AccessError):
    """The server does not know who asks: a token that has ended, or a wrong password."""


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]
    next: str | None = None


class _About(msgspec.Struct):
    version: str


@dataclass
class Client:
    """A CVAT server and who asks it. Calls may come from any thread.

    server        such as https://cvat.example.org
    headers       sent with every request; they hold the secret
    organization  the short name of the organization that the tasks belong to; None for one's own
    tries         how many more times a request is sent that may be sent twice
    """

    server: str
    headers: Mapping[str, str] = field(repr=False)
    organization: str | None = None
    tries: int = TRIES
    _pool: urllib3.PoolManager = field(
        default_factory=lambda: pool_manager(maxsize=8, block=True), repr=False
    )

    @classmethod
    def connect(
        cls,
        server: str | None = None,
        *,
        access_token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        organization: str | None = None,
    ) -> Self:
        """A client of a server; what is not given is taken from the environment.

        Args:
            server: its address; else CVAT_URL.
            access_token: a personal access token, of a person's settings page (CVAT 2.45 and
                later); else CVAT_ACCESS_TOKEN.
            username: with `password`, instead of a token; else CVAT_USERNAME and CVAT_PASSWORD.
            password: see `username`.
            organization: else CVAT_ORGANIZATION.

        Raises:
            InputError: no address, or one that is none.
            AccessError: nothing says who asks.
        """
        address = server or os.environ.get("CVAT_URL", "")
        if not address:
            raise InputError(
                "No CVAT server is named.",
                hint="give the task's address, --server, or set CVAT_URL=https://cvat.example.org",
            )
        base = origin(address)
        token = access_token or os.environ.get("CVAT_ACCESS_TOKEN")
        user = username or os.environ.get("CVAT_USERNAME")
        word = password or os.environ.get("CVAT_PASSWORD")
        if token:
            who = {"Authorization": f"Bearer {token}"}
        elif user and word:
            who = urllib3.make_headers(basic_auth=f"{user}:{word}")
            who = {"Authorization": who["authorization"]}
        else:
            raise AccessError(
                f"{urlsplit(base).hostname}: nothing says who you are.",
                hint="set CVAT_ACCESS_TOKEN to a personal access token (CVAT: your name, Profile, "
                "Security), or CVAT_USERNAME and CVAT_PASSWORD",
            )
        return cls.of(base, who, organization or os.environ.get("CVAT_ORGANIZATION"))

    @classmethod
    def of(
        cls,
        server: str,
        who: Mapping[str, str],
        organization: str | None = None,
        *,
        tries: int = TRIES,
    ) -> Self:
        """A client of a server for who has these headers; the environment is not asked."""
        known = {"Accept": "application/vnd.cvat+json", "User-Agent": f"quorate/{__version__}"}
        known |= {"X-Organization": organization} if organization else {}
        return cls(origin(server), {**who, **known}, organization, tries)

    def within(self, organization: int | None) -> dict[str, int]:
        """What a list, or what is made anew, has to be told of the organization it belongs to.

        CVAT takes one word on that alone: nothing where the client names an organization already.
        """
        if organization is None or self.organization is not None:
            return {}
        return {"org_id": organization}

    def version(self) -> str:
        """The server's version; InputError where nothing there answers as CVAT does."""
        return self.get("server/about", _About).version

    def get(self, path: str, kind: type[T], *, slow: bool = False, **query: Any) -> T:
        """What is at a path below `/api/`, as a value of a kind."""
        return self._read(self.content(path, slow=slow, **query), kind, path)

    def all(self, path: str, kind: type[T], **query: Any) -> Iterator[T]:
        """Every item of a list that comes in pages."""
        page = 1
        while True:
            got = self.get(path, _Page, page=page, page_size=PAGE, **query)
            for raw in got.results:
                yield self._read(raw, kind, path)
            if got.next is None:
                return
            page += 1

    def content(self, path: str, *, slow: bool = True, **query: Any) -> bytes:
        """The bytes of a file at a path, such as a frame's picture."""
        return retrying(
            lambda: self._asked("GET", path, query, slow=slow),
            retries=self.tries,
            origin=self.server,
        )

    def save(
        self,
        path: str,
        file: BinaryIO,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
        **query: Any,
    ) -> None:
        """Write what is at a path into a file, however large it is.

        `progress` is told bytes; the total is 0 where the server does not say it.
        """

        def fetch() -> None:
            file.seek(0)
            file.truncate()
            pool = urllib3.PoolManager()  # its time limit is for each piece, not for the whole
            with self._answered("GET", path, query, pool=pool, seconds=SECONDS) as answer:
                total, done = int(answer.headers.get("Content-Length") or 0), 0
                for piece in answer.stream(PIECE, decode_content=True):
                    try:
                        file.write(piece)
                    except OSError as error:
                        raise file_error(error) or error from None
                    done += len(piece)
                    progress(done, total)

        retrying(fetch, retries=TRIES, origin=self.server)

    def send(self, method: str, path: str, body: Any, kind: type[T], **query: Any) -> T:
        """Send a request that changes something, once.

        Raises ServerError where it is not known whether it was carried out.
        """
        try:
            data = None if body is None else msgspec.json.encode(body)
            answer = self._asked(method, path, query, body=data, slow=True)
        except Busy as busy:
            raise ServerError(f"{self.server}: {busy.reason}.", hint=busy.hint) from None
        return self._read(answer or b"null", kind, path)

    def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        body: bytes | None = None,
        slow: bool = False,
    ) -> bytes:
        seconds = SLOW if slow else SECONDS
        with self._answered(method, path, query, body=body, seconds=seconds) as answer:
            data = answer.read(LARGEST + 1, decode_content=True)
        if len(data) > LARGEST:
            raise InputError(f"{self.server}/api/{path}: answers with more than {LARGEST:,} bytes.")
        return data

    @contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        body: bytes | None = None,
        pool: urllib3.PoolManager | None = None,
        seconds: float,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The server's answer, to be read; Busy where it is none, or breaks off."""
        url = f"{self.server}/api/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {**self.headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            answer = (pool or self._pool).request(
                method,
                url,
                headers=headers,
                body=body,
                timeout=seconds,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if answer.status >= 300:
                raise self._not_done(path, answer, answer.read(LARGEST, decode_content=True))
            yield answer
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, TimeoutError, OSError) as error:
            inner = error.args[-1] if error.args else error  # urllib3 wraps the reason in a tuple
            told = inner if isinstance(inner, OSError | urllib3.exceptions.HTTPError) else error
            raise Busy(
                short(str(told)).rpartition("] ")[2].lower() or "it did not answer"
            ) from None

    def _not_done(self, path: str, answer: urllib3.BaseHTTPResponse, data: bytes) -> Exception:
        """What an answer of 300 or more means; Busy where the same may be answered later."""
        status, said = answer.status, _reason(data)
        answer.release_conn()
        if status in BUSY or status >= 500:
            return Busy(
                f"it answers {status} ({said})" if said else f"it answers {status}",
                wait=retry_after(answer.headers.get("Retry-After")),
            )
        what = _called(path)
        of = f" in the organization '{self.organization}'" if self.organization else ""
        if status < 400:
            location = short(answer.headers.get("Location", ""))
            return InputError(
                f"{self.server}: leads elsewhere, to {location or 'nowhere'}.",
                hint="give that address if it is CVAT's: credentials are not sent on",
            )
        if status == 401:
            return SignedOutError(
                f"{self.server}: does not know you ({said or 'HTTP 401'}).",
                hint="is the token expired or revoked, or the password another?",
            )
        if status == 403:
            return AccessError(
                f"{self.server}: you may not do that with {what}{of} ({said or 'HTTP 403'}).",
                hint="ask its owner, or name the organization that it belongs to (--org); a token "
                "that is for reading alone changes nothing",
            )
        if status == 404:
            return InputError(
                f"{self.server}: there is no {what.rpartition(' of ')[2]}{of}, or you may not see "
                "it.",
                hint="is the organization's short name right?"
                if of
                else "is it in an organization? Name that with --org",
            )
        if status == 409:
            return BusyError(f"{self.server}: {what}: {said or 'is at work already'}.")
        return InputError(f"{self.server}: refuses {what}: {said or f'HTTP {status}'}.")

    def _read(self, body: bytes | msgspec.Raw, kind: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.server}/api/{path}: is not answered as CVAT answers ({error}).",
                hint="is this the address of a CVAT server, 2.15 or later?",
            ) from None


def origin(address: str) -> str:
    """Scheme, host and port of a server's address; InputError where it is none."""
    try:
        split = urlsplit(address if "//" in address else f"https://{address}")
    except ValueError:  # such as http://[::1
        split = urlsplit("")
    if split.scheme not in ("http", "https") or not split.hostname:
        raise InputError(f"{address}: is no address of a CVAT server, such as https://HOST.")
    return f"{split.scheme}://{split.netloc.rpartition('@')[2]}"


def _called(path: str) -> str:
    """What a path below `/api/` is in words: 'task 12', 'annotations of job 34'."""
    head, _, rest = path.strip("/").partition("/")
    number, _, part = rest.partition("/")
    if not number.isdecimal():
        return path.strip("/").replace("/", " ")
    return f"{part.replace('/', ' ')} of {head[:-1]} {number}".removeprefix(" of ")


def _reason(body: bytes) -> str:
    """What an error's body says: CVAT has text, lists of text, or fields with lists of text."""

    def flat(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, inner in value.items():
                for text in flat(inner):
                    yield text if key in ("detail", "non_field_errors") else f"{key}: {text}"
        elif isinstance(value, list):
            for inner in value:
                yield from flat(inner)

    try:
        told = [*flat(msgspec.json.decode(body[: 1 << 16]))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body[:600].decode("utf-8", "replace")
        told = [] if "<html" in text.lower() else [text]
    return short("; ".join(told[:3]))


def once(send: Callable[[], object], arrived: Callable[[], bool] | None = None) -> None:
    """Have a change carried out once, though answers are lost.

    `send` is called again where it raises ServerError, unless `arrived` finds on the server that
    the change was carried out. It looks `LOOKS` times, for a server may be at work on what a proxy
    has given up. Without it the change is one that may be carried out twice.
    """
    wait = FIRST_WAIT
    for left in range(TRIES, -1, -1):
        try:
            send()
            return
        except ServerError:
            if not left:
                raise
        if arrived is None:
            time.sleep(wait)
            wait *= 2
        elif any(_later(look, arrived) for look in range(LOOKS)):
            return


def _later(look: int, arrived: Callable[[], bool]) -> bool:
    time.sleep(FIRST_WAIT * 2**look)
    return arrived()
