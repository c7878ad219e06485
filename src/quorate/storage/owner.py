"""One owner at a time: a lock that a killed process does not leave behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from quorate.errors import BusyError, InputError, file_error


@contextlib.contextmanager
def owned(lock: Path, *, of: Path | None = None) -> Iterator[FileIO | None]:
    """Own what a lock file stands for (`of`, else its folder) while the block runs.

    The system holds the lock (flock) for as long as the process lives, on a network disk too, so a
    killed process leaves at most the file, which the next owner takes over. The file says who the
    owner is. It is removed at the end. Given is the locked file, None where there are no locks: a
    process that inherits it holds the lock as well.

    Raises BusyError, saying who it is, where another process, or another thread of this one, is the
    owner. A disk that has no locks costs a warning.
    """
    of = of or lock.parent
    with contextlib.ExitStack() as opened:
        held = None
        # An owner that ends removes the file: a lock on a file that is gone is no lock.
        while held is None or not _is(lock, held):
            try:
                lock.parent.mkdir(parents=True, exist_ok=True)
                held = opened.enter_context(open(lock, "a+b", buffering=0))
            except OSError as error:
                raise file_error(error) or InputError(f"{of}: {error.strerror}.") from None
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    warnings.warn(
                        f"{of}: two processes at once are not told apart here: the disk "
                        f"has no locks ({error.strerror}).",
                        RuntimeWarning,
                        stacklevel=3,
                    )
                    held = None
                    break
                held.seek(0)
                owner = held.read().decode(errors="replace").strip() or "another process"
                raise BusyError(
                    f"{of}: is in use by {owner}.",
                    hint="wait until it ends, or choose another folder",
                ) from None
        if held:
            name(held, _myself())
        try:
            yield held
        finally:
            lock.unlink(missing_ok=True)


def name(held: FileIO, owner: str) -> None:
    """Say in a lock file who the owner is."""
    with contextlib.suppress(OSError):  # on a full disk the lock still holds, without a name
        held.truncate(0)
        held.write(f"{owner}\n".encode())


def owned_output(location: str) -> contextlib.AbstractContextManager[object]:
    """Own a local file or folder that is written to.

    In S3 each object is whole, and the one that is written last stays.
    """
    path = Path(location)
    if location.startswith("s3://"):
        return contextlib.nullcontext()
    return owned(path.with_name(f".{path.name}.owner"), of=path)


def _is(path: Path, file: object) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))  # type: ignore[attr-defined]
    except FileNotFoundError:
        return False


def _myself() -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    command = shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
    return f"process {os.getpid()} on {socket.gethostname()} since {since} ({command})"
