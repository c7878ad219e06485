"""What is served: loading and unloading it, and loading it anew where it has changed.

A new version is loaded and warm before it takes the place of the old one, which answers until then
and is closed when its last request is answered. What cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from quorate.errors import QuorateError, SpecError, StorageError, did_you_mean
from quorate.serving.servable import Servable, Source
from quorate.serving.values import Limits, Refused, Why

LOG = logging.getLogger("quorate.serving")
LOOK_AGAIN = 1.0
"""Seconds between two looks at the files; a change counts when it has stood still for one."""
TRY_AGAIN = 30.0
"""Seconds after which a change is loaded that failed for a server or a store that was away."""
INSIDE = 1000
"""How many files of a folder are looked at."""


Look = Mapping[str, object]
"""What tells of each file whether it has changed."""


class Generation:
    """What answers, until another takes its place and its last request is answered."""

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        self._users = 0
        self._unused: asyncio.Future[None] | None = None

    @contextmanager
    def used(self) -> Iterator[Servable]:
        """While a request is answered."""
        self._users += 1
        try:
            yield self.servable
        finally:
            self._users -= 1
            if self._unused is not None and not self._users and not self._unused.done():
                self._unused.set_result(None)

    async def close(self) -> None:
        """Close it when no request is being answered; none must come any more."""
        if self._users:
            self._unused = asyncio.get_running_loop().create_future()
            await self._unused
        await asyncio.to_thread(self.servable.close)


@dataclass
class Entry:
    """Something that the server was started with.

    source   its description, as it was last loaded
    wanted   the description that could not be loaded since
    current  what answers; None where it is not loaded
    reason   why it is not, or why what has changed is not
    seen     what the files of both were when they were last read
    again    when to try again, in the event loop's time; None where that would change nothing
    """

    source: Source
    wanted: Source | None = None
    current: Generation | None = None
    loading: bool = False
    reason: str = "it is not loaded yet"
    seen: Look | None = None
    again: float | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """What it is loaded and unloaded by."""
        return self.source.name

    @property
    def state(self) -> str:
        """In Triton's words."""
        if self.current is not None:
            return "READY"
        return "LOADING" if self.loading else "UNAVAILABLE"


class Repository:
    """What a server was started with, by name. All methods belong to the event loop.

    ready  whether everything has been loaded and has looked at a picture
    """

    def __init__(self, sources: Iterable[Source], limits: Limits) -> None:
        """SpecError where two of their models have one name."""
        self.entries: dict[str, Entry] = {}
        self.limits = limits
        self.ready = False
        self._closing: set[asyncio.Task[None]] = set()
        models: set[str] = set()
        for source in sources:
            for name in source.models:
                if name in models:
                    raise SpecError(f"Two models have the name '{name}', by which they are asked.")
                models.add(name)
            self.entries[source.name] = Entry(source)

    def index(self) -> list[dict[str, str]]:
        """Every version of every model with its state, as Triton's extension tells it."""
        return [
            {"name": name, "version": version, "state": entry.state, "reason": entry.reason}
            for entry in self.entries.values()
            for name in entry.source.models
            for version in _versions(entry, name)
        ]

    def now(self) -> list[tuple[str, bool, int]]:
        """Of each, its name, whether it can be asked, and how many pictures wait for it."""
        return [
            (one.name, one.current is not None, one.current.servable.waiting if one.current else 0)
            for one in self.entries.values()
        ]

    def loaded(self) -> list[Servable]:
        """What answers."""
        return [one.current.servable for one in self.entries.values() if one.current is not None]

    def find(self, name: str, version: str = "") -> Servable:
        """What a model belongs to; Refused where it cannot be asked."""
        return self._generation(name, version).servable

    @contextmanager
    def using(self, name: str, version: str = "") -> Iterator[Servable]:
        """Likewise, while a request is answered: until then it is not closed."""
        with self._generation(name, version).used() as servable:
            yield servable

    async def load_all(self) -> None:
        """Load everything, one after the other; QuorateError for the first that cannot be."""
        for entry in self.entries.values():
            await self._load(entry)
        self.ready = True

    async def load(self, name: str) -> None:
        """Load something, or load it anew; Refused, and nothing changed, where that fails."""
        entry = self._whole(name)
        try:
            await self._load(entry)
        except QuorateError as error:
            LOG.warning("%s: cannot be loaded: %s", name, error.message)
            raise Refused(
                Why.NOT_NOW, f"'{name}' cannot be loaded; the server's log has the reason."
            ) from None

    async def unload(self, name: str) -> None:
        """Take no more requests for something; those that came before are answered."""
        entry = self._whole(name)
        async with entry.busy:
            self._retire(entry.current)
            entry.current, entry.reason = None, "it was unloaded"

    async def watch(self) -> None:
        """Load anew what changes, a spec or its weights, until cancelled."""
        found: dict[str, Look] = {}
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            for name, entry in self.entries.items():
                if entry.current is None:
                    continue
                now = await asyncio.to_thread(_look_of, entry.source, entry.wanted)
                before, found[name] = found.get(name), now
                due = entry.again is not None and entry.again <= asyncio.get_running_loop().time()
                if due or (now == before and now != entry.seen):
                    await self._changed(entry)

    async def close(self) -> None:
        """End all threads; what is at work is finished first."""
        self.ready = False
        for entry in self.entries.values():
            self._retire(entry.current)
            entry.current, entry.reason = None, "the server ends"
        await asyncio.gather(*self._closing)

    async def _changed(self, entry: Entry) -> None:
        try:
            loaded = await self._load(entry, again=True)
        except Exception as error:  # it goes on with what it has
            said = error.message if isinstance(error, QuorateError) else repr(error)
            entry.reason = "what has changed cannot be loaded"
            LOG.warning("%s: what has changed cannot be loaded: %s", entry.name, said)
            if isinstance(error, StorageError):
                entry.again = asyncio.get_running_loop().time() + TRY_AGAIN
        else:
            if loaded:
                LOG.warning("%s: loaded anew, for it has changed", entry.name)

    async def _load(self, entry: Entry, *, again: bool = False) -> bool:
        """Read a description and load what it says; whether that was done.

        again  only where it is loaded: it may have been unloaded meanwhile
        """
        async with entry.busy:
            if again and entry.current is None:
                return False
            entry.loading = True
            if entry.current is None:
                entry.reason = "it is being loaded"
            # Looked at before they are read: what changes from now on is noticed.
            before = await asyncio.to_thread(_look_of, entry.source)
            entry.wanted, entry.seen, entry.again = None, before, None
            servable: Servable | None = None
            try:
                source = await asyncio.to_thread(entry.source.anew)
                seen = await asyncio.to_thread(_look_of, source, known=before)
                entry.wanted, entry.seen = source, {**before, **seen}
                self._check_names(entry, source)
                servable = await asyncio.to_thread(source.load, self.limits)
                await asyncio.to_thread(servable.warm)
            except BaseException:
                self._retire(None if servable is None else Generation(servable))
                if entry.current is None:
                    entry.reason = "it could not be loaded"
                raise
            finally:
                entry.loading = False
            self._retire(entry.current)
            entry.source, entry.current = source, Generation(servable)
            entry.reason, entry.wanted, entry.seen = "", None, seen
            return True

    def _check_names(self, entry: Entry, source: Source) -> None:
        """SpecError where what is read anew has the name of something else's model."""
        for other in self.entries.values():
            if other is not entry and (both := {*other.source.models} & {*source.models}):
                raise SpecError(f"'{min(both)}' is a model of '{other.name}' already.")

    def _generation(self, name: str, version: str) -> Generation:
        entry = self._entry(name)
        if entry.current is None:
            raise Refused(
                Why.NOT_NOW, f"'{name}' is not ready: {entry.reason}.", retry_after=LOOK_AGAIN
            )
        entry.current.servable.info(name, version)
        return entry.current

    def _entry(self, name: str) -> Entry:
        """What a model belongs to, loaded or not; Refused where there is no such model."""
        for entry in self.entries.values():
            if name in entry.source.models:
                return entry
        known = [one for entry in self.entries.values() for one in entry.source.models]
        hint = did_you_mean(name, known) or f"there are {', '.join(known)}."
        raise Refused(Why.UNKNOWN, f"No model is called '{name[:80]}': {hint}")

    def _whole(self, name: str) -> Entry:
        entry = self.entries.get(name) or self._entry(name)
        if name != entry.name:
            raise Refused(
                Why.INVALID, f"'{name}' is a part of '{entry.name}', which is loaded as a whole."
            )
        return entry

    def _retire(self, generation: Generation | None) -> None:
        """Close it once its last request is answered."""
        if generation is not None:
            task = asyncio.create_task(generation.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _versions(entry: Entry, name: str) -> Sequence[str]:
    return entry.current.servable.models[name].versions if entry.current else ("",)


def _look_of(*sources: Source | None, known: Look = MappingProxyType({})) -> Look:
    """What tells whether a file of these has changed; of a file that is known, what that says."""
    files = [file for source in sources if source is not None for file in source.files]
    return {file: known[file] if file in known else _stat(file) for file in files}


def _stat(file: str) -> object:
    """What tells of a file whether it has changed; of a folder, also of `INSIDE` files in it.

    A file that is written in place leaves its folder's own time as it was.
    """
    below = (os.path.join(at, one) for at, _, files in os.walk(file) for one in files)
    return tuple(map(_stat_of_one, (file, *islice(below, INSIDE))))


def _stat_of_one(file: str) -> object:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
