"""A tree in a ZIP archive, which is not trusted."""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

from quorate.errors import FormatError, InputError
from quorate.storage.records import Piece
from quorate.storage.tree import OUTSIDE, Tree, join, safe_name, whole_name

ZIP_RATIO = 200
"""An archive may unpack to this many times its own size …"""
ZIP_FLOOR = 256 << 20
"""… or to this many bytes, whichever is more; beyond, it is taken for a bomb."""


class ZipTree(Tree):
    """The files of an archive, or below a folder inside it."""

    def __init__(self, root: str, archive: str, file: BinaryIO, inside: str) -> None:
        self.root = root
        self._file = file
        self._unpacked: dict[str, BinaryIO] = {}
        self._unpacking = threading.Lock()
        self._prefix = f"{inside.strip('/')}/" if inside.strip("/") else ""
        with contextlib.ExitStack() as refused:
            refused.callback(file.close)
            try:
                self._zip = zipfile.ZipFile(file)
                self._members = _checked(archive, self._zip, os.fstat(file.fileno()).st_size)
            except (zipfile.BadZipFile, UnicodeDecodeError, OSError, NotImplementedError) as error:
                raise FormatError(f"{archive}: not a readable ZIP archive ({error}).") from None
            if self._prefix and not any(name.startswith(self._prefix) for name in self._members):
                raise InputError(f"{archive}: there is no folder '{inside}' inside.")
            refused.pop_all()

    def names(self) -> Iterator[str]:
        """See `Tree`."""
        cut = len(self._prefix)
        return iter(sorted(n[cut:] for n in self._members if n.startswith(self._prefix)))

    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """See `Tree`."""
        members = [self._members.get(self._prefix + whole_name(name)) for name in names]
        return tuple(f"{m.CRC:08x}-{m.file_size}" if m else "" for m in members)

    def exists(self, name: str) -> bool:
        """See `Tree`."""
        return self._prefix + whole_name(name) in self._members

    def open_whole(self, name: str) -> BinaryIO:
        """See `Tree`; reading a damaged member raises FormatError, as `read` does."""
        place = join(self.root, name)
        member = self._members.get(self._prefix + safe_name(name, origin=self.root))
        if member is None:
            raise InputError(f"{place}: there is no such file.")
        with _told(place):
            file = self._zip.open(member)
        return cast(BinaryIO, io.BufferedReader(_Member(file, place)))

    def piece(self, piece: Piece) -> bytes:
        """See `Tree`; a file of which pieces are read is unpacked once, into a temporary one."""
        with self._unpacking:
            if piece.file not in self._unpacked:
                spool = tempfile.TemporaryFile()  # noqa: SIM115  `close` closes it
                self._unpacked[piece.file] = cast(BinaryIO, spool)
                with self.open_whole(piece.file) as file:
                    shutil.copyfileobj(file, spool, 1 << 20)
            whole = self._unpacked[piece.file]
            whole.seek(piece.start)
            return whole.read(piece.length)

    def close(self) -> None:
        """See `Tree`."""
        for spool in self._unpacked.values():
            spool.close()
        self._zip.close()
        self._file.close()


class _Member(io.RawIOBase):
    """A member that is being unpacked."""

    def __init__(self, file: Any, place: str) -> None:
        self._file, self._place = file, place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        with _told(self._place):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with _told(self._place):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        with _told(self._place):
            return bytes(self._file.read())

    def close(self) -> None:
        self._file.close()
        super().close()


_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, zlib.error, lzma.LZMAError)


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    """What unpacking a damaged member raises, as a FormatError."""
    try:
        yield
    except _DAMAGE as error:
        raise FormatError(
            f"{place}: cannot be unpacked ({error}).",
            hint="the archive is damaged: copy it again, or make it anew",
        ) from None


def _checked(archive: str, opened: zipfile.ZipFile, weight: int) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name; FormatError for one that is not to be trusted."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        if OUTSIDE.search(member.orig_filename) or not member.filename:
            raise FormatError(f"{archive}: its member {member.orig_filename!r} leads outside it.")
        if member.is_dir():
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            raise FormatError(f"{archive}: its member '{member.filename}' is a link.")
        if member.flag_bits & 1:
            raise FormatError(f"{archive}: its member '{member.filename}' is encrypted.")
        if member.filename in members:
            raise FormatError(f"{archive}: holds two members named '{member.filename}'.")
        members[member.filename] = member
    total = sum(member.file_size for member in members.values())
    if total > max(ZIP_FLOOR, ZIP_RATIO * weight):
        raise FormatError(
            f"{archive}: would unpack to {total:,} bytes from {weight:,}; it is taken for a bomb.",
            hint="unpack it yourself where you trust it, and give the folder",
        )
    return members


def in_zip(location: str) -> tuple[str, str] | None:
    """The archive and the name inside it, where a location leads into a local ZIP archive."""
    path, inside = location.rstrip("/"), ""
    while path and path != os.path.dirname(path):
        if os.path.isfile(path):
            return (path, inside) if zipfile.is_zipfile(path) or path.endswith(".zip") else None
        path, name = os.path.split(path)
        inside = f"{name}/{inside}" if inside else name
    return None
