"""One detector at work on one shard: parts that are finished, pictures that are not yet written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from quorate.dataset import Image
from quorate.detections import Detections
from quorate.detectors.base import Boxes
from quorate.detectors.sanity import causes, suspicions
from quorate.errors import QuorateError, StorageError
from quorate.labels import UNMAPPED
from quorate.spec import Detector
from quorate.steps.checkpoint import Checkpoint
from quorate.steps.voter import Seen, Voter
from quorate.steps.work import (
    Manifest,
    ShardImages,
    Skipped,
    Work,
    read_json,
    write_detections,
    write_json,
)
from quorate.storage import sha256

PART_SIZE = 64
"""Pictures a part: a killed step goes on from its last finished part."""


class Part(msgspec.Struct, frozen=True):
    """That a part is finished; written after its boxes.

    images  how many pictures it has
    digest  SHA-256 of the file of its boxes
    dropped how many boxes the detector left out, by the reason
    notes   what is odd about its boxes
    """

    fingerprint: str
    images: int
    digest: str
    skipped: tuple[Skipped, ...] = ()
    dropped: dict[str, int] = {}
    notes: tuple[str, ...] = ()


@dataclass
class Task:
    """One detector at work on one shard.

    contents    the shard's pictures
    known       what is known of a picture, by its position, from an earlier plan
    position    the first picture that is in no finished part
    failed      why the detector has no vote here, '' while it has
    checkpoint  where finished parts are kept for another machine
    first       whether these are the run's first pictures, whose boxes are looked at
    odd         what was odd about them, '' for nothing
    """

    voter: Voter
    folder: Path
    fingerprint: str
    contents: ShardImages
    checkpoint: Checkpoint | None = None
    first: bool = False
    known: Mapping[int, Seen] = field(default_factory=dict)
    position: int = 0
    failed: str = ""
    odd: str = ""
    boxes: list[tuple[Boxes, ...]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def resume(self) -> None:
        """Count the finished parts of just this input, here and then in the checkpoint.

        Parts of another input are cleared away, and the work begins anew.
        """
        while self._read(self.position):
            self.position += PART_SIZE
        if not self.position:
            shutil.rmtree(self.folder, ignore_errors=True)
        while self.checkpoint and self.checkpoint.take(self._part()) and self._read(self.position):
            self.position += PART_SIZE
        for left in self._part().parent.glob(f"{self._part().name}.*"):
            left.unlink()
        if self.checkpoint and self.position:
            self.checkpoint.keep(self.folder / "parts")

    @property
    def detector(self) -> Detector:
        """The detector as described."""
        return self.voter.detector

    def wants(self, position: int) -> bool:
        """Whether a picture still has to be shown to this detector."""
        return not self.failed and position >= self.position and position not in self.known

    def add(self, position: int, seen: Seen | None) -> None:
        """Take what became of the next picture; write the part when it is full.

        `seen` is None where the picture was not shown.
        """
        seen = self.known.get(position, seen)
        if self.failed or seen is None:
            return
        if isinstance(seen, QuorateError):
            self.failed = seen.message
            return
        if isinstance(seen, Skipped):
            self.skipped.append(seen)
            seen = (Boxes.nothing(),) * len(self.detector.voters)
        self.boxes.append(seen)
        if len(self.boxes) == PART_SIZE:
            self._write()

    def finish(self, seconds: float) -> None:
        """Join the parts, say so in the manifest, and clear them away.

        Raises StorageError where they are not whole: something else has written here.
        """
        if self.boxes:
            self._write()
        images = len(self.contents.images)
        starts = range(0, images, PART_SIZE)
        whole = [part for part in map(self._read, starts) if part]
        if len(whole) < len(starts):
            raise StorageError(
                f"{self.folder}: {len(starts) - len(whole)} of its {len(starts)} parts are not "
                "what was written.",
                hint="does something else write there? the same command goes on from the last "
                "whole part",
            )
        boxes = [self._part(start).with_suffix(".parquet") for start in starts]
        voters = self.detector.voters
        found = [Detections.from_parquet(path) for path in boxes] or [Detections.empty(voters)]
        detections = Detections.concat(found)
        write_detections(self.folder / "detections.parquet", detections, self.contents)
        counts = np.bincount(detections.detector, minlength=len(voters))
        manifest = Manifest(
            fingerprint=self.fingerprint,
            images=images,
            detections=len(detections),
            seconds=round(seconds, 3),
            voter=self.voter.fingerprint,
            detectors=voters,
            boxes=dict(zip(voters, counts.tolist(), strict=True)) if len(voters) > 1 else {},
            skipped=tuple(skipped for part in whole for skipped in part.skipped),
            notes=(
                *self.voter.mapping.report(self.detector.name),
                *(note for part in whole for note in part.notes),
            ),
            about=dict(self.voter.about),
            dropped=dict(sum((Counter(part.dropped) for part in whole), Counter())),
        )
        write_json(self.folder / "manifest.json", manifest)
        (self.folder / "failed.json").unlink(missing_ok=True)
        if self.checkpoint:
            self.checkpoint.clear()
        shutil.rmtree(self.folder / "parts", ignore_errors=not boxes)

    def _read(self, start: int) -> Part | None:
        """The part that begins at a picture; None where it is not whole, or of another input."""
        name = self._part(start)
        try:
            part = read_json(name.with_suffix(".json"), Part)
            digest = sha256(name.with_suffix(".parquet"))
        except (QuorateError, OSError):
            return None
        expected = min(PART_SIZE, len(self.contents.images) - start)
        told = (part.fingerprint, part.images, part.digest)
        return part if told == (self.fingerprint, expected, digest) else None

    def _part(self, start: int | None = None) -> Path:
        """The part that begins at a picture, without the endings of its files."""
        start = self.position if start is None else start
        return self.folder / "parts" / f"{start // PART_SIZE:05d}"

    def _write(self) -> None:
        images = self.contents.images[self.position :][: len(self.boxes)]
        boxes = self._part().with_suffix(".parquet")
        write_detections(boxes, self.voter.columns([image.id for image in images], self.boxes))
        part = Part(
            self.fingerprint,
            len(images),
            sha256(boxes),
            tuple(self.skipped),
            self.voter.take_dropped(),
            self._looked_at(images),
        )
        write_json(self._part().with_suffix(".json"), part)
        self.position += PART_SIZE
        self.boxes, self.skipped = [], []
        # After the last part the detector is done, before a copy of it would be.
        if self.checkpoint and self.position < len(self.contents.images):
            self.checkpoint.keep(self.folder / "parts")

    def _looked_at(self, images: Sequence[Image]) -> tuple[str, ...]:
        """What is odd about the boxes of the run's first pictures: said soon, and noted."""
        if not self.first or self.position:
            return ()
        mapping = self.voter.mapping
        words = np.unique(mapping.category_id[mapping.category_id != UNMAPPED]).astype(str)
        skipped = {one.file_name for one in self.skipped}
        there = [i for i, image in enumerate(images) if image.file_name not in skipped]
        odd = suspicions(
            [self.boxes[i][0] for i in there],
            [(images[i].height, images[i].width) for i in there],
            words.tolist(),
        )
        if not odd:
            return ()
        many = f"{len(there):,} pictures" if len(there) > 1 else "picture"
        said = f"{self.detector.name}: in the first {many}, {' and '.join(odd)}."
        said += f" {causes(self.voter.about)}"
        self.odd = said
        return (said,)


def known_of(work: Work, shard: int, voter: Voter) -> dict[int, Seen]:
    """What a detector has seen, under an earlier plan, of a shard's pictures: by their position."""
    known: dict[int, Seen] = {}
    folders = work.earlier_of(shard)
    positions = {key: i for i, key in enumerate(work.images(shard).keys) if key and folders}
    for folder in folders:
        before = folder / "detections" / voter.detector.name
        try:
            manifest = read_json(before / "manifest.json", Manifest)
            if manifest.voter != voter.fingerprint:
                continue
            contents = read_json(folder / "images.json", ShardImages)
            found = Detections.from_parquet(before / "detections.parquet")
        except (QuorateError, OSError):
            continue
        skipped = {one.file_name: one for one in manifest.skipped}
        order = np.argsort(found.image_id, kind="stable")
        ids = np.array([image.id for image in contents.images])
        starts = np.searchsorted(found.image_id, ids, "left", order)
        ends = np.searchsorted(found.image_id, ids, "right", order)
        for row, (image, key) in enumerate(zip(contents.images, contents.keys, strict=True)):
            if key in positions:
                rows = found.take(order[starts[row] : ends[row]])
                known[positions[key]] = skipped.get(image.file_name) or tuple(
                    _boxes(rows.of(name)) for name in voter.detector.voters
                )
    return known


def _boxes(found: Detections) -> Boxes:
    masks = found.masks if found.masks is not None and found.masks.there.any() else None
    return Boxes(found.xyxy, found.score, found.category_id, masks)
