"""What every detector found on a labelled data set, detected once and kept in a work folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import HAVE_A_BOX, Annotations
from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.errors import InputError
from quorate.formats import read
from quorate.formats.detections.matching import PictureNames
from quorate.labels import UNMAPPED
from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec
from quorate.steps import Work
from quorate.steps.fuse import refuse_too_few
from quorate.steps.whole import Loaded
from quorate.workers import processors


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled data set and the detectors' own boxes on it, scores as the detectors gave them.

    dataset  the pictures, the labels and the truth
    found    the boxes; `found.detectors` are the voters that took part, whether they found any
             or not
    voters   detector -> its voters among them, see `Detector.voters`
    notes    sentences on what is odd
    """

    dataset: Dataset
    found: Detections
    voters: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    __repr__ = brief

    def take(self, chosen: NDArray[np.bool_]) -> Labelled:
        """The same on some of the pictures: a mask, in the data set's order."""
        images = tuple(i for i, one in zip(self.dataset.images, chosen, strict=True) if one)
        ids = np.array([image.id for image in images], dtype=np.int64)
        truth = self.dataset.annotations
        assert truth is not None  # a labelled data set has it
        truth = truth.take(np.isin(truth.image_id, ids))
        dataset = replace(self.dataset, images=images, annotations=truth)
        found = self.found.take(np.isin(self.found.image_id, ids))
        return replace(self, dataset=dataset, found=found)


def labelled(
    ensemble: EnsembleSpec,
    work: Work,
    *,
    truth: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Labelled:
    """Prepare and detect as a run does, containers too, or take what a run left in the work folder.

    `truth` names a data set whose annotations are the truth; by default the data set's own are.
    A detector that fails on a shard takes no part at all.

    Raises InputError where there is no truth, QuorumError where too few detectors finished,
    BusyError where another process is at work in the folder.
    """
    if ensemble.data is None:
        if truth is None:
            raise InputError(
                "No data: the spec does not say where the labelled pictures are.",
                hint="name them: --fit DATASET",
            )
        ensemble = ensemble.model_copy(update={"data": truth})
    source = read(str(ensemble.data))
    judge = source if truth is None or truth == ensemble.data else read(truth)
    _boxes(judge)  # before any detector is at work
    failed: dict[str, str] = {}
    loaded = Loaded.load(ensemble)
    with work.owned():
        for _, why in loaded.detect(
            work, labels=judge.labels, workers=workers or processors(), progress=progress
        ):
            failed |= why
        work.forget_earlier()
        refuse_too_few(ensemble, failed)
        return _gathered(ensemble, work, source, judge, failed)


def _gathered(
    ensemble: EnsembleSpec, work: Work, source: Dataset, judge: Dataset, failed: dict[str, str]
) -> Labelled:
    """The boxes of the work folder and the truth of `judge`, by the ids of `source`."""
    names = {d.name: d.voters for d in ensemble.detectors if d.name not in failed}
    shards, labels = range(work.plan().shards), work.images(0).labels
    images = tuple(image for shard in shards for image in work.images(shard).images)
    dataset = replace(source, images=images, labels=labels, annotations=None)
    annotations, judged, notes = _truth(judge, dataset)
    found = Detections.concat(
        [Detections.empty([voter for voters in names.values() for voter in voters])]
        + [
            Detections.from_parquet(work.detections(shard, name) / "detections.parquet")
            for shard in shards
            for name in names
        ]
    )
    if len(judged) < len(images):
        notes.append(
            f"{len(images) - len(judged)} of {len(images)} pictures are not among the truth's, so "
            "they are left out."
        )
        dataset = replace(dataset, images=tuple(i for i in images if i.id in judged))
        found = found.take(np.isin(found.image_id, np.array(sorted(judged), dtype=np.int64)))
    notes += [f"{name} failed and takes no part: {why}" for name, why in failed.items()]
    return Labelled(
        dataset=replace(dataset, annotations=annotations),
        found=found,
        voters=names,
        notes=tuple(notes),
    )


def _boxes(judge: Dataset) -> Annotations:
    """The truth's shapes that have a box; InputError where there are none."""
    truth = judge.annotations
    if truth is not None:
        truth = truth.take(np.isin(truth.kind, HAVE_A_BOX))
    if truth is None or not len(truth):
        raise InputError(
            f"{judge.root}: there is no box of truth to measure against.",
            hint="name a labelled data set: --truth instances.json",
        )
    return truth


def _truth(judge: Dataset, dataset: Dataset) -> tuple[Annotations, set[int], list[str]]:
    """The truth with the ids of `dataset`, matched by name; the pictures it covers; notes."""
    truth = _boxes(judge)
    ids = _image_ids(judge, dataset)
    places = judge.labels.positions(truth.category_id)
    own = dict(zip(dataset.labels.names, dataset.labels.ids, strict=True))
    ours = np.array([own.get(name, UNMAPPED) for name in judge.labels.names] or [UNMAPPED])
    category = np.where(places == UNMAPPED, UNMAPPED, ours[places])
    image = np.array([ids.get(i, -1) for i in truth.image_id.tolist()], dtype=np.int64)
    known = (category != UNMAPPED) & (image >= 0)
    if not known.any():
        raise InputError(
            f"{judge.root}: no box of the truth lies on a picture of the data set and has a label "
            "of the ensemble's.",
            hint="are these the labels of the same pictures? they are matched by name",
        )
    moved = replace(truth, image_id=image, category_id=category.astype(np.int32)).take(known)
    notes = []
    seen = set(dataset.labels.positions(moved.category_id).tolist())
    if bare := [name for place, name in enumerate(dataset.labels.names) if place not in seen]:
        notes.append(f"The truth has no box of {', '.join(bare)}: nothing is learnt of that.")
    return moved, set(ids.values()), notes


def _image_ids(judge: Dataset, dataset: Dataset) -> dict[int, int]:
    """The truth's image id -> the data set's: by name, else by a file name that is unique."""
    own = {(i.id, i.file_name) for i in dataset.images} if judge.root == dataset.root else set()
    names = PictureNames(dataset.images)
    ends = Counter(image.file_name.rsplit("/", 1)[-1] for image in judge.images)
    ids = {}
    for image in judge.images:
        end = image.file_name.rsplit("/", 1)[-1]
        ways = (image.name, image.file_name, *([end] if ends[end] == 1 else []))
        meant = (number for way in ways if (number := names.get(way)) is not None)
        found = image.id if (image.id, image.file_name) in own else next(meant, None)
        if found is not None:
            ids[image.id] = found
    return ids
