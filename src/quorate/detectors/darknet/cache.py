"""Files that are made once and kept: in the user's cache folder, or in `QUORATE_CACHE`.

The name of a file is a digest of all that it is made from, so a file is never stale, and any of
them may be deleted at any time. A file appears whole or not at all; two processes that make the
same one put the same bytes in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from quorate.errors import DetectorError, QuorateError
from quorate.storage import write_bytes

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
    otherwise = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or otherwise) / "quorate"


def with_cached(name: str, make: Callable[[], bytes], use: Callable[[bytes], T]) -> T:
    """Use the file of this name, which `make` makes where it is not there.

    `name`, below the cache folder, says all that the file depends on. One that `use` refuses
    (DetectorError) is made anew, for a disk may have damaged it. Where nothing can be kept, the
    file is made for this one use.
    """
    folder = cache_folder()
    if folder is None:
        return use(make())
    with suppress(OSError, DetectorError):
        return use((folder / name).read_bytes())
    data = make()
    with suppress(QuorateError):  # a full or read-only disk
        write_bytes(folder / name, data)
    return use(data)
