"""COCO, read: `annotations/instances_SUBSET.json`, one file or several, or one bare JSON file.

Format: https://cocodataset.org/#format-data, with what CVAT adds to it: `attributes` and `score`
of an annotation.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image, LabelInfo
from quorate.errors import FormatError, LabelError
from quorate.formats.base import Source, as_number, is_picture, side, whole
from quorate.formats.coco.json_faults import NO_JSON, in_words, json_fault, refuse_twice
from quorate.formats.coco.segmentations import RUNS, rings_of
from quorate.formats.places import placed
from quorate.formats.shapes import Rows, parted, with_scores
from quorate.labels import Labels
from quorate.masks import shapes as masks

_INSTANCES = re.compile(r"(?:.*/)?instances_(?P<subset>[^/]+)\.json$")
_KEYPOINTS = re.compile(r"(?:.*/)?person_keypoints_[^/]+\.json$")
_SUBSET = re.compile(r"(?:.*/)?(?:instances|person_keypoints)_(?P<subset>[^/]+)\.json$")
_ROBOFLOW = "_annotations.coco.json"
_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
MANY_CROWDS = 0.05
"""Of all annotations; COCO's own files have 1 %."""

# As scripts write them: pandas makes 42 to 42.0, a form makes it to "42", and what is missing to
# null.
_Id = int | float | str


class _Image(msgspec.Struct):
    id: _Id
    file_name: str | None = None
    coco_url: str | None = None
    width: float | str | None = None
    height: float | str | None = None


class _Category(msgspec.Struct):
    id: _Id
    name: str | int
    supercategory: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: _Id
    category_id: _Id
    bbox: list[float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()
    area: float | None = None
    iscrowd: bool | int | float | str | None = None
    score: float | None = None
    attributes: Any = None
    num_keypoints: Any = None


class _File(msgspec.Struct):
    images: list[_Image] | None
    categories: list[_Category] | None = None
    annotations: list[_Annotation] | None = None
    info: Any = None
    licenses: Any = None


def recognise(source: Source) -> bool:
    """Whether there is an `instances_*.json`, or one JSON file with `images` in it."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    instances = [name for name in source.names if _INSTANCES.match(name)]
    if instances and not source.single:
        return instances
    near = [n for n in source.ending(".json") if n.count("/") <= 1]
    roboflow = [name for name in near if name.endswith(_ROBOFLOW)]
    if not roboflow and len(near) > 8:  # others' files beside each picture are called like it
        pictures = {_stem(name) for name in source.names if is_picture(name)}
        near = [name for name in near if _stem(name) not in pictures]
    if roboflow or len(near) > MOST_FILES:
        return roboflow
    return [name for name in near if _is_coco(source.tree.read(name))]


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _is_coco(data: bytes) -> bool:
    try:
        return "images" in _TOP.decode(data.removeprefix(BOM_UTF8))
    except NO_JSON:
        # A truncated file is recognised by its look, so that the error names what is wrong.
        return data.removeprefix(BOM_UTF8).lstrip()[:1] == b"{" and b'"images"' in data


def _subsets(files: Sequence[str]) -> list[str]:
    """A subset for each of several files: as it is called, its folder, or its stem.

    The first of these that tells all of them apart, as Roboflow's `train/_annotations.coco.json`.
    """
    instances = [found["subset"] if (found := _SUBSET.match(f)) else "" for f in files]
    folders = [name.partition("/")[0] if "/" in name else "" for name in files]
    stems = [name.rsplit("/", 1)[-1].removesuffix(".json") for name in files]
    several = (told for told in (instances, folders, stems) if len(set(told)) == len(files))
    return next(several, instances) if len(files) > 1 else [""]


def read(source: Source) -> Dataset:
    """All files of a COCO data set as one; for the subsets see `_subsets`.

    Ids that are text, or that two files use for different pictures, are numbered anew, and the
    old id is kept in `Image.source_id`. 42.0 is 42; "42" is 42 where the list of pictures or of
    categories has no "42"; null is as if it were not there. An annotation without `area` has none;
    one without a box gets that of its segmentation; one without both is left out and counted. The
    attribute `confidence`, which Quorate writes beside the score, becomes the attribute `score`
    (see `with_scores`). Category ids are kept; files that name one id differently are refused.
    Several ids of one name are one category. Of crowds, see `_Shapes`.
    """
    files = _files(source)
    if not files:
        raise FormatError(f"{source.location}: no COCO file (a JSON file with `images`).")
    parts = [(name, _decoded(source, name)) for name in files]
    told: Counter[str] = Counter()
    categories, labels, label_info, notes = _labels(source, parts)
    numbers = [whole(image.id) for _, part in parts for image in part.images or ()]
    renumber = len(set(numbers)) < len(numbers) or any(isinstance(n, str) for n in numbers)
    shapes = _Shapes(categories, told)
    images: list[Image] = []
    for (name, part), subset in zip(parts, _subsets(files), strict=True):
        ids: dict[int | str, int] = {}
        for image in part.images or ():
            if not image.file_name and image.coco_url:  # LVIS: …/train2017/000000391895.jpg
                image.file_name = "/".join(image.coco_url.split("/")[-2:])
                told["pictures have no file_name; each is called as its coco_url ends"] += 1
            place = f"{source.place(name)}: picture '{image.file_name}'"
            if not image.file_name:
                raise FormatError(f"{source.place(name)}: picture {image.id!r} has no file_name.")
            known = whole(image.id)
            if known in ids:
                raise FormatError(f"{source.place(name)}: two pictures have the id {known!r}.")
            if not isinstance(known, int | str):
                raise FormatError(f"{place} has the id {known}, which is no whole number.")
            ids[known] = number = len(images) + 1 if renumber else int(known)
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
                    source_id=str(known) if renumber else None,
                )
            )
        own = images[len(images) - len(part.images or ()) :]
        for picture in own:  # an annotation may have the name for the id
            if as_number(picture.file_name) == picture.file_name:
                ids.setdefault(picture.file_name, picture.id)
        sizes = {picture.id: (picture.height, picture.width) for picture in own}
        shapes.add(part.annotations or (), ids, sizes, source.place(name))
        if _KEYPOINTS.match(name) and all(one.num_keypoints for one in part.annotations or ()):
            notes.append(
                f"{source.place(name)}: holds {len(part.annotations or ())} skeletons and nothing "
                "else: of boxes, polygons and masks CVAT writes none into 'COCO Keypoints 1.0'; "
                "they are in 'COCO 1.0'."
            )
    annotations = with_scores(shapes.built())
    first = parts[0][1]
    return placed(
        source,
        images,
        labels=labels,
        annotations=annotations,
        label_info=label_info,
        info={key: about for key in ("info", "licenses") if (about := getattr(first, key))},
        notes=[*notes, *(f"{source.location}: {count:,} {what}." for what, count in told.items())],
    )


def _meant(known: Mapping[Any, int], value: float | str) -> int | None:
    """What an id stands for, where it may be the same number as text, or the other way."""
    found = known.get(value)  # 42.0 finds 42
    if found is not None:
        return found
    return known.get(as_number(value) if isinstance(value, str) else str(whole(value)))


def _decoded(source: Source, name: str) -> _File:
    data = source.tree.read(name).removeprefix(BOM_UTF8)
    place = source.place(name)
    try:
        found = msgspec.json.decode(data, type=_File)
    except NO_JSON as error:
        raise json_fault(error, data, place) from None
    shapes = len(found.annotations or ())
    often = [(b'"images"', 1), (b'"annotations"', 1), (b'"bbox"', shapes)]
    refuse_twice(data, often, place)
    return found


def _labels(
    source: Source, parts: Sequence[tuple[str, _File]]
) -> tuple[dict[int | str, int], Labels, dict[str, LabelInfo], list[str]]:
    """The category that each id stands for, the labels, more on them, and notes.

    Several ids of one name are one category: the first of them that has annotations. An id 0
    without annotations whose name is the group of others is no label: Roboflow writes it so.
    """
    names: dict[int, str] = {}
    groups: dict[str, str] = {}
    for name, part in parts:
        for category in part.categories or ():
            place = f"{source.place(name)}: category '{category.name}'"
            known = as_number(category.id) if isinstance(category.id, str) else whole(category.id)
            if not isinstance(known, int) or not -(2**31) <= known < 2**31:
                raise LabelError(
                    f"{place} has the id {category.id!r}, which is no whole number of 32 bits.",
                    hint="number the categories from 1",
                )
            if names.setdefault(known, str(category.name)) != str(category.name):
                raise LabelError(
                    f"{source.place(name)}: category {known} is '{category.name}', but "
                    f"'{names[known]}' in {source.place(parts[0][0])}."
                )
            if category.supercategory:
                groups[str(category.name)] = category.supercategory
    given = {shape.category_id for _, part in parts for shape in part.annotations or ()}
    used: set[float | str] = {
        as_number(value) if isinstance(value, str) else value for value in given
    }
    used |= {known for known, name in names.items() if name in used}
    notes = []
    if 0 in names and 0 not in used and names[0] in groups.values():
        notes.append(
            f"{source.location}: category 0, '{names[0]}', is the group of the others and has no "
            "annotation: it is no label."
        )
        del names[0]
    kept: dict[str, int] = {}
    for known, name in sorted(names.items(), key=lambda one: one[0] not in used):
        kept.setdefault(name, known)
    for known, name in names.items():
        if kept[name] != known:
            notes.append(
                f"{source.location}: categories {kept[name]} and {known} are both called "
                f"'{name}': they are one label, category {kept[name]}."
            )
    meant: dict[int | str, int] = {known: kept[name] for known, name in names.items()}
    for name, known in kept.items():  # an annotation may have the name for the id
        if as_number(name) == name:
            meant.setdefault(name, known)
    infos = {name: LabelInfo(supercategory=group) for name, group in groups.items() if name in kept}
    own = [known for known, name in names.items() if kept[name] == known]
    try:
        return meant, Labels(tuple(names[i] for i in own), tuple(own)), infos, notes
    except LabelError as error:
        raise LabelError(f"{source.location}: {error.message}", hint=error.hint) from None


class _Shapes:
    """Gathers the annotations of all files.

    A crowd is a region of many objects, which evaluation does not count. Tools that write every
    mask as run lengths with `iscrowd` 1, as CVAT does, mean single objects. So a mask with CVAT's
    attributes is an object, unless they say `is_crowd`, as Quorate does of true crowds; and where
    all annotations are crowds, none is.
    """

    def __init__(self, categories: Mapping[Any, int], told: Counter[str]) -> None:
        self._categories = categories
        self._told = told
        self._rows = Rows()
        self._sure = False  # whether some are crowds without doubt

    def add(
        self,
        annotations: Sequence[_Annotation],
        ids: Mapping[int | str, int],
        sizes: Mapping[int, tuple[int, int]],
        place: str,
    ) -> None:
        """The annotations of one file, whose pictures have the `ids` and (height, width)."""
        told, categories = self._told, self._categories
        known: Mapping[Any, int] = ids
        for position, shape in enumerate(annotations, start=1):
            # 42.0 finds 42; the rest is for the few.
            image_id = known.get(shape.image_id) or _meant(known, shape.image_id)
            if image_id is None:
                raise FormatError(
                    f"{place}: annotation {position} is of picture {shape.image_id!r}, "
                    "which is not in the list of pictures."
                )
            category = categories.get(shape.category_id) or _meant(categories, shape.category_id)
            if category is None:
                raise LabelError(
                    f"{place}: annotation {position} is of category {shape.category_id}, "
                    "which is not in the list of categories.",
                    hint=None
                    if self._categories
                    else 'the file lists none: "categories": [{"id": 1, "name": "car"}, …]',
                )
            where = f"{place}: annotation {position}"
            kind, points, box = _segmentation(shape.segmentation, where, sizes[image_id], told)
            if shape.bbox and kind != Kind.MASK:
                if len(shape.bbox) != 4:
                    raise FormatError(f"{where} has a bbox of {len(shape.bbox)} numbers, not 4.")
                x, y, width, height = shape.bbox
                box = (x, y, x + width, y + height)
            if box is None:
                told["annotations have neither bbox nor segmentation and are left out"] += 1
                continue
            if shape.num_keypoints:
                told["annotations have keypoints, which are left out"] += 1
            attributes = _attributes(shape, told)
            crowd = bool(shape.iscrowd) and _true(shape.iscrowd, where)
            sure = crowd and bool(attributes.pop("is_crowd", False))
            self._sure |= sure
            if crowd and not sure and kind == Kind.MASK and "occluded" in attributes:
                told[CVATS_MASKS] += 1
                crowd = False
            rotation = _as_number(attributes.pop("rotation", 0.0))
            self._rows.add(
                image_id,
                category,
                box,
                kind=kind,
                rotation=rotation if kind == Kind.BOX else 0.0,
                occluded=bool(attributes.pop("occluded", False)),
                iscrowd=crowd,
                source=str(attributes.pop("source", "file")),
                area=float("nan") if shape.area is None else shape.area,
                points=points,
                attributes=attributes,
            )

    def built(self) -> Annotations:
        """All of them."""
        shapes = self._rows.build()
        crowds, n = int(shapes.iscrowd.sum()), len(shapes)
        if n and crowds == n and not self._sure:
            self._told[ALL_CROWDS] = n
            return replace(shapes, iscrowd=np.zeros(n, np.bool_))
        if crowds > MANY_CROWDS * n:
            self._told[f"of {n:,} {SOME_CROWDS}"] = crowds
        return shapes


CVATS_MASKS = "masks are marked as crowds (iscrowd 1), as CVAT marks every mask; they are objects"
ALL_CROWDS = "annotations, all there are, are marked as crowds (iscrowd 1); they are objects"
MOST_FILES = 64
"""How many JSON files may lie about for each to be looked into."""
SOME_CROWDS = (
    "annotations are marked as crowds (iscrowd 1), which evaluation does not count; where each is "
    "one object, write iscrowd 0"
)


def _attributes(shape: _Annotation, told: Counter[str]) -> dict[str, Any]:
    given = shape.attributes or {}
    if not isinstance(given, dict):
        told["annotations have `attributes` that are no mapping; these are left out"] += 1
        given = {}
    attributes = dict(given)
    if shape.score is not None:
        attributes["score"] = shape.score
    return attributes


def _true(value: bool | float | str | None, where: str) -> bool:
    """Whether `iscrowd` says so, as a number, as a word or as text of a number."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in ("", "0", "1", "false", "true"):
            raise FormatError(f"{where} has the iscrowd {value[:30]!r}.", hint="it is 0 or 1")
        return word in ("1", "true")
    if value not in (None, 0, 1):
        raise FormatError(f"{where} has the iscrowd {value}.", hint="it is 0 or 1")
    return bool(value)


def _segmentation(
    raw: msgspec.Raw, place: str, size: tuple[int, int], told: Counter[str]
) -> tuple[Kind, Any, tuple[float, float, float, float] | None]:
    text = bytes(raw).strip()
    if text in (b"", b"[]", b"null", b"[[]]", b"{}", b'""'):
        return Kind.BOX, (), None
    try:
        if text[:1] == b"{":
            runs = RUNS.decode(text)
            box, ours = masks.from_coco(runs.counts, runs.size, place=place)
            if all(size) and tuple(runs.size) != size:
                (height, width), (h, w) = runs.size, size
                raise FormatError(
                    f"{place}: its mask is of {width}x{height} pixels, its picture of {w}x{h}.",
                    hint="the size of run lengths is [height, width]",
                )
            return Kind.MASK, ours, box
        rings, unusual = rings_of(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{place}: a segmentation that is none ({in_words(str(error))}).",
            hint="polygons are [[x, y, x, y, …], …], run lengths "
            '{"size": [height, width], "counts": …}',
        ) from None
    if unusual:
        told[f"segmentations {unusual}"] += 1
    if any(len(ring) % 2 for ring in rings):
        raise FormatError(f"{place}: a polygon with an odd number of coordinates.")
    xs, ys = ([*chain.from_iterable(ring[axis::2] for ring in rings)] for axis in (0, 1))
    if not xs:
        return Kind.BOX, (), None
    box = (min(xs), min(ys), max(xs), max(ys))
    closed = [ring for ring in rings if len(ring) >= 6]
    if len(closed) < len(rings):
        told["polygons have rings of fewer than three points, which are left out"] += 1
    return (Kind.POLYGON, parted(closed), box) if closed else (Kind.BOX, (), box)


def _as_number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:  # a whole number of 400 digits
        return float("inf")
