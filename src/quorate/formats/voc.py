"""Pascal VOC: one XML file per picture.

Read are the challenge's layout (`Annotations/`, `JPEGImages/`, `ImageSets/Main/`), CVAT's own
export of it, and what tools for ensembles keep: a folder of XML files, one folder per detector,
with the detector's `confidence` (or `score`) in each object.

Coordinates are taken as they stand, as CVAT and datumaro take them: 0-based, the right and lower
side exclusive. (The challenge itself counted from 1, inclusive; tools have not for long.)
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError
from quorate.formats.base import (
    Source,
    Written,
    is_picture,
    open_target,
    plain_number,
    side,
    without_ending,
)
from quorate.formats.markup import document, once, parsed, sayable
from quorate.formats.places import placed
from quorate.formats.shapes import Rows, attributes_of, by_image, upright
from quorate.labels import Labels

_FOLDER = "Annotations/"
_OF_FILES = re.compile(r"^(?:.*/)?Annotations/|^labels/")
"""The folder of the XML files, FiftyOne's too, which is no part of a picture's name."""
_ROOT = re.compile(r"<annotation[\s>](?!.*<(imagesize|sourceImage)\b)", re.DOTALL)
"""LabelMe's files have the same root."""


def recognise(source: Source) -> bool:
    """Whether there is an XML file whose root is `<annotation>`."""
    files = _files(source)
    return bool(files) and _ROOT.search(source.begins(files[0])) is not None


def _files(source: Source) -> list[str]:
    files = source.ending(".xml")
    inside = [name for name in files if f"/{name}".rpartition(f"/{_FOLDER}")[1]]
    return inside or files


def read(source: Source) -> Dataset:
    """Every XML file as one picture, by rising name.

    A picture's name is that of its XML file, with the ending of the picture that lies there, else
    the one that `<filename>` states: `Annotations/cam1/a.xml` is `cam1/a.jpg`. Where no such
    picture lies there but the stated one does, it is that. Subsets are those of
    `ImageSets/Main/`, where there are several. Labels stand in the order of `labelmap.txt`, else
    by rising name. `<confidence>` or `<score>` becomes the attribute `score`.
    Parts of objects are left out and counted.
    """
    pictures = _pictures(source)
    rows: list[tuple[int, str, dict[str, Any]]] = []
    images: list[Image] = []
    parts = 0
    others: list[str] = []
    subsets = _subsets(source)
    for number, name in enumerate(_files(source), start=1):
        place = source.place(name)
        root = parsed(source, name, "annotation")
        for tag in ("filename", "size", "size/width", "size/height"):
            once(root, tag, place)
        stem = _OF_FILES.sub("", name[: -len(".xml")])
        stated = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
        own, dot, ending = stated.rpartition(".") if is_picture(stated) else ("", "", "")
        file_name = stem + pictures.get(stem, dot + ending or ".jpg")
        if own and own != stem.rpartition("/")[2]:
            beside = f"{stem.rpartition('/')[0]}/{own}".strip("/")
            if stem not in pictures and beside in pictures:
                file_name = beside + pictures[beside]
            else:
                others.append(f"'{stem}.xml' states '{stated}'")
        images.append(
            Image(
                id=number,
                file_name=file_name,
                width=side(root.findtext("size/width"), place),
                height=side(root.findtext("size/height"), place),
                subset=subsets.get(stem, ""),
            )
        )
        for count, shape in enumerate(root.iter("object"), start=1):
            rows.append((number, *_object(shape, f"{place}, object {count}")))
            parts += len(shape.findall("part"))
    labels = _labels(source, sorted({label for _, label, _ in rows}))
    notes = [f"{source.location}: {parts} parts of objects are left out."] if parts else []
    if others:
        notes.append(
            f"{source.location}: {len(others)} files state another picture than their own name "
            f"says, which counts, the first: {others[0]}."
        )
    columns = Rows()
    for number, label, values in rows:
        columns.add(number, labels.id_of(label), **values)
    return placed(source, images, labels=labels, annotations=columns.build(), notes=notes)


def _pictures(source: Source) -> dict[str, str]:
    """The endings of the pictures, by their names without ending below their folder."""
    found = {}
    for name in filter(is_picture, source.names):
        if not name.startswith(("SegmentationClass/", "SegmentationObject/")):
            stem, dot, ending = name.rpartition(".")
            found[stem.rpartition("JPEGImages/")[2]] = dot + ending
    return found


def _object(shape: Any, place: str) -> tuple[str, dict[str, Any]]:
    label = (shape.findtext("name") or "").strip()
    if not label:
        raise FormatError(f"{place}: has no name.")
    for tag in ("name", "bndbox", *(f"bndbox/{edge}" for edge in _SIDES), "confidence", "score"):
        once(shape, tag, place)
    try:
        box = [plain_number(shape.findtext(f"bndbox/{side}") or "") for side in _SIDES]
    except ValueError:
        found = ", ".join(f"{side} {shape.findtext(f'bndbox/{side}')!r}" for side in _SIDES)
        raise FormatError(f"{place}: its bndbox is not four numbers ({found}).") from None
    attributes: dict[str, Any] = {
        (a.findtext("name") or "").strip(): (a.findtext("value") or "").strip()
        for a in shape.iterfind("attributes/attribute")
    }
    for flag in ("difficult", "truncated"):
        if (shape.findtext(flag) or "0").strip() not in ("0", "", "Unspecified"):
            attributes[flag] = "1"
    score = shape.findtext("confidence") or shape.findtext("score")
    if score and score.strip():
        try:
            attributes["score"] = plain_number(score)
        except ValueError:
            raise FormatError(f"{place}: its score {score[:30]!r} is no number.") from None
    try:
        rotation = plain_number(attributes.pop("rotation", "0"))
    except ValueError:
        rotation = 0.0
    return label, {
        "xyxy": (box[0], box[1], box[2], box[3]),
        "occluded": (shape.findtext("occluded") or "0").strip().lower() in ("1", "true"),
        "rotation": rotation,
        "source": "file",
        "attributes": attributes,
    }


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _labels(source: Source, seen: list[str]) -> Labels:
    if "labelmap.txt" not in source.names:
        return Labels.from_names(seen)
    lines = source.lines("labelmap.txt")
    names = [line.split(":")[0].strip() for line in lines if line[0] != "#"]
    listed = [name for name in dict.fromkeys(names) if name and name != "background"]
    return Labels.from_names([*listed, *(name for name in seen if name not in listed)])


def _subsets(source: Source) -> dict[str, str]:
    """The subset of each picture, by its name without ending; nothing where there is only one."""
    sets = [n for n in source.ending(".txt") if n.rpartition("/")[0].endswith("ImageSets/Main")]
    plain = {n.rsplit("/", 1)[-1][: -len(".txt")]: n for n in sets if "_" not in n.rsplit("/")[-1]}
    if len(plain) < 2:
        return {}
    return {
        line: subset
        for subset, name in plain.items()
        if subset != "trainval"
        for line in source.lines(name)
    }


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    decimals: int = 2,
) -> Written:
    """Write `Annotations/NAME.xml` for each picture, `ImageSets/Main/` and `labelmap.txt`.

    Every shape with an area becomes its enclosing box, a rotated box keeps its corners with an
    attribute `rotation`, as CVAT writes it; a score stands in `<confidence>` and among the
    attributes. Tags, points and polylines are left out and counted. Raises InputError for two
    pictures whose names differ in their ending or subset alone: VOC has one file for both.
    """
    stems: dict[str, Image] = {}
    for image in dataset.images:
        stem = without_ending(image.name)
        if stem in stems:
            raise InputError(
                f"Pascal VOC has one file for both '{stems[stem].name}' and '{image.name}'"
                + (f" of subset '{image.subset}'." if image.subset else "."),
                hint="write each subset to a folder of its own",
            )
        stems[stem] = image
    for label in dataset.labels.names:
        if ":" in label or "\n" in label:
            raise InputError(
                f"Pascal VOC's labelmap cannot hold the label {label!r}.",
                hint="a label has no ':' there and stands in one line",
            )
        sayable(label, "the label")
    boxes, notes = upright(annotations, "Pascal VOC", keep_rotation=True)
    rows = by_image(boxes)
    told = attributes_of(boxes)
    words = [dataset.labels.names[i] for i in dataset.labels.places(boxes.category_id).tolist()]
    with open_target(target) as out:
        for stem, image in stems.items():
            about = {
                "folder": image.name.rpartition("/")[0],
                "filename": image.name,
                "size": {"width": image.width, "height": image.height, "depth": 3},
                "segmented": 0,
            }
            objects = [
                ("object", _object_xml(boxes, row, words[row], told(row), decimals))
                for row in rows.get(image.id, ())
            ]
            out.put(f"Annotations/{stem}.xml", document("annotation", (*about.items(), *objects)))
        for subset in dict.fromkeys(image.subset for image in dataset.images):
            listed = "".join(f"{s}\n" for s, image in stems.items() if image.subset == subset)
            out.put(f"ImageSets/Main/{subset or 'default'}.txt", listed.encode())
        info = dataset.label_info
        known = info.keys() >= set(dataset.labels.names)
        lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
        for position, label in enumerate(dataset.labels.names):
            lines.append(f"{label}:{_rgb(info[label].color if known else '', position)}::")
        out.put("labelmap.txt", ("\n".join(lines) + "\n").encode())
    return Written(files=out.files, notes=notes)


def _object_xml(
    shapes: Annotations, row: int, label: str, told: dict[str, Any], decimals: int
) -> dict[str, Any]:
    """What is inside one object; `told` are its attributes."""
    difficult = told.pop("difficult", "0")
    truncated = told.pop("truncated", "0")
    if shapes.rotation[row] and shapes.kind[row] == Kind.BOX:
        told["rotation"] = float(shapes.rotation[row])
    box = np.round(shapes.xyxy[row], decimals).tolist()
    inside: dict[str, Any] = {
        "name": label,
        "truncated": str(truncated),
        "occluded": int(shapes.occluded[row]),
        "difficult": str(difficult),
        "bndbox": dict(zip(_SIDES, box, strict=True)),
    }
    if "score" in told:
        inside["confidence"] = str(told["score"])
    if told:
        inside["attributes"] = [{"name": n, "value": str(value)} for n, value in told.items()]
    return inside


def _rgb(color: str, position: int) -> str:
    if len(color) == 7:
        return ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    # VOC's own colour map: the bits of the class number, spread over red, green and blue.
    rgb, number = [0, 0, 0], position + 1
    for shift in range(7, -1, -1):
        for channel in range(3):
            rgb[channel] |= (number >> channel & 1) << shift
        number >>= 3
    return ",".join(map(str, rgb))
