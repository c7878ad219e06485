"""Finished parts of a detector at work, kept where another machine finds them.

A pod that is killed takes its disk with it. What it had finished is copied, part by part, to a
folder or an S3 prefix of this detector and shard alone, from where the next pod goes on. A
checkpoint is a comfort: where it cannot be read or written the work is done all the same, and a
warning says so, once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quorate.errors import QuorateError
from quorate.storage import exists, join, read_bytes, remove_tree, write_bytes

ENDINGS = (".parquet", ".json")
"""The files of a part, the one that says that it is finished last."""


class Checkpoint:
    """The parts at a place. One thread of its own copies them, so that no detector waits."""

    def __init__(self, place: str, *, warn: Callable[[str], None]) -> None:
        """At a folder or an S3 prefix; `warn` is told, once, of what goes wrong."""
        self.place = place
        self._warn = warn
        self._warned = False
        self._kept: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def take(self, part: Path) -> bool:
        """Copy one part from the place to where it would have been written; whether it is there."""
        try:
            if not exists(join(self.place, part.name + ENDINGS[-1])):
                return False
            for ending in ENDINGS:
                write_bytes(
                    part.with_suffix(ending), read_bytes(join(self.place, part.name + ending))
                )
        except QuorateError as error:
            self._trouble(error)
            return False
        self._kept.add(part.name)
        return True

    def keep(self, parts: Path) -> None:
        """Copy every finished part of a folder to the place, soon."""
        self._thread.submit(self._copy, parts)

    def clear(self) -> None:
        """Forget every part: the step is done."""
        self.close()
        try:
            remove_tree(self.place)
        except QuorateError as error:
            self._trouble(error)

    def close(self) -> None:
        """Wait until what is to be kept is kept."""
        self._thread.shutdown()

    def _copy(self, parts: Path) -> None:
        """Copy in order; the first that fails is tried again after the next part."""
        for about in sorted(parts.glob(f"*{ENDINGS[-1]}")):
            if about.stem in self._kept:
                continue
            try:
                for ending in ENDINGS:
                    write_bytes(
                        join(self.place, about.stem + ending),
                        about.with_suffix(ending).read_bytes(),
                    )
            except QuorateError as error:
                self._trouble(error)
                return
            self._kept.add(about.stem)

    def _trouble(self, error: QuorateError) -> None:
        if not self._warned:
            self._warn(f"the checkpoint is not kept: {error.message}")
        self._warned = True
