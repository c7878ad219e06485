"""A tree in a local folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from quorate.errors import InputError, file_error
from quorate.storage.tree import PICTURES, Tree, join, refuse, safe_name, whole_name

RESULTS = ".published.json"
"""Marks a folder of results. One inside a folder of data is no part of the data."""


class FolderTree(Tree):
    """The files below a local folder, save results.

    A link to a folder is followed once: what leads back into what is read already is left out, and
    `notes` say so. A link to a file may lead out of the folder where its name is a picture's: it is
    decoded, and nothing else of it is told. Any other is refused.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def names(self) -> Iterator[str]:
        """See `Tree`."""
        found: list[str] = []
        left: dict[str, list[str]] = {}
        known = [self._real]
        for folder, below, files in os.walk(self._real, followlinks=True, onerror=_closed):
            relative = os.path.relpath(folder, self._real).replace(os.sep, "/")
            prefix = "" if relative == "." else f"{relative}/"
            if RESULTS in files and prefix:
                left.setdefault("folders with results of a run", []).append(relative)
                below.clear()
                continue
            below.sort()
            for name in [one for one in below if _leads_back(os.path.join(folder, one), known)]:
                left.setdefault("links to folders that are read already", []).append(prefix + name)
                below.remove(name)
            found += [prefix + file for file in files]
        self.notes = tuple(
            f"{self.root}: {what} are left out: {len(names):,}, the first '{min(names)}'."
            for what, names in left.items()
        )
        for name in found:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{self.root}: the file name {name!r} is not UTF-8.") from None
        return iter(sorted(found))

    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """See `Tree`."""
        return tuple(self._stamp(whole_name(name)) for name in names)

    def _stamp(self, name: str) -> str:
        try:
            about = os.stat(os.path.join(self._real, name))
        except OSError:
            return ""
        # The time of the last change of any kind: the others can be set, and are, by `cp -p`.
        return f"{about.st_mtime_ns}-{about.st_size}-{about.st_ctime_ns}"

    def open_whole(self, name: str) -> BinaryIO:
        """See `Tree`."""
        path = os.path.realpath(os.path.join(self._real, safe_name(name, origin=self.root)))
        outside = os.path.commonpath((path, self._real)) != self._real
        if outside and not name.lower().endswith(PICTURES):
            raise InputError(f"{self.root}: '{name}' is a link that leads outside its root.")
        try:
            return open(path, "rb")
        except OSError as error:
            refuse(join(self.root, name), error)


def _leads_back(place: str, known: list[str]) -> bool:
    """Whether it is a link to what is, holds, or lies within a `known` folder; else it is known."""
    if not os.path.islink(place):
        return False
    real = os.path.realpath(place)
    if any(os.path.commonpath((real, one)) in (real, one) for one in known):
        return True
    known.append(real)
    return False


def _closed(error: OSError) -> None:
    raise file_error(error) or InputError(f"{error.filename}: {error.strerror}.") from None
