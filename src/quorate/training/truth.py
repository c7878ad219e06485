"""The labelled pictures of a training: the boxes to learn from, and what was wrong with them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX, Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.errors import InputError, LabelError, did_you_mean
from quorate.formats import read
from quorate.formats.elsewhere import Elsewhere
from quorate.labels import Labels
from quorate.spec.training import Training

Mask = NDArray[np.bool_]
CVATS_FRAME = re.compile(r"(^|/)frame_\d{6}\.PNG$")
FRAMES = (
    "'CVAT for video' has no names of pictures, and there are not as many as it has frames: export "
    "the task as 'CVAT for images 1.1'"
)
"""Said of frames that have no pictures."""
LEAST_SIDE = 1.0
"""Pixels: a box that is narrower or lower inside its picture is degenerate."""


def labelled(training: Training) -> Dataset:
    """The data set of a training, its labels numbered 1 to n; boxes as they were drawn.

    Its notes say what is left out. Raises InputError where there is no picture, no box, or none
    of a label that is to be learnt; LabelError for a label of the spec that the data lack.
    """
    there = None if training.images is None else read(training.images)
    dataset = read(training.where(), pictures=there)
    notes = list(dataset.notes)
    if there is not None:
        dataset = _elsewhere(dataset, there, notes)
    if not dataset.images:
        raise InputError(f"{training.data}: there is no picture.")
    shapes = dataset.annotations
    if shapes is None or not len(shapes):
        raise InputError(
            f"{training.data}: nothing is labelled in it, so there is nothing to learn.",
            hint=" ".join(
                (
                    *dataset.notes[:1],
                    "Export the task with its annotations, as 'COCO 1.0' or 'CVAT for images 1.1'.",
                )
            ),
        )
    dataset = _each_file_once(dataset, shapes, notes)
    boxed = np.isin(shapes.kind, HAVE_A_BOX)
    if not boxed.all():
        notes.append(
            f"{np.count_nonzero(~boxed):,} of {len(shapes):,} shapes are tags, points or lines, "
            "which have no box: they are left out."
        )
    shapes = shapes.take(boxed)
    labels = _labels(training, dataset.labels)
    for name in labels.names:
        if len(name.splitlines()) != 1:
            raise LabelError(
                f"{training.data}: the label {name!r} is not one line, as trainers read labels.",
                hint="rename it, or name the others under `labels:`",
            )
    own = dataset.labels.positions(shapes.category_id)
    place = dict(zip(labels.names, labels.ids, strict=True))
    number = np.array([place.get(name, -1) for name in dataset.labels.names] or [-1])
    category = np.where(own < 0, -1, number[own])
    if other := int(np.count_nonzero(category < 0)):
        notes.append(f"{other:,} boxes have a label that is not to be learnt: they are left out.")
    shapes = replace(shapes, category_id=category.astype(np.int32)).take(category > 0)
    shapes = _upright(shapes, notes)
    known = np.isin(shapes.image_id, [image.id for image in dataset.images])
    shapes = shapes.take(known)
    if not len(shapes):
        raise InputError(
            f"{training.data}: no box is on its pictures and has one of the labels to learn "
            f"({', '.join(labels.names)}).",
            hint="name others under `labels:`, or leave it out to learn them all",
        )
    info = {name: one for name, one in dataset.label_info.items() if name in labels}
    return replace(dataset, labels=labels, annotations=shapes, label_info=info, notes=tuple(notes))


def inside(dataset: Dataset) -> Dataset:
    """Likewise with boxes cut at the edges of their pictures, whose sizes are known.

    Boxes outside, and those with a side below a pixel, are left out and counted. InputError where
    no box is left.
    """
    shapes = dataset.annotations
    assert shapes is not None  # `labelled` has refused it
    sizes = {image.id: (image.width, image.height) for image in dataset.images}
    shapes = shapes.take(np.isin(shapes.image_id, list(sizes)))
    limit = np.array([sizes[i] for i in shapes.image_id.tolist()], np.float64).reshape(-1, 2)
    given = shapes.xyxy
    finite: Mask = np.all(np.isfinite(given), axis=1)
    bounds = np.concatenate([limit, limit], axis=1)
    cut = np.clip(np.where(finite[:, None], given, 0.0), 0.0, bounds)
    side = given[:, 2:] - given[:, :2]
    flat: Mask = ~finite | (side < LEAST_SIDE).any(axis=1)
    gone: Mask = ~flat & ((cut[:, 2:] - cut[:, :2]) < LEAST_SIDE).any(axis=1)
    kept = ~flat & ~gone
    beyond: Mask = kept & (np.abs(cut - given) > 0.5).any(axis=1)
    notes = list(dataset.notes)
    counted = (
        (flat, "have a side of less than one pixel: they are left out."),
        (gone, "lie outside of their pictures: they are left out."),
        (beyond, "reach beyond their pictures: they are cut at the edge."),
    )
    notes += [f"{np.count_nonzero(which):,} boxes {said}" for which, said in counted if which.any()]
    if not kept.any():
        raise InputError(
            f"{dataset.root}: no box lies inside its picture.",
            hint="are these the pictures that were labelled, in their size?",
        )
    moved = (np.abs(cut - given) > 0).any(axis=1)
    area = np.where(moved & (shapes.kind == Kind.BOX), np.nan, shapes.area)
    shapes = replace(shapes, xyxy=cut, area=area).take(kept)
    found = replace(dataset, annotations=shapes)
    return replace(found, notes=(*notes, *unlearnt(found)))


def unlearnt(dataset: Dataset) -> list[str]:
    """A note on the labels of which there is nothing to learn; none where there is none."""
    names = ", ".join(without_a_box(dataset))
    return [f"No picture has a box of {names}, so nothing is learnt of that."] if names else []


def without_a_box(dataset: Dataset) -> list[str]:
    """The labels that no picture has a box of, in their order; all shapes are boxes."""
    shapes = dataset.annotations
    found = set() if shapes is None else set(shapes.category_id.tolist())
    pairs = zip(dataset.labels.names, dataset.labels.ids, strict=True)
    return [name for name, number in pairs if number not in found]


def _upright(shapes: Annotations, notes: list[str]) -> Annotations:
    """Turned boxes and ellipses as the upright boxes around them; polygons and masks stay."""
    turned = (shapes.rotation != 0) & np.isin(shapes.kind, (Kind.BOX, Kind.ELLIPSE))
    boxes = turned | (shapes.kind == Kind.ELLIPSE)
    if not boxes.any():
        return shapes
    if turned.any():
        notes.append(
            f"{np.count_nonzero(turned):,} boxes are turned: the upright boxes around them are "
            "learnt."
        )
    return replace(
        shapes,
        xyxy=shapes.enclosing(),
        rotation=np.where(boxes, 0.0, shapes.rotation),
        kind=np.where(boxes, Kind.BOX, shapes.kind).astype(np.int8),
        area=np.where(boxes, np.nan, shapes.area),
        points=shapes.points if not boxes.all() else Ragged.nothing(len(shapes)),
    )


def _labels(training: Training, known: Labels) -> Labels:
    if not training.labels:
        if not len(known):
            raise InputError(
                f"{training.data}: it names no label.", hint="list them in the spec: `labels:`"
            )
        return Labels.from_names(known.names)
    for name in training.labels:
        if name not in known:
            raise LabelError(
                f"The spec's label '{name}' is not one of the data's ({', '.join(known.names)}).",
                hint=did_you_mean(name, known.names),
            )
    return Labels.from_names(training.labels)


def _elsewhere(dataset: Dataset, there: Dataset, notes: list[str]) -> Dataset:
    """The data set with its pictures at a place of their own, matched by name."""
    location, names = there.root, Elsewhere(there)
    found: list[Image] = []
    missing: list[str] = []
    for image in dataset.images:
        file = names.find(image)
        if file is None:
            missing.append(image.name)
            continue
        found.append(
            structs.replace(
                image,
                file_name=file.file_name,
                subset=image.subset or file.subset,
                published_as=image.name if image.name != file.file_name else "",
            )
        )
    if not found:
        raise InputError(
            f"{location}: none of the {len(dataset.images):,} labelled pictures is there, the "
            f"first would be '{missing[0]}'.",
            hint=FRAMES if CVATS_FRAME.search(missing[0]) else "`images:` names their folder",
        )
    if missing:
        notes.append(
            f"{location}: {len(missing):,} of {len(dataset.images):,} labelled pictures are not "
            f"there, or not told from others of the same name, the first '{missing[0]}': they are "
            "left out."
        )
    return replace(dataset, root=there.root, images=tuple(found))


def _each_file_once(dataset: Dataset, shapes: Annotations, notes: list[str]) -> Dataset:
    """The data set without pictures that lie in one file.

    Of those with the same shapes, as where a list of YOLO's `train` has what `val` has, the last
    stays. Where the shapes differ, the file is only one of the pictures, and it is not known which:
    CVAT's COCO export of a project writes pictures of one name over each other. None stays.
    """
    files: defaultdict[str, list[Image]] = defaultdict(list)
    for image in dataset.images:
        files[image.file_name].append(image)
    shared = [images for images in files.values() if len(images) > 1]
    if not shared:
        return dataset
    gone: set[int] = set()
    unsure: list[Image] = []
    several = {image.id for images in shared for image in images}
    drawn_on = _drawn(shapes.take(np.isin(shapes.image_id, list(several))))
    for images in shared:
        drawn = [sorted(drawn_on[image.id]) for image in images]
        if all(one == drawn[0] for one in drawn):
            gone |= {image.id for image in images[:-1]}
        else:
            unsure += images
    if gone:
        notes.append(
            f"{len(gone):,} pictures are listed more than once with the same boxes: each is taken "
            "once, as a part of the last subset that lists it."
        )
    if unsure:
        notes.append(
            f"{len(unsure):,} labelled pictures share their files with others, as "
            f"'{unsure[0].file_name}', so whose boxes belong to those cannot be known: they are "
            "left out. 'CVAT for images 1.1' keeps pictures of one name apart."
        )
    gone |= {image.id for image in unsure}
    kept = tuple(image for image in dataset.images if image.id not in gone)
    if not kept:
        raise InputError(f"{dataset.root}: no picture is left.", hint=notes[-1].rstrip("."))
    return replace(dataset, images=kept)


def _drawn(shapes: Annotations) -> defaultdict[int, list[tuple[float, ...]]]:
    """The shapes of each picture, by its id, as values that can be compared."""
    columns = (shapes.category_id, shapes.kind, *shapes.xyxy.T, shapes.rotation)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    found: defaultdict[int, list[tuple[float, ...]]] = defaultdict(list)
    for number, row in zip(shapes.image_id.tolist(), rows, strict=True):
        found[number].append(row)
    return found
