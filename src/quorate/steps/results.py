"""Results: what the steps before publish left in the work folder, shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quorate.classifications import Classifications
from quorate.dataset import Dataset, Image
from quorate.detections import Detections, Members
from quorate.labels import UNMAPPED, Labels
from quorate.steps.measure import refuse_none
from quorate.steps.work import Manifest, Skipped, Work, read_json

NOBODY = Members(np.zeros(1, np.int64), np.empty(0, np.int16), np.empty(0, np.float32))
"""The members of no box."""


class Results:
    """A work folder in which every shard is fused; boxes are read when asked for, a shard a time.

    plan       what prepare found
    labels     the vocabulary
    detectors  the names that boxes bear: the ensemble's detectors, and the views that vote
    shards     the numbers of the shards that have a picture which can be read
    """

    def __init__(self, work: Work, voters: Mapping[str, Sequence[str]]) -> None:
        """Of a work folder, and each detector's voters (see `Detector.voters`)."""
        self.plan = work.plan()
        self.detectors = tuple(voter for names in voters.values() for voter in names)
        self._work = work
        self._folders = tuple(voters)
        every = range(self.plan.shards)
        listed = {k: work.images(k) for k in every} if self.plan.apart else {}
        self._unmeasured = tuple(one for found in listed.values() for one in found.skipped)
        self.shards = [k for k in every if not listed or listed[k].images]
        refuse_none(len(self.shards), self._unmeasured, self.plan.data)

    @cached_property
    def images(self) -> tuple[Image, ...]:
        """Every readable picture, in the data set's order."""
        return tuple(image for shard in self.shards for image in self.shard_images(shard))

    def shard_images(self, shard: int) -> tuple[Image, ...]:
        """The pictures of one shard."""
        return self._work.images(shard).images

    @cached_property
    def ids(self) -> dict[int, NDArray[np.int64]]:
        """The image ids of each shard."""
        return {k: np.array([i.id for i in self.shard_images(k)], np.int64) for k in self.shards}

    @property
    def count(self) -> int:
        """How many pictures could be read."""
        return sum(map(len, self.ids.values()))

    def images_on(self, image_ids: NDArray[np.int64]) -> tuple[Image, ...]:
        """A few pictures of any shards, in the data set's order."""
        wanted = set(image_ids.tolist())
        return tuple(
            image
            for shard in self._holding(image_ids)
            for image in self.shard_images(shard)
            if image.id in wanted
        )

    def _holding(self, image_ids: NDArray[np.int64]) -> list[int]:
        """The shards of some pictures."""
        return [shard for shard, ids in self.ids.items() if np.isin(ids, image_ids).any()]

    @cached_property
    def labels(self) -> Labels:
        """The vocabulary."""
        return self._work.listed(0).labels

    @cached_property
    def fusions(self) -> dict[int, Manifest]:
        """What fusion said of each shard."""
        return {
            shard: read_json(self._work.fused(shard) / "manifest.json", Manifest)
            for shard in self.shards
        }

    @cached_property
    def manifests(self) -> dict[str, tuple[Manifest, ...]]:
        """What each detector said of the shards in which it took part."""
        return {
            name: tuple(
                read_json(self._work.detections(shard, name) / "manifest.json", Manifest)
                for shard in self.shards
                if name in self.fusions[shard].detectors
            )
            for name in self._folders
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many boxes bear each name, where the detector took part."""
        counts = dict.fromkeys(self.detectors, 0)
        for name, shards in self.manifests.items():
            for manifest in shards:
                for voter, boxes in (manifest.boxes or {name: manifest.detections}).items():
                    counts[voter] += boxes
        return counts

    @cached_property
    def skipped(self) -> tuple[Skipped, ...]:
        """Each picture that some step could not read, once."""
        found = [*self.plan.skipped, *self._unmeasured]
        found += [s for shards in self.manifests.values() for one in shards for s in one.skipped]
        return tuple({skipped.file_name: skipped for skipped in reversed(found)}.values())[::-1]

    @cached_property
    def failed(self) -> dict[str, str]:
        """The detectors that failed in some shard, and why they did in the first such."""
        failed: dict[str, str] = {}
        for fusion in self.fusions.values():
            failed = fusion.failed | failed
        return failed

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the steps remarked, each remark once."""
        found = [*self.plan.notes]
        found += [n for shards in self.manifests.values() for one in shards for n in one.notes]
        for name, shards in self.manifests.items():
            dropped = sum((Counter(one.dropped) for one in shards), Counter[str]())
            found += [f"{name}: {count:,} boxes {why}." for why, count in dropped.items()]
        return tuple(dict.fromkeys(found))

    @property
    def about(self) -> dict[str, dict[str, str]]:
        """What each detector's model was taken for, where it tells."""
        told = {name: shards[0].about for name, shards in self.manifests.items() if shards}
        return {name: about for name, about in told.items() if about}

    def dataset(self) -> Dataset:
        """What its source says of the data set as prepared; the pictures too if it annotates them.

        The source may say more than was asked; labels that the ensemble does not know and pictures
        that could not be read are no part of the truth.
        """
        from quorate.formats import read

        told = self.plan.source
        if told and not told.annotated:
            return Dataset(
                self.plan.root,
                (),
                self.labels,
                name=told.name,
                label_info=told.label_info,
                info=told.info,
            )
        source = read(self.plan.data)
        truth = source.annotations
        if truth is not None:
            known = np.isin(truth.image_id, [image.id for image in self.images])
            known &= self.labels.positions(truth.category_id) != UNMAPPED
            truth = truth.take(known)
        return replace(source, images=self.images, labels=self.labels, annotations=truth)

    def detections(self, shard: int) -> Detections:
        """The boxes of the detectors that took part in a shard; all detectors' names are known."""
        took_part = [name for name in self._folders if name in self.fusions[shard].detectors]
        folders = [self._work.detections(shard, name) for name in took_part]
        found = [Detections.from_parquet(folder / "detections.parquet") for folder in folders]
        return Detections.concat([Detections.empty(self.detectors), *found])

    def fused(self, shard: int) -> Detections:
        """What the quorum decided on a shard."""
        return Detections.from_parquet(self._work.fused(shard) / Detections.FILE)

    def labels_of(self, shard: int) -> Classifications:
        """Likewise of an ensemble of classifiers."""
        return Classifications.from_parquet(self._work.fused(shard) / Classifications.FILE)

    def kept(self, shard: int, lowest: float) -> Detections:
        """Of these, the boxes that score at least so much; every shard's name the same voters."""
        fused = self.fused(shard)
        if fused.detectors != self._voters:
            named = replace(Detections.empty(self._voters), members=NOBODY)
            fused = Detections.concat([named, fused])
        return fused.take(fused.score >= lowest)

    @cached_property
    def _voters(self) -> tuple[str, ...]:
        """The names of those that took part in some shard, in order of sight."""
        return tuple(dict.fromkeys(n for one in self.fusions.values() for n in one.detectors))

    @property
    def decided(self) -> int:
        """How many boxes the quorum made in all."""
        return sum(manifest.detections for manifest in self.fusions.values())

    def on(self, image_ids: NDArray[np.int64], read: Callable[[int], Detections]) -> Detections:
        """What `read` (`detections` or `fused`) gives on a few pictures of any shards."""
        found = map(read, self._holding(image_ids) or self.shards[:1])
        return Detections.concat(
            [boxes.take(np.isin(boxes.image_id, image_ids)) for boxes in found]
        )
