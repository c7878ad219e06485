"""Who is here, and what CVAT lets them do: it is asked each time, with their own credentials.

A session lives in memory and ends with the process. The browser has its number alone; here it is
kept by its digest.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

import msgspec
import urllib3

from quorate.cvat.client import Client, SignedOutError
from quorate.cvat.publishing.writing import ask_right
from quorate.cvat.task import Job, Place, jobs_of
from quorate.errors import AccessError, BusyError, InputError, ServerError
from quorate.http.timed import pool_manager

TRIES = 1
"""A person waits for the page: a busy server is asked once more, no longer."""
SECONDS = 30.0
IDLE = 12 * 3600.0
"""Seconds after which a session that nobody uses has ended."""
TRIED, WITHIN = 10, 600.0
"""Wrong passwords that one name may try within these seconds."""


@dataclass(frozen=True)
class Person:
    """Somebody whom CVAT knows: number and name there, and the client that asks for them."""

    id: int
    name: str
    client: Client = field(repr=False)


class _Self(msgspec.Struct):
    id: int
    username: str


class _Task(msgspec.Struct):
    id: int
    name: str = ""
    size: int = 0


@dataclass(frozen=True)
class Seen:
    """A task, or one job of it, as a person may see it: the name, and how many frames."""

    task: int
    job: int | None
    name: str
    frames: int

    @property
    def place(self) -> Place:
        """As CVAT's client has it."""
        return Place("job", self.job) if self.job else Place("task", self.task)


def person(server: str, headers: Mapping[str, str]) -> Person:
    """Who these headers belong to; SignedOutError where CVAT does not know."""
    client = Client.of(server, headers, tries=TRIES)
    known = client.get("users/self", _Self)
    return Person(known.id, known.username, client)


def by_token(server: str, token: str) -> Person:
    """Sign in with a personal access token of CVAT's."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AccessError("This is no token of CVAT's: it has no spaces and no special letters.")
    return person(server, {"Authorization": f"Bearer {token}"})


def by_password(server: str, username: str, password: str) -> Person:
    """Sign in with CVAT's user name and password, which are exchanged for a session of CVAT's.

    Raises AccessError where CVAT does not take them, ServerError where it does not answer.
    """
    try:
        answer = pool_manager().request(
            "POST",
            f"{server}/api/auth/login",
            json={"username": username, "password": password},
            timeout=SECONDS,
            retries=False,
            redirect=False,
        )
    except (urllib3.exceptions.HTTPError, OSError):
        raise ServerError(f"{server}: does not answer.", hint="is CVAT running?") from None
    if answer.status in (400, 401, 403):
        raise AccessError("CVAT does not know this name with this password.")
    if answer.status >= 300:
        raise ServerError(f"{server}: answers {answer.status} when asked to sign in.")
    cookies = _cookies(answer.headers.getlist("Set-Cookie"))
    try:
        key = msgspec.json.decode(answer.data, type=dict[str, object]).get("key")
    except (msgspec.DecodeError, UnicodeDecodeError):
        key = None
    if "sessionid" in cookies:
        pairs = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = {"Cookie": pairs, "Referer": f"{server}/"}
        headers |= {"X-CSRFToken": cookies["csrftoken"]} if "csrftoken" in cookies else {}
    elif isinstance(key, str):
        headers = {"Authorization": f"Token {key}"}
    else:
        raise ServerError(f"{server}: signs in, but gives no session.", hint="use a token instead")
    return person(server, headers)


def _cookies(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        try:
            found |= {name: one.value for name, one in SimpleCookie(line).items()}
        except CookieError:
            continue
    return {name: found[name] for name in ("sessionid", "csrftoken") if name in found}


def sign_out(somebody: Person) -> None:
    """End the session of CVAT's that a password was exchanged for; a token stays as it is."""
    if "Cookie" in somebody.client.headers:
        try:
            somebody.client.send("POST", "auth/logout", {}, msgspec.Raw)
        except (AccessError, InputError, ServerError):
            return


def look(client: Client, place: Place) -> Seen:
    """A task or job that this person may see; AccessError where CVAT has none, or refuses.

    Both are told alike: who may not see a task does not learn whether there is one.
    """
    try:
        return _seen(client, place)
    except SignedOutError:
        raise
    except (AccessError, InputError):
        raise AccessError(
            f"There is no {place} in CVAT, or you may not see it.",
            hint="ask its owner to assign it to you, or sign in with another account",
        ) from None


def _seen(client: Client, place: Place) -> Seen:
    if place.what == "job":
        job = client.get(f"jobs/{place.id}", Job)
        try:
            name = client.get(f"tasks/{job.task_id}", _Task).name
        except (AccessError, InputError):  # who has one job of a task may not see the task
            name = f"Task {job.task_id}"
        return Seen(job.task_id, job.id, name, len(job.numbers))
    task = client.get(f"tasks/{place.id}", _Task)
    return Seen(task.id, None, task.name, task.size)


def seen_jobs(client: Client, task: int) -> list[Seen]:
    """The jobs of annotation of a task that this person may see, by rising frames."""
    return [
        Seen(task, job.id, f"Job {job.id}", len(job.numbers))
        for job in jobs_of(client, task)
        if job.type == "annotation"
    ]


def may_edit(client: Client, place: Place) -> str | None:
    """None where this person may change the shapes there, else CVAT's reason."""
    try:
        ask_right(client, place.path)
    except SignedOutError:
        raise
    except (AccessError, InputError) as error:
        return error.message
    return None


class _Drawn(msgspec.Struct):
    shapes: list[msgspec.Raw] = []
    tracks: list[msgspec.Raw] = []


def shapes_up_to(client: Client, seen: Seen, most: int) -> int:
    """How many shapes and tracks are drawn there; once there are `most`, no more are counted."""
    if not most:
        return 0
    jobs = [seen.job] if seen.job else [job.id for job in jobs_of(client, seen.task)]
    found = 0
    for job in jobs:
        there = client.get(f"jobs/{job}/annotations", _Drawn, slow=True)
        found += len(there.shapes) + len(there.tracks)
        if found >= most:
            break
    return found


@dataclass
class Session:
    """Somebody signed in. `csrf` stands in each form of theirs; `used` is a monotonic time."""

    person: Person
    csrf: str
    used: float


class Sessions:
    """Who is signed in, by the number in their browser's cookie. Calls come from any thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Session] = {}
        self._failed: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def begin(self, somebody: Person) -> str:
        """Begin a session; the number for the cookie."""
        number, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            for key in [k for k, one in self._known.items() if now - one.used > IDLE]:
                del self._known[key]
            self._known[_digest(number)] = Session(somebody, secrets.token_urlsafe(32), now)
        return number

    def get(self, number: str) -> Session | None:
        """The session of a number."""
        now = time.monotonic()
        with self._lock:
            found = self._known.get(_digest(number))
            if found is None or now - found.used > IDLE:
                return None
            found.used = now
            return found

    def end(self, number: str) -> Session | None:
        """End a session; which it was."""
        with self._lock:
            return self._known.pop(_digest(number), None)

    def try_again(self, name: str) -> None:
        """BusyError where a name has tried too many wrong passwords."""
        with self._lock:
            now = time.monotonic()
            for key in [k for k, times in self._failed.items() if now - times[-1] > WITHIN]:
                del self._failed[key]
            if len(self._failed.get(name, ())) >= TRIED:
                raise BusyError(
                    f"{TRIED} passwords were wrong.", hint="wait ten minutes, or use a token"
                )

    def failed(self, name: str) -> None:
        """Count a wrong password."""
        with self._lock:
            self._failed.setdefault(name, []).append(time.monotonic())


def _digest(number: str) -> bytes:
    return hashlib.sha256(number.encode("utf-8", "replace")).digest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same; how long it takes tells nothing."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
