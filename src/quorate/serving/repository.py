"""Which ensembles are served: loading and unloading them, and loading a changed spec anew.

A new version is loaded and warm before it takes the place of the old one, which answers until then
and is closed when its last request is answered. What cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quorate.ensemble import DetectionEnsemble
from quorate.errors import QuorateError, did_you_mean
from quorate.serving.served import Served
from quorate.serving.values import VERSION, Limits, Refused, Why

LOG = logging.getLogger("quorate.serving")
LOOK_AGAIN = 1.0
"""Seconds between two looks at the files; a change counts when it has stood still for one."""


@dataclass
class Entry:
    """An ensemble that the server was started with.

    ensemble  as its spec last said
    spec      where that stands; None for an ensemble without a file
    served    what answers; None where it is not loaded
    reason    why it is not, or why its changed spec is not
    """

    ensemble: DetectionEnsemble
    spec: Path | None = None
    served: Served | None = None
    loading: bool = False
    reason: str = "not loaded yet"
    seen: object = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """The ensemble's."""
        return self.ensemble.name

    @property
    def state(self) -> str:
        """In Triton's words."""
        if self.served is not None:
            return "READY"
        return "LOADING" if self.loading else "UNAVAILABLE"

    @property
    def names(self) -> list[str]:
        """The models it is, or would be."""
        return [self.name, *(f"{self.name}.{one.name}" for one in self.ensemble.detectors)]


class Repository:
    """The ensembles of a server, by name. All methods belong to the event loop."""

    def __init__(self, entries: Iterable[Entry], limits: Limits) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self.limits = limits
        self.ready = False
        self._closing: set[asyncio.Task[None]] = set()

    def index(self) -> list[dict[str, str]]:
        """Every model with its state, as Triton's repository extension tells it."""
        return [
            {"name": name, "version": VERSION, "state": entry.state, "reason": entry.reason}
            for entry in self.entries.values()
            for name in entry.names
        ]

    def loaded(self) -> list[Served]:
        """What answers."""
        return [one.served for one in self.entries.values() if one.served is not None]

    def find(self, name: str, version: str = "") -> Served:
        """The ensemble that a model is, or is of; Refused where it cannot be asked."""
        entry = self.entry(name)
        if version not in ("", VERSION):
            raise Refused(
                Why.UNKNOWN, f"'{name}' has no version '{version[:80]}'; it has {VERSION}."
            )
        if entry.served is None:
            raise Refused(
                Why.NOT_NOW, f"'{name}' is not ready: {entry.reason}.", retry_after=LOOK_AGAIN
            )
        if name not in entry.served.models:
            raise self._unknown(name)
        return entry.served

    def entry(self, name: str) -> Entry:
        """The ensemble that a model is, or is of, loaded or not; Refused where there is none."""
        entry = self.entries.get(name.partition(".")[0])
        if entry is None or name not in entry.names:
            raise self._unknown(name)
        return entry

    async def load_all(self) -> None:
        """Load every ensemble, one after the other; raises as `Served` for the first that fails."""
        for entry in self.entries.values():
            await self._load(entry, entry.ensemble)
        self.ready = True

    async def load(self, name: str) -> None:
        """Load an ensemble, or load it anew; Refused, and nothing changed, where that fails."""
        entry = self._whole(name)
        try:
            ensemble = await asyncio.to_thread(_read, entry)
            await self._load(entry, ensemble)
        except QuorateError as error:
            LOG.warning("%s: cannot be loaded: %s", name, error.message)
            raise Refused(
                Why.NOT_NOW, f"'{name}' cannot be loaded; the server's log has the reason."
            ) from None

    async def unload(self, name: str) -> None:
        """Take no more requests for an ensemble; those that came before are answered."""
        entry = self._whole(name)
        async with entry.busy:
            self._retire(entry.served)
            entry.served, entry.reason = None, "unloaded"
            entry.seen = None

    async def watch(self) -> None:
        """Load anew whatever spec changes, with its weights, until cancelled."""
        seen: dict[str, object] = {}
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            for name, entry in self.entries.items():
                if entry.spec is None or entry.served is None:
                    continue
                now = await asyncio.to_thread(_look_of, entry)
                before, seen[name] = seen.get(name, now), now
                if now == before and now != entry.seen:
                    await self._changed(entry, now)

    async def close(self) -> None:
        """End all threads; what is at work is finished first."""
        self.ready = False
        for entry in self.entries.values():
            self._retire(entry.served)
            entry.served, entry.reason = None, "the server ends"
        await asyncio.gather(*self._closing)

    async def _changed(self, entry: Entry, now: object) -> None:
        try:
            ensemble = await asyncio.to_thread(_read, entry)
            await self._load(entry, ensemble)
        except Exception as error:  # it goes on with what it has
            said = error.message if isinstance(error, QuorateError) else repr(error)
            entry.reason = "its changed spec cannot be loaded"
            LOG.warning("%s: its changed spec cannot be loaded: %s", entry.name, said)
        else:
            LOG.warning("%s: loaded anew, for its spec has changed", entry.name)
        entry.seen = now

    async def _load(self, entry: Entry, ensemble: DetectionEnsemble) -> None:
        async with entry.busy:
            entry.loading = True
            if entry.served is None:
                entry.reason = "it is being loaded"
            seen = await asyncio.to_thread(_look_of, entry)
            served: Served | None = None
            try:
                served = await asyncio.to_thread(Served, ensemble, self.limits)
                await asyncio.to_thread(served.warm)
            except BaseException:
                self._retire(served)
                if entry.served is None:
                    entry.reason = "it could not be loaded"
                raise
            finally:
                entry.loading = False
            self._retire(entry.served)
            entry.served, entry.ensemble, entry.reason, entry.seen = served, ensemble, "", seen

    def _whole(self, name: str) -> Entry:
        entry = self.entry(name)
        if name != entry.name:
            raise Refused(
                Why.INVALID, f"'{name}' is a part of '{entry.name}', which is loaded as a whole."
            )
        return entry

    def _unknown(self, name: str) -> Refused:
        known = [one for entry in self.entries.values() for one in entry.names]
        hint = did_you_mean(name, known) or f"there are {', '.join(known)}."
        return Refused(Why.UNKNOWN, f"No model is called '{name[:80]}': {hint}")

    def _retire(self, served: Served | None) -> None:
        """Close it once its last request is answered."""
        if served is not None:
            task = asyncio.create_task(_closed(served))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _closed(served: Served) -> None:
    await served.unused()
    await asyncio.to_thread(served.close)


def _read(entry: Entry) -> DetectionEnsemble:
    """The ensemble as its spec says now; SpecError where that cannot take its place."""
    from quorate.errors import SpecError

    if entry.spec is None:
        return entry.ensemble
    ensemble = DetectionEnsemble.from_yaml(entry.spec)
    if ensemble.name != entry.name:
        raise SpecError(f"{entry.spec}: its name is now '{ensemble.name}', not '{entry.name}'.")
    return ensemble


def _look_of(entry: Entry) -> object:
    """What tells whether the spec or a file that it names has changed."""
    files = [str(entry.spec), *(f for one in entry.ensemble.detectors for f in one.files)]
    return [_stat(file) for file in files]


def _stat(file: str) -> object:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
