"""Who may be asked and who may judge: pictures are fitted on, or reported on, never both."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset, Image
from quorate.errors import InputError, QuorateError
from quorate.storage import Tree, open_tree

FOLDS = 5
Together = Literal["picture", "folder"]
"""What is never torn apart: one picture, or all pictures of a folder (a scene, a video)."""


def folds(images: Sequence[Image], count: int = FOLDS, together: Together = "picture") -> Folds:
    """(p,) the fold of each picture, 0 to `count` - 1, in folds of nearly equal size.

    Pictures are dealt out in the order of the SHA-256 of their names, so the same pictures always
    fall into the same folds, whatever their order; with `together` "folder", whole folders are.

    Raises InputError where that leaves fewer than two pictures, or no folder, for a fold.
    """
    if count < 2:
        raise InputError("At least 2 folds are needed: one to report on, the others to fit.")
    keys = [image.file_name for image in images]
    if together == "folder":
        keys = [key.rpartition("/")[0] for key in keys]
    distinct = sorted(set(keys), key=lambda key: (hashlib.sha256(key.encode()).digest(), key))
    if together == "folder" and len(distinct) < count:
        raise InputError(
            f"{count} folds of whole folders need {count} folders; there are {len(distinct)}.",
            hint=f"--folds {len(distinct)}" if len(distinct) > 1 else "--together picture",
        )
    if len(images) < 2 * count:
        raise InputError(
            f"{len(images)} labelled pictures are too few for {count} folds of at least two.",
            hint="label more pictures, or ask for fewer folds (--folds 2)",
        )
    fold = {key: place % count for place, key in enumerate(distinct)}
    return np.array([fold[key] for key in keys], dtype=np.int64)


Folds = NDArray[np.int64]


def refuse_overlap(fit: Dataset, report: Dataset) -> list[str]:
    """InputError where two data sets share a picture; else notes on what could not be told.

    Two pictures are the same when their files are, byte for byte: sizes are compared first, and
    the digests of those that are equal. Where files cannot be read, a picture of the same name
    and the same width and height is taken for the same.
    """
    known = {image.name: image for image in fit.images}
    common: list[tuple[str, str]] = []
    alike = []
    with open_tree(fit.root) as ours, open_tree(report.root) as theirs:
        sizes = {image.file_name: _size(ours, image.file_name) for image in fit.images}
        by_size: defaultdict[int | None, list[Image]] = defaultdict(list)
        for image in fit.images:
            by_size[sizes[image.file_name]].append(image)
        digest = cache(lambda name: _digest(ours, name))
        for image in report.images:
            size = _size(theirs, image.file_name)
            rivals = [] if size is None else by_size.get(size, [])
            own = _digest(theirs, image.file_name) if rivals else b""
            twin = next((one for one in rivals if digest(one.file_name) == own), None)
            same = known.get(image.name)
            if twin is not None:
                common.append((twin.name, image.name))
            elif same and (same.width, same.height) == (image.width, image.height):
                if size is None or sizes[same.file_name] is None:
                    common.append((same.name, image.name))
                else:
                    alike.append(image.name)
    if common:
        ours_name, theirs_name = common[0]
        which = ours_name if ours_name == theirs_name else f"{ours_name} is {theirs_name}"
        raise InputError(
            f"{len(common)} of {len(report.images)} pictures to report on are also fitted on "
            f"({which}), so the figures would flatter.",
            hint="report on other pictures, or leave out --report for cross-validation",
        )
    if not alike:
        return []
    return [
        f"{len(alike)} pictures of both data sets have one name and one size in pixels but other "
        f"bytes, the first '{min(alike)}': are they really others?"
    ]


def _size(tree: Tree, name: str) -> int | None:
    """Bytes of a file; None where there is none to be had."""
    try:
        with tree.open(name) as file:
            return file.seek(0, 2)
    except (QuorateError, OSError):
        return None


def _digest(tree: Tree, name: str) -> bytes:
    return hashlib.sha256(tree.read(name)).digest()
