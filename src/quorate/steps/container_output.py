"""What a container left of a shard, held to the step contract rule by rule."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.columns import read_table
from quorate.dataset import Dataset
from quorate.detections import Detections, masks_of_table
from quorate.detectors.base import Boxes
from quorate.detectors.container import ContainerDetector
from quorate.errors import FormatError, InputError, LabelError, did_you_mean
from quorate.labels import LabelMapping, map_labels
from quorate.steps.boxes import as_columns, checked
from quorate.steps.work import ShardImages, Skipped, read_json

if TYPE_CHECKING:
    from quorate.formats.detections.columns import Results

GIVEN = "given.parquet"
"""What a container's Parquet file is called once ours has taken its place."""
COLUMNS = ("image_id", "category_id", "x1", "y1", "x2", "y2", "score")
"""Those of a container's Parquet file; further ones are left alone."""


class Stated(msgspec.Struct, frozen=True):
    """A container's `manifest.json`; `fingerprint` stands in it once it is adopted."""

    images: int
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Left:
    """What a container left of a shard. Each property raises what is wrong with that part."""

    folder: Path
    contents: ShardImages
    detector: ContainerDetector

    @cached_property
    def stated(self) -> Stated:
        """The manifest, which counts all pictures of the shard."""
        path = self.folder / "manifest.json"
        if not _there(path):
            raise InputError(
                f"{path}: there is no such file.",
                hint="write it when all else is written: it says that the boxes are whole",
            )
        stated = read_json(path, Stated)
        expected = len(self.contents.images)
        if stated.images != expected:
            raise InputError(
                f"{path}: counts {stated.images} pictures, but images.json has {expected}."
            )
        return stated

    @cached_property
    def file(self) -> Path:
        """The file of boxes, as the container wrote it."""
        for name in ("detections.json", GIVEN, "detections.parquet"):
            if _there(self.folder / name):
                return self.folder / name
        raise InputError(
            f"{self.folder}: there is neither detections.json nor detections.parquet.",
            hint="a shard without a box has an empty list: []",
        )

    @cached_property
    def results(self) -> Results:
        """Its columns: every box with a corner before another, every number finite."""
        if self.file.suffix == ".json":
            from quorate.formats.coco.results_reading import read_results

            return read_results(str(self.file))
        return _from_parquet(self.file)

    @cached_property
    def drawn(self) -> Results:
        """The same with polygons as masks, for images.json tells how large each picture is."""
        images = [self.contents.images[position] for position in self.positions]
        return self.results.drawn([(image.height, image.width) for image in images])

    @property
    def image(self) -> NDArray[np.int64]:
        """(n,) positions in images.json."""
        return np.array(self.positions, np.int64)[self.results.image]

    @cached_property
    def positions(self) -> list[int]:
        """In images.json, of `results.image_ids`: pictures named by number or by file name."""
        from quorate.formats.detections.matching import pictures_of

        images = self.contents.images
        listed = Dataset("images.json", images, self.contents.labels)
        ids = pictures_of(self.results.image_ids, str(self.file), listed)
        by_id = {image.id: position for position, image in enumerate(images)}
        return [by_id[known] for known in ids.tolist()]

    @cached_property
    def label(self) -> tuple[LabelMapping, NDArray[np.int32]]:
        """Its labels onto those of the data set, and for each box the position of its label."""
        words = [self._word(known) for known in self.results.category_ids]
        known = tuple(self.detector.words.values()) or tuple(dict.fromkeys(words))
        if not known:
            return LabelMapping(np.empty(0, np.int32), (), ()), np.empty(0, np.int32)
        # Without `names` it is not known what else it might have found.
        renamed = {k: v for k, v in self.detector.labels.items() if k in known}
        mapping = map_labels(known, self.contents.labels, renamed, detector=self.detector.name)
        if not self.detector.names:
            mapping = replace(mapping, never_predicted=())
        positions = np.array([known.index(word) for word in words], np.int32)
        return mapping, positions[self.results.category]

    def _word(self, known: int | str) -> str:
        table, labels = self.detector.words, self.contents.labels
        if isinstance(known, str):
            if table and known not in table.values():
                raise LabelError(
                    f"{self.file}: its label '{known}' is not among the detector's `names`.",
                    hint=did_you_mean(known, table.values()),
                )
            return known
        if not table and known not in labels.ids:
            numbered = ", ".join(f"{i}: {n}" for i, n in zip(labels.ids, labels.names, strict=True))
            raise LabelError(
                f"{self.file}: its category_id {known} is not one of images.json ({numbered}).",
                hint="give words in place of numbers, or list the detector's `names` in the spec",
            )
        if table and known not in table:
            raise LabelError(
                f"{self.file}: its category_id {known} is not among the detector's `names`."
            )
        return table[known] if table else labels.name_of(known)

    @cached_property
    def outside(self) -> int:
        """How many boxes reach more than a pixel out of their picture.

        Raises FormatError where boxes are not in pixels, or mostly outside of their pictures.
        """
        xyxy = self.results.xyxy
        sizes = np.array([(i.width, i.height) for i in self.contents.images], np.float32)
        if not len(xyxy):
            return 0
        if xyxy[:, 2:].max() <= 1.01 and sizes.min() > 2:
            raise FormatError(
                f"{self.file}: its boxes lie within 0..1, but they are to be in pixels."
            )
        size = sizes[self.image]
        out = (xyxy[:, :2] < -1).any(axis=1) | (xyxy[:, 2:] > size + 1).any(axis=1)
        beyond = (xyxy[:, :2] >= size).any(axis=1) | (xyxy[:, 2:] <= 0).any(axis=1)
        if beyond.mean() > 0.5:
            raise FormatError(
                f"{self.file}: {int(beyond.sum()):,} of its {len(xyxy):,} boxes lie wholly outside "
                "of their pictures.",
                hint="a box is in pixels of its picture as images.json has its size, EXIF "
                "orientation applied",
            )
        return int(np.count_nonzero(out))

    @property
    def boxes(self) -> Detections:
        """Held to what every detector's boxes are held to, in the order of images.json."""
        mapping, label = self.label
        found = Boxes(self.results.xyxy, self.results.score, label, self.drawn.masks)
        order = np.argsort(self.image, kind="stable")
        starts = np.searchsorted(self.image[order], np.arange(len(self.contents.images) + 1))
        kept = []
        for position, image in enumerate(self.contents.images):
            mine = found.take(order[starts[position] : starts[position + 1]])
            kept.append(checked(mine, self.detector, mapping, (image.height, image.width)))
        image_ids = [image.id for image in self.contents.images]
        return as_columns(kept, image_ids, (self.detector.name,))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, a sentence each."""
        name, count = self.detector.name, len(self.results.score)
        notes = [*self.stated.notes, *self.label[0].report(name)]
        if self.outside:
            notes.append(
                f"{name}: {self.outside:,} of {count:,} boxes reach out of their picture; they are "
                "cut at its edge."
            )
        if left_out := self.drawn.undrawn:
            notes.append(
                f"{name}: {left_out:,} polygons are left out, of pictures whose size is not known."
            )
        return tuple(notes)


def _there(path: Path) -> bool:
    """Whether there is such a file; InputError for a link, which might lead to anybody's file."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise InputError(
            f"{path}: is a link, or no file at all.", hint="write the file itself into the folder"
        )
    return path.exists()


RULES: tuple[tuple[str, Callable[[Left], object]], ...] = (
    ("manifest.json counts every picture of images.json", lambda left: left.stated),
    ("detections.json or detections.parquet holds its boxes", lambda left: left.file),
    ("every box has four finite numbers and a score in 0..1", lambda left: left.results),
    ("every picture is one of images.json", lambda left: left.positions),
    ("every label is one of images.json, or mapped onto one", lambda left: left.label),
    ("boxes are in pixels of their picture", lambda left: left.outside),
)
"""What a container must keep: a sentence, and what raises where it does not."""


def _from_parquet(path: Path) -> Results:
    """The columns of a container's Parquet file; FormatError for what no box can be."""
    from quorate.formats.detections.columns import Results

    table = read_table(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise FormatError(
            f"{path}: has no column {', '.join(missing)} (it has {', '.join(table.column_names)})."
        )
    if any(table[name].null_count for name in COLUMNS):
        raise FormatError(f"{path}: a value is missing (null).")

    def told_apart(name: str) -> tuple[list[int | str], NDArray[np.int32]]:
        distinct, positions = np.unique(table[name].to_numpy(), return_inverse=True)
        if not all(isinstance(value, (int, str)) for value in distinct.tolist()):
            raise FormatError(f"{path}: its {name} is neither whole numbers nor text.")
        return distinct.tolist(), positions.astype(np.int32)

    def numbers(name: str) -> NDArray[np.float32]:
        try:
            return np.asarray(table[name].to_numpy(), np.float32)
        except (TypeError, ValueError):
            raise FormatError(f"{path}: its {name} is not made of numbers.") from None

    xyxy = np.stack([numbers(name) for name in COLUMNS[2:6]], axis=1)
    score = numbers("score")
    finite = np.isfinite(xyxy).all(axis=1) & np.isfinite(score)
    for wrong, what in (
        (~finite, "row {} has a number that is NaN or infinite"),
        ((xyxy[:, 2:] < xyxy[:, :2]).any(axis=1), "the box of row {} is inverted"),
        ((score < 0) | (score > 1), "the score of row {} is outside 0..1"),
    ):
        if wrong.any():
            raise FormatError(f"{path}: {what.format(int(wrong.argmax()) + 1)}.")
    image_ids, image = told_apart("image_id")
    category_ids, category = told_apart("category_id")
    return Results(
        image=image,
        category=category,
        xyxy=xyxy,
        score=score,
        votes=np.ones(len(score), np.int16),
        agreement=np.ones(len(score), np.float32),
        detectors=None,
        image_ids=image_ids,
        category_ids=category_ids,
        masks=masks_of_table(table),
    )
