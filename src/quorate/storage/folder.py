"""A tree in a local folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from quorate.errors import InputError, file_error
from quorate.storage.tree import Tree, join, refuse, safe_name

RESULTS = ".published.json"
"""Marks a folder of results. One inside a folder of data is no part of the data."""


class FolderTree(Tree):
    """The files below a local folder, save results; links that lead out of it are refused."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def names(self) -> Iterator[str]:
        """See `Tree`."""
        found = []
        for folder, below, files in os.walk(self._real, followlinks=False, onerror=self._closed):
            if RESULTS in files and folder != self._real:
                below.clear()
                continue
            relative = os.path.relpath(folder, self._real).replace(os.sep, "/")
            prefix = "" if relative == "." else f"{relative}/"
            found += [prefix + file for file in files]
        for name in found:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{self.root}: the file name {name!r} is not UTF-8.") from None
        return iter(sorted(found))

    def _closed(self, error: OSError) -> None:
        raise file_error(error) or InputError(f"{error.filename}: {error.strerror}.") from None

    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """See `Tree`."""
        return tuple(map(self._stamp, names))

    def _stamp(self, name: str) -> str:
        try:
            about = os.stat(os.path.join(self._real, name))
        except OSError:
            return ""
        # The time of the last change of any kind: the others can be set, and are, by `cp -p`.
        return f"{about.st_mtime_ns}-{about.st_size}-{about.st_ctime_ns}"

    def open(self, name: str) -> BinaryIO:
        """See `Tree`."""
        path = os.path.realpath(os.path.join(self._real, safe_name(name, origin=self.root)))
        if os.path.commonpath((path, self._real)) != self._real:
            raise InputError(f"{self.root}: '{name}' is a link that leads outside its root.")
        try:
            return open(path, "rb")
        except OSError as error:
            refuse(join(self.root, name), error)
