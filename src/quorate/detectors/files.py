"""Files of weights and of names, read and looked at before anybody takes them for such."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from os import PathLike

from quorate.errors import DetectorError, InputError
from quorate.storage import open_file

LFS_POINTER = b"version https://git-lfs"
PIECE = 8 << 20


@contextlib.contextmanager
def told_of_detector(hint: str | None = None) -> Iterator[None]:
    """An InputError of the block as a DetectorError; `hint` where it has none of its own."""
    try:
        yield
    except InputError as error:
        raise DetectorError(error.message, hint=error.hint or hint) from None


def read_file(
    location: str, *, most: int, what: str, large: str | None = None, missing: str | None = None
) -> bytearray:
    """The bytes of a file; DetectorError where it is missing, empty, or larger than `what` is.

    `large` and `missing` are hints.
    """
    data = bytearray()
    with told_of_detector(missing), open_file(location) as file:
        while len(data) <= most and (piece := file.read(PIECE)):
            data += piece
    if len(data) > most:
        raise DetectorError(
            f"{location}: larger than {most >> 20:,} MiB, so not {what}.", hint=large
        )
    check_start(location, data)
    return data


def start_of(location: str, path: str | PathLike[str]) -> bytes:
    """How a file begins; DetectorError where it cannot be read, and as of `check_start`."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise DetectorError(f"{location}: cannot be read ({error.strerror}).") from None
    check_start(location, start)
    return start


def check_start(location: str, start: bytes | bytearray) -> None:
    """DetectorError where a file that starts so is empty, or stands for one that is elsewhere."""
    if not start:
        raise DetectorError(f"{location}: the file is empty.")
    if start.startswith(LFS_POINTER):
        raise DetectorError(
            f"{location}: a Git LFS pointer, not the file itself.", hint="run `git lfs pull`"
        )
