"""Detections from files of any tool: COCO results, Parquet, VOC folders, CVAT XML, YOLO text.

A file is read on its own, or matched with the pictures and labels of a data set (`matching`).
"""

from __future__ import annotations

import io
import os
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations
from quorate.columns import positions_in, read_table
from quorate.dataset import Dataset, Image
from quorate.detections import Detections, words_of_table
from quorate.display import brief
from quorate.errors import FormatError, InputError, LabelError
from quorate.formats.base import checked_scores, open_source, score_hint, scores_within
from quorate.formats.coco.results_reading import STDIN, read_results
from quorate.formats.detections.columns import Results, members_of
from quorate.formats.detections.matching import (
    counted_from_zero,
    labels_of,
    left_out,
    matched,
    sizes_of,
)
from quorate.formats.detections.rows import are_pictures, boxed, read_pictures, read_rows
from quorate.formats.places import NORMALISED
from quorate.labels import Labels
from quorate.masks import Masks
from quorate.storage import is_s3, open_file, read_bytes

Coordinates = Literal["auto", "pixel", "normalised"]
SLACK = 0.02
"""How far a box may leave its picture and still lie in it, in the picture's sides."""
NO_SCORES = "tells no scores; each box counts 1"
_NUMBERS = Labels(tuple(map(str, range(10_000))), tuple(range(10_000)))
"""The labels of YOLO text whose data set has none: numbers."""


@dataclass(frozen=True)
class DetectionFile:
    """The detections of a file, the pictures and labels its ids stand for, and notes.

    images       the data set's, or the file's own in order of sight (sizes unknown)
    labels       the data set's, or the file's own
    coordinates  what the file's boxes were in: 'pixel' or 'normalised'
    notes        what was found out or left out, a sentence each

    `named_images` and `named_labels` tell whether the file calls its pictures and labels by
    names, so that the numbers of `images` and `labels` mean nothing to whoever wrote it.
    """

    detections: Detections
    images: tuple[Image, ...]
    labels: Labels
    coordinates: str = "pixel"
    notes: tuple[str, ...] = ()
    named_images: bool = False
    named_labels: bool = False

    __repr__ = brief


def read_detections(
    location: str | os.PathLike[str],
    *,
    dataset: Dataset | None = None,
    detector: str = "",
    coordinates: Coordinates = "auto",
    scale: bool = True,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> DetectionFile:
    """One detector's boxes from a file or folder.

    Args:
        location: a results list (`.json`, `.json.gz`, or '-' for standard input), `.parquet`, a
            folder or archive of VOC XML or YOLO text files, CVAT XML, or any data set whose
            annotations have scores.
        dataset: whose pictures and labels the ids mean. A picture is matched by its number, or by
            its name with or without ending; a category by number or by name.
        detector: the name to give; by default the file's.
        coordinates: 'auto' takes boxes for normalised when none reaches beyond 1.5.
        scale: scale normalised boxes of a results list to pixels.
        progress: told how many bytes of a results list are read, and how many there are.

    Raises FormatError for a file that does not keep its format, or a picture that the data set
    lacks; LabelError for a category it lacks; InputError where normalised boxes meet pictures of
    unknown size.
    """
    location = os.fspath(location)
    name = detector or _bare(location)
    lower = location.lower()
    results, start = None, b""
    if lower.endswith(".json"):
        with open_file(location) as file:
            start = bytes(file.read(4096)).removeprefix(BOM_UTF8).lstrip()
    listed = lower.endswith(".json") and start[:1] != b"{"
    if listed or location == STDIN or lower.endswith(".json.gz"):
        if boxed(start):
            results = _pictures(location)
        elif b'"x_min"' in start:  # supervision's rows, with a corner in each key
            results = read_rows(location)
        else:
            results = read_results(location, progress=progress)
    elif lower.endswith((".csv", ".tsv")):
        results = read_rows(location)
    elif not lower.endswith((".parquet", ".xml", ".yaml", ".yml")):
        results = _pictures(location)
    if results is not None:
        found = _from_results(results, location, dataset, name, coordinates)
    elif lower.endswith(".parquet"):
        found = _parquet(location, dataset, detector, coordinates)
    else:
        found = _from_dataset(location, dataset, name, coordinates)
    return in_pixels(found, found.images, location) if scale else found


def _bare(location: str) -> str:
    base = location.rstrip("/").rsplit("/", 1)[-1]
    for ending in (".gz", ".json", ".parquet", ".csv", ".xml", ".zip"):
        base = base.removesuffix(ending)
    return base or "file"


def _pictures(location: str) -> Results | None:
    """The detections of one JSON file for each picture; None where that is not what is there."""
    source = open_source(location)
    with source.tree:
        return read_pictures(source) if are_pictures(source) else None


def _from_results(
    results: Results,
    location: str,
    dataset: Dataset | None,
    name: str,
    coordinates: Coordinates,
) -> DetectionFile:
    images, numbers, notes = matched(
        results.image_ids, location, dataset, results.stated, foreign=True
    )
    if more := left_out(results.image_ids, numbers, results.image, location):
        results = results.take(numbers[results.image] >= 0)
        notes += more
    if results.from_zero and dataset is not None and len(dataset.labels):
        results, said = _by_place(results, dataset.labels, location)
        notes.append(said)
    labels, categories = labels_of(results.category_ids, location, dataset)
    unit = _coordinates(results.xyxy, coordinates)
    if not results.scored and len(results.score):
        notes.append(f"{location}: {NO_SCORES}.")
    notes += _zero(results.category_ids, labels, location)
    if results.perhaps_centres:
        room = sizes_of(images, numbers[results.image]) if unit == "pixel" else np.ones(2)
        results, more = _corner_or_centre(results, room, location)
        notes += more
    if unit == "pixel":
        sizes = {image.id: (image.height, image.width) for image in images}
        results = results.drawn([sizes.get(number, (0, 0)) for number in numbers.tolist()])
    if left := results.undrawn:
        notes.append(
            f"{location}: {left:,} segmentations are polygons, left out because the size of their "
            "picture is not known; give the data set (--images instances.json)."
            if unit == "pixel"
            else f"{location}: {left:,} segmentations are polygons, left out because its boxes are "
            "normalised."
        )
    image_id = numbers[results.image]
    _check_masks(results.masks, image_id, images, location)
    members, detectors = members_of(results.detectors, (name,))
    return DetectionFile(
        detections=Detections.build(
            image_id=image_id,
            category_id=categories[results.category],
            xyxy=results.xyxy,
            score=results.score,
            detectors=detectors,
            votes=results.votes,
            agreement=results.agreement,
            members=members,
            masks=results.masks,
        ),
        images=images,
        labels=labels,
        coordinates=unit,
        named_images=any(isinstance(image.source_id, str) for image in images),
        named_labels=any(isinstance(i, str) for i in results.category_ids),
        notes=tuple(notes),
    )


def _zero(ids: Sequence[int | str], labels: Labels, location: str) -> list[str]:
    """A note where categories are counted from 0, and the data set's from 1."""
    if not counted_from_zero(ids, labels):
        return []
    return [
        f"{location}: its categories are counted from 0, the data set's from 1: its 0 is taken for "
        f"'{labels.names[0]}'."
    ]


def _by_place(results: Results, labels: Labels, location: str) -> tuple[Results, str]:
    """The results with labels for the numbers of their places, from 0; and a note."""
    places = [int(known) for known in results.category_ids]
    if places and not (min(places) >= 0 and max(places) < len(labels)):
        raise LabelError(
            f"{location}: its classes are {min(places)} to {max(places)}, counted from 0, but the "
            f"data set has {len(labels)} labels.",
            hint="give the data set that the detector learnt from, or one with the same labels",
        )
    names: list[int | str] = [labels.names[place] for place in places]
    said = f"{location}: its classes are counted from 0: 0 is '{labels.names[0]}'."
    return replace(results, category_ids=names), said


def _corner_or_centre(
    results: Results, room: NDArray[np.number], location: str
) -> tuple[Results, list[str]]:
    """The results by their centres, where more boxes then lie within their pictures; and a note.

    `room` is the (width, height) of each box's picture, 0 where it is not known.
    """
    xyxy, slack = results.xyxy, SLACK * np.maximum(room, 1)
    moved = xyxy - np.tile((xyxy[:, 2:] - xyxy[:, :2]) / 2, 2)
    over = int(((xyxy[:, 2:] > room + slack) & (room > 0)).any(axis=1).sum())
    under = int((moved[:, :2] < -slack).any(axis=1).sum())
    columns = f"{location}: its columns x and y are taken for the"
    if over > under:
        said = f"{columns} centres of boxes: as corners, {over:,} boxes would leave their pictures."
        return replace(results, xyxy=moved.astype(np.float32)), [said]
    if over == under and len(xyxy):
        return results, [f"{columns} corners of boxes; call them cx and cy if they are centres."]
    return results, []


def _check_masks(
    masks: Masks | None, image_id: NDArray[np.int64], images: Sequence[Image], location: str
) -> None:
    """FormatError where a mask is not of its picture's size, as far as that is known."""
    if masks is None:
        return
    size, own = sizes_of(images, image_id), masks.size[:, ::-1]
    wrong = masks.there & (size > 0).all(axis=1) & (own != size).any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        raise FormatError(
            f"{location}: the mask of detection {row + 1} is of {own[row, 0]}x{own[row, 1]} "
            f"pixels, its picture of {size[row, 0]}x{size[row, 1]}."
        )


def _coordinates(xyxy: NDArray[np.float32], asked: Coordinates) -> str:
    """Whether boxes are in pixels: no detector finds only things that fit into one pixel."""
    if asked != "auto":
        return asked
    return "normalised" if len(xyxy) and float(xyxy[:, 2:].max()) <= NORMALISED else "pixel"


def in_pixels(file: DetectionFile, images: Sequence[Image], location: str) -> DetectionFile:
    """The file with its boxes in pixels of the given pictures, and a note where they were not.

    Raises InputError where that needs the size of a picture that is not known.
    """
    if file.coordinates != "normalised":
        return file
    size = sizes_of(images, file.detections.image_id).astype(np.float64)
    if (size <= 0).any():
        raise InputError(
            f"{location}: its boxes are normalised, and the size of its pictures is not known.",
            hint="name the data set, so that they can be scaled; or say that they are pixels",
        )
    xyxy = (file.detections.xyxy * np.tile(size, 2)).astype(np.float32)
    said = f"{location}: its boxes are normalised; they were scaled to pixels."
    return replace(file, detections=replace(file.detections, xyxy=xyxy), notes=(*file.notes, said))


def _parquet(
    location: str, dataset: Dataset | None, detector: str, coordinates: Coordinates
) -> DetectionFile:
    if not is_s3(location) and not os.path.exists(location):
        raise InputError(f"{location}: there is no such file.")
    table = read_table(io.BytesIO(read_bytes(location)) if is_s3(location) else location)
    boxes = Detections.from_arrow(table, origin=location)
    score = checked_scores(
        boxes.score.astype(np.float64), lambda row: f"{location}: detection {row + 1}"
    )
    names = (detector,) if detector and len(boxes.detectors) == 1 else boxes.detectors
    boxes = replace(boxes, score=score.astype(np.float32), detectors=names)
    # Words go before numbers: another data set may number its pictures and labels anew.
    pictures = _Ids.of(words_of_table(table, "file_name"), boxes.image_id, dataset is None)
    alone = dataset is None or not len(dataset.labels)
    labels = _Ids.of(words_of_table(table, "label"), boxes.category_id, alone)
    unit = _coordinates(boxes.xyxy, coordinates)
    return _meant(boxes, pictures, labels, location, dataset, unit)


class _Ids(NamedTuple):
    """Different ids or words, (n,) which of them each box has, and the numbers of the words."""

    ids: Sequence[int | str]
    row: NDArray[np.int64]
    numbers: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        words: tuple[list[str], NDArray[np.int64]] | None,
        ids: NDArray[np.integer],
        alone: bool,
    ) -> _Ids:
        """The words beside ids, where there are any; `alone` they keep the ids, one each."""
        if words is None:
            different, row = np.unique(ids, return_inverse=True)
            return cls(different.tolist(), row)
        pairs = np.unique(np.column_stack([words[1], ids]), axis=0)
        one = len(pairs) == len(words[0]) == len(np.unique(pairs[:, 1]))
        return cls(*words, pairs[:, 1].tolist() if alone and one else ())


def _meant(
    boxes: Detections,
    pictures: _Ids,
    labels: _Ids,
    location: str,
    dataset: Dataset | None,
    unit: str,
) -> DetectionFile:
    """The boxes with ids of the pictures and labels that theirs stand for; others left out."""
    images, numbers, notes = matched(pictures.ids, location, dataset, pictures.numbers)
    notes += left_out(pictures.ids, numbers, pictures.row, location)
    meant, categories = labels_of(labels.ids, location, dataset, labels.numbers)
    notes += _zero(labels.ids, meant, location)
    known = numbers[pictures.row] >= 0
    found = replace(boxes, image_id=numbers[pictures.row], category_id=categories[labels.row]).take(
        slice(None) if known.all() else known
    )
    return DetectionFile(found, images, meant, unit, tuple(notes))


def _from_dataset(
    location: str, dataset: Dataset | None, name: str, coordinates: Coordinates
) -> DetectionFile:
    """Detections kept as annotations, with a score each."""
    from quorate.formats import coco
    from quorate.formats.registry import read

    if dataset is not None:
        bare = _bare_yolo(location, dataset, name)
        if bare is not None:
            return bare
    found = read(location)
    if found.annotations is None:
        raise FormatError(f"{location}: holds no detections, only pictures.")
    shapes = found.annotations
    for column in ("score", "confidence"):
        scores = shapes.numbers(column)
        wrong = scores_within(scores)[1] & ~np.isnan(scores)
        if wrong.any() and (column == "score" or "score" not in shapes.attributes):
            raise FormatError(
                f"{location}: {int(wrong.sum())} of its shapes have a {column} that is no score, "
                f"the first {scores[wrong][0]:g}.",
                hint=score_hint(float(scores[wrong][0])),
            )
    sizes = {image.id: (image.width, image.height) for image in found.images}
    detections = shapes.to_detections(detector=name, sizes=sizes)
    notes = list(found.notes)
    if lost := len(shapes) - len(detections):
        notes.append(f"{location}: {lost} tags, points and polylines are left out.")
    notes += _without_scores(shapes, location)
    unit = _coordinates(detections.xyxy, coordinates)
    if dataset is None:
        source = open_source(location)
        with source.tree:
            named = not coco.recognise(source)  # only COCO numbers its pictures and labels
        return DetectionFile(
            detections,
            found.images,
            found.labels,
            unit,
            tuple(notes),
            named_images=named,
            named_labels=named,
        )
    place = positions_in([image.id for image in found.images], detections.image_id)
    label = found.labels.positions(detections.category_id)
    names = [image.name for image in found.images]
    file = _meant(
        detections, _Ids(names, place), _Ids(found.labels.names, label), location, dataset, unit
    )
    return replace(file, notes=(*notes, *file.notes))


def _without_scores(shapes: Annotations, location: str) -> list[str]:
    """A note where boxes have no scores."""
    if "score" in shapes.attributes or not len(shapes):
        return []
    return [f"{location}: {NO_SCORES}."]


def _bare_yolo(location: str, dataset: Dataset, name: str) -> DetectionFile | None:
    """YOLO text files alone (`save_txt` of Ultralytics): sizes and labels are the data set's."""
    if not is_s3(location) and not os.path.isdir(location) and not location.endswith(".zip"):
        return None
    from quorate.formats.yolo.lines import Lines
    from quorate.formats.yolo.reading import keypoints_beside

    source = open_source(location)
    with source.tree:
        files = source.ending(".txt")
        others = len(source.names) - len(files) - len(source.ending(".yaml", ".yml"))
        if not files or others or "obj.data" in source.names:
            return None
        own = dataset.labels if len(dataset.labels) else _NUMBERS
        lists = [file for file in files if f"/{file}".endswith("/classes.txt")]
        if lists:  # LabelImg's and Label Studio's, whose order is the file's own
            words = source.lines(lists[0])
            own = Labels(tuple(words), tuple(labels_of(words, location, dataset)[1].tolist()))
            files = [file for file in files if file not in lists]
        lines = Lines(own, keypoints_beside(source))
        stems = [file.removesuffix(".txt").removeprefix("labels/") for file in files]
        images, numbers, notes = matched(stems, location, dataset)
        sizes = {image.id: (image.width, image.height) for image in dataset.images}
        gone = []
        for position, (file, number) in enumerate(zip(files, numbers.tolist(), strict=True)):
            data, place = source.tree.read(file), source.place(file)
            if number < 0:
                gone += [position] * len(data.splitlines())
            elif not sizes[number][0]:
                raise InputError(f"{place}: the size of its picture is not known.")
            else:
                lines.add(number, data, place, sizes[number])
    shapes = lines.built()
    notes += left_out(stems, numbers, np.array(gone, np.int64), location)
    notes += [f"{location}: {note}" for note in lines.notes]
    used, _ = labels_of(np.unique(shapes.category_id).tolist(), location, dataset)
    return DetectionFile(
        detections=shapes.to_detections(detector=name),
        images=images,
        labels=used,
        notes=(
            *notes,
            f"{location}: its boxes are normalised; they were scaled to pixels.",
            *_without_scores(shapes, location),
        ),
    )
