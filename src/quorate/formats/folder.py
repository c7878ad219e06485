"""A plain folder of pictures, however deep: no labels, no annotations."""

from __future__ import annotations

from quorate.dataset import Dataset, Image
from quorate.errors import InputError
from quorate.formats.base import PICTURES, Source, is_picture
from quorate.labels import Labels


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
    others = [n for n in source.names if not is_picture(n) and n.rsplit("/", 1)[-1][0] != "."]
    return Dataset(
        root=source.location,
        images=tuple(Image(id=i, file_name=name) for i, name in enumerate(names, start=1)),
        labels=Labels((), ()),
        name=source.location.rstrip("/").rsplit("/", 1)[-1],
        notes=(
            f"{source.location}: {len(others)} files that are no pictures are left aside, the "
            f"first '{others[0]}'.",
        )
        if others
        else (),
    )
