"""prepare: find the pictures and the labels, and cut the data set into shards."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from quorate import pictures
from quorate.dataset import Image
from quorate.errors import InputError, LabelError, SpecError, did_you_mean
from quorate.labels import Labels
from quorate.spec import Ensemble, EnsembleSpec
from quorate.steps import sharding
from quorate.steps.findings import STREAMED
from quorate.steps.measure import measured, misstated, refuse_none, unknown
from quorate.steps.work import (
    Category,
    Earlier,
    Key,
    Plan,
    ShardImages,
    Skipped,
    Source,
    Work,
    fingerprint,
    read_json,
    write_json,
)
from quorate.storage import open_tree, write_bytes

MEASURED_BYTES, WRITTEN_BYTES = 12_000, 4_000
"""Of a picture with five objects that three detectors see, where publish holds all pictures."""


def prepare(
    ensemble: Ensemble,
    work: Work,
    *,
    labels: Labels | None = None,
    shard_size: int | None = None,
    apart: bool = False,
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Read the data set; write `plan.json`, `spec.yaml` and each shard's `images.json`.

    Pictures keep the data set's order; a shard is a contiguous part of it. A picture whose size
    is not known is asked for it; one that is no picture is left out and listed in the plan. With
    `apart`, and where they are many, that is left to `measure`, a shard at a time (`Plan.apart`).
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
    source = Source(
        annotated=dataset.annotations is not None and len(dataset.annotations) > 0,
        name=dataset.name,
        label_info=dict(dataset.label_info),
        info=dict(dataset.info),
    )
    notes += _held(ensemble, len(dataset.images), annotated=source.annotated)
    with open_tree(dataset.root) as tree:
        odd = misstated(tree, dataset.images)
        apart = apart and sharding.worth_pods(unknown(dataset.images))
        images: tuple[Image, ...] = dataset.images
        skipped: tuple[Skipped, ...] = ()
        if not apart:
            images, skipped = measured(tree, images, progress)
        refuse_none(len(images), skipped, ensemble.data)
        stamps = tree.stamps(image.file_name for image in images)
    categories = Category.each(words)
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
        skipped=skipped,
        notes=(*notes, *odd, *dataset.notes),
        apart=apart,
        source=source,
    )
    _set_aside(work, shards)
    for number, shard in enumerate(shards):
        write_json(work.shard(number) / "images.json", shard)
    write_bytes(work.spec_file, ensemble.to_yaml().encode())
    write_json(work.plan_file, plan)
    return plan


def _held(ensemble: Ensemble, images: int, *, annotated: bool) -> list[str]:
    """A note where publishing very many pictures will take memory that grows with them."""
    if images < sharding.MANY or not isinstance(ensemble, EnsembleSpec):
        return []
    others = [name for name in ensemble.publish.formats if name not in STREAMED]
    why = ["measures them against their annotations"] * annotated
    why += [f"writes {', '.join(others)}"] * bool(others)
    if not why:
        return []
    each = MEASURED_BYTES if annotated else WRITTEN_BYTES
    return [
        f"publish {' and '.join(why)}, for which it holds all boxes at once: about "
        f"{images * each / 1e9:.1f} GB for {images:,} pictures with five objects each. Only "
        f"{' and '.join(STREAMED)}, without annotations, are written in parts. On a cluster, "
        "`workflow: {steps: {publish: {memory: …}}}` gives it more than 8Gi."
    ]


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
    ensemble: Ensemble, images: Sequence[Image], labels: Labels | None
) -> list[str]:
    """What publishing will change, a sentence each, before any work is done.

    Raises InputError for a name that what is to be published cannot hold.
    """
    from quorate.formats.coco.writing import renumbering
    from quorate.formats.cvat.writing import check_names

    formats = set(ensemble.publish.formats)
    if {"cvat", "voc"} & formats:
        check_names(lambda: images, labels.names if labels else ())
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
