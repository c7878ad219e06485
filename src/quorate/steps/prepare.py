"""prepare: find the pictures and the labels, and cut the data set into shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from quorate import pictures
from quorate.dataset import Dataset, Image
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
from quorate.spec import EnsembleSpec
from quorate.steps import sharding
from quorate.steps.work import (
    Category,
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
    ensemble: EnsembleSpec,
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
    `labels` is the vocabulary of last resort, for a plain folder and a spec that names none;
    `notes` are remarks that the summary is to repeat; `shard_size` is chosen where it is None.

    Raises InputError where there is no picture at all or a name that XML cannot hold, SpecError
    where no label is known, StorageError or AccessError where the pictures cannot be reached.
    """
    from quorate.formats import read

    data = ensemble.where()
    dataset = read(data)
    vocabulary = _vocabulary(ensemble, dataset, labels)
    check_publishable(ensemble, dataset.images, vocabulary)
    images, skipped = _measured(dataset, progress)
    if not images:
        raise InputError(f"{ensemble.data}: not one readable picture.")
    categories = tuple(
        Category(i, n) for i, n in zip(vocabulary.ids, vocabulary.names, strict=True)
    )
    size = shard_size or sharding.shard_size(len(images))
    shards = [
        ShardImages(images=images[start : start + size], categories=categories)
        for start in range(0, len(images), size)
    ]
    plan = Plan(
        fingerprint=fingerprint(dataset.root, *(msgspec.json.encode(shard) for shard in shards)),
        data=data,
        root=dataset.root,
        categories=categories,
        shards=len(shards),
        images=len(images),
        skipped=tuple(skipped),
        notes=(*notes, *dataset.notes),
    )
    if not work.plan_file.exists() or read_json(work.plan_file, Plan).shards > plan.shards:
        # A smaller plan would leave shards of the older one behind.
        shutil.rmtree(work.root / "shards", ignore_errors=True)
    for number, shard in enumerate(shards):
        write_json(work.shard(number) / "images.json", shard)
    write_bytes(work.spec_file, ensemble.to_yaml().encode())
    write_json(work.plan_file, plan)
    return plan


def check_publishable(
    ensemble: EnsembleSpec, images: Iterable[Image], labels: Labels | None
) -> None:
    """InputError for a name that what is to be published cannot hold, before any work is done."""
    from quorate.formats.cvat.writing import check_names

    if {"cvat", "voc"} & set(ensemble.publish.formats):
        check_names(tuple(images), labels.names if labels else ())


def _vocabulary(ensemble: EnsembleSpec, dataset: Dataset, fallback: Labels | None) -> Labels:
    """The spec's labels with the data set's category ids; else the data set's; else `fallback`."""
    known = dataset.labels
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
    dataset: Dataset, progress: Callable[[int, int], None]
) -> tuple[tuple[Image, ...], list[Skipped]]:
    """The pictures with their sizes, and those that have none because they are no pictures."""
    if all(image.width and image.height for image in dataset.images):
        return dataset.images, []
    images, skipped = [], []
    with open_tree(dataset.root) as tree:
        for number, found in enumerate(_each(tree, dataset.images), start=1):
            if isinstance(found, Image):
                images.append(found)
            else:
                skipped.append(found)
            progress(number, len(dataset.images))
    return tuple(images), skipped


def _each(tree: Tree, images: Iterable[Image]) -> Iterable[Image | Skipped]:
    def measure(image: Image) -> Image | Skipped:
        if image.width and image.height:
            return image
        try:
            with tree.open(image.file_name) as file:
                width, height = pictures.size(file, name=image.file_name)
        except (AccessError, StorageError):
            raise
        except QuorateError as error:
            return Skipped(image.file_name, error.message)
        return msgspec.structs.replace(image, width=width, height=height)

    with ThreadPoolExecutor(HEADER_READERS) as pool:
        yield from pool.map(measure, images)
