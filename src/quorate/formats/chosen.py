"""Pictures that are chosen by name: one picture, those that a glob means, those that a file lists.

Their root is the folder that all of them lie below, local, in a ZIP archive or in S3.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile

from quorate.errors import FormatError, InputError, nearest_file
from quorate.formats.base import Source, is_picture
from quorate.storage import PICTURES, is_s3, join, open_tree, read_bytes


def chosen(location: str) -> Source | None:
    """The pictures that a location chooses by name; None where it is a folder, or no such name."""
    if os.path.isdir(location):
        return None
    if has_magic(location) and not os.path.exists(location):
        return matching(location)
    if is_picture(location):
        return one(location)
    return listed(location) if location.lower().endswith(".txt") else None


def one(location: str) -> Source:
    """One picture; InputError where there is none."""
    folder, _, name = location.rpartition("/")
    tree = open_tree(folder or ("/" if location.startswith("/") else "."))
    if not tree.exists(name):
        tree.close()
        raise InputError(f"{location}: there is no such file.", hint=nearest_file(location))
    return Source(location=tree.root, tree=tree, names=(name,))


def matching(location: str) -> Source:
    """The pictures that a glob means, in order of their names; below a folder that it means, all.

    `*`, `?` and `[…]` stand for no '/', `**` for any number of folders.
    """
    parts = location.split("/")
    plain = next(i for i, part in enumerate(parts) if has_magic(part))
    tree = open_tree("/".join(parts[:plain]) or ("/" if location.startswith("/") else "."))
    found = [name for name in tree.names() if _fits(name.split("/"), parts[plain:])]
    names = tuple(name for name in found if is_picture(name))
    if not names:
        tree.close()
        others = f" ({len(found):,} other files are)" if found else ""
        raise InputError(
            f"{location}: no picture is called so{others}.",
            hint=f"pictures end in {' '.join(PICTURES)}; `**` stands for any number of folders",
        )
    notes = _aside(location, found)
    return Source(location=tree.root, tree=tree, names=names, notes=notes)


def _fits(name: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:  # the whole name, or a folder above
        return True
    if wanted[0] == "**":
        return any(_fits(name[i:], wanted[1:]) for i in range(len(name)))
    return bool(name) and fnmatchcase(name[0], wanted[0]) and _fits(name[1:], wanted[1:])


def listed(location: str) -> Source:
    """The pictures that a text file lists, one a line, in its order; a picture counts once.

    A path that is not absolute is taken from the list's own folder; where the first is not there
    but below the current folder, from that, and a note says so.
    """
    try:
        text = read_bytes(location).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(f"{location}: a list of pictures that is not text in UTF-8.") from None
    lines = [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]
    found = [line for line in lines if is_picture(line)]
    if not found:
        raise InputError(
            f"{location}: lists no picture ({len(lines):,} other lines).",
            hint=f"a list has one picture in each line; pictures end in {' '.join(PICTURES)}",
        )
    base = os.path.dirname(location) or "."
    notes = list(_aside(location, lines, "lines"))
    here = [os.path.exists(place) for place in (found[0], join(base, found[0]))]
    if here == [True, False] and not is_s3(location):
        base = "."
        notes.append(f"{location}: its paths are taken from the current folder.")
    times = Counter(line if "://" in line else _plain(base, line) for line in found)
    if twice := len(found) - len(times):
        notes.append(f"{location}: lines that name a picture again do not count: {twice:,}.")
    levels = zip(*(place.split("/")[:-1] for place in times), strict=False)
    common = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    if len({is_s3(place) for place in times}) > 1 or (is_s3(found[0]) and len(common) < 3):
        raise InputError(
            f"{location}: lists pictures of several places, '{found[0]}' among them.",
            hint="list those of one disk, or of one bucket",
        )
    names = tuple(place.removeprefix("/".join(common)).lstrip("/") for place in times)
    tree = open_tree("/".join(common) or "/")
    return Source(location=tree.root, tree=tree, names=names, notes=tuple(notes))


def _plain(base: str, line: str) -> str:
    """Where a line leads, without `.` and `..`."""
    return join(base, line) if is_s3(base) else os.path.abspath(os.path.join(base, line))


def _aside(location: str, found: Sequence[str], what: str = "files") -> tuple[str, ...]:
    """What is said of files, or lines, that are no pictures."""
    others = [name for name in found if not is_picture(name)]
    if not others:
        return ()
    return (
        f"{location}: {what} that are no pictures are left aside: {len(others):,}, the first "
        f"'{others[0]}'.",
    )
