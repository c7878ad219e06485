"""A plain folder of pictures, however deep: no labels, no annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.formats.base import Source, is_picture
from quorate.labels import Labels
from quorate.storage import PICTURES

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
        notes=tuple(_left(source)),
    )


UNREAD = {
    "labelme": re.compile(rb'"shapes"\s*:\s*\['),
    "VIA": re.compile(rb'"_via_|"regions"\s*:'),
    "CreateML": re.compile(rb'"coordinates"\s*:\s*\{'),
}
"""JSON that other tools write beside pictures, by what stands near its beginning."""


def _unread(source: Source, names: Sequence[str]) -> Iterator[str]:
    """A note where JSON beside the pictures holds annotations that nothing here reads."""
    files = [name for name in names if name.lower().endswith(".json")]
    starts = [source.head(name) for name in files[:LOOKED_INTO]]
    for tool, sign in UNREAD.items():
        if any(map(sign.search, starts)):
            yield (
                f"{source.location}: has annotations of {tool}, which are not read ({len(files):,} "
                f"JSON files, the first '{files[0]}'): its pictures count as without labels. "
                "Export or convert the annotations to COCO, YOLO, VOC or CVAT."
            )


def _left(source: Source) -> Iterator[str]:
    """What is left aside, by its reason. Files that systems hide are told where they are pictures.

    Such are the `._a.jpg` that macOS puts beside an `a.jpg` on other systems' disks.
    """
    base = {name: name.rpartition("/")[2] for name in source.names if not is_picture(name)}
    hidden = [name for name in base if base[name].startswith(".")]
    reasons = {
        "files that are no pictures": [name for name in base if not base[name].startswith(".")],
        "hidden pictures": [name for name in hidden if name.lower().endswith(PICTURES)],
    }
    for what, names in reasons.items():
        if names:
            yield from _unread(source, names)
            yield (
                f"{source.location}: {what} are left aside: {len(names):,}, the first '{names[0]}'."
            )
