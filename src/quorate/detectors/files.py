"""What every file of weights is looked at for, before anybody reads it."""

from __future__ import annotations

from quorate.errors import DetectorError

LFS_POINTER = b"version https://git-lfs"


def check_start(location: str, start: bytes | bytearray) -> None:
    """DetectorError where a file that starts so is empty, or stands for one that is elsewhere."""
    if not start:
        raise DetectorError(f"{location}: the file is empty.")
    if start.startswith(LFS_POINTER):
        raise DetectorError(
            f"{location}: a Git LFS pointer, not the file itself.", hint="run `git lfs pull`"
        )
