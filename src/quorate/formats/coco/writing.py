"""COCO, written: `annotations/instances_SUBSET.json`, or one bare JSON file.

CVAT's own traps are kept out of it: category ids start at 1, each annotation has all seven keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import msgspec
import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image, LabelInfo
from quorate.formats.base import Written, open_target
from quorate.formats.parts import Parts
from quorate.formats.shapes import attributes_of, shoelace
from quorate.labels import Labels
from quorate.masks.shapes import polygon_rings

PICTURES_AT_ONCE = 1024
_ENCODER = msgspec.json.Encoder()


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    decimals: int = 3,
    renumber: bool = False,
) -> Written:
    """Write `annotations/instances_SUBSET.json` (`default` where pictures have no subset).

    A target that ends in `.json` gets one file with every picture. Coordinates are rounded to
    `decimals`. Ellipses become masks where the picture's size is known. Tags, points and
    polylines have no place in COCO: they are left out and counted. `score` stands beside the box,
    where pycocotools looks for it, and in `attributes` as `confidence`, unless the shapes have an
    attribute of that name: CVAT's import, from 2.56 on, takes an attribute called `score` away.
    Every other attribute stands in `attributes`; a true crowd has `is_crowd` there, for many
    tools mark every mask with `iscrowd` 1.

    Categories keep their ids, unless one is below 1, which CVAT refuses, or `renumber` asks for
    1, 2, 3, … without gaps, in the vocabulary's order.
    """
    parts = Parts.of(dataset, annotations)
    return write_parts(dataset, parts, target, decimals=decimals, renumber=renumber)


def write_parts(
    dataset: Dataset, parts: Parts, target: str, *, decimals: int = 3, renumber: bool = False
) -> Written:
    """Likewise, with the pictures and annotations of `parts` in place of the data set's.

    What is in memory is one part.
    """
    notes, numbers = [], dataset.labels
    if said := renumbering(dataset.labels, always=renumber):
        dataset = replace(dataset, labels=Labels.from_names(dataset.labels.names))
        notes.append(said)
    single = target.lower().endswith(".json")
    subsets = [""] if single else list(dict.fromkeys(i.subset for i in parts.pictures())) or [""]
    left_out = number = 0
    with open_target(target, single=".json") as out:
        for subset in subsets:
            # Of the one subset that there is, none is another's.
            one = _of_subset(parts, subset) if len(subsets) > 1 else parts

            def objects(one: Parts = one) -> Iterator[list[dict[str, Any]]]:
                nonlocal number, left_out
                for images, part, _ in one.of_size(PICTURES_AT_ONCE):
                    part = _renumbered(part, numbers, dataset.labels)
                    sizes = {image.id: (image.width, image.height) for image in images}
                    found = list(_objects(part, sizes, decimals, number))
                    number += len(found)
                    left_out += len(part) - len(found)
                    yield found

            with out.create(f"annotations/instances_{subset or 'default'}.json") as file:
                write_file(file, dataset, one.images(), objects())
    if left_out:
        notes.append(
            f"COCO: {left_out} tags, points and polylines (and ellipses in pictures of unknown "
            "size) are left out, for the format has none."
        )
    return Written(files=out.files, notes=notes)


def renumbering(labels: Labels, *, always: bool) -> str | None:
    """What will be said where categories are numbered anew; None where they keep their ids.

    CVAT refuses an id below 1.
    """
    if labels == Labels.from_names(labels.names) or not (always or min(labels.ids) < 1):
        return None
    return (
        "COCO: categories are numbered anew from 1, in their order "
        f"({labels.ids[0]} '{labels.names[0]}' is 1); names stay."
    )


def _renumbered(annotations: Annotations, before: Labels, now: Labels) -> Annotations:
    if before == now:
        return annotations
    places = before.places(annotations.category_id)
    return replace(annotations, category_id=np.array(now.ids, np.int32)[places])


def _of_subset(parts: Parts, subset: str) -> Parts:
    def mine(images: Sequence[Image]) -> list[Image]:
        return [image for image in images if image.subset == subset]

    return replace(
        parts,
        images=lambda: map(mine, parts.images()),
        shapes=lambda: ((mine(images), shapes) for images, shapes in parts.shapes()),
    )


def write_file(
    file: BinaryIO,
    dataset: Dataset,
    images: Iterable[Iterable[Image]],
    objects: Iterable[list[dict[str, Any]]],
) -> None:
    """Write a file of the pictures and then the annotations of some parts, one after another."""
    file.write(_ENCODER.encode(_head(dataset))[:-1] + b',"images":[')
    _listed(file, map(_images, images))
    file.write(b'],"annotations":[')
    _listed(file, objects)
    file.write(b"]}\n")


def _listed(file: BinaryIO, parts: Iterable[list[dict[str, Any]]]) -> None:
    """Write what is in all parts, as what is inside one list in JSON."""
    separator = b""
    for part in filter(None, parts):
        file.write(separator + _ENCODER.encode(part)[1:-1])
        separator = b","


def _images(images: Iterable[Image]) -> list[dict[str, Any]]:
    return [{"id": i.id, "width": i.width, "height": i.height, "file_name": i.name} for i in images]


def _head(dataset: Dataset) -> dict[str, Any]:
    """What stands before a file's images: COCO's `info`, `licenses` and `categories`."""
    return {
        "info": dataset.info.get("info", {}),
        "licenses": dataset.info.get("licenses", []),
        "categories": [
            {
                "id": i,
                "name": name,
                "supercategory": dataset.label_info.get(name, LabelInfo()).supercategory,
            }
            for name, i in zip(dataset.labels.names, dataset.labels.ids, strict=True)
        ],
    }


def _objects(
    part: Annotations, sizes: dict[int, tuple[int, int]], decimals: int, number: int
) -> Iterator[dict[str, Any]]:
    x1, y1, x2, y2 = part.xyxy.T
    boxes = np.round(np.stack([x1, y1, x2 - x1, y2 - y1], axis=1), decimals).tolist()
    # Masks and ellipses of pictures whose size is known, as COCO's run lengths.
    drawn = np.flatnonzero(np.isin(part.kind, (Kind.MASK, Kind.ELLIPSE)))
    pixels = part.take(drawn).to_masks(sizes) if len(drawn) else None
    place = {int(row): i for i, row in enumerate(drawn)} if pixels is not None else {}
    area = np.where(np.isnan(part.area), (x2 - x1) * (y2 - y1), part.area)
    known_area = ~np.isnan(part.area)
    told = attributes_of(part)
    for row, (image_id, category_id, kind, rotation, occluded, iscrowd, source) in enumerate(
        zip(
            part.image_id.tolist(),
            part.category_id.tolist(),
            part.kind.tolist(),
            part.rotation.tolist(),
            part.occluded.tolist(),
            part.iscrowd.tolist(),
            part.source.tolist(),
            strict=True,
        )
    ):
        stated = float(area[row])
        segmentation: Any = []
        if kind == Kind.BOX:
            pass
        elif kind == Kind.POLYGON:
            rings = polygon_rings(part.points[row])
            segmentation = [np.round(ring, decimals).tolist() for ring in rings]
            if not known_area[row]:
                stated = sum(abs(shoelace(ring)) for ring in rings)
        elif pixels is not None and row in place and all(sizes[image_id]):
            width, height = sizes[image_id]
            counts = pixels.runs[slice(*pixels.offsets[place[row] :][:2])].tolist()
            segmentation = {"counts": counts, "size": [height, width]}
            if not known_area[row]:
                stated = float(sum(counts[1::2]))
        else:
            continue
        number += 1
        attributes = told(row)
        score = _score_of(attributes.pop("score", None))
        if score is not None and "confidence" not in part.attributes:
            attributes["confidence"] = score
        attributes["occluded"] = occluded
        if kind == Kind.BOX:
            attributes["rotation"] = rotation
        attributes["source"] = part.sources[source]
        if iscrowd:
            attributes["is_crowd"] = True
        found = {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": segmentation,
            "area": round(stated, decimals),
            "bbox": boxes[row],
            "iscrowd": int(iscrowd),
        }
        if score is not None:
            found["score"] = score
        found["attributes"] = attributes
        yield found


def _score_of(value: Any) -> Any:
    """A score as a number, where text is one; as it is otherwise."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
