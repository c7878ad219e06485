"""Any other format, through the `datumaro` package: `datumaro:labelme`, `datumaro:mot_seq_gt`, ….

Datumaro reads and writes local folders; an archive or an S3 prefix is unpacked into a temporary
folder first. Its shapes are objects, so this way is slow; it is for what is rare.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, MissingExtraError, did_you_mean
from quorate.formats.base import Source, Written, is_picture, without_ending
from quorate.formats.datumaro_json import KINDS
from quorate.formats.places import placed
from quorate.formats.shapes import Rows, attributes_of, by_image
from quorate.labels import Labels
from quorate.masks import shapes as masks
from quorate.masks.shapes import polygon_rings
from quorate.storage import is_s3, local_copy, remove_tree


def read(source: Source, name: str) -> Dataset:
    """The data set at a place, as datumaro's format `name` reads it.

    Labels are numbered from 1 in datumaro's order. Kinds of annotation that Quorate does not know
    are left out and counted. Raises MissingExtraError without datumaro, FormatError for what
    datumaro refuses.
    """
    dm = _datumaro(name)
    rows, images, left_out = Rows(), [], Counter[str]()
    wanted = frozenset(source.names)
    local = (
        nullcontext(source.location)
        if source.single
        else local_copy(f"{source.location}/", wanted=wanted.__contains__)
    )
    with warnings.catch_warnings(action="ignore"), local as folder:
        try:
            found = dm.Dataset.import_from(str(folder), name)
            items = list(found)
            names = [item.name for item in found.categories()[dm.AnnotationType.label].items]
        except Exception as error:  # whatever a plug-in of datumaro raises
            cause = error.__cause__ or error
            raise FormatError(f"{source.location}: datumaro does not read it ({cause}).") from None
        subsets = {item.subset for item in items}
        for number, item in enumerate(items, start=1):
            size = _size(item)
            path = str(getattr(item.media, "path", "") or "")
            ending = path[path.rindex(".") :] if is_picture(path) else ".jpg"
            images.append(
                Image(
                    id=number,
                    file_name=f"{item.id}{ending}",
                    width=size[1],
                    height=size[0],
                    subset=str(item.subset) if len(subsets) > 1 else "",
                )
            )
            for shape in item.annotations:
                if not _add(rows, number, shape):
                    left_out[shape.type.name] += 1
    notes = [
        f"{source.location}: {count} annotations of kind {kind} are left out."
        for kind, count in sorted(left_out.items())
    ]
    labels = Labels.from_names(names)
    return placed(source, images, labels=labels, annotations=rows.build(), notes=notes)


def _add(rows: Rows, image_id: int, shape: Any) -> bool:
    """Add one annotation of datumaro's; False where there is no such kind here."""
    kind = _KINDS.get(shape.type.name)
    if kind is None or getattr(shape, "label", None) is None:
        return False
    points: Any = ()
    box: Any
    rotation = 0.0
    if shape.type.name == "rotated_bbox":
        box = (
            shape.cx - shape.w / 2, shape.cy - shape.h / 2,
            shape.cx + shape.w / 2, shape.cy + shape.h / 2,
        )  # fmt: skip
        rotation = float(shape.r)
    elif kind == Kind.TAG:
        box = (0.0, 0.0, 0.0, 0.0)
    elif kind == Kind.MASK:
        box, points = masks.of_bitmap(np.asarray(shape.image, dtype=bool))
    elif kind in (Kind.BOX, Kind.ELLIPSE):
        box = tuple(float(value) for value in shape.points[:4])
    else:
        points = np.asarray(shape.points, dtype=np.float64)
        x, y = points[::2], points[1::2]
        box = (x.min(), y.min(), x.max(), y.max())
    attributes = dict(shape.attributes)
    occluded = bool(attributes.pop("occluded", False))
    rotation = float(attributes.pop("rotation", rotation) or 0.0)
    rows.add(
        image_id,
        int(shape.label) + 1,
        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        kind=kind,
        rotation=rotation,
        occluded=occluded,
        z_order=int(getattr(shape, "z_order", 0)),
        group=int(shape.group),
        source=str(attributes.pop("source", "file")),
        points=points,
        attributes=attributes,
    )
    return True


_KINDS = KINDS | {"rotated_bbox": Kind.BOX}


def write(dataset: Dataset, annotations: Annotations, target: str, *, name: str) -> Written:
    """Write a local folder in datumaro's format `name`; what that format cannot hold is lost.

    Raises InputError for a target that is no local folder, FormatError for what datumaro refuses.
    """
    dm = _datumaro(name)
    if is_s3(target) or target.lower().endswith(".zip"):
        raise InputError(f"{target}: datumaro writes local folders only.")
    there = os.path.exists(target)
    rows = by_image(annotations)
    told = attributes_of(annotations)
    with warnings.catch_warnings(action="ignore"):
        items = [
            dm.DatasetItem(
                id=without_ending(image.name),
                subset=image.subset or "default",
                media=dm.Image.from_file(
                    path=image.name,
                    size=(image.height, image.width) if image.width else None,
                ),
                annotations=[
                    shape
                    for row in rows.get(image.id, ())
                    for shape in _shapes(dm, dataset, annotations, row, told(row))
                ],
            )
            for image in dataset.images
        ]
        try:
            dm.Dataset.from_iterable(items, categories=list(dataset.labels.names)).export(
                target, name, save_media=False
            )
        except Exception as error:  # whatever a plug-in of datumaro raises
            if not there:
                remove_tree(target)
            raise FormatError(f"{target}: datumaro does not write it ({error}).") from None
    files = [os.path.join(at, f) for at, _, found in os.walk(target) for f in found]
    return Written(files=sorted(files), notes=["datumaro does not say what it leaves out."])


def _shapes(
    dm: Any, dataset: Dataset, shapes: Annotations, row: int, told: dict[str, Any]
) -> Iterator[Any]:
    kind = Kind(int(shapes.kind[row]))
    common: dict[str, Any] = {
        "label": int(dataset.labels.positions(shapes.category_id[row : row + 1])[0]),
        "attributes": told | {"occluded": bool(shapes.occluded[row])},
        "group": int(shapes.group[row]),
    }
    x1, y1, x2, y2 = shapes.xyxy[row].tolist()
    if kind == Kind.TAG:
        yield dm.Label(**common)
        return
    common["z_order"] = int(shapes.z_order[row])
    if kind == Kind.BOX:
        common["attributes"]["rotation"] = float(shapes.rotation[row])
        yield dm.Bbox(x1, y1, x2 - x1, y2 - y1, **common)
    elif kind == Kind.ELLIPSE:
        yield dm.Ellipse(x1, y1, x2, y2, **common)
    elif kind == Kind.MASK:
        image = next(i for i in dataset.images if i.id == shapes.image_id[row])
        bitmap = np.zeros((image.height, image.width), dtype=bool)
        inside = masks.decode(shapes.points[row], int(x2 - x1), int(y2 - y1))
        bitmap[int(y1) : int(y2), int(x1) : int(x2)] = inside
        yield dm.Mask(bitmap, **common)
    else:
        make = {Kind.POLYGON: dm.Polygon, Kind.POLYLINE: dm.PolyLine, Kind.POINTS: dm.Points}
        for ring in polygon_rings(shapes.points[row]):
            yield make[kind](ring.tolist(), **common)


def _size(item: Any) -> tuple[int, int]:
    try:
        size = item.media.size if item.media is not None else None
    except Exception:  # a picture that is not there, or is none
        size = None
    return (int(size[0]), int(size[1])) if size else (0, 0)


def _datumaro(name: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            import datumaro
            from datumaro.components.environment import DEFAULT_ENVIRONMENT
    except ImportError:
        raise MissingExtraError(f"The format 'datumaro:{name}'", "datumaro") from None
    known = list(DEFAULT_ENVIRONMENT.importers)
    if name not in known:
        raise InputError(
            f"datumaro has no format '{name}'; it has {', '.join(sorted(known))}.",
            hint=did_you_mean(name, known),
        )
    return datumaro
