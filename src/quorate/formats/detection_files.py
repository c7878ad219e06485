"""Detections from files of any tool: COCO results, Parquet, VOC folders, CVAT XML, YOLO text.

A file is read on its own, or matched with the pictures and labels of a data set. On its own, its
ids are its vocabulary: text is numbered from 1 in order of sight, numbers stay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import FormatError, InputError, LabelError, did_you_mean
from quorate.formats.base import is_picture, open_source
from quorate.formats.coco_results import STDIN, Progress, read_results
from quorate.formats.results import Results, members_of
from quorate.labels import Labels
from quorate.storage import is_s3, open_file, read_bytes

if TYPE_CHECKING:
    from quorate.annotations import Annotations
    from quorate.masks import Masks

Coordinates = Literal["auto", "pixel", "normalised"]


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


def read_detections(
    location: str | os.PathLike[str],
    *,
    dataset: Dataset | None = None,
    detector: str = "",
    coordinates: Coordinates = "auto",
    scale: bool = True,
    progress: Progress = lambda done, size: None,
) -> DetectionFile:
    """One detector's boxes from a file or folder.

    Args:
        location: a results list (`.json`, `.json.gz`, or '-' for standard input), `.parquet`, a
            folder or archive of VOC XML or YOLO text files, CVAT XML, or any data set whose
            annotations have scores.
        dataset: whose pictures and labels the ids mean. A picture is matched by its number, or by
            its name with or without ending; a category by number or by name.
        detector: the name to give; by default the file's.
        coordinates: 'auto' takes boxes for normalised when none reaches beyond 1.
        scale: scale normalised boxes of a results list to pixels.
        progress: told how many bytes of a results list are read, and how many there are.

    Raises FormatError for a file that does not keep its format, or a picture that the data set
    lacks; LabelError for a category it lacks; InputError where normalised boxes meet pictures of
    unknown size.
    """
    location = os.fspath(location)
    name = detector or _bare(location)
    lower = location.lower()
    if lower.endswith(".parquet"):
        return _parquet(location, dataset, name if detector else "")
    if location == STDIN or (
        lower.endswith((".json", ".json.gz")) and (lower.endswith(".gz") or _is_list(location))
    ):
        results = read_results(location, progress=progress)
        return _from_results(results, location, dataset, name, coordinates, scale)
    return _from_dataset(location, dataset, name)


def _bare(location: str) -> str:
    base = location.rstrip("/").rsplit("/", 1)[-1]
    for ending in (".gz", ".json", ".parquet", ".xml", ".zip"):
        base = base.removesuffix(ending)
    return base or "file"


def _is_list(location: str) -> bool:
    with open_file(location) as file:
        return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{"


def _from_results(
    results: Results,
    location: str,
    dataset: Dataset | None,
    name: str,
    coordinates: Coordinates,
    scale: bool,
) -> DetectionFile:
    images, numbers = _images(results.image_ids, location, dataset)
    labels, categories = _categories(results.category_ids, location, dataset)
    unit = _coordinates(results.xyxy, coordinates)
    notes = _two_readings(results.image_ids, location, dataset)
    if _from_zero(results.category_ids, labels):
        notes.append(
            f"{location}: its categories are counted from 0, the data set's from 1: its 0 is "
            f"taken for '{labels.names[0]}'."
        )
    if unit == "pixel":
        sizes = {image.id: (image.height, image.width) for image in images}
        results = results.drawn([sizes[number] for number in numbers.tolist()])
    if left := len(results.polygons):
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
    file = DetectionFile(
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
        named_images=any(isinstance(i, str) for i in results.image_ids),
        named_labels=any(isinstance(i, str) for i in results.category_ids),
        notes=tuple(notes),
    )
    return in_pixels(file, images, location) if scale else file


def _check_masks(
    masks: Masks | None, image_id: NDArray[np.int64], images: Sequence[Image], location: str
) -> None:
    """FormatError where a mask is not of its picture's size, as far as that is known."""
    if masks is None:
        return
    sizes = {image.id: (image.height, image.width) for image in images}
    for row in np.flatnonzero(masks.there).tolist():
        own = tuple(masks.size[row].tolist())
        height, width = sizes[int(image_id[row])]
        if height and width and own != (height, width):
            raise FormatError(
                f"{location}: the mask of detection {row + 1} is of {own[1]}x{own[0]} pixels, its "
                f"picture of {width}x{height}."
            )


def _coordinates(xyxy: NDArray[np.float32], asked: Coordinates) -> str:
    """Whether boxes are in pixels: no detector finds only things that fit into one pixel."""
    if asked != "auto":
        return asked
    return "normalised" if len(xyxy) and float(xyxy[:, 2:].max()) <= 1.01 else "pixel"


def in_pixels(file: DetectionFile, images: Sequence[Image], location: str) -> DetectionFile:
    """The file with its boxes in pixels of the given pictures, and a note where they were not.

    Raises InputError where that needs the size of a picture that is not known.
    """
    if file.coordinates != "normalised":
        return file
    ids = np.array([image.id for image in images], dtype=np.int64)
    sizes = np.array([(i.width, i.height) for i in images], dtype=np.float64).reshape(-1, 2)
    order = np.argsort(ids, kind="stable")
    size = sizes[order[np.searchsorted(ids[order], file.detections.image_id)]]
    if (size <= 0).any():
        raise InputError(
            f"{location}: its boxes are normalised, and the size of its pictures is not known.",
            hint="name the data set, so that they can be scaled; or say that they are pixels",
        )
    xyxy = (file.detections.xyxy * np.tile(size, 2)).astype(np.float32)
    said = f"{location}: its boxes are normalised; they were scaled to pixels."
    return replace(file, detections=replace(file.detections, xyxy=xyxy), notes=(*file.notes, said))


def _images(
    ids: Sequence[int | str], location: str, dataset: Dataset | None
) -> tuple[tuple[Image, ...], NDArray[np.int64]]:
    """The pictures that ids stand for, and the number of each id's."""
    if dataset is None:
        taken = {i for i in ids if isinstance(i, int)}
        numbers = []
        images = []
        following = 1
        for known in ids:
            number = known if isinstance(known, int) else following
            if isinstance(known, str):
                while number in taken:
                    number += 1
                following = number + 1
            numbers.append(number)
            said = known if isinstance(known, str) else None
            images.append(Image(id=number, file_name=str(known), source_id=said))
        return tuple(images), _numbers(numbers, np.int64, location, "image id")
    by_name = picture_names(dataset)
    by_id = {image.id: image.id for image in dataset.images}
    if {known for known in ids if isinstance(known, int)} - by_id.keys():
        by_number = _names_as_numbers(by_name)
        if all(known in by_number for known in ids if isinstance(known, int)):
            by_id = by_number
    numbers = []
    for known in ids:
        found = by_id.get(known) if isinstance(known, int) else None
        if found is None:
            text = str(known)
            found = by_name.get(text, by_name.get(_stem(text)))
            if found is None and text.isdigit() and int(text) in by_id:
                found = int(text)
        if found is None:
            raise FormatError(
                f"{location}: its picture {known!r} is not in the data set ({dataset.root}).",
                hint=did_you_mean(str(known), list(by_name)[:5000]),
            )
        numbers.append(found)
    return dataset.images, np.array(numbers, dtype=np.int64)


def _names_as_numbers(by_name: Mapping[str, int]) -> dict[int, int]:
    """Pictures by the number that their name is: Ultralytics calls 0045.jpg 45."""
    found: dict[int, int | None] = {}
    for name, image_id in by_name.items():
        if name.isdecimal():
            number = int(name)
            found[number] = image_id if found.get(number, image_id) == image_id else None
    return {number: image_id for number, image_id in found.items() if image_id is not None}


def _two_readings(ids: Sequence[int | str], location: str, dataset: Dataset | None) -> list[str]:
    """A note where the numbers of all pictures are ids, and the names of other pictures as well."""
    numbers = [known for known in ids if isinstance(known, int)]
    if dataset is None or not numbers:
        return []
    names = {image.id: image.name for image in dataset.images}
    by_number = _names_as_numbers(picture_names(dataset))
    if not all(number in names and number in by_number for number in numbers):
        return []
    odd = next((number for number in numbers if by_number[number] != number), None)
    if odd is None:
        return []
    return [
        f"{location}: its picture {odd} is taken for the one with that id, {names[odd]}, though "
        f"{names[by_number[odd]]} is called so too. Ultralytics means names: fuse its text files "
        "(save_txt=True save_conf=True) instead."
    ]


def _numbers(
    numbers: Sequence[int], dtype: type[np.signedinteger[Any]], location: str, what: str
) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    for number in numbers:
        if not limits.min <= number <= limits.max:
            raise FormatError(
                f"{location}: its {what} {number} is larger than {limits.bits} bits hold."
            )
    return np.array(numbers, dtype=dtype)


def picture_names(dataset: Dataset) -> Mapping[str, int]:
    """Every way to name a picture of a data set that means only one, and its id."""
    found: dict[str, int | None] = {}
    for image in dataset.images:
        base = image.name.rsplit("/", 1)[-1]
        ways = {image.name, image.file_name, _stem(image.name), _stem(image.file_name)}
        if isinstance(image.source_id, str):
            ways.add(image.source_id)
        for way in ways:
            found[way] = image.id if found.get(way, image.id) == image.id else None
        for way in {base, _stem(base)} - ways:
            found.setdefault(way, image.id)
            if found[way] != image.id:
                found[way] = None
    return {way: number for way, number in found.items() if number is not None}


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if is_picture(name) else name


def _categories(
    ids: Sequence[int | str], location: str, dataset: Dataset | None
) -> tuple[Labels, NDArray[np.int32]]:
    labels = dataset.labels if dataset is not None else Labels((), ())
    if not len(labels):
        if all(isinstance(i, int) for i in ids):
            numbers = sorted(int(i) for i in ids)
            _numbers(numbers, np.int32, location, "category id")
            labels = Labels(names=tuple(map(str, numbers)), ids=tuple(numbers))
        else:
            labels = Labels.from_names(sorted({str(i) for i in ids}))
    found = []
    from_zero = _from_zero(ids, labels)
    for known in ids:
        if isinstance(known, int) and from_zero:
            found.append(labels.ids[known])
        elif isinstance(known, int) and known in labels.ids:
            found.append(known)
        elif str(known) in labels:
            found.append(labels.id_of(str(known)))
        else:
            raise LabelError(
                f"{location}: its category {known!r} is not one of the data set's ("
                + ", ".join(f"{i}: {n}" for n, i in zip(labels.names, labels.ids, strict=True))
                + ").",
                hint=did_you_mean(str(known), labels.names),
            )
    return labels, np.array(found, dtype=np.int32)


def _from_zero(ids: Sequence[int | str], labels: Labels) -> bool:
    """Whether categories are counted from 0, as Ultralytics once did, and the labels from 1."""
    numbers = [known for known in ids if isinstance(known, int)]
    counted = labels.ids == tuple(range(1, len(labels) + 1))
    return counted and 0 in numbers and min(numbers) >= 0 and max(numbers) < len(labels)


def _parquet(location: str, dataset: Dataset | None, name: str) -> DetectionFile:
    if is_s3(location):
        import io

        detections = Detections.from_parquet(io.BytesIO(read_bytes(location)))  # type: ignore[arg-type]
    else:
        if not os.path.exists(location):
            raise InputError(f"{location}: there is no such file.")
        detections = Detections.from_parquet(location)
    if name and len(detections.detectors) == 1:
        detections = replace(detections, detectors=(name,))
    images, _ = _images(np.unique(detections.image_id).tolist(), location, dataset)
    labels, _ = _categories(np.unique(detections.category_id).tolist(), location, dataset)
    return DetectionFile(detections=detections, images=images, labels=labels)


def _from_dataset(location: str, dataset: Dataset | None, name: str) -> DetectionFile:
    """Detections kept as annotations, with a score each."""
    from quorate.formats import coco, read

    if dataset is not None:
        bare = _bare_yolo(location, dataset)
        if bare is not None:
            return DetectionFile(
                detections=bare.to_detections(detector=name),
                images=dataset.images,
                labels=dataset.labels,
                notes=(f"{location}: its boxes are normalised; they were scaled to pixels.",),
            )
    found = read(location)
    if found.annotations is None:
        raise FormatError(f"{location}: holds no detections, only pictures.")
    shapes = found.annotations
    sizes = {image.id: (image.width, image.height) for image in found.images}
    detections = shapes.to_detections(detector=name, sizes=sizes)
    left_out = len(shapes) - len(detections)
    notes = list(found.notes)
    if left_out:
        notes.append(f"{location}: {left_out} tags, points and polylines are left out.")
    if "score" not in shapes.attributes and len(shapes):
        notes.append(f"{location}: tells no scores; each box counts 1.")
    if dataset is None:
        source = open_source(location)
        with source.tree:
            named = not coco.recognise(source)  # only COCO numbers its pictures and labels
        return DetectionFile(
            detections,
            found.images,
            found.labels,
            notes=tuple(notes),
            named_images=named,
            named_labels=named,
        )
    images, numbers = _images([image.name for image in found.images], location, dataset)
    labels, categories = _categories(list(found.labels.names), location, dataset)
    ours = np.array([image.id for image in found.images], dtype=np.int64)
    order = np.argsort(ours)
    slot = order[np.searchsorted(ours[order], detections.image_id)]
    detections = replace(
        detections,
        image_id=numbers[slot],
        category_id=categories[found.labels.positions(detections.category_id)],
    )
    return DetectionFile(detections, images, labels, notes=tuple(notes))


def _bare_yolo(location: str, dataset: Dataset) -> Annotations | None:
    """YOLO text files alone (`save_txt` of Ultralytics): sizes and labels are the data set's."""
    if not is_s3(location) and not os.path.isdir(location) and not location.endswith(".zip"):
        return None
    from quorate.formats import yolo
    from quorate.formats.rows import Rows

    source = open_source(location)
    with source.tree:
        files = source.ending(".txt")
        if not files or len(files) < len(source.names) or "obj.data" in source.names:
            return None
        names = picture_names(dataset)
        sizes = {image.id: (image.width, image.height) for image in dataset.images}
        rows = Rows()
        for file in files:
            stem = file.removesuffix(".txt")
            number = names.get(stem, names.get(stem.removeprefix("labels/")))
            if number is None:
                raise FormatError(f"{source.place(file)}: the data set has no picture '{stem}'.")
            if not sizes[number][0]:
                raise InputError(f"{source.place(file)}: the size of its picture is not known.")
            text = source.tree.read(file)
            for values in yolo.lines(text, source.place(file), dataset.labels, sizes[number]):
                rows.add(number, **values)
        return rows.build()
