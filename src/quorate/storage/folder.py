"""A tree in a local folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from quorate.errors import InputError
from quorate.storage.tree import Tree, join, refuse, safe_name


class FolderTree(Tree):
    """The files below a local folder; links that lead out of it are refused."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def names(self) -> Iterator[str]:
        """See `Tree`."""
        found = []
        for folder, _, files in os.walk(self._real, followlinks=False):
            relative = os.path.relpath(folder, self._real).replace(os.sep, "/")
            prefix = "" if relative == "." else f"{relative}/"
            found += [prefix + file for file in files]
        for name in found:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{self.root}: the file name {name!r} is not UTF-8.") from None
        return iter(sorted(found))

    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """See `Tree`."""
        return tuple(map(self._stamp, names))

    def _stamp(self, name: str) -> str:
        try:
            about = os.stat(os.path.join(self._real, name))
        except OSError:
            return ""
        return f"{about.st_mtime_ns}-{about.st_size}"

    def open(self, name: str) -> BinaryIO:
        """See `Tree`."""
        path = os.path.realpath(os.path.join(self._real, safe_name(name, origin=self.root)))
        if os.path.commonpath((path, self._real)) != self._real:
            raise InputError(f"{self.root}: '{name}' is a link that leads outside its root.")
        try:
            return open(path, "rb")
        except OSError as error:
            refuse(join(self.root, name), error)
