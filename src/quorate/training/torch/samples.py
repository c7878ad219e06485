"""Pictures and their objects as a trainer sees them: read, changed by chance, in batches.

What a picture looks like in an epoch follows from the seed, the epoch and its position alone: not
from how many threads read pictures, nor from where a killed training went on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate import pictures
from quorate.annotations import HAVE_A_BOX
from quorate.dataset import Dataset
from quorate.errors import InputError
from quorate.masks import Masks
from quorate.masks.shapes import rectangles
from quorate.storage import read_bytes

LEAST_SHOWN = 0.3
"""The share of an object that must be left in a crop, or it is no object there."""
SMALLEST_CROP = 0.6
AHEAD = 2
"""Batches that are read before they are needed."""


class Sample(NamedTuple):
    """A picture and its objects.

    picture  uint8    (height, width, 3)  RGB
    xyxy     float32  (n, 4)  pixels of the picture, x2 and y2 exclusive
    label    int64    (n,)    position in the labels
    masks    bool     (n, height, width), or None where none are learnt
    """

    picture: NDArray[np.uint8]
    xyxy: NDArray[np.float32]
    label: NDArray[np.int64]
    masks: NDArray[np.bool_] | None = None

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Sample:
        """The objects of an index array or a mask."""
        masks = None if self.masks is None else self.masks[rows]
        return Sample(self.picture, self.xyxy[rows], self.label[rows], masks)


@dataclass(frozen=True)
class Samples:
    """The pictures of one part of the data, and what is on them; see `Samples.of`."""

    dataset: Dataset
    rows: tuple[NDArray[np.int64], ...]
    xyxy: NDArray[np.float32]
    label: NDArray[np.int64]
    masks: Masks | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, *, masks: bool = False) -> Samples:
        """The objects of a labelled data set; boxes are cut at the picture's edge.

        Crowds, which stand for many objects, and boxes without any area inside the picture are
        left out and counted in `notes`. With `masks`, an object that has none is its box. Raises
        InputError where nothing is left.
        """
        shapes = dataset.annotations
        if shapes is None or not len(shapes):
            raise InputError(f"{dataset.root}: nothing is labelled, so nothing can be learnt.")
        shapes = shapes.take(np.isin(shapes.kind, HAVE_A_BOX))
        sizes = {image.id: (image.width, image.height) for image in dataset.images}
        limit = np.array([sizes[i] * 2 for i in shapes.image_id.tolist()], np.float64)
        xyxy = shapes.enclosing().clip(0, limit.reshape(-1, 4)).astype(np.float32)
        empty = (xyxy[:, 2] <= xyxy[:, 0]) | (xyxy[:, 3] <= xyxy[:, 1])
        kept = np.flatnonzero(~shapes.iscrowd & ~empty)
        notes = []
        if crowds := int(shapes.iscrowd.sum()):
            notes.append(f"{crowds:,} crowds are not learnt from.")
        if flat := int((empty & ~shapes.iscrowd).sum()):
            notes.append(f"{flat:,} boxes have no area inside their picture and are left out.")
        if not len(kept):
            raise InputError(
                f"{dataset.root}: no box is left to learn from. {' '.join(notes)}".rstrip()
            )
        shapes, xyxy = shapes.take(kept), xyxy[kept]
        label = dataset.labels.positions(shapes.category_id)
        unseen = sorted(set(range(len(dataset.labels))) - set(label.tolist()))
        if unseen:
            names = ", ".join(f"'{dataset.labels.names[i]}'" for i in unseen[:5])
            more = "" if len(unseen) <= 5 else ", …"
            notes.append(f"There is no object of {names}{more} to learn from.")
        found = None
        if masks:
            drawn = shapes.to_masks(sizes)
            found = Masks.nothing(len(shapes)) if drawn is None else drawn
            without = np.flatnonzero(~found.there)
            size = np.array([sizes[i][::-1] for i in shapes.image_id.tolist()], np.int32)
            found = found.put(without, rectangles(xyxy[without], size[without]))
            if len(without):
                notes.append(f"{len(without):,} objects have no mask and are learnt as rectangles.")
        order = np.argsort(shapes.image_id, kind="stable")
        ids, wanted = shapes.image_id[order], [image.id for image in dataset.images]
        starts, ends = (np.searchsorted(ids, wanted, side) for side in ("left", "right"))
        rows = tuple(order[s:e] for s, e in zip(starts.tolist(), ends.tolist(), strict=True))
        return cls(dataset, rows, xyxy, label, found, tuple(notes))

    def __len__(self) -> int:
        return len(self.dataset.images)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The pixels of a picture; ImageError where they cannot be read."""
        name = self.dataset.images[index].file_name
        return pictures.decode(read_bytes(Path(self.dataset.root) / name), name=name)

    def sample(self, index: int) -> Sample:
        """A picture as it is, with its objects."""
        rows, picture = self.rows[index], self.picture(index)
        masks = None
        if self.masks is not None:
            masks = np.zeros((len(rows), *picture.shape[:2]), bool)
            for i, row in enumerate(rows.tolist()):
                masks[i] = self.masks.bitmap(row)
        return Sample(picture, self.xyxy[rows], self.label[rows], masks)


def order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """In which order the pictures of an epoch are seen: int64 (count,)."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def changed(sample: Sample, changes: Sequence[str], draw: np.random.Generator) -> Sample:
    """A sample changed by chance: mirrored, turned, cropped, in other light."""
    picture, xyxy, label, masks = sample
    height, width = picture.shape[:2]
    for name, axis in (("hflip", 1), ("vflip", 0)):
        if name in changes and draw.random() < 0.5:
            picture = np.flip(picture, axis)
            masks = None if masks is None else np.flip(masks, axis + 1)
            first, last, side = (0, 2, width) if axis else (1, 3, height)
            xyxy = xyxy.copy()
            xyxy[:, [first, last]] = side - xyxy[:, [last, first]]
    if "rot90" in changes and (turns := int(draw.integers(4))):
        picture = np.rot90(picture, turns)
        masks = None if masks is None else np.rot90(masks, turns, (1, 2))
        for _ in range(turns):  # counter-clockwise: (x, y) goes to (y, width - x)
            x1, y1, x2, y2 = xyxy.T
            xyxy = np.stack([y1, width - x2, y2, width - x1], axis=1)
            height, width = width, height
    sample = Sample(picture, xyxy.astype(np.float32), label, masks)
    if "crop" in changes and draw.random() < 0.5:
        sample = _cropped(sample, draw)
    if "colour" in changes:
        gain = draw.uniform(0.7, 1.3, 3) * draw.uniform(0.8, 1.2)
        shifted = sample.picture * gain + draw.uniform(-20, 20)
        sample = sample._replace(picture=shifted.clip(0, 255).astype(np.uint8))
    return sample._replace(picture=np.ascontiguousarray(sample.picture))


def _cropped(sample: Sample, draw: np.random.Generator) -> Sample:
    """A window of the picture, with the objects of which enough is left."""
    height, width = sample.picture.shape[:2]
    h, w = (max(round(s * draw.uniform(SMALLEST_CROP, 1.0)), 1) for s in (height, width))
    top, left = int(draw.integers(height - h + 1)), int(draw.integers(width - w + 1))
    moved = (sample.xyxy - [left, top, left, top]).clip(0, [w, h, w, h]).astype(np.float32)
    shown = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    whole = (sample.xyxy[:, 2:] - sample.xyxy[:, :2]).prod(axis=1)
    masks = None
    if sample.masks is not None:
        masks = sample.masks[:, top : top + h, left : left + w]
    window = Sample(sample.picture[top : top + h, left : left + w], moved, sample.label, masks)
    return window.take(shown >= LEAST_SHOWN * whole)


@dataclass(frozen=True)
class Batches:
    """The steps of a training, each the pictures that it sees; a pure function of the seed."""

    samples: Samples
    batch_size: int
    changes: tuple[str, ...]
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; the last has what is left."""
        return -(-len(self.samples) // self.batch_size)

    def indexes(self, step: int) -> NDArray[np.int64]:
        """Which pictures a step sees."""
        epoch, position = divmod(step, self.per_epoch)
        start = position * self.batch_size
        return order(len(self.samples), seed=self.seed, epoch=epoch)[
            start : start + self.batch_size
        ]

    def sample(self, step: int, index: int) -> Sample:
        """One picture of a step, changed as it is in that step's epoch."""
        draw = np.random.default_rng((self.seed, 1 + step // self.per_epoch, index))
        return changed(self.samples.sample(index), self.changes, draw)

    def read(
        self, first: int, last: int, *, share: tuple[int, int] = (0, 1), threads: int = 2
    ) -> Iterator[tuple[int, list[Sample]]]:
        """The steps `first` to before `last`, read ahead by threads.

        `share` is (rank, processes): the part of each step's pictures that is wanted.
        """
        rank, processes = share
        with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
            ahead: dict[int, list[Future[Sample]]] = {}
            try:
                for step in range(first, last):
                    for later in range(step, min(step + AHEAD + 1, last)):
                        if later not in ahead:
                            wanted = self.indexes(later)[rank::processes].tolist()
                            ahead[later] = [pool.submit(self.sample, later, i) for i in wanted]
                    yield step, [one.result() for one in ahead.pop(step)]
            finally:
                pool.shutdown(cancel_futures=True)
