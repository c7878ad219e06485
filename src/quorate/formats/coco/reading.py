"""COCO, read: `annotations/instances_SUBSET.json`, one file or several, or one bare JSON file.

Format: https://cocodataset.org/#format-data, with what CVAT adds to it: `attributes` and `score`
of an annotation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from quorate.annotations import Kind
from quorate.dataset import Dataset, Image, LabelInfo
from quorate.errors import FormatError, LabelError
from quorate.formats.base import Source, not_utf8, side
from quorate.formats.coco.segmentations import RUNS
from quorate.formats.places import placed
from quorate.formats.rows import Rows
from quorate.formats.shapes import parted, with_scores
from quorate.labels import Labels
from quorate.masks import shapes as masks

_INSTANCES = re.compile(r"(?:.*/)?instances_(?P<subset>[^/]+)\.json$")
_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: float = 0
    height: float = 0


class _Category(msgspec.Struct):
    id: int
    name: str
    supercategory: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int
    bbox: list[float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()
    area: float | None = None
    iscrowd: int | bool = 0
    score: float | None = None
    attributes: dict[str, Any] | None = None


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category] = []
    annotations: list[_Annotation] = []
    info: Any = None
    licenses: Any = None


_POLYGONS = msgspec.json.Decoder(list[list[float]])


def recognise(source: Source) -> bool:
    """Whether there is an `instances_*.json`, or one JSON file with `images` in it."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    instances = [name for name in source.names if _INSTANCES.match(name)]
    if instances and not source.single:
        return instances
    near = [n for n in source.ending(".json") if n.count("/") <= 1]
    return [name for name in near if _is_coco(source.tree.read(name))] if len(near) <= 8 else []


def _is_coco(data: bytes) -> bool:
    try:
        return "images" in _TOP.decode(data)
    except _NO_JSON:
        # A truncated file is recognised by its look, so that the error names what is wrong.
        return data.lstrip()[:1] == b"{" and b'"images"' in data


def read(source: Source) -> Dataset:
    """All files of a COCO data set as one; the subset is the part after `instances_`.

    Ids that are text, or that two files use for different pictures, are numbered anew, and the
    old id is kept in `Image.source_id`. An annotation without `area` has none; one without a box
    gets that of its segmentation. The attribute `confidence`, which Quorate writes beside the
    score, becomes the attribute `score` (see `with_scores`). Category ids are kept; files that
    name one id differently are refused.
    """
    files = _files(source)
    if not files:
        raise FormatError(f"{source.location}: no COCO file (a JSON file with `images`).")
    parts = [(name, _decoded(source, name)) for name in files]
    labels, label_info = _labels(source, parts)
    numbers = [image.id for _, part in parts for image in part.images]
    renumber = len(set(numbers)) < len(numbers) or any(isinstance(n, str) for n in numbers)
    rows = Rows()
    images: list[Image] = []
    for name, part in parts:
        found = _INSTANCES.match(name)
        subset = found["subset"] if found and len(files) > 1 else ""
        ids: dict[int | str, int] = {}
        for image in part.images:
            if image.id in ids:
                raise FormatError(f"{source.place(name)}: two pictures have the id {image.id!r}.")
            place = f"{source.place(name)}: picture '{image.file_name}'"
            ids[image.id] = number = len(images) + 1 if renumber else int(image.id)
            if not -(2**63) <= number < 2**63:
                raise FormatError(
                    f"{place} has the id {number}, which 64 bits do not hold.",
                    hint="number the pictures from 1; or write the id as text, in quotes",
                )
            images.append(
                Image(
                    id=number,
                    file_name=image.file_name,
                    width=side(image.width, place),
                    height=side(image.height, place),
                    subset=subset,
                    source_id=str(image.id) if renumber else None,
                )
            )
        _shapes(rows, part.annotations, ids, labels, source.place(name))
    root, moved, notes = placed(source, images)
    first = parts[0][1]
    return Dataset(
        root=root,
        images=moved,
        labels=labels,
        annotations=with_scores(rows.build()),
        label_info=label_info,
        info={key: told for key in ("info", "licenses") if (told := getattr(first, key))},
        notes=tuple(notes),
    )


def _decoded(source: Source, name: str) -> _File:
    data = source.tree.read(name)
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_File)
    except _NO_JSON as error:
        raise json_fault(error, data, source.place(name)) from None


def json_fault(error: Exception, data: bytes, place: str) -> FormatError:
    """What is wrong with a JSON file that `msgspec` does not decode."""
    if not data:
        return FormatError(f"{place}: the file is empty.")
    if isinstance(error, msgspec.ValidationError):
        return FormatError(f"{place}: {error}.", hint="COCO's keys: cocodataset.org/#format-data")
    if isinstance(error, UnicodeDecodeError):
        return not_utf8(place, data)
    if isinstance(error, RecursionError):
        return FormatError(
            f"{place}: lists or objects are nested too deep.", hint="COCO nests five deep at most"
        )
    if "truncated" in str(error):
        return FormatError(
            f"{place}: the file is truncated: it ends at byte {len(data)} in the middle.",
            hint="copy it again, or export it again",
        )
    return FormatError(f"{place}: not JSON ({error}).")


def _labels(
    source: Source, parts: Sequence[tuple[str, _File]]
) -> tuple[Labels, dict[str, LabelInfo]]:
    names: dict[int, str] = {}
    infos: dict[str, LabelInfo] = {}
    for name, part in parts:
        for category in part.categories:
            if not -(2**31) <= category.id < 2**31:
                raise LabelError(
                    f"{source.place(name)}: category '{category.name}' has the id {category.id}, "
                    "which 32 bits do not hold.",
                    hint="number the categories from 1",
                )
            if names.setdefault(category.id, category.name) != category.name:
                raise LabelError(
                    f"{source.place(name)}: category {category.id} is '{category.name}', but "
                    f"'{names[category.id]}' in {source.place(parts[0][0])}."
                )
            if category.supercategory:
                infos[category.name] = LabelInfo(supercategory=category.supercategory)
    try:
        return Labels(names=tuple(names.values()), ids=tuple(names)), infos
    except LabelError as error:
        raise LabelError(f"{source.location}: {error.message}", hint=error.hint) from None


def _shapes(
    rows: Rows,
    annotations: Sequence[_Annotation],
    ids: dict[int | str, int],
    labels: Labels,
    place: str,
) -> None:
    known = set(labels.ids)
    for number, shape in enumerate(annotations, start=1):
        image_id = ids.get(shape.image_id)
        if image_id is None:
            raise FormatError(
                f"{place}: annotation {number} is of picture {shape.image_id!r}, "
                "which is not in the list of pictures."
            )
        if shape.category_id not in known:
            raise LabelError(
                f"{place}: annotation {number} is of category {shape.category_id}, "
                "which is not in the list of categories."
            )
        kind, points, box = _segmentation(shape.segmentation, f"{place}: annotation {number}")
        if shape.bbox is not None and kind != Kind.MASK:
            if len(shape.bbox) != 4:
                raise FormatError(
                    f"{place}: annotation {number} has a bbox of {len(shape.bbox)} numbers, not 4."
                )
            x, y, width, height = shape.bbox
            box = (x, y, x + width, y + height)
        if box is None:
            raise FormatError(f"{place}: annotation {number} has neither bbox nor segmentation.")
        attributes = dict(shape.attributes or ())
        rotation = _as_number(attributes.pop("rotation", 0.0))
        occluded = bool(attributes.pop("occluded", False))
        source = str(attributes.pop("source", "file"))
        if shape.score is not None:
            attributes["score"] = shape.score
        rows.add(
            image_id,
            shape.category_id,
            box,
            kind=kind,
            rotation=rotation if kind == Kind.BOX else 0.0,
            occluded=occluded,
            iscrowd=bool(shape.iscrowd),
            source=source,
            area=float("nan") if shape.area is None else shape.area,
            points=points,
            attributes=attributes,
        )


def _segmentation(
    raw: msgspec.Raw, place: str
) -> tuple[Kind, Any, tuple[float, float, float, float] | None]:
    text = bytes(raw).strip()
    if text in (b"", b"[]", b"null", b"[[]]"):
        return Kind.BOX, (), None
    try:
        if text[:1] == b"{":
            runs = RUNS.decode(text)
            box, ours = masks.from_coco(runs.counts, runs.size, place=place)
            return Kind.MASK, ours, box
        rings = [ring for ring in _POLYGONS.decode(text) if ring]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{place}: a segmentation that is none ({error}).") from None
    if any(len(ring) % 2 for ring in rings):
        raise FormatError(f"{place}: a polygon with an odd number of coordinates.")
    if not rings:
        return Kind.BOX, (), None
    points = parted(rings)
    x, y = points[::2], points[1::2]
    box = (np.nanmin(x), np.nanmin(y), np.nanmax(x), np.nanmax(y))
    return Kind.POLYGON, points, (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _as_number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:  # a whole number of 400 digits
        return float("inf")
