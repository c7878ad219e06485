"""Pictures alone, without labels: a plain folder, however deep, or pictures chosen by name.

By name is one picture, those that a glob means, or those that a file lists. Their root is the
folder that all of them lie below, local, in a ZIP archive or in S3.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile

from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, nearest_file
from quorate.formats.base import Source, is_picture
from quorate.labels import Labels
from quorate.storage import PICTURES, is_s3, join, open_tree, read_bytes

LOOKED_INTO = 8
"""Files whose beginnings tell what tool wrote them."""


def recognise(source: Source) -> bool:
    """Whether there is at least one picture."""
    return not source.single and any(map(is_picture, source.names))


def read(source: Source) -> Dataset:
    """Every picture below a root, in CVAT's default order: by code points of the whole path.

    Sizes stay unknown, for no picture is opened. Raises InputError where there is none.
    """
    names = [name for name in source.names if is_picture(name)]
    if not names:
        raise InputError(
            f"{source.location}: holds no picture ({len(source.names)} other files).",
            hint=f"pictures end in {' '.join(PICTURES)}",
        )
    return Dataset(
        root=source.location,
        images=tuple(Image(id=i, file_name=name) for i, name in enumerate(names, start=1)),
        labels=Labels((), ()),
        name=source.location.rstrip("/").rsplit("/", 1)[-1],
        notes=(*_unread(source), *_aside(source.location, source.names)),
    )


UNREAD = {
    "labelme": re.compile(rb'"shapes"\s*:\s*\['),
    "VIA": re.compile(rb'"_via_|"regions"\s*:'),
    "CreateML": re.compile(rb'"coordinates"\s*:\s*\{'),
}
"""JSON that other tools write beside pictures, by what stands near its beginning."""


def _unread(source: Source) -> Iterator[str]:
    """A note where JSON beside the pictures holds annotations that nothing here reads."""
    files = source.ending(".json")
    starts = [source.head(name) for name in files[:LOOKED_INTO]]
    for tool, sign in UNREAD.items():
        if any(map(sign.search, starts)):
            yield (
                f"{source.location}: has annotations of {tool}, which are not read ({len(files):,} "
                f"JSON files, the first '{files[0]}'): its pictures count as without labels. "
                "Export or convert the annotations to COCO, YOLO, VOC or CVAT."
            )


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


def _aside(location: str, names: Sequence[str], what: str = "files") -> tuple[str, ...]:
    """What is said of files, or lines, that are no pictures, or pictures that systems hide.

    Such are the `._a.jpg` that macOS puts beside an `a.jpg` on other systems' disks. Of other
    hidden files nothing is said.
    """
    others = [name for name in names if not is_picture(name)]
    reasons = {
        f"{what} that are no pictures": [
            name for name in others if not name.rpartition("/")[2].startswith(".")
        ],
        "hidden pictures": [name for name in others if name.lower().endswith(PICTURES)],
    }
    return tuple(
        f"{location}: {why} are left aside: {len(left):,}, the first '{left[0]}'."
        for why, left in reasons.items()
        if left
    )
