"""Runs and what has to outlive a restart, in one SQLite file that its owner alone can read.

A run is at work on its task alone: the file itself refuses a second one. What a person's client
needs to ask CVAT is kept with a run while it is at work, and is wiped when it ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from quorate.cvat.task import Place
from quorate.errors import BusyError, InputError

State = Literal["waiting", "working", "done", "failed", "cancelled", "interrupted", "undone"]
Doing = Literal["run", "undo"]
NAME = "name"
"""The fact under which a run is known to `quorate cvat undo`, once it may have created a shape."""
LOOK = "look"
"""The fact that names the job at which a person looks first."""
LINES = 1000
"""Lines of a run's log that are kept, the last ones."""
PAGE = 50
REMEMBERED = 30 * 86400
"""Seconds for which a delivery is known again."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, task INTEGER NOT NULL, job INTEGER, person INTEGER NOT NULL,
    made REAL NOT NULL, busy INTEGER NOT NULL, body BLOB NOT NULL, headers BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS alone ON runs (task) WHERE busy;
CREATE INDEX IF NOT EXISTS of_task ON runs (task, made);
CREATE INDEX IF NOT EXISTS of_person ON runs (person, made);
CREATE TABLE IF NOT EXISTS lines (
    n INTEGER PRIMARY KEY, run TEXT NOT NULL, time REAL NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS of_run ON lines (run, n);
CREATE TABLE IF NOT EXISTS deliveries (key TEXT PRIMARY KEY, time REAL NOT NULL, body BLOB);
"""


class Step(msgspec.Struct):
    """One part of a run's work.

    state  waiting, working, done or failed
    depth  how far below the others it stands
    key    what tells it from others of its name
    """

    name: str
    state: str = "waiting"
    done: int = 0
    total: int = 0
    message: str = ""
    depth: int = 0
    key: str = ""


class Result(msgspec.Struct):
    """What a run, or undoing it, did to the task's shapes; tracks and issues made, or removed."""

    created: int = 0
    there: int = 0
    removed: int = 0
    touched: int = 0
    earlier: int = 0
    issues: int = 0
    notes: list[str] = []
    tracks: int = 0


class Run(msgspec.Struct, kw_only=True):
    """One run, as all its pages show it.

    runner    who carries it out, see `running`
    job       the part of the task that is meant; None for all of it
    values    what was asked of the person, and what was not
    facts     what has been reached and need not be done again, by name
    made, began, ended   seconds since 1970
    """

    id: str
    task: int
    job: int | None = None
    template: str
    runner: str
    title: str
    values: dict[str, str] = {}
    person: int
    who: str
    made: float
    began: float | None = None
    ended: float | None = None
    state: State = "waiting"
    doing: Doing = "run"
    error: str = ""
    hint: str = ""
    steps: list[Step] = []
    facts: dict[str, str] = {}
    result: Result | None = None

    @property
    def at_work(self) -> bool:
        """Whether it waits or works."""
        return self.state in ("waiting", "working")

    @property
    def may_go_on(self) -> bool:
        """Whether it ended, but not as it should."""
        return self.state in ("failed", "cancelled", "interrupted")

    @property
    def may_be_undone(self) -> bool:
        """Whether it has ended and may have created a shape."""
        return not self.at_work and self.state != "undone" and NAME in self.facts

    @property
    def target(self) -> Place:
        """Where the boxes go."""
        return Place("job", self.job) if self.job else Place("task", self.task)


class Store:
    """The file. Calls come from any thread; one process has it at a time."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        file.chmod(0o600)  # SQLite gives its other files the same mode
        self._lock = threading.RLock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        try:
            self._db.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;"
                + _TABLES
            )
        except sqlite3.DatabaseError as error:
            raise InputError(f"{file}: is no file of the companion's ({error}).") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(self, run: Run, headers: Mapping[str, str]) -> None:
        """Keep a new run; BusyError where another is at work on its task."""
        keys = (run.id, run.task, run.job, run.person, run.made)
        row = (*keys, 1, _packed(run), _packed(headers))
        with self._alone(run.task):
            self._db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def claim(self, run: Run, headers: Mapping[str, str]) -> None:
        """Let a run that has ended be at work again; BusyError where another is."""
        with self._alone(run.task):
            done = self._db.execute(
                "UPDATE runs SET busy = 1, headers = ?, body = ? WHERE id = ? AND NOT busy",
                (_packed(headers), _packed(run), run.id),
            )
            if not done.rowcount:
                raise BusyError("This run is at work already.")

    @contextlib.contextmanager
    def _alone(self, task: int) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.IntegrityError:
                other = self.on(task)
                whose = f"'{other.title}', started by {other.who}," if other else "Another run"
                raise BusyError(
                    f"{whose} is at work on task {task}.",
                    hint="wait until it ends; its page shows how far it is",
                ) from None

    def save(self, run: Run) -> None:
        """Keep what a run is now."""
        self._ask("UPDATE runs SET body = ? WHERE id = ?", _packed(run), run.id)

    def release(self, run: Run) -> None:
        """Keep what a run that has ended is, and wipe what its person's client had."""
        with self._lock:
            self._db.execute(
                "UPDATE runs SET busy = 0, headers = NULL, body = ? WHERE id = ?",
                (_packed(run), run.id),
            )
            # Else the write-ahead log would keep what the row had.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def run(self, name: str) -> Run | None:
        """One run."""
        found = self._runs("WHERE id = ?", name)
        return found[0] if found else None

    def on(self, task: int) -> Run | None:
        """The run that is at work on a task."""
        found = self._runs("WHERE task = ? AND busy", task)
        return found[0] if found else None

    def at_work(self) -> list[Run]:
        """All runs that are at work, the oldest first."""
        return self._runs("WHERE busy ORDER BY made")

    def of_task(
        self, task: int, job: int | None = None, *, page: int = 1, size: int = PAGE
    ) -> list[Run]:
        """The runs on a task, or on one job of it alone, the newest first."""
        return self._runs(
            "WHERE task = ? AND (? IS NULL OR job = ?) ORDER BY made DESC LIMIT ? OFFSET ?",
            *(task, job, job, size, (page - 1) * size),
        )

    def count(self, task: int, job: int | None = None) -> int:
        """How many runs a task, or one job of it alone, has had."""
        ((found,),) = self._ask(
            "SELECT count(*) FROM runs WHERE task = ? AND (? IS NULL OR job = ?)", task, job, job
        )
        return int(found)

    def of_person(self, person: int) -> list[Run]:
        """The last ten runs that a person started, the newest first."""
        return self._runs("WHERE person = ? ORDER BY made DESC LIMIT 10", person)

    def _runs(self, which: str, *values: object) -> list[Run]:
        rows = self._ask(f"SELECT body FROM runs {which}", *values)  # noqa: S608 - ours
        return [msgspec.json.decode(body, type=Run) for (body,) in rows]

    def _ask(self, statement: str, *values: object) -> list[Any]:
        """Carry out one statement; the rows that it gives."""
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def headers(self, name: str) -> dict[str, str]:
        """What the client of a run at work needs; empty where it has ended."""
        rows = self._ask("SELECT headers FROM runs WHERE id = ? AND headers IS NOT NULL", name)
        return msgspec.json.decode(rows[0][0], type=dict[str, str]) if rows else {}

    def say(self, run: str, text: str) -> None:
        """Add a line to a run's log."""
        with self._lock:
            self._db.execute(
                "INSERT INTO lines (run, time, text) VALUES (?, ?, ?)", (run, time.time(), text)
            )
            self._db.execute(
                "DELETE FROM lines WHERE run = ? AND n <= (SELECT n FROM lines WHERE run = ? "
                "ORDER BY n DESC LIMIT 1 OFFSET ?)",
                (run, run, LINES),
            )

    def clear(self, run: str) -> None:
        """Forget a run's log."""
        self._ask("DELETE FROM lines WHERE run = ?", run)

    def lines(self, run: str, last: int = 200) -> list[tuple[float, str]]:
        """The last lines of a run's log: seconds since 1970, and text."""
        told = "SELECT time, text FROM lines WHERE run = ? ORDER BY n DESC LIMIT ?"
        return self._ask(told, run, last)[::-1]

    def delivered(self, key: str, body: bytes) -> bool:
        """Whether a delivery came before; it is remembered from now on.

        Its body is kept until it is `handled`, over a restart.
        """
        now = time.time()
        with self._lock:
            self._db.execute("DELETE FROM deliveries WHERE time < ?", (now - REMEMBERED,))
            row = (key, now, body)
            done = self._db.execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?)", row)
            return not done.rowcount

    def handled(self, key: str) -> None:
        """Nothing is left to be done about a delivery."""
        self._ask("UPDATE deliveries SET body = NULL WHERE key = ?", key)

    def unhandled(self) -> list[tuple[str, bytes]]:
        """Key and body of what is not handled yet, the oldest first."""
        return self._ask(
            "SELECT key, body FROM deliveries WHERE body IS NOT NULL ORDER BY time, key"
        )


def new_id() -> str:
    """A name for a run: it cannot be guessed, and fits into an address."""
    return secrets.token_hex(8)


def _packed(value: object) -> bytes:
    return msgspec.json.encode(value)
