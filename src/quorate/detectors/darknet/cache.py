"""Files that are made once and kept: in the user's cache folder, or in `QUORATE_CACHE`.

The name of a file is a digest of all that it is made from, so a file is never stale, and any of
them may be deleted at any time. A file appears whole or not at all; two processes that make the
same one put the same bytes in its place.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from quorate.errors import DetectorError, InputError
from quorate.storage import writing

VARIABLE = "QUORATE_CACHE"
T = TypeVar("T")


def cache_folder() -> Path | None:
    """Where files are kept; None where there is no home to keep them in."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "quorate"
    variable, otherwise = (
        ("LOCALAPPDATA", home / "AppData" / "Local")
        if sys.platform == "win32"
        else ("XDG_CACHE_HOME", home / ".cache")
    )
    return Path(os.environ.get(variable) or otherwise) / "quorate"


def with_cached(
    name: str, make: Callable[[], Iterable[bytes | memoryview]], use: Callable[[Path], T]
) -> T:
    """Use the file of this name, which `make` makes where it is not there.

    Args:
        name: below the cache folder; says all that the file depends on.
        make: the pieces of the file.
        use: what is done with the file, once; it may be gone afterwards. A file from the cache
            that it cannot use (DetectorError) is made anew, for a disk may have damaged it.

    Where nothing can be kept, the file is a temporary one that `use` alone sees.

    Raises:
        DetectorError: of `use` on a new file; or no file can be written anywhere.
    """
    folder = cache_folder()
    path = None if folder is None else folder / name
    if path is not None and path.is_file():
        try:
            return use(path)
        except DetectorError:
            pass
    if path is not None:
        try:
            with writing(path) as file:
                file.writelines(make())
        except InputError:
            pass
        else:
            return use(path)
    try:
        with tempfile.TemporaryDirectory(prefix="quorate-") as temporary:
            path = Path(temporary) / Path(name).name
            with path.open("wb") as file:
                file.writelines(make())
            return use(path)
    except OSError as error:
        raise DetectorError(
            f"{path}: neither the cache nor a temporary file can be written ({error.strerror}).",
            hint=f"set {VARIABLE} to a folder that can be written",
        ) from None
