"""Fuse files of detections that are there already, whoever's detectors wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import fspath
from pathlib import Path

import numpy as np

from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.formats import DetectionFile, read_detections
from quorate.fusion import carried, fuse
from quorate.labels import Labels
from quorate.spec import Fusion, Votes


@dataclass(frozen=True)
class FusedFiles:
    """What several files came to.

    fused    in the order of `dataset.images`
    found    the files' own boxes, together; `found.detectors` are the files' names
    dataset  the pictures and labels: as given, or as the files have them
    notes    what was found out or left out, a sentence each
    """

    fused: Detections
    found: Detections
    dataset: Dataset
    notes: tuple[str, ...]


def fuse_files(
    files: Sequence[str | Path],
    fusion: Fusion | Callable[[tuple[str, ...]], Fusion],
    *,
    dataset: Dataset | None = None,
    min_votes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FusedFiles:
    """Fuse one file of detections for each detector.

    Args:
        files: what `quorate.formats.read_detections` reads. A detector is named for its file,
            or for its folders too where two files have one name.
        fusion: the method; or a function from the detectors' names to it.
        dataset: whose pictures and labels the files mean, and the order of the output. Without
            one, pictures stand in the order of the first file, then of the next.
        min_votes: let only boxes of groups with so many votes take part: a quorum as a filter
            before, for example, weighted boxes fusion.
        progress: told after each file.

    Raises InputError where two files have no picture in common, for then their ids can hardly
    mean the same; FormatError or LabelError where a file cannot be read or matched.
    """
    names = detector_names(files)
    read: list[DetectionFile] = []
    for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
        read.append(read_detections(file, dataset=dataset, detector=name))
        progress(number, len(files))
    if dataset is None:
        dataset, parts = _aligned(files, read)
    else:
        parts = [one.detections for one in read]
    found = Detections.concat(parts)
    method = fusion(names) if callable(fusion) else fusion
    voters = found
    if min_votes is not None:
        votes = Votes(min_votes=min_votes, iou=method.iou, min_score=method.min_score)
        voters = found.take(carried(found, votes, detectors=names, labels=dataset.labels))
    fused = fuse(
        voters,
        method,
        detectors=names,
        labels=dataset.labels,
        image_order=[image.id for image in dataset.images],
    )
    notes = tuple(dict.fromkeys(note for one in read for note in one.notes))
    return FusedFiles(fused=fused, found=found, dataset=dataset, notes=notes)


def detector_names(files: Sequence[str | Path]) -> tuple[str, ...]:
    """A name for each file: the shortest end of its path that tells it from the others."""
    whole = [fspath(file).rstrip("/") for file in files]
    paths = [file.split("/") for file in whole]
    for path in paths:
        for ending in (".gz", ".json", ".parquet", ".xml", ".zip"):
            path[-1] = path[-1].removesuffix(ending) or path[-1]
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = tuple("/".join(path[-length:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    twice = next(file for file in whole if whole.count(file) > 1)
    raise InputError(f"{twice}: the same file is given twice, but a detector has one vote.")


def _aligned(
    files: Sequence[str | Path], read: Sequence[DetectionFile]
) -> tuple[Dataset, list[Detections]]:
    """Unite the files' own pictures and labels by name, and renumber the boxes to fit."""
    images: dict[str, Image] = {}
    labels: dict[str, int] = {}
    parts = []
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
                images[image.name] = replace_size(known, image)
        for name in one.labels.names:
            labels.setdefault(name, 0)
    numbered = _numbers(list(images.values()))
    by_name = {image.name: image.id for image in numbered}
    ids = _label_ids(read, tuple(labels))
    for one in read:
        old = np.array([image.id for image in one.images], dtype=np.int64)
        new = np.array([by_name[image.name] for image in one.images], dtype=np.int64)
        order = np.argsort(old)
        slot = order[np.searchsorted(old[order], one.detections.image_id)]
        category = np.array([ids.id_of(name) for name in one.labels.names], dtype=np.int32)
        parts.append(
            replace(
                one.detections,
                image_id=new[slot] if len(old) else one.detections.image_id,
                category_id=category[one.labels.positions(one.detections.category_id)]
                if len(category)
                else one.detections.category_id,
            )
        )
    return Dataset(root="", images=tuple(numbered), labels=ids), parts


def replace_size(image: Image, known: Image) -> Image:
    """The picture with the size that another file tells of it."""
    import msgspec

    return msgspec.structs.replace(image, width=known.width, height=known.height)


def _numbers(images: list[Image]) -> list[Image]:
    """The pictures with ids that are unique: their own, where those are."""
    import msgspec

    if len({image.id for image in images}) == len(images):
        return images
    return [msgspec.structs.replace(image, id=i) for i, image in enumerate(images, start=1)]


def _label_ids(read: Sequence[DetectionFile], names: tuple[str, ...]) -> Labels:
    """The files' own category ids where they contradict each other nowhere, else 1..n."""
    ids: dict[str, set[int]] = {name: set() for name in names}
    for one in read:
        for name, category_id in zip(one.labels.names, one.labels.ids, strict=True):
            ids[name].add(category_id)
    own = [next(iter(found)) for found in ids.values() if len(found) == 1]
    if len(own) == len(names) and len(set(own)) == len(own):
        return Labels(names=names, ids=tuple(own))
    return Labels.from_names(names)
