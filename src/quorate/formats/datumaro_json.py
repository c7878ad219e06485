"""Datumaro's own format, as CVAT exports it: `annotations/SUBSET.json` beside `images/SUBSET/`.

It is read here without the `datumaro` package; `datumaro:datumaro` writes it.

Source: datumaro's `data_formats/datumaro/base.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from quorate.annotations import Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError
from quorate.formats.base import Source, is_picture, side
from quorate.formats.coco.json_faults import NO_JSON, json_fault, refuse_twice
from quorate.formats.places import placed
from quorate.formats.shapes import Rows, with_scores
from quorate.labels import Labels
from quorate.masks import shapes as masks

_FILE = re.compile(r"^(?:.+/)?annotations/(?P<subset>[^/]+)\.json$")
_SIGN = re.compile(r'"categories"\s*:\s*\{')


class _Label(msgspec.Struct):
    name: str


class _Labels(msgspec.Struct):
    labels: list[_Label] = []


class _Categories(msgspec.Struct):
    label: _Labels = msgspec.field(default_factory=_Labels)


class _Runs(msgspec.Struct):
    counts: str | list[int]
    size: list[int]


class _Shape(msgspec.Struct):
    type: str
    label_id: int | None = None
    attributes: dict[str, Any] = {}
    group: int = 0
    z_order: int = 0
    bbox: list[float] = []
    points: list[float] = []
    rle: _Runs | None = None


class _Image(msgspec.Struct):
    path: str = ""
    size: list[int] | None = None


class _Item(msgspec.Struct):
    id: str
    annotations: list[_Shape] = []
    image: _Image | None = None
    media: _Image | None = None


class _File(msgspec.Struct):
    items: list[_Item]
    categories: _Categories = msgspec.field(default_factory=_Categories)


def recognise(source: Source) -> bool:
    """Whether there is a JSON file below `annotations/` whose `categories` are an object."""
    files = _files(source)
    return bool(files) and _SIGN.search(source.begins(files[0])) is not None


def _files(source: Source) -> list[str]:
    if source.single:
        return source.ending(".json")
    return [name for name in source.names if _FILE.match(name)]


def read(source: Source) -> Dataset:
    """All files as one; several are subsets. Labels are numbered from 1, in their order.

    Annotations of other kinds than `annotations.Kind` has, and those without a label, are left out
    and counted.

    Raises:
        FormatError: no such JSON, or a shape without the numbers of its kind.
        LabelError: a number of a label that is not there, or two labels of one name in a file.
    """
    files = _files(source)
    rows, images, left_out = Rows(), list[Image](), Counter[str]()
    parts = [(name, _decoded(source, name)) for name in files]
    words = [Labels.from_names(one.name for one in p.categories.label.labels) for _, p in parts]
    labels = Labels.from_names(dict.fromkeys(name for part in words for name in part.names))
    for (name, part), known in zip(parts, words, strict=True):
        ids = [labels.id_of(word) for word in known.names]
        found = _FILE.match(name)
        subset = found["subset"] if found and len(files) > 1 else ""
        for item in part.items:
            image = item.image or item.media or _Image()
            place = f"{source.place(name)}: item '{item.id}'"
            height, width = image.size if image.size and len(image.size) == 2 else (0, 0)
            images.append(
                Image(
                    id=len(images) + 1,
                    file_name=image.path or item.id,
                    width=side(width, place),
                    height=side(height, place),
                    subset=subset,
                )
            )
            for number, shape in enumerate(item.annotations, start=1):
                _add(rows, len(images), shape, ids, left_out, f"{place}, annotation {number}")
    notes = [
        f"{source.location}: {count:,} annotations {why} are left out."
        for why, count in sorted(left_out.items())
    ]
    shapes = with_scores(rows.build())
    dataset = placed(source, images, labels=labels, annotations=shapes, notes=notes)
    bare = [image.file_name for image in dataset.images if not is_picture(image.file_name)]
    if not bare:
        return dataset
    said = (
        f"{source.location}: {len(bare)} pictures are named without their ending, the first "
        f"'{bare[0]}', since an export without pictures does not tell it."
    )
    return replace(dataset, notes=(*dataset.notes, said))


def _decoded(source: Source, name: str) -> _File:
    data = source.tree.read(name)
    place = source.place(name)
    try:
        found = msgspec.json.decode(data, type=_File)
    except NO_JSON as error:
        fault = json_fault(error, data, place)
        if "COCO" in (fault.hint or ""):
            fault.hint = "datumaro's files have `categories` and `items`; export it again"
        raise fault from None
    shapes = sum(len(item.annotations) for item in found.items)
    refuse_twice(data, ((b'"bbox"', shapes), (b'"annotations"', len(found.items))), place)
    return found


KINDS = {
    "bbox": Kind.BOX,
    "polygon": Kind.POLYGON,
    "polyline": Kind.POLYLINE,
    "points": Kind.POINTS,
    "ellipse": Kind.ELLIPSE,
    "mask": Kind.MASK,
    "label": Kind.TAG,
}
"""datumaro's words for what is read of its annotations."""
_FEWEST = {Kind.POLYGON: 6, Kind.POLYLINE: 4, Kind.POINTS: 2, Kind.ELLIPSE: 4}


def _add(
    rows: Rows,
    image_id: int,
    shape: _Shape,
    ids: Sequence[int],
    left_out: Counter[str],
    place: str,
) -> None:
    kind = KINDS.get(shape.type)
    if kind is None:
        left_out[f"of kind '{shape.type[:40]}'"] += 1
        return
    if shape.label_id is None:
        left_out["without a label"] += 1
        return
    if not 0 <= shape.label_id < len(ids):
        raise FormatError(f"{place}: label {shape.label_id}, of {len(ids)} that there are.")
    box, points = _geometry(kind, shape, place)
    told = dict(shape.attributes)
    occluded, rotation = told.pop("occluded", False), told.pop("rotation", 0.0)
    if not isinstance(rotation, int | float) or not all(
        -(2**31) <= number < 2**31 for number in (shape.group, shape.z_order)
    ):
        raise FormatError(f"{place}: a rotation, group or z_order that is no number like that.")
    rows.add(
        image_id,
        ids[shape.label_id],
        box,
        kind=kind,
        rotation=float(rotation),
        occluded=occluded is True,
        z_order=shape.z_order,
        group=shape.group,
        source=str(told.pop("source", "file")),
        points=points,
        attributes=told,
    )


def _geometry(kind: Kind, shape: _Shape, place: str) -> tuple[masks.Box, Any]:
    """The upright box of a shape, and its points or run lengths."""
    if kind == Kind.TAG:
        return (0.0, 0.0, 0.0, 0.0), ()
    if kind == Kind.BOX:
        if len(shape.bbox) != 4:
            raise FormatError(f"{place}: a bbox of {len(shape.bbox)} numbers, not 4.")
        x, y, width, height = shape.bbox
        return (x, y, x + width, y + height), ()
    if kind == Kind.MASK:
        if shape.rle is None:
            raise FormatError(f"{place}: a mask without `rle`.")
        return masks.from_coco(shape.rle.counts, shape.rle.size, place=place)
    count = len(shape.points)
    if count < _FEWEST[kind] or count % 2 or (kind == Kind.ELLIPSE and count != 4):
        raise FormatError(f"{place}: {count} numbers make no {kind.name.lower()}.")
    points = np.array(shape.points)
    x1, y1, x2, y2 = (
        float(bound)
        for pick in (np.min, np.max)
        for bound in (pick(points[::2]), pick(points[1::2]))
    )
    return (x1, y1, x2, y2), () if kind == Kind.ELLIPSE else points
