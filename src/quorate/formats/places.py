"""Where the pictures of an annotation file lie, and what is odd about what it says."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, LabelError
from quorate.formats.base import Source, is_picture
from quorate.storage import is_s3, join, open_tree, safe_name


def placed(source: Source, images: Sequence[Image]) -> tuple[str, tuple[Image, ...], list[str]]:
    """The root of the pictures, the pictures with their place below it, and notes.

    Each picture is looked for under its name as it stands, below `images/`, `images/SUBSET/`,
    `SUBSET/`, and at last wherever one file's path ends so. Where none is found at all, the root
    is the source's own and the names stay as they are.
    """
    for image in images:
        safe_name(image.file_name, origin=source.location)
    root, names = _searched(source)
    there = {name for name in names if is_picture(name)}
    found = [_expected(image, there) for image in images]
    if there and None in found:
        by_base: defaultdict[str, list[str]] = defaultdict(list)
        for name in there:
            by_base[name.rsplit("/", 1)[-1]].append(name)
        found = [
            _elsewhere(image.file_name, by_base) if path is None else path
            for image, path in zip(images, found, strict=True)
        ]
    missing = [image.name for image, path in zip(images, found, strict=True) if path is None]
    notes = []
    if there and missing and len(missing) < len(images):
        notes.append(
            f"{source.location}: {len(missing)} of {len(images)} pictures are not there, the "
            f"first '{missing[0]}'."
        )
    if len(missing) == len(images):
        return root, tuple(images), notes
    tops = {path.split("/", 1)[0] if "/" in path else "" for path in found if path}
    cut = 0
    if len(tops) == 1 and "" not in tops:
        top = tops.pop()
        root, cut = join(root, top), len(top) + 1
    moved = []
    for image, path in zip(images, found, strict=True):
        here = image.file_name if path is None else path[cut:]
        moved.append(
            image
            if here == image.file_name
            else msgspec.structs.replace(image, file_name=here, published_as=image.name)
        )
    shared = [name for name, n in Counter(path for path in found if path).items() if n > 1]
    if shared:
        notes.append(
            f"{source.location}: {len(shared)} files are the picture of more than one entry, the "
            f"first '{shared[0]}'."
        )
    return root, tuple(moved), notes


def _searched(source: Source) -> tuple[str, Sequence[str]]:
    """The tree to look for pictures in; for one file, the folder it lies in or the one above."""
    if not source.single:
        return source.location, source.names
    folder = source.location.rpartition("/")[0] or "."
    if folder.rsplit("/", 1)[-1].lower() in {"annotations", "labels"}:
        above = folder.rpartition("/")[0] or "."
        folder = above if is_s3(above) or os.path.isdir(above) else folder
    with open_tree(folder) as tree:
        return folder, list(tree.names())


def _expected(image: Image, there: set[str]) -> str | None:
    name = image.file_name
    subset = [f"images/{image.subset}/{name}", f"{image.subset}/{name}"] if image.subset else []
    for candidate in (*subset, name, f"images/{name}", f"JPEGImages/{name}"):
        if candidate in there:
            return candidate
    return None


def _elsewhere(name: str, by_base: dict[str, list[str]]) -> str | None:
    """The only file whose path ends in the name, if there is just one."""
    ends = [p for p in by_base.get(name.rsplit("/", 1)[-1], ()) if p.endswith(f"/{name}")]
    return ends[0] if len(ends) == 1 else None


def checked(dataset: Dataset, *, origin: str) -> Dataset:
    """The data set, with what is odd about it added to its notes.

    Raises FormatError, naming the picture, for two pictures of one name in one subset, an
    annotation of a picture that does not exist, a coordinate that is NaN or infinite, a box that
    is inverted; LabelError for a category that the vocabulary lacks.
    """
    twice = [key for key, n in Counter((i.subset, i.name) for i in dataset.images).items() if n > 1]
    if twice:
        subset, name = twice[0]
        of = f" of subset '{subset}'" if subset else ""
        raise FormatError(f"{origin}: two pictures{of} are named '{name}'.")
    notes = list(dataset.notes)
    if dataset.annotations is not None:
        notes += _checked_shapes(dataset, dataset.annotations, origin)
    return replace(dataset, notes=tuple(notes))


def _checked_shapes(dataset: Dataset, shapes: Annotations, origin: str) -> list[str]:
    ids = np.array([image.id for image in dataset.images], dtype=np.int64)
    different, counts = np.unique(ids, return_counts=True)
    for again in different[counts > 1]:
        raise FormatError(f"{origin}: two pictures have the id {again}.")
    if not len(shapes):
        return []
    position = positions_in(ids, shapes.image_id)
    for row in np.flatnonzero(position < 0).tolist():
        raise FormatError(
            f"{origin}: annotation {row + 1} is of picture {shapes.image_id[row]}, "
            "which is not in the list of pictures."
        )
    for row in np.flatnonzero(dataset.labels.positions(shapes.category_id) < 0).tolist():
        raise LabelError(
            f"{origin}: annotation {row + 1} is of category {shapes.category_id[row]}, "
            "which is not in the list of categories."
        )
    x1, y1, x2, y2 = shapes.xyxy.T
    for wrong, what in (
        (~np.isfinite(shapes.xyxy).all(axis=1), "has a coordinate that is NaN or infinite"),
        (~np.isfinite(shapes.rotation), "has a rotation that is NaN or infinite"),
        ((x2 < x1) | (y2 < y1), "is inverted: its right or lower side comes before the other"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            name = dataset.images[int(position[row])].name
            box = ", ".join(f"{value:g}" for value in shapes.xyxy[row])
            raise FormatError(
                f"{origin}: annotation {row + 1}, of picture '{name}', {what} ({box}).",
                hint=f"{int(wrong.sum())} of {len(shapes)} annotations are so",
            )
    size = np.array([(i.width, i.height) for i in dataset.images], dtype=np.float64)[position]
    outside = (x1 < -0.5) | (y1 < -0.5) | (x2 > size[:, 0] + 0.5) | (y2 > size[:, 1] + 0.5)
    outside &= (size > 0).all(axis=1) & (shapes.kind != Kind.TAG)
    if outside.any():
        name = dataset.images[int(position[np.flatnonzero(outside)[0]])].name
        return [
            f"{origin}: {int(outside.sum())} of {len(shapes)} annotations reach outside their "
            f"picture, the first in '{name}'; they are kept as they are."
        ]
    return []
