"""The folder that trainers are given, written from labelled pictures."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from quorate import pictures
from quorate._version import __version__
from quorate.dataset import Dataset, Image, own_name
from quorate.errors import ImageError, InputError, QuorateError
from quorate.formats import write
from quorate.progress import Progress, silent
from quorate.spec.trainer import ContainerTrainer, Trainer
from quorate.spec.training import Training
from quorate.steps.work import fingerprint, read_json, write_json
from quorate.storage import local_copy, open_tree, safe_name, write_bytes, writing
from quorate.storage.records import piece_of
from quorate.training.split import PARTS, TEST, TRAIN, VALIDATION, hashed, split
from quorate.training.truth import CVATS_FRAME, FRAMES, inside, labelled
from quorate.training.work import Part, Prepared, TrainerWork, TrainingWork
from quorate.workers import in_threads

PLAIN = ("JPEG", "PNG")
"""Formats, upright and in RGB or grey, that every framework reads alike: copied as they are."""
DEPTH = 24
"""The byte of a PNG that says how many bits a channel has: IHDR comes first."""
CHECKPOINT = "checkpoint"


class _Read(NamedTuple):
    """A picture as it was written: its place, its size as shown, its hash."""

    image: Image
    hash: int
    rewritten: bool


def prepare(training: Training, work: TrainingWork, *, progress: Progress = silent) -> Prepared:
    """Read the labelled pictures, split them, and write `data/` and `test/` of the work folder.

    What is prepared with just this input is left alone. Raises InputError where nothing can be
    learnt, StorageError or AccessError where the pictures cannot be reached, BusyError where
    another process is at work in the folder.
    """
    pictures.allow(training.max_pixels)
    dataset = labelled(training)
    with open_tree(dataset.root) as tree:
        stamps = tree.stamps(image.file_name for image in dataset.images)
    inputs = _inputs(training, dataset, stamps)
    if (there := prepared(work)) is not None and there.fingerprint == inputs:
        return there
    for folder in (work.data, work.test):
        shutil.rmtree(folder, ignore_errors=True)
    work.prepared.unlink(missing_ok=True)
    dataset, hashes = _copied(dataset, work.data / "images", progress)
    dataset = inside(dataset)
    part, said = split(dataset, hashes, training.split)
    done = _written(dataset, part, work)
    done = msgspec.structs.replace(done, fingerprint=inputs, notes=(*dataset.notes, *said))
    write_bytes(work.spec_file, training.to_yaml().encode())
    write_json(work.prepared, done)
    return done


def prepared(work: TrainingWork) -> Prepared | None:
    """What was prepared in a work folder; None before."""
    return read_json(work.prepared, Prepared) if work.prepared.exists() else None


def _inputs(training: Training, dataset: Dataset, stamps: Sequence[str]) -> str:
    """A digest of all that the folder depends on."""
    shapes = dataset.annotations
    assert shapes is not None  # of a labelled data set
    columns = (shapes.image_id, shapes.category_id, shapes.kind, shapes.xyxy, shapes.iscrowd)
    return fingerprint(
        __version__,
        training.split.model_dump_json(),
        str(training.max_pixels),
        msgspec.json.encode((dataset.root, dataset.images, dataset.labels.names, stamps)),
        *(np.ascontiguousarray(column).tobytes() for column in columns),
        shapes.points.values.tobytes(),
    )


def _copied(dataset: Dataset, to: Path, progress: Progress) -> tuple[Dataset, NDArray[np.uint64]]:
    """Write the pictures below `to`, upright; those that could be read, and (p,) their hashes."""
    lock, done = Lock(), 0
    faults: list[str] = []
    with open_tree(dataset.root) as tree:

        def copy(image: Image) -> _Read | None:
            nonlocal done
            try:
                return _copy(image, tree.read(image.file_name), to)
            except (ImageError, InputError) as error:
                faults.append(error.message)
                return None
            finally:
                with lock:
                    done += 1
                    progress("pictures", done, len(dataset.images))

        read = [one for one in in_threads(copy, dataset.images) if one is not None]
    notes = list(dataset.notes)
    if not read:
        raise InputError(
            f"{dataset.root}: none of {len(dataset.images):,} pictures could be read: "
            f"{min(faults)}",
            hint=FRAMES
            if CVATS_FRAME.search(dataset.images[0].name)
            else "an export without its pictures? say where they are: `images: FOLDER`",
        )
    if faults:
        notes.append(
            f"{len(faults):,} of {len(dataset.images):,} pictures could not be read and are left "
            f"out with their boxes: {min(faults)}"
        )
    stated = {image.id: (image.width, image.height) for image in dataset.images}
    wrong = [
        one.image
        for one in read
        if all(stated[one.image.id]) and stated[one.image.id] != (one.image.width, one.image.height)
    ]
    if wrong:
        width, height = stated[wrong[0].id]
        raise InputError(
            f"{len(wrong):,} pictures have another size than the labels say: {wrong[0].file_name} "
            f"is {wrong[0].width} × {wrong[0].height}, not {width} × {height}.",
            hint="name the pictures that were labelled: `images: FOLDER`",
        )
    if rewritten := sum(one.rewritten for one in read):
        notes.append(
            f"{rewritten:,} pictures are written anew as PNG: turned by EXIF, or neither JPEG nor "
            "PNG of 8 bits."
        )
    images = tuple(one.image for one in read)
    for name, count in Counter(image.file_name for image in images).items():
        if count > 1:
            raise InputError(
                f"{dataset.root}: {count} pictures would be written as '{name}'.",
                hint="give them names that differ in more than their endings",
            )
    hashes = np.array([one.hash for one in read], np.uint64)
    return replace(dataset, images=images, notes=tuple(notes)), hashes


def _copy(image: Image, data: bytes, to: Path) -> _Read:
    """Write one picture, as it is where every framework reads it alike."""
    shown = pictures.decode(data, name=image.file_name)
    height, width = shown.shape[:2]
    with Pillow.open(BytesIO(data)) as opened:
        kind, mode = opened.format, opened.mode
        plain = kind in PLAIN and mode in ("RGB", "L") and opened.size == (width, height)
        plain = plain and not pictures.turned(opened)
        plain = plain and (kind != "PNG" or data[DEPTH] == 8)  # Pillow calls 16 bits RGB too
    name = image.file_name
    if piece_of(name):
        name = safe_name(own_name(image), origin=image.file_name)
    if plain:
        if not name.lower().endswith((".jpg", ".jpeg", ".png")):
            name += f".{kind}".lower()
        with writing(to / name) as file:
            file.write(data)
    else:
        name = f"{name}.png"
        with writing(to / name) as file:
            Pillow.fromarray(shown).save(file, format="PNG", compress_level=1)
    moved = msgspec.structs.replace(
        image, file_name=name, width=width, height=height, published_as=""
    )
    return _Read(moved, hashed(shown), not plain)


def _written(dataset: Dataset, part: NDArray[np.int8], work: TrainingWork) -> Prepared:
    """Write the annotations of each part, and the labels; what is in each part."""
    shapes = dataset.annotations
    assert shapes is not None  # of a labelled data set
    parts: list[Part] = []
    for number, name in enumerate(PARTS):
        chosen = np.flatnonzero(part == number)
        images = tuple(dataset.images[i] for i in chosen)
        own = shapes.take(np.isin(shapes.image_id, [image.id for image in images]))
        boxes = np.bincount(own.category_id - 1, minlength=len(dataset.labels))
        parts.append(Part(len(images), tuple(boxes.tolist())))
        if not images:
            continue
        folder = work.test if number == TEST else work.data
        for image in images if number == TEST else ():
            place = folder / "images" / image.file_name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(work.data / "images" / image.file_name, place)
        one = replace(dataset, images=images, info={})
        write(one, own, folder / f"{name}.json", format="coco")
        if number != TRAIN and not len(own):
            raise InputError(
                f"No box is on the {len(images):,} pictures held out for {name}, so nothing can be "
                "measured on them.",
                hint="another seed or share: `split: {validation: 0.3}`",
            )
    if not sum(parts[TRAIN].boxes):
        raise InputError(
            "No box is on the pictures to learn from: all lie on those held out.",
            hint="another seed or share: `split: {validation: 0.1}`",
        )
    text = "".join(f"{name}\n" for name in dataset.labels.names)
    write_bytes(work.data / "labels.txt", text.encode())
    test = parts[TEST] if parts[TEST].images else None
    return Prepared("", dataset.labels.names, parts[TRAIN], parts[VALIDATION], test)


def give(trainer: Trainer, work: TrainingWork, own: TrainerWork) -> str:
    """Make a trainer's `data/`: what was prepared, and its settings; their fingerprint.

    Pictures are links, save for a program that nothing keeps from writing into them: the others,
    and who judges, would see that. A checkpoint is put below it, so that the folder is all that
    the process needs. Raises InputError where the checkpoint is not there, StorageError or
    AccessError where its store cannot be reached.
    """
    there = prepared(work)
    if there is None:
        raise InputError(f"{work.root}: nothing is prepared here.")
    shutil.rmtree(own.data, ignore_errors=True)
    free = isinstance(trainer, ContainerTrainer) and not trainer.image
    _copy_all(work.data, own.data, shutil.copyfile if free else _linked)
    settings = trainer.settings
    digest: list[str | bytes] = [there.fingerprint, msgspec.json.encode(settings)]
    if trainer.checkpoint is not None:
        settings["checkpoint"] = _checkpoint(trainer.checkpoint, own.data / CHECKPOINT, digest)
    write_bytes(
        own.data / "trainer.json", msgspec.json.format(msgspec.json.encode(settings), indent=1)
    )
    return fingerprint(*digest)


def _copy_all(source: Path, target: Path, copy: Callable[[Path, Path], object]) -> None:
    """Copy a folder up to the first file that fails: a full disk is told once."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_all(path, target / path.name, copy)
        else:
            copy(path, target / path.name)


def _linked(source: Path, target: Path) -> None:
    """The same file at another place, without its bytes twice where the disk can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _checkpoint(location: str, to: Path, digest: list[str | bytes]) -> str:
    """Copy a checkpoint below a folder; its path relative to the data folder."""
    try:
        with local_copy(location) as here:
            if here.is_dir():
                _copy_all(here, to, shutil.copyfile)
            else:
                to.mkdir(parents=True)
                shutil.copyfile(here, to / here.name)
    except QuorateError as error:
        raise type(error)(
            f"The checkpoint cannot be had: {error.message}",
            hint=error.hint or "a folder in S3 ends with '/'",
        ) from None
    for path in sorted(one for one in to.rglob("*") if one.is_file()):
        with open(path, "rb") as file:
            digest += [path.name, hashlib.file_digest(file, "sha256").digest()]
    files = list(to.iterdir())
    single = len(files) == 1 and not here.is_dir() and files[0].is_file()
    return f"{CHECKPOINT}/{files[0].name}" if single else CHECKPOINT
