"""Where the pictures of an annotation file lie, and what is odd about what it says."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, LabelError
from quorate.formats.base import Source, is_picture, score_hint, scores_within, without_ending
from quorate.formats.parts import repeated
from quorate.storage import is_s3, join, open_tree, safe_name
from quorate.storage.tree import OUTSIDE

NORMALISED = 1.5
"""How far normalised boxes reach, which nobody clipped: nowhere are all within a pixel or two."""
_ROOT = re.compile(r"^(?:[A-Za-z]:)?[/\\]+")
"""How an absolute name begins, on whichever system."""

_MASKS = re.compile(r"/Segmentation(Class|Object)/")
"""Where Pascal VOC has masks, which are called like the pictures."""


def placed(
    source: Source, images: Sequence[Image], *, notes: Sequence[str] = (), **others: Any
) -> Dataset:
    """The data set of pictures wherever they lie; `others` are its other fields.

    A backslash parts folders, as a slash does. A name without an ending, as CVAT calls frames of a
    video, means the only file that is called so but for its ending. Each picture is looked for
    under its name as it stands, below `images/`, `images/SUBSET/`, `SUBSET/`, and at last wherever
    the end of one file's path agrees with more folders of the name than that of any other. By its
    base name alone a file is taken where no other file and no other picture has that name. The root
    of an absolute name is left off, and `..` is never followed: such a name is only compared with
    what is there. Where nothing is found at all, the root is the source's own.
    """
    root, moved, more = _found(source, images)
    return Dataset(root=root, images=moved, notes=(*notes, *more), **others)


def _found(source: Source, images: Sequence[Image]) -> tuple[str, tuple[Image, ...], list[str]]:
    """The root of the pictures, the pictures with their place below it, and notes; see `placed`."""
    stated = [image.file_name for image in images]
    images = [_with_slashes(image) for image in images]
    root, names = _searched(source)
    there = {name for name in names if is_picture(name) and not _MASKS.search(f"/{name}")}
    called = _called(there)
    expected = [_expected(image, called) for image in images]
    found, notes = expected, list[str]()
    if there and None in expected:
        found, notes = _elsewhere(images, expected, there, source.location)
    absolute = [name for name in stated if _ROOT.match(name)]
    if absolute:
        notes.append(
            f"{source.location}: {len(absolute)} names of pictures are absolute, the first "
            f"'{absolute[0]}'; their root is left off."
        )
    for image, path in zip(images, found, strict=True):
        if path is None:
            safe_name(image.file_name, origin=source.location)
    missing = [image.name for image, path in zip(images, found, strict=True) if path is None]
    if there and missing:
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
    for image, path, name in zip(images, found, stated, strict=True):
        here = image.file_name if path is None else path[cut:]
        elsewhere = OUTSIDE.search(name.replace("\\", "/"))  # a name that says nothing here
        name = here if elsewhere else image.name
        moved.append(
            image
            if here == image.file_name
            else msgspec.structs.replace(
                image, file_name=here, published_as="" if name == here else name
            )
        )
    shared = [name for name, n in Counter(path for path in found if path).items() if n > 1]
    if shared:
        notes.append(
            f"{source.location}: {len(shared)} files are the picture of more than one entry, the "
            f"first '{shared[0]}'."
        )
    return root, tuple(moved), notes


def _with_slashes(image: Image) -> Image:
    """The picture with '/' between its folders, whichever system wrote its name."""
    name = _ROOT.sub("", image.file_name.replace("\\", "/"))
    while name.startswith("./"):
        name = name[2:]
    if name == image.file_name:
        return image
    return msgspec.structs.replace(image, file_name=name)


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


def _called(there: set[str]) -> dict[str, str]:
    """The files by their names, and by these without their ending where that means one alone."""
    bare = Counter(map(without_ending, there))
    called = {stem: name for name in there if bare[stem := without_ending(name)] == 1}
    return {stem: name for stem, name in called.items() if not is_picture(stem)} | {
        name: name for name in there
    }


def _expected(image: Image, there: Mapping[str, str]) -> str | None:
    name, subset = image.file_name, image.subset
    below = [f"images/{subset}/", *(f"{subset}/{f}" for f in ("", "images/", "data/"))]
    for folder in (*(below if subset else ()), "", "images/", "data/", "JPEGImages/"):
        if f"{folder}{name}" in there:
            return there[f"{folder}{name}"]
    return None


def _elsewhere(
    images: Sequence[Image], expected: Sequence[str | None], there: set[str], origin: str
) -> tuple[list[str | None], list[str]]:
    """The files of pictures that are not where they are expected, and notes on how each was found.

    See `placed` for what counts.
    """
    by_base: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(there):
        by_base[name.rsplit("/", 1)[-1]].append(name)
    bases = Counter(image.file_name.rsplit("/", 1)[-1] for image in images)
    found, alone, several = [], [], []
    for image, path in zip(images, expected, strict=True):
        base = image.file_name.rsplit("/", 1)[-1]
        same = by_base.get(base, []) if path is None else []
        agree = [_agreeing(image.file_name, one) for one in same]
        best = [one for one, n in zip(same, agree, strict=True) if n == max(agree)]
        whole = max(agree, default=0) == len(image.file_name.split("/"))
        if len(best) == 1 and (whole or max(agree) > 1 or bases[base] == 1):
            path = best[0]
            if not whole and max(agree) < len(path.split("/")):
                alone.append(f"'{image.file_name}' is '{path}'")
        elif len(best) > 1:
            several.append(f"'{image.file_name}' may be {' or '.join(map(repr, best[:3]))}")
        found.append(path)
    notes = [
        f"{origin}: {len(few)} pictures {what}, the first: {few[0]}."
        for few, what in (
            (alone, "are found by the end of their names, though their folders differ"),
            (several, "are not told from others of the same name"),
        )
        if few
    ]
    return found, notes


def _agreeing(name: str, path: str) -> int:
    """How many of the last parts of two paths are the same."""
    ends = zip(reversed(name.split("/")), reversed(path.split("/")), strict=False)
    return next(
        (n for n, (a, b) in enumerate(ends) if a != b), min(name.count("/"), path.count("/")) + 1
    )


def checked(dataset: Dataset, *, origin: str) -> Dataset:
    """The data set, with what is odd about it added to its notes.

    Raises FormatError, naming the picture, for two pictures of one name in one subset, an
    annotation of a picture that does not exist, a coordinate that is NaN or infinite, a box that
    is inverted, a score that is none; LabelError for a category that the vocabulary lacks.
    """
    for subset, name in repeated(lambda: ((i.subset, i.name) for i in dataset.images)):
        of = f" of subset '{subset}'" if subset else ""
        raise FormatError(f"{origin}: two pictures{of} are named '{name}'.")
    if dataset.annotations is None:
        return dataset
    notes = _checked_shapes(dataset, dataset.annotations, origin)
    shapes, more = _checked_scores(dataset, dataset.annotations, origin)
    return replace(dataset, annotations=shapes, notes=(*dataset.notes, *notes, *more))


def _checked_scores(
    dataset: Dataset, shapes: Annotations, origin: str
) -> tuple[Annotations, list[str]]:
    """The shapes with their scores clipped to 0..1; notes on attributes that are no scores.

    What the format itself says of a score is a number here, and FormatError where it is none. Text
    is an attribute of somebody's labels, and may mean anything.
    """
    notes = []
    for name in ("score", "confidence"):
        column = shapes.attributes.get(name)
        if column is None:
            continue
        scores = shapes.numbers(name)
        if ((scores >= 0) & (scores <= 1)).all():
            continue
        clipped, wrong = scores_within(scores)
        wrong &= np.array([value is not None and value == value for value in column.tolist()], bool)
        texts = np.array([isinstance(value, str) for value in column.tolist()], bool)
        if name == "score" and (wrong & ~texts).any():
            row = int(np.argmax(wrong & ~texts))
            of = next(i.name for i in dataset.images if i.id == shapes.image_id[row])
            raise FormatError(
                f"{origin}: annotation {row + 1}, of picture '{of}', has a score of "
                f"{column.tolist()[row]!r}.",
                hint=score_hint(float(scores[row])),
            )
        if wrong.any():
            row = int(np.argmax(wrong))
            notes.append(
                f"{origin}: {int(wrong.sum())} shapes have a `{name}` that is no score, the first "
                f"{column[row]!r}; it stays an attribute ({score_hint(float(scores[row]))})."
            )
        if (
            name == "score"
            and (moved := np.flatnonzero((np.abs(scores - clipped) > 0) & ~wrong & ~texts)).size
        ):
            values = column.copy()
            values[moved] = clipped[moved]
            shapes = replace(shapes, attributes={**shapes.attributes, name: values})
    return shapes, notes


def _checked_shapes(dataset: Dataset, shapes: Annotations, origin: str) -> list[str]:
    ids = np.array([image.id for image in dataset.images], dtype=np.int64)
    if not len(shapes):
        return []
    position = positions_in(ids, shapes.image_id)
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
    drawn = shapes.kind != Kind.TAG
    outside &= (size > 0).all(axis=1) & drawn
    notes = []
    if outside.any():
        name = dataset.images[int(position[np.flatnonzero(outside)[0]])].name
        notes.append(
            f"{origin}: {int(outside.sum())} of {len(shapes)} annotations reach outside their "
            f"picture, the first in '{name}'; they are kept as they are."
        )
    if drawn.any() and max(float(x2[drawn].max()), float(y2[drawn].max())) <= NORMALISED:
        notes.append(
            f"{origin}: no annotation reaches beyond the first pixel or two; are they relative to "
            "the pictures' sizes? Pixels are meant here."
        )
    if twice := _twice(shapes, position):
        name = dataset.images[int(position[twice[0]])].name
        notes.append(
            f"{origin}: {len(twice)} annotations stand twice, alike in picture, label and place, "
            f"the first in '{name}'; they are kept."
        )
    return notes


def _twice(shapes: Annotations, position: NDArray[np.int64]) -> list[int]:
    """The rows of shapes that an earlier row is the same as, attributes aside; no tags."""
    columns = [position, shapes.category_id, shapes.kind, *shapes.xyxy.view(np.int64).T]
    code = np.zeros(len(shapes), np.uint64)
    for column in columns:
        code = code * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.int64).view(np.uint64)
        code ^= code >> np.uint64(29)
    order = np.argsort(code, kind="stable")
    alike = np.flatnonzero(code[order][1:] == code[order][:-1])
    first, second = order[alike], order[alike + 1]
    points = shapes.points.lengths
    same = (shapes.kind[second] != Kind.TAG) & (points[first] == points[second])
    for column in columns:
        same &= column[first] == column[second]
    found = [
        row
        for one, row in zip(first[same].tolist(), second[same].tolist(), strict=True)
        if not points[row] or np.array_equal(shapes.points[one], shapes.points[row], equal_nan=True)
    ]
    return sorted(found)
