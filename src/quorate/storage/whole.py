"""Local files that appear whole or not at all, and what killed processes left of theirs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from quorate.errors import InputError, file_error

UNFINISHED = ".unfinished"
"""How the hidden name of a file ends while it is being written."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that appears at `path` when the block ends, and not if it raises.

    Until then it has a hidden name beside `path` and is locked, so that another process can tell
    it from one that a killed process left; such are removed from the folder, once in a process. A
    device or a pipe is written to as it is, and so is what a link leads to.

    Raises StorageError where the disk is full, InputError where nothing can be written.
    """
    with _told(path):
        device = str(path.parent) in ("/dev", "/dev/fd") or path.is_relative_to("/proc")
        if path.is_symlink() and not device:
            path = path.resolve()
        if device or (path.exists() and not path.is_file() and not path.is_dir()):
            with open(path, "wb") as stream:
                yield stream
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden, file = _hidden(path)
        try:
            with file:
                yield file
                file.flush()
                os.replace(hidden, path)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise


def remove_unfinished(root: str | os.PathLike[str]) -> int:
    """Remove what killed processes left half-written below a local folder: how many files."""
    return _remove(Path(root).rglob(f".*{UNFINISHED}"))


@cache
def _swept(folder: Path) -> None:
    """Remove what was left in a folder; once in a process, for many files may be written to it."""
    _remove(folder.glob(f".*{UNFINISHED}"))


def _remove(files: Iterable[Path]) -> int:
    removed = 0
    for left in list(files):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by whoever still writes it
            left.unlink()
            removed += 1
    return removed


def _hidden(path: Path) -> tuple[Path, BinaryIO]:
    """A new, locked file beside `path`. The name is cut: a file's name may have 255 bytes."""
    _swept(path.parent)
    start = path.name.encode()[:100].decode(errors="ignore")
    while True:
        hidden = path.with_name(f".{start}.{secrets.token_hex(4)}{UNFINISHED}")
        file = open(hidden, "xb")  # noqa: SIM115  the caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        if hidden.exists():  # nobody took it for a left one before it was locked
            return hidden, file
        file.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses while a file is written, as an error that names the file."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if error.filename else path
        if named.parent != path.parent and named not in path.parents:
            raise  # of another file, which the block reads
        place = str(named if named in path.parents else path)
        raise (
            file_error(error, place)
            or InputError(f"{place}: cannot be written ({error.strerror or error}).")
        ) from None
