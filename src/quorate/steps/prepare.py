"""prepare: find the pictures and the labels, and cut the data set into shards."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from quorate import pictures
from quorate.dataset import Image
from quorate.errors import (
    AccessError,
    InputError,
    LabelError,
    QuorateError,
    SpecError,
    StorageError,
    did_you_mean,
)
from quorate.labels import Labels
from quorate.spec import Ensemble, EnsembleSpec
from quorate.steps import sharding
from quorate.steps.work import (
    Category,
    Earlier,
    Key,
    Plan,
    ShardImages,
    Skipped,
    Work,
    fingerprint,
    read_json,
    write_json,
)
from quorate.storage import Tree, open_tree, write_bytes

HEADER_READERS = 32  # storage, not the processor, bounds the reading of headers


def prepare(
    ensemble: Ensemble,
    work: Work,
    *,
    labels: Labels | None = None,
    shard_size: int | None = None,
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Read the data set; write `plan.json`, `spec.yaml` and each shard's `images.json`.

    Pictures keep the data set's order; a shard is a contiguous part of it. A picture whose size
    is not known is asked for it; one that is no picture is left out and listed in the plan.
    Shards of an earlier plan that are not the same now are set aside, for detect to take from them
    what is known of pictures whose files have not changed since.
    `labels` is the vocabulary of last resort, for a plain folder and a spec that names none;
    `notes` are remarks that the summary is to repeat; `shard_size` is chosen where it is None.

    Raises InputError where there is no picture at all or a name that XML cannot hold, SpecError
    where no label is known, StorageError or AccessError where the pictures cannot be reached.
    """
    from quorate.formats import read

    data = ensemble.where()
    pictures.allow(ensemble.max_pixels)
    dataset = read(data)
    words = vocabulary(ensemble, dataset.labels, labels)
    notes = [*notes, *check_publishable(ensemble, dataset.images, words)]
    with open_tree(dataset.root) as tree:
        images, skipped, odd = _measured(tree, dataset.images, progress)
        if not images:
            raise InputError(
                f"{ensemble.data}: not one readable picture.",
                hint=f"the first: {skipped[0].reason}" if skipped else None,
            )
        stamps = tree.stamps(image.file_name for image in images)
    categories = tuple(Category(i, n) for i, n in zip(words.ids, words.names, strict=True))
    size = shard_size or sharding.shard_size(len(images))
    shards = [
        ShardImages(images[start : start + size], categories, stamps[start : start + size])
        for start in range(0, len(images), size)
    ]
    plan = Plan(
        data=data,
        root=dataset.root,
        shards=len(shards),
        images=len(images),
        skipped=tuple(skipped),
        notes=(*notes, *odd, *dataset.notes),
    )
    _set_aside(work, shards)
    for number, shard in enumerate(shards):
        write_json(work.shard(number) / "images.json", shard)
    write_bytes(work.spec_file, ensemble.to_yaml().encode())
    write_json(work.plan_file, plan)
    return plan


def _set_aside(work: Work, shards: Sequence[ShardImages]) -> None:
    """Move shards that change to `work.earlier`; say of each new one which of them know of it."""
    for folder in (work.root / "shards").glob("[0-9]*"):
        try:
            contents = read_json(folder / "images.json", ShardImages)
        except InputError:  # not even prepared
            shutil.rmtree(folder)
            continue
        if shards[int(folder.name) :][:1] == [contents]:
            continue
        aside = work.earlier / fingerprint(msgspec.json.encode(contents))[:16]
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
    knowing: defaultdict[Key | None, list[str]] = defaultdict(list)
    for folder in work.earlier.glob("*"):
        for key in read_json(folder / "images.json", ShardImages).keys:
            knowing[key].append(folder.name)
    knowing.pop(None, None)  # files without a stamp
    wanted: set[str] = set()
    for number, shard in enumerate(shards):
        folders = sorted({name for key in shard.keys for name in knowing.get(key, ())})
        wanted.update(folders)
        if folders:
            write_json(work.shard(number) / "earlier.json", Earlier(tuple(folders)))
        else:
            (work.shard(number) / "earlier.json").unlink(missing_ok=True)
    for folder in work.earlier.glob("*"):
        if folder.name not in wanted:
            shutil.rmtree(folder)


def check_publishable(
    ensemble: Ensemble, images: Iterable[Image], labels: Labels | None
) -> list[str]:
    """What publishing will change, a sentence each, before any work is done.

    Raises InputError for a name that what is to be published cannot hold.
    """
    from quorate.formats.coco.writing import renumbering
    from quorate.formats.cvat.writing import check_names

    formats = set(ensemble.publish.formats)
    if {"cvat", "voc"} & formats:
        check_names(tuple(images), labels.names if labels else ())
    if labels and "coco" in formats and isinstance(ensemble, EnsembleSpec):
        said = renumbering(labels, always=ensemble.publish.renumber)
        return [said] if said else []
    return []


def vocabulary(ensemble: Ensemble, known: Labels, fallback: Labels | None) -> Labels:
    """The spec's labels with the ids `known` of the data set; else the data set's; else `fallback`.

    Raises SpecError where there are none, LabelError for one that the data set lacks.
    """
    if not ensemble.labels:
        if len(known):
            return known
        if fallback is None or not len(fallback):
            raise SpecError(
                f"{ensemble.data}: the data set names no labels, nor does the spec.",
                hint="list them in the spec, for example `labels: [car, person]`",
            )
        return fallback
    if not len(known):
        return Labels.from_names(ensemble.labels)
    for name in ensemble.labels:
        if name not in known:
            raise LabelError(
                f"The spec's label '{name}' is not one of the data set's "
                f"({', '.join(known.names)}).",
                hint=did_you_mean(name, known.names),
            )
    return Labels(names=ensemble.labels, ids=tuple(known.id_of(n) for n in ensemble.labels))


def _measured(
    tree: Tree, images: Sequence[Image], progress: Callable[[int, int], None]
) -> tuple[tuple[Image, ...], list[Skipped], list[str]]:
    """The pictures with their sizes, those that have none because they are no pictures, and notes.

    Of those whose size the data set says, some are looked at, and a note tells where it is another.
    """
    stated = {image.id for image in images if image.width and image.height}
    looked = [image for image in images if image.id in stated][:: len(images) // 16 or 1]

    def measure(image: Image) -> Image | QuorateError:
        try:
            with tree.open(image.file_name) as file:
                width, height = pictures.size(file, name=image.file_name)
        except (AccessError, StorageError):
            raise
        except QuorateError as error:
            return error
        return msgspec.structs.replace(image, width=width, height=height)

    asked = [*looked, *(image for image in images if image.id not in stated)]
    found: dict[int, Image | QuorateError] = {}
    with ThreadPoolExecutor(HEADER_READERS) as pool:
        for image, one in zip(asked, pool.map(measure, asked), strict=True):
            found[image.id] = one
            progress(len(found), len(asked))
    others = [
        f"{image.name} is {one.width}x{one.height}, not {image.width}x{image.height}"
        for image in looked
        if isinstance(one := found[image.id], Image) and one != image
    ]
    notes = [
        f"{len(others)} of {len(looked)} pictures looked at are of another size than the data set "
        f"says, the first: {first}; boxes are in pixels of the picture itself, turned as EXIF says."
        for first in others[:1]
    ]
    measured: list[Image] = []
    skipped: list[Skipped] = []
    for image in images:
        one = image if image.id in stated else found[image.id]
        if isinstance(one, Image):
            measured.append(one)
        else:
            skipped.append(Skipped(image.file_name, one.message))
    return tuple(measured), skipped, notes
