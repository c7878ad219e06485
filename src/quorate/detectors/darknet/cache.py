"""Files that are made once and kept: in the user's cache folder, or in `QUORATE_CACHE`.

The name of a file is a digest of all that it is made from, so a file is never stale, and any of
them may be deleted at any time. A file appears whole or not at all; two processes that make the
same one put the same bytes in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quorate.errors import DetectorError, QuorateError
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


def with_cached(name: str, make: Callable[[], bytes], use: Callable[[bytes], T]) -> T:
    """Use the file of this name, which `make` makes where it is not there.

    A file that `use` refuses (DetectorError) is made anew, for a disk may have damaged it. Where
    nothing can be kept, the file is made for this one use.

    Args:
        name: below the cache folder; says all that the file depends on.
        make: the whole file.
        use: what is done with it.

    Raises:
        DetectorError: of `make`, or of `use` on a new file.
    """
    folder = cache_folder()
    path = None if folder is None else folder / name
    try:
        if path is not None:
            return use(path.read_bytes())
    except (OSError, DetectorError):
        pass
    data = make()
    try:
        if path is not None:
            with writing(path) as file:
                file.write(data)
    except QuorateError:  # a full or read-only disk
        pass
    return use(data)
