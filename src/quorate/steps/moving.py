"""Files that are complete move to their places, and what an earlier publish wrote goes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quorate.dataset import Image
from quorate.errors import InputError
from quorate.steps.work import read_json, write_json
from quorate.storage import RESULTS, remove_tree, safe_name, sha256

STAGE = ".publishing"
"""Where files are written before they are moved to their places."""


class Published(msgspec.Struct, frozen=True):
    """What publish wrote to a folder, so that it goes when it is written no more.

    files  each file's name below the folder, and the SHA-256 that it has; while files are moved to
           their places, that of the file before and that of the new one
    """

    files: dict[str, tuple[str, ...]]


def below(folder: str, images: tuple[Image, ...]) -> tuple[Image, ...]:
    """The pictures, named with the folder that they lie in elsewhere; '' is for none."""
    if not folder:
        return images
    folder = folder.rstrip("/")
    return tuple(
        msgspec.structs.replace(image, published_as=f"{folder}/{image.name}") for image in images
    )


def mark(out: Path) -> None:
    """Mark a folder as one of results, which is no part of any data."""
    if not (out / RESULTS).exists():
        write_json(out / RESULTS, Published({}))


def moved(stage: Path, out: Path, files: Sequence[str]) -> list[str]:
    """Move files to their places, remove what an earlier publish wrote and this one did not; notes.

    The list is written before as well as after, so that a killed publish leaves no file unknown.
    """
    try:
        before = read_json(out / RESULTS, Published).files
    except InputError:  # none, or damaged: then nobody knows, and nothing is removed
        before = {}
    new = {name: (sha256(stage / name),) for name in files}
    both = before | {name: (*before.get(name, ()), *digest) for name, digest in new.items()}
    write_json(out / RESULTS, Published(both))
    for name in files:
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (stage / name).replace(place)
    remove_tree(stage)
    stays = {}
    for name in before.keys() - new.keys():
        path = out / safe_name(name, origin=str(out / RESULTS))
        if not path.is_file():
            continue
        if sha256(path) not in before[name]:
            stays[name] = before[name]
            continue
        path.unlink()
        with contextlib.suppress(OSError):  # a folder that is not empty, or `out` itself
            for folder in path.relative_to(out).parents[:-1]:
                (out / folder).rmdir()
    write_json(out / RESULTS, Published(new | stays))
    return [
        f"{name}: is of an earlier run and would not be written now; it stays, for it was changed "
        "since."
        for name in sorted(stays)
    ]
