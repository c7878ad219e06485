"""LabelMe 3.0: one XML file for each picture, with polygons, boxes, and masks as pictures.

Read are CVAT's exports (`SUBSET/FOLDER/NAME.xml`, `SUBSET/Masks/…`), datumaro's and LabelMe's own
(`Annotations/FOLDER/NAME.xml`, `Images/FOLDER/`, `Masks/FOLDER/`). Coordinates are 0-based.

Sources: labelme.csail.mit.edu; datumaro's `labelme.py`, by which CVAT writes.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from quorate.annotations import HAVE_A_BOX, Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, ImageError, InputError
from quorate.formats.base import Source, Written, open_target, plain_number, side, without_ending
from quorate.formats.markup import document, once, parsed, sayable
from quorate.formats.places import placed
from quorate.formats.shapes import Rows, attributes_of, by_image, with_scores
from quorate.labels import Labels
from quorate.masks import shapes as masks
from quorate.masks.shapes import polygon_rings
from quorate.pictures import decode
from quorate.storage import join

_SIGN = re.compile(r"<annotation[\s>].*<(imagesize|sourceImage)\b", re.DOTALL)
_OF_FILES = re.compile(r"^Annotations/")
_PARTS = re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^,\\])+', re.DOTALL)
_PAIR = re.compile(r"(?P<name>(?:\\.|[^=\\])*)(?:=(?P<value>.*))?$", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TRUTHS = ("true", "false")
DEFAULT = "default"


def recognise(source: Source) -> bool:
    """Whether there is an XML file of `<annotation>` with LabelMe's own elements."""
    files = source.ending(".xml")
    return bool(files) and _SIGN.search(source.begins(files[0])) is not None


def read(source: Source) -> Dataset:
    """Every XML file as one picture, by rising name; labels by rising name, for no file lists them.

    The folder that a file lies in beyond the one that it states is the subset, as CVAT writes it.
    `parts` are groups; `rotation` of a box and all other attributes are kept, as text, or true or
    false. What is deleted, and polygons of fewer than three points, are left out and counted. Where
    the picture of a mask is not there, its box counts, and a note says so.

    Raises:
        FormatError: no such XML, a shape without a name or with coordinates that are none, a mask
            of another size than its picture.
    """
    rows: list[tuple[int, str, dict[str, Any]]] = []
    images: list[Image] = []
    told: Counter[str] = Counter()
    known = frozenset(source.names)
    for number, name in enumerate(source.ending(".xml"), start=1):
        place = source.place(name)
        root = parsed(source, name, "annotation")
        for tag in ("filename", "folder", "imagesize", "imagesize/nrows", "imagesize/ncols"):
            once(root, tag, place)
        image, folder = _image(number, name, root, source)
        images.append(image)
        found = [
            (shape, _object(shape, f"{place}, object {count}", told))
            for count, shape in enumerate(root.iter("object"), start=1)
        ]
        groups = _groups([shape for shape, _ in found])
        for (_, one), group in zip(found, groups, strict=True):
            if one is None:
                continue
            if one.mask and not _fill(one, source, known, folder, image, told):
                continue
            rows.append((number, one.label, {**one.values, "group": group}))
    labels = Labels.from_names(sorted({label for _, label, _ in rows}))
    ids = dict(zip(labels.names, labels.ids, strict=True))
    columns = Rows()
    for number, label, values in rows:
        columns.add(number, ids[label], **values)
    return placed(
        source,
        _with_subsets(images),
        labels=labels,
        annotations=with_scores(columns.build()),
        notes=[f"{source.location}: {count:,} {what}." for what, count in told.items()],
    )


def _name(text: str) -> str:
    """A name as a file has it: blanks are part of it, save where it stands on a line of its own."""
    return text.strip() if "\n" in text else text


def _image(number: int, name: str, root: Any, source: Source) -> tuple[Image, str]:
    """The picture of a file, with its folder beyond the stated one as subset; the stated one."""
    place = source.place(name)
    inner, _, own = _OF_FILES.sub("", name).rpartition("/")
    folder = _name(root.findtext("folder") or "").replace("\\", "/").strip("/")
    stated = _name(root.findtext("filename") or "").replace("\\", "/")
    file_name = stated.rpartition("/")[2] or f"{own[: -len('.xml')]}.jpg"
    subset, below = "", inner
    # The source may be the one folder of an archive, whose name then stands in its location.
    if folder and join(source.location, inner).endswith(f"/{folder}"):
        below = folder
        subset = inner.removesuffix(folder).strip("/") if len(inner) > len(folder) else ""
    elif not folder:
        subset, below = inner, ""
    if "/" in subset or _OF_FILES.match(name):
        subset, below = "", inner
    image = Image(
        id=number,
        file_name=f"{below}/{file_name}".strip("/"),
        width=side(root.findtext("imagesize/ncols"), place),
        height=side(root.findtext("imagesize/nrows"), place),
        subset=subset,
    )
    return image, folder


def _with_subsets(images: Sequence[Image]) -> list[Image]:
    """The pictures, with no subset where all have the same, or one has a folder of its own only."""
    subsets = {image.subset for image in images}
    if len(subsets) > 1 and "" not in subsets:
        return list(images)
    if len(subsets) == 1:
        return [Image(i.id, i.file_name, i.width, i.height) for i in images]
    return [Image(i.id, f"{i.subset}/{i.file_name}".strip("/"), i.width, i.height) for i in images]


@dataclass
class _Object:
    """One object: its label, what `Rows.add` takes of it, and the picture of its mask."""

    label: str
    values: dict[str, Any]
    mask: str


def _object(shape: Any, place: str, told: Counter[str]) -> _Object | None:
    """An object; None for one that is left out."""
    if (shape.findtext("deleted") or "0").strip() not in ("0", ""):
        told["objects are deleted, and left out"] += 1
        return None
    label = (shape.findtext("name") or "").strip()
    if not label:
        raise FormatError(f"{place}: has no name.")
    for tag in ("name", "polygon", "segm", "attributes", "segm/mask", "segm/box"):
        once(shape, tag, place)
    attributes = _attributes(shape.findtext("attributes") or "")
    user = shape.findtext("polygon/username") or shape.findtext("segm/username")
    if user and user.strip():
        attributes["username"] = user.strip()
    try:
        rotation = plain_number(str(attributes.pop("rotation", 0.0)))
    except ValueError:
        rotation = 0.0
    values: dict[str, Any] = {
        "occluded": (shape.findtext("occluded") or "").strip().lower() in ("yes", "1", "true"),
        "source": "file",
        "attributes": attributes,
    }
    if (segm := shape.find("segm")) is not None:
        sides = [segm.findtext(f"box/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        x1, y1, x2, y2 = _numbers(sides, place) if any(sides) else (0.0,) * 4
        # The right and lower side are those of the last pixels.
        values["xyxy"] = (x1, y1, x2 + 1, y2 + 1) if any(sides) else None
        return _Object(label, values, _name(segm.findtext("mask") or "") or "?")
    pairs = [(one.findtext("x"), one.findtext("y")) for one in shape.iterfind("polygon/pt")]
    points = np.array(_numbers([side for pair in pairs for side in pair], place))
    boxed = (shape.findtext("type") or "").strip() == "bounding_box"
    if len(points) < (4 if boxed else 6):
        told["polygons of fewer than three points are left out"] += 1
        return None
    x, y = points[::2], points[1::2]
    values["xyxy"] = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    if boxed:
        values["rotation"] = rotation
    else:
        values |= {"kind": Kind.POLYGON, "points": points}
    return _Object(label, values, "")


def _numbers(texts: Sequence[str | None], place: str) -> tuple[float, ...]:
    try:
        found = tuple(plain_number((text or "").strip()) for text in texts)
    except ValueError:
        raise FormatError(f"{place}: coordinates that are no numbers ({texts[:8]}).") from None
    if not np.isfinite(found).all():
        raise FormatError(f"{place}: a coordinate that is NaN or infinite.")
    return found


def _attributes(text: str) -> dict[str, Any]:
    """`color=red, score="0.5", parked=True`, with backslashes before what would part them."""
    found: dict[str, Any] = {}
    for part in _PARTS.findall(text):
        pair = _PAIR.match(part.strip())
        if pair is None or not pair["name"].strip():
            continue
        name = _ESCAPED.sub(r"\1", pair["name"].strip())
        value = "True" if pair["value"] is None else pair["value"].strip()
        if value.lower() in _TRUTHS:
            found[name] = value.lower() == "true"
            continue
        if len(value) > 1 and value[0] == value[-1] == '"' and not value.endswith('\\"'):
            value = value[1:-1]
        found[name] = _ESCAPED.sub(r"\1", value)
    return found


def _groups(shapes: Sequence[Any]) -> list[int]:
    """The group of each object of a picture, numbered from 1; 0 for one that belongs to no other.

    `hasparts` and `ispartof` name the ids of objects.
    """
    names = [(shape.findtext("id") or str(n)).strip() for n, shape in enumerate(shapes)]
    leader = {name: name for name in names}

    def first(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for name, shape in zip(names, shapes, strict=True):
        for tag in ("hasparts", "ispartof"):
            for other in (shape.findtext(f"parts/{tag}") or "").split(","):
                if other.strip() in leader:
                    leader[first(other.strip())] = first(name)
    together = Counter(map(first, names))
    numbers: dict[str, int] = {}
    return [
        numbers.setdefault(first(name), len(numbers) + 1) if together[first(name)] > 1 else 0
        for name in names
    ]


def _fill(
    one: _Object,
    source: Source,
    known: Set[str],
    folder: str,
    image: Image,
    told: Counter[str],
) -> bool:
    """Put the pixels of an object's mask into its values; False where it has none.

    Masks lie in a folder above or below the picture's subset, or the `folder` that its file states.
    """
    above = f"{image.subset}/" if image.subset else ""
    inner = f"{folder}/" if folder else ""
    ways = (f"{above}Masks/", f"Masks/{above}", f"{above}Masks/{inner}", f"Masks/{inner}")
    name = next((f"{way}{one.mask}" for way in ways if f"{way}{one.mask}" in known), None)
    if name is None:
        if one.values["xyxy"] is None:
            raise FormatError(
                f"{source.location}: the mask '{one.mask}' of '{image.file_name}' is not there."
            )
        told["masks are not there; the boxes around them count"] += 1
        return True
    place = source.place(name)
    try:
        bitmap = decode(source.tree.read(name), name=place)
    except ImageError as error:
        raise FormatError(error.message, hint=error.hint) from None
    pixels = (bitmap > 0).max(axis=2)
    if image.width and pixels.shape != (image.height, image.width):
        raise FormatError(
            f"{place}: a mask of {pixels.shape[1]} × {pixels.shape[0]} pixels, of a picture of "
            f"{image.width} × {image.height}."
        )
    if not pixels.any():
        told["masks without a pixel are left out"] += 1
        return False
    box, points = masks.of_bitmap(pixels)
    one.values |= {"kind": Kind.MASK, "xyxy": box, "points": points}
    return True


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    decimals: int = 2,
) -> Written:
    """Write `SUBSET/FOLDER/NAME.xml` for each picture, and masks as PNG, as CVAT lays them out.

    The pictures belong beside their XML files; they are not copied. A rotated box keeps its corners
    with an attribute `rotation`; an ellipse becomes a mask; each ring of a polygon is one, in a
    group. Tags, points and polylines are left out and counted. Raises InputError for two pictures
    whose names differ in their ending alone, and for a mask on a picture of unknown size.
    """
    for label in dataset.labels.names:
        sayable(label, "the label")
    shapes = annotations.take(np.isin(annotations.kind, HAVE_A_BOX))
    notes = []
    if left_out := len(annotations) - len(shapes):
        notes.append(
            f"LabelMe: {left_out} tags, points and polylines are left out, for it has none."
        )
    if int((shapes.iscrowd).sum()):
        notes.append("LabelMe: crowds are written as objects, for it has none.")
    words = [dataset.labels.names[i] for i in dataset.labels.places(shapes.category_id).tolist()]
    attributes = attributes_of(shapes)
    rows = by_image(shapes)
    seen: dict[str, str] = {}
    with open_target(target) as out:
        for image in dataset.images:
            subset, stem = image.subset or DEFAULT, without_ending(image.name)
            path = f"{subset}/{stem}.xml"
            if path in seen:
                raise InputError(
                    f"LabelMe has one file for both '{seen[path]}' and '{image.name}': their names "
                    "differ in their ending alone."
                )
            seen[path] = image.name
            folder, _, own = image.name.rpartition("/")
            about = {
                "filename": own,
                "folder": folder,
                "source": {"sourceImage": "", "sourceAnnotation": "Quorate"},
                "imagesize": {"nrows": image.height, "ncols": image.width},
            }
            objects: list[tuple[str, Any]] = []
            outlines = list(_outlines(shapes, rows.get(image.id, ())))
            for number, (row, ring) in enumerate(outlines):
                told, boxed = attributes(row), shapes.kind[row] == Kind.BOX
                if boxed and shapes.rotation[row]:
                    told["rotation"] = float(shapes.rotation[row])
                inside = {
                    "name": words[row],
                    "deleted": 0,
                    "verified": 0,
                    "occluded": "yes" if shapes.occluded[row] else "no",
                    "date": "",
                    "id": number,
                    "parts": _parts(shapes, outlines, number),
                }
                if boxed:
                    inside["type"] = "bounding_box"
                if ring is None:
                    mask = f"{stem}_mask_{number}.png"
                    out.put(f"{subset}/Masks/{mask}", _png(shapes.take(np.array([row])), image))
                    inside["segm"] = _segment(mask, shapes.xyxy[row])
                else:
                    inside["polygon"] = _polygon(np.round(ring, decimals))
                objects.append(("object", inside | {"attributes": _texts(told)}))
            out.put(path, document("annotation", (*about.items(), *objects)))
    return Written(files=out.files, notes=notes)


def _outlines(
    shapes: Annotations, rows: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.float64] | None]]:
    """The objects of shapes: the row of each and its points, (m, 2); None for a mask."""
    for row in rows:
        kind = shapes.kind[row]
        if kind in (Kind.MASK, Kind.ELLIPSE):
            yield row, None
        elif kind == Kind.POLYGON:
            for ring in polygon_rings(shapes.points[row]):
                yield row, ring.reshape(-1, 2)
        else:
            x1, y1, x2, y2 = shapes.xyxy[row].tolist()
            yield row, np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _parts(shapes: Annotations, objects: Sequence[tuple[int, Any]], number: int) -> dict[str, str]:
    """What an object is part of: the first of its group, which has the others as parts."""
    row = objects[number][0]
    group = shapes.group[row]
    same = [
        n for n, (r, _) in enumerate(objects) if r == row or (group and shapes.group[r] == group)
    ]
    leads = number == same[0]
    return {
        "hasparts": ",".join(map(str, same[1:])) if leads else "",
        "ispartof": "" if leads else str(same[0]),
    }


def _segment(mask: str, xyxy: NDArray[np.float64]) -> dict[str, Any]:
    x1, y1, x2, y2 = xyxy.tolist()
    last = {"xmin": x1, "ymin": y1, "xmax": x2 - 1, "ymax": y2 - 1}
    return {"mask": mask, "box": {name: f"{v:.2f}" for name, v in last.items()}, "username": ""}


def _polygon(points: NDArray[np.float64]) -> tuple[tuple[str, Any], ...]:
    return *(("pt", {"x": x, "y": y}) for x, y in points.tolist()), ("username", "")


def _texts(told: Mapping[str, Any]) -> str:
    """Attributes as `_attributes` reads them.

    Text that looks like a number or a truth, or has spaces at an end, stands in quotes.
    """
    return ", ".join(f"{_escaped(name)}={_value(value)}" for name, value in told.items())


def _value(value: Any) -> str:
    if not isinstance(value, str):
        return _escaped(str(value))
    told = _escaped(value)
    quoted = f'"{told}"'
    if value.lower() in _TRUTHS:
        return quoted
    try:
        plain_number(value)
    except ValueError:
        return told if value == value.strip() or value.endswith("\\") else quoted
    return quoted


def _escaped(text: str) -> str:
    return re.sub(r'([\\=",])', r"\\\1", text)


def _png(shape: Annotations, image: Image) -> bytes:
    """The pixels of one mask or ellipse as a picture, in the colours that CVAT's have."""
    found = shape.to_masks({image.id: (image.width, image.height)})
    if found is None:
        raise InputError(
            f"LabelMe has masks as pictures, and the size of '{image.name}' is not known."
        )
    colours = np.array([[0, 0, 0, 0], [255, 203, 0, 153]], np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(colours[found.bitmap(0).astype(np.uint8)]).save(file, "PNG")
    return file.getvalue()
