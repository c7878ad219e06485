"""Fuse files of detections that are there already, whoever's detectors wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quorate.columns import positions_in, shared_area
from quorate.dataset import Dataset, Image
from quorate.detections import FUSED, Detections
from quorate.display import brief
from quorate.errors import FormatError, InputError
from quorate.formats.detections.matching import sizes_of
from quorate.formats.detections.reading import DetectionFile, in_pixels, read_detections
from quorate.fusion import carried, fuse
from quorate.fusion.rules import Method
from quorate.labels import Labels
from quorate.storage import read_bytes
from quorate.wording import Wording, wordings

if TYPE_CHECKING:
    from quorate.spec.fusion import Fusion

File = str | PathLike[str]

SAYS_NOTHING = ("detections", "predictions", "results")
"""Names of files that say nothing of whose boxes are inside: their folder's name does."""
BOXES, SURE = 5_000, 0.25
"""Whether files mean the same labels is looked at in the pictures of a file's first boxes."""
FEWEST, ENOUGH = 10, 100
"""Boxes on each other that tell enough, and after which no more are looked for."""


@dataclass(frozen=True)
class FusedFiles:
    """What several files came to.

    fused         in the order of `dataset.images`
    found         the files' own boxes, together; `found.detectors` are the files' names
    dataset       the pictures and labels: as given, or as the files have them
    notes         what was found out or left out, a sentence each
    normalised    whether boxes are within 0..1, as all files' are and no picture's size is known
    image_ids     `Image.id` -> what the files call the picture, where that is text
    category_ids  category id -> what the files call it, likewise
    """

    fused: Detections
    found: Detections
    dataset: Dataset
    notes: tuple[str, ...]
    normalised: bool = False
    image_ids: dict[int, str] = field(default_factory=dict)
    category_ids: dict[int, str] = field(default_factory=dict)

    __repr__ = brief


def fuse_files(
    files: Sequence[File],
    fusion: Fusion | Method | Callable[[tuple[str, ...]], Fusion | Method],
    *,
    dataset: Dataset | None = None,
    labels: Mapping[str, str | Mapping[Any, str] | Sequence[str]] | None = None,
    min_votes: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, size: None,
) -> FusedFiles:
    """Fuse one file of detections for each detector.

    Args:
        files: what `quorate.formats.read_detections` reads. A detector is named for its file,
            or for its folders too where two files have one name.
        fusion: the method; or a function from the detectors' names to it.
        dataset: whose pictures and labels the files mean, and the order of the output. Without
            one, pictures stand in the order of the first file, then of the next. One without
            labels (see `picture_list`) leaves the labels to the files.
        labels: file, or its detector's name -> what its categories are called: number -> word,
            the names in order, or what `--labels` takes.
        min_votes: let only boxes of groups with so many votes take part: a quorum as a filter
            before, for example, weighted boxes fusion.
        progress: told of each results list, by its detector's name, how many bytes are read and
            how many there are.

    Boxes of files that are normalised are scaled to pixels. Where no size is known they stay so,
    if all files are; IoU is the same.

    Raises InputError where two files have no picture in common, or numbers for categories that
    cannot mean the same; FormatError or LabelError where a file cannot be read or matched.
    """
    places = [fspath(file) for file in files]
    names = detector_names(places)
    method = Method.of(fusion(names) if callable(fusion) else fusion)
    said = wordings(labels or {}, places, names)
    read = []
    for file, name in zip(places, names, strict=True):
        one = read_worded(
            file, dataset, said.get(file), name, scale=False, progress=partial(progress, name)
        )
        read.append(_own_boxes(one, file, name))
    shifted = [] if dataset else _counted_apart(places, read)
    read = read if dataset else _by_number(read)
    united = dataset or Dataset(root="", images=_united_images(places, read), labels=Labels((), ()))
    own_labels = not len(united.labels)
    if own_labels:
        united = replace(united, labels=_united_labels(places, read))
    read = [_renumbered(one, united) for one in read]
    normalised = {one.coordinates for one in read if len(one.detections)} == {"normalised"}
    normalised &= not any(image.width for image in united.images)
    if not normalised:
        read = [in_pixels(one, united.images, at) for one, at in zip(read, places, strict=True)]
    notes = [*shifted, *(note for one in read for note in one.notes)]
    notes += _one_vocabulary(places, read, united.labels, own=own_labels)
    if normalised:
        notes.append("all boxes are normalised and no picture's size is known: they stay so.")
    found = Detections.concat([one.detections for one in read])
    notes += _oddities(found, united.images, method.min_score)
    voters = found
    if min_votes is not None:
        votes = Method.named(
            "votes", min_votes=min_votes, iou=method.iou, min_score=method.min_score
        )
        voters = found.take(carried(found, votes, detectors=names, labels=united.labels))
        notes.append(
            f"{len(found) - len(voters):,} of {len(found):,} boxes take no part, for their "
            f"groups have fewer than {min_votes} votes."
        )
    fused = fuse(
        voters,
        method,
        detectors=names,
        labels=united.labels,
        image_order=[image.id for image in united.images],
    )
    image_ids = {i.id: i.source_id for i in united.images if isinstance(i.source_id, str)}
    if not image_ids and dataset is None and any(one.named_images for one in read):
        image_ids = {image.id: image.name for image in united.images}
    category_ids = {}
    if own_labels and any(one.named_labels for one in read):
        category_ids = dict(zip(united.labels.ids, united.labels.names, strict=True))
    return FusedFiles(
        fused, found, united, tuple(dict.fromkeys(notes)), normalised, image_ids, category_ids
    )


def read_worded(
    file: File,
    dataset: Dataset | None,
    wording: Wording | None,
    detector: str,
    **how: Any,
) -> DetectionFile:
    """One file's boxes as `read_detections` gives them, its categories as a user words them."""
    if wording is None:
        return read_detections(file, dataset=dataset, detector=detector, **how)
    bare = dataset and replace(dataset, labels=Labels((), ()))
    one = read_detections(file, dataset=bare, detector=detector, **how)
    return wording.put_on(one, dataset.labels if dataset else Labels((), ()), fspath(file))


def detector_names(files: Sequence[File]) -> tuple[str, ...]:
    """A name for each file: its own, or where that tells nothing, that of its folder.

    `runs/yolo/predictions.json` is `yolo`: many files are called `predictions`. So it is where
    several are called the same; where folders are too, it is the shortest end of the path that
    tells them apart.
    """
    whole = [fspath(file).rstrip("/") for file in files]
    whole = ["stdin" if file == "-" else file for file in whole]
    paths = [file.split("/") for file in whole]
    for path in paths:
        for ending in (".gz", ".json", ".parquet", ".csv", ".xml", ".zip"):
            path[-1] = path[-1].removesuffix(ending) or path[-1]
    own = [path[-1] for path in paths]
    names = tuple(
        path[-2] if (own.count(name) > 1 or name in SAYS_NOTHING) and _named(path[-2:-1]) else name
        for name, path in zip(own, paths, strict=True)
    )
    if len(set(names)) == len(names) and all(names):
        return names
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = tuple("/".join(path[-length:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    twice = next(file for file in whole if whole.count(file) > 1)
    raise InputError(f"{twice}: the same file is given twice.", hint="a detector has one vote")


def _named(folder: Sequence[str]) -> bool:
    return bool(folder) and folder[0] not in ("", ".", "..")


def _own_boxes(one: DetectionFile, file: str, name: str) -> DetectionFile:
    """A file of fused boxes as those of one more detector."""
    boxes = one.detections
    if boxes.members is None and not (boxes.detector == FUSED).any():
        return one
    boxes = replace(boxes, detector=np.zeros_like(boxes.detector), detectors=(name,), members=None)
    said = f"{file}: its boxes are fused already; each counts as one vote of '{name}'."
    return replace(one, detections=boxes, notes=(*one.notes, said))


def _by_number(read: list[DetectionFile]) -> list[DetectionFile]:
    """The files with numbers for names, where one of them has nothing else and all have numbers."""
    bare = [all(image.name == str(image.id) for image in one.images) for one in read]
    if all(bare) or not any(bare) or any(one.named_images for one in read):
        return read
    numbered = msgspec.structs.replace
    return [
        replace(one, images=tuple(numbered(i, published_as=str(i.id)) for i in one.images))
        for one in read
    ]


def _counted_apart(files: Sequence[str], read: Sequence[DetectionFile]) -> list[str]:
    """A note where one file numbers pictures from 0, and the first from 1, or the other way."""
    spans = [
        (min(ids), max(ids)) if (ids := [image.id for image in one.images]) else None
        for one in read
        if not one.named_images
    ]
    if len(spans) < len(files) or not spans[0]:
        return []
    low, high = spans[0]
    return [
        f"{files[0]} numbers its pictures from {low} to {high}, {file} from {span[0]} to "
        f"{span[1]}: they may count from 0 and from 1. Equal numbers are taken for one picture; "
        "--images says which are meant."
        for file, span in zip(files, spans, strict=True)
        if span and {low, span[0]} == {0, 1} and high - low == span[1] - span[0]
    ]


def _united_images(files: Sequence[str], read: Sequence[DetectionFile]) -> tuple[Image, ...]:
    """The pictures of all files by name, in order of sight, with ids that are unique."""
    images: dict[str, Image] = {}
    for file, one in zip(files, read, strict=True):
        names = {image.name for image in one.images}
        if images and names and not names & images.keys():
            raise InputError(
                f"{file}: has no picture in common with the files before it: '{min(names)}' is "
                f"not among theirs, such as '{next(iter(images))}'.",
                hint="name the data set whose pictures they mean: --images instances.json",
            )
        for image in one.images:
            known = images.setdefault(image.name, image)
            if not known.width and image.width:
                images[image.name] = msgspec.structs.replace(
                    known, width=image.width, height=image.height
                )
    united = tuple(images.values())
    if len({image.id for image in united}) == len(united):
        return united
    return tuple(msgspec.structs.replace(image, id=i) for i, image in enumerate(united, start=1))


def _united_labels(files: Sequence[str], read: Sequence[DetectionFile]) -> Labels:
    """The labels of all files by name; their own ids where those contradict each other nowhere."""
    with_boxes = [(f, one) for f, one in zip(files, read, strict=True) if len(one.labels)]
    for file, one in with_boxes[1:]:
        first, known = with_boxes[0]
        if one.labels.bare != known.labels.bare:
            numbers, words = (first, file) if known.labels.bare else (file, first)
            raise InputError(
                f"{numbers}: has numbers for its categories where {words} has names.",
                hint="name the data set that has both (--images instances.json), or say what the "
                f"numbers mean: --labels {numbers}=names.txt",
            )
    ids: dict[str, set[int]] = {}
    for one in read:
        for name, category_id in zip(one.labels.names, one.labels.ids, strict=True):
            ids.setdefault(name, set()).add(category_id)
    own = [next(iter(found)) for found in ids.values() if len(found) == 1]
    if len(own) == len(ids) and len(set(own)) == len(own):
        return Labels(names=tuple(ids), ids=tuple(own))
    return Labels.from_names(ids)


def _one_vocabulary(
    files: Sequence[str], read: Sequence[DetectionFile], labels: Labels, *, own: bool
) -> list[str]:
    """Notes where files may not mean the same labels, from their first pictures.

    `labels` are all files', their `own` or a data set's. Raises InputError where bare files cannot
    mean the same: boxes that lie on each other have other numbers.
    """
    notes = []
    first, known = files[0], read[0]
    for file, one in zip(files[1:], read[1:], strict=True):
        pairs = _on_each_other(known.detections, one.detections)
        count = sum(pairs.values())
        same = sum(n for (mine, theirs), n in pairs.items() if mine == theirs)
        if count >= FEWEST and same < count / 5:
            ids, n = pairs.most_common(1)[0]
            mine, theirs = map(labels.name_of, ids)
            said = (
                f"{first} and {file}: their labels do not fit each other. Of {count} boxes that "
                f"lie on each other, {same} have the same label; {n} are '{mine}' in the one and "
                f"'{theirs}' in the other."
            )
            hint = f"say what the numbers mean: --labels {file}=names.txt, or {file}=1:bird,2:fish"
            if own and labels.bare:
                raise InputError(said, hint=hint)
            notes.append(f"{said} If a file numbers its labels in another order, {hint}.")
        least = [min(x.labels.ids, default=1) for x in (known, one)]
        most = [max(x.labels.ids, default=1) for x in (known, one)]
        if count < FEWEST and 0 in least and least != [0, 0] and most[least.index(0)] < max(most):
            notes.append(
                f"{first} numbers its categories from {least[0]} to {most[0]}, {file} from "
                f"{least[1]} to {most[1]}: they may count from 0 and from 1. Equal numbers are "
                "taken for one label; --labels says what they mean."
            )
    return notes


def _on_each_other(a: Detections, b: Detections) -> Counter[tuple[int, int]]:
    """The categories of boxes of two files that overlap by IoU .7, each with the surest such."""
    found: Counter[tuple[int, int]] = Counter()
    images = np.unique(a.image_id[:BOXES])
    a, b = (x.take(np.isin(x.image_id, images) & (x.score >= SURE)) for x in (a, b))
    for image in images.tolist():
        if sum(found.values()) >= ENOUGH:
            break
        mine, theirs = (np.flatnonzero(x.image_id == image) for x in (a, b))
        if not len(mine) or not len(theirs):
            continue
        both = shared_area(a.xyxy[mine], b.xyxy[theirs])
        iou = both / np.maximum(a.area[mine][:, None] + b.area[theirs][None] - both, 1e-12)
        score = np.where(iou >= 0.7, b.score[theirs], -1.0)
        best = score.argmax(1)
        for row in np.flatnonzero(score.max(1) >= 0).tolist():
            found[int(a.category_id[mine[row]]), int(b.category_id[theirs[best[row]]])] += 1
    return found


def _renumbered(one: DetectionFile, dataset: Dataset) -> DetectionFile:
    """A file with the ids of the data set in place of its own."""
    boxes = one.detections
    if one.images is not dataset.images:
        by_name = {image.name: image.id for image in dataset.images}
        old = [image.id for image in one.images]
        new = [by_name[image.name] for image in one.images]
        if old != new:
            place = positions_in(old, boxes.image_id)
            boxes = replace(boxes, image_id=np.array(new, np.int64)[place])
    category = tuple(dataset.labels.id_of(name) for name in one.labels.names)
    if category != one.labels.ids:
        place = one.labels.positions(boxes.category_id)
        boxes = replace(boxes, category_id=np.array(category, np.int32)[place])
    return replace(one, detections=boxes)


def _oddities(found: Detections, images: Sequence[Image], min_score: float) -> list[str]:
    """What is odd about boxes: no area, outside of their picture, too low a score."""
    total = f"of {len(found):,} boxes"
    notes = []
    low, high = found.xyxy[:, :2], found.xyxy[:, 2:]
    if flat := np.count_nonzero((high <= low).any(axis=1)):
        notes.append(f"{flat:,} {total} have no area: they overlap nothing.")
    size = sizes_of(images, found.image_id).astype(np.float32)
    over = np.maximum(-low, high - size).max(axis=1)
    outside = (over > 1) & (size > 0).all(axis=1)
    if outside.any():
        note = f"{outside.sum():,} {total} reach outside their picture; they are kept as they are."
        far = outside & (over > 0.1 * size.max(axis=1))
        if far.mean() > 0.1:
            note += (
                f" {far.sum():,} do so by far: a bbox is x, y, width, height; are these "
                "x1, y1, x2, y2?"
            )
        notes.append(note)
    if weak := np.count_nonzero(found.score < np.float32(min_score)):
        notes.append(f"{weak:,} {total} score less than {min_score:g} and take no part.")
    return notes


def picture_list(location: File) -> Dataset:
    """The pictures that a text file lists, a name or an id in each line, in that order.

    Numbers are ids. Names are matched as those of a data set are: with or without folders and
    ending. Raises FormatError for a line that stands twice, or none at all.
    """
    try:
        lines = read_bytes(location).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FormatError(f"{fspath(location)}: not text in UTF-8.") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise FormatError(f"{fspath(location)}: lists no picture.")
    for one, following in pairwise(sorted(names)):
        if one == following:
            raise FormatError(f"{fspath(location)}: '{one}' stands twice.")
    if all(name.isdecimal() and str(int(name)) == name for name in names):
        images = tuple(Image(id=int(name), file_name=name) for name in names)
    else:
        images = tuple(
            Image(id=i, file_name=name, source_id=name) for i, name in enumerate(names, start=1)
        )
    return Dataset(root=fspath(location), images=images, labels=Labels((), ()))
