"""One member at work on one shard: parts that are finished, pictures that are not yet written."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quorate.dataset import Image
from quorate.errors import QuorateError, StorageError
from quorate.steps.checkpoint import Checkpoint
from quorate.steps.voter import Seen, Voter
from quorate.steps.work import (
    Manifest,
    ShardImages,
    Skipped,
    Work,
    read_json,
    write_json,
    write_table,
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
    """One member at work on one shard.

    contents    the shard's pictures
    known       what is known of a picture, by its position, from an earlier plan
    position    the first picture that is in no finished part
    failed      why the member has no vote here, '' while it has
    checkpoint  where finished parts are kept for another machine
    first       whether these are the run's first pictures, whose answers are looked at
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
    answers: list[tuple[Any, ...]] = field(default_factory=list)
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

    def wants(self, position: int) -> bool:
        """Whether a picture still has to be shown to this member."""
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
            seen = self.voter.says.nothing
        self.answers.append(seen)
        if len(self.answers) == PART_SIZE:
            self._write()

    def finish(self, seconds: float) -> None:
        """Join the parts, say so in the manifest, and clear them away.

        Raises StorageError where they are not whole: something else has written here.
        """
        if self.answers:
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
        table: Any = self.voter.says.table
        paths = [self._part(start).with_suffix(".parquet") for start in starts]
        parts = [table.from_parquet(path) for path in paths] or [self.voter.says.columns([], [])]
        found = table.concat(parts)
        write_table(self.folder / table.FILE, found, self.contents)
        manifest = Manifest(
            fingerprint=self.fingerprint,
            images=images,
            detections=len(found),
            seconds=round(seconds, 3),
            voter=self.voter.fingerprint,
            detectors=self.voter.member.voters,
            boxes=self.voter.says.counts(found),
            skipped=tuple(skipped for part in whole for skipped in part.skipped),
            notes=(
                *self.voter.says.remarks,
                *self.voter.notes,
                *(note for part in whole for note in part.notes),
            ),
            about=dict(self.voter.about),
            dropped=dict(sum((Counter(part.dropped) for part in whole), Counter())),
        )
        write_json(self.folder / "manifest.json", manifest)
        (self.folder / "failed.json").unlink(missing_ok=True)
        if self.checkpoint:
            self.checkpoint.clear()
        shutil.rmtree(self.folder / "parts", ignore_errors=not paths)

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
        images = self.contents.images[self.position :][: len(self.answers)]
        written = self._part().with_suffix(".parquet")
        ids = [image.id for image in images]
        write_table(written, self.voter.says.columns(ids, self.answers))
        part = Part(
            self.fingerprint,
            len(images),
            sha256(written),
            tuple(self.skipped),
            self.voter.take_dropped(),
            self._looked_at(images),
        )
        write_json(self._part().with_suffix(".json"), part)
        self.position += PART_SIZE
        self.answers, self.skipped = [], []
        # After the last part the detector is done, before a copy of it would be.
        if self.checkpoint and self.position < len(self.contents.images):
            self.checkpoint.keep(self.folder / "parts")

    def _looked_at(self, images: Sequence[Image]) -> tuple[str, ...]:
        """What is odd about the answers to the run's first pictures: said soon, and noted."""
        if not self.first or self.position:
            return ()
        skipped = {one.file_name for one in self.skipped}
        there = [i for i, image in enumerate(images) if image.file_name not in skipped]
        odd = self.voter.says.odd(
            [self.answers[i] for i in there],
            [(images[i].height, images[i].width) for i in there],
            self.voter.about,
        )
        if not odd:
            return ()
        said = f"{self.voter.name}: {odd}"
        self.odd = said
        return (said,)


def known_of(work: Work, shard: int, voter: Voter) -> dict[int, Seen]:
    """What a member has seen, under an earlier plan, of a shard's pictures: by their position."""
    known: dict[int, Seen] = {}
    folders = work.earlier_of(shard)
    positions = {key: i for i, key in enumerate(work.images(shard).keys) if key and folders}
    for folder in folders:
        before = folder / "detections" / voter.name
        try:
            manifest = read_json(before / "manifest.json", Manifest)
            if manifest.voter != voter.fingerprint:
                continue
            contents = read_json(folder / "images.json", ShardImages)
            found: Any = voter.says.table.from_parquet(before / voter.says.table.FILE)
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
                known[positions[key]] = skipped.get(image.file_name) or voter.says.known(rows)
    return known
