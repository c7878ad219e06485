"""What folders, archives and S3 prefixes have in common."""

from __future__ import annotations

import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NoReturn, Self

from quorate.errors import InputError
from quorate.storage.records import MOST_BYTES, Piece, piece_of

OUTSIDE = re.compile(r"(?:^|/)\.\.(?:/|$)|^/|^[A-Za-z]:|[\\\x00]")
"""What a name must not match, for it would lead out of its root."""


PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif",
    ".ppm", ".pgm", ".pbm", ".jp2", ".avif", ".heic", ".heif", ".tga",
)  # fmt: skip
"""How the names of pictures end."""


class Tree(ABC):
    """Files below one root. Use it as a context manager; see the module for names and order."""

    root: str
    remote: bool = False
    """Whether every read crosses a network, so that it is worth reading ahead."""
    notes: tuple[str, ...] = ()
    """What `names` left out, a sentence each."""

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Every file below the root, by rising code points; no folders."""

    def open(self, name: str) -> BinaryIO:
        """A file to read from; seekable, and cheap when only its first bytes are wanted.

        It may be a piece of a file of records; see `quorate.storage.records`.
        """
        piece = piece_of(name)
        if piece is None:
            return self.open_whole(name)
        data = self.piece(piece) if piece.length <= MOST_BYTES else b""
        if len(data) != piece.length:
            raise InputError(f"{join(self.root, piece.file)}: has no such piece ({name}).")
        return io.BytesIO(data)

    @abstractmethod
    def open_whole(self, name: str) -> BinaryIO:
        """The same of a file that is one."""

    def piece(self, piece: Piece) -> bytes:
        """The bytes of a piece, fewer where the file has no more."""
        with self.open_whole(piece.file) as file:
            file.seek(piece.start)
            return file.read(piece.length)

    def read(self, name: str) -> bytes:
        """A file's bytes; InputError where there is no such file."""
        with self.open(name) as file:
            return file.read()

    @abstractmethod
    def stamps(self, names: Iterable[str]) -> tuple[str, ...]:
        """What tells the contents of each file from others it had before; '' where there is none.

        Of a local file it is its time and length, of an archive's member the checksum and length,
        of an object in S3 its ETag; of a piece it is that of its file.
        """

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            self.open(name).close()
        except InputError:
            return False
        return True

    def close(self) -> None:  # noqa: B027  most trees hold nothing open
        """Release what the tree holds open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_name(name: str) -> str:
    """The file that a name is, or is a piece of."""
    piece = piece_of(name)
    return piece.file if piece else name


def join(root: str | os.PathLike[str], *names: str) -> str:
    """The location of a name below a root, of whichever kind the root is."""
    root = os.fspath(root)
    parts = [name.strip("/") for name in names if name.strip("/")]
    return "/".join([root.rstrip("/") or root[:1], *parts]) if parts else root


def safe_name(name: str, *, origin: str) -> str:
    """`name` as it is, or InputError, naming its `origin`, where it leads outside its root."""
    if not name or OUTSIDE.search(name):
        raise InputError(f"{origin}: the name {name!r} leads outside its root.")
    return name


def refuse(location: str, error: OSError, *, hint: str | None = None) -> NoReturn:
    """Raise an operating system's error as an InputError that names the place."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise InputError(f"{location}: there is no such file.", hint=hint) from None
    if isinstance(error, IsADirectoryError):
        raise InputError(f"{location}: is a folder, not a file.") from None
    raise InputError(f"{location}: cannot be read ({error.strerror or error}).") from None
