"""One detector at work on one shard: parts that are finished, pictures that are not yet written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from quorate.dataset import Image
from quorate.detections import Detections
from quorate.detectors.base import Boxes, masks_of
from quorate.errors import QuorateError
from quorate.spec import Detector
from quorate.steps.checkpoint import Checkpoint
from quorate.steps.voter import Voter
from quorate.steps.work import Manifest, Skipped, read_json, write_detections, write_json

PART_SIZE = 64
"""Pictures a part: a killed step goes on from its last finished part."""

Seen = tuple[Boxes, ...] | Skipped | QuorateError
"""What became of one picture and one detector."""


class Part(msgspec.Struct, frozen=True):
    """That a part is finished; written after its boxes."""

    fingerprint: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


@dataclass
class Task:
    """One detector at work on one shard.

    position    the first picture that is in no finished part
    failed      why the detector has no vote here, '' while it has
    checkpoint  where finished parts are kept for another machine
    """

    voter: Voter
    folder: Path
    fingerprint: str
    checkpoint: Checkpoint | None = None
    position: int = 0
    failed: str = ""
    images: list[Image] = field(default_factory=list)
    boxes: list[tuple[Boxes, ...]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def resume(
        cls, voter: Voter, folder: Path, inputs: str, checkpoint: Checkpoint | None = None
    ) -> Task:
        """Count the finished parts of just this input, here and then in the checkpoint.

        Parts of another input are cleared away, and the work begins anew.
        """
        task = cls(voter, folder, inputs, checkpoint)
        while task._finished():
            task.position += PART_SIZE
        if not task.position:
            shutil.rmtree(folder, ignore_errors=True)
        while checkpoint and checkpoint.take(task._part()) and task._finished():
            task.position += PART_SIZE
        for left in task._part().parent.glob(f"{task._part().name}.*"):
            left.unlink()
        if checkpoint and task.position:
            checkpoint.keep(task.folder / "parts")
        return task

    @property
    def detector(self) -> Detector:
        """The detector as described."""
        return self.voter.detector

    def wants(self, position: int) -> bool:
        """Whether a picture still has to be shown to this detector."""
        return not self.failed and position >= self.position

    def add(self, image: Image, seen: Seen) -> None:
        """Take what became of the next picture; write the part when it is full."""
        if self.failed:
            return
        if isinstance(seen, QuorateError):
            self.failed = seen.message
            return
        if isinstance(seen, Skipped):
            self.skipped.append(seen)
            seen = (Boxes.nothing(),) * len(self.detector.voters)
        self.images.append(image)
        self.boxes.append(seen)
        if len(self.images) == PART_SIZE:
            self._write()

    def finish(self, images: int, seconds: float) -> None:
        """Join the parts, say so in the manifest, and clear them away."""
        if self.images:
            self._write()
        parts = sorted((self.folder / "parts").glob("*.json"))
        detections = Detections.concat(
            [Detections.from_parquet(part.with_suffix(".parquet")) for part in parts]
        )
        write_detections(self.folder / "detections.parquet", detections)
        voters = self.detector.voters
        counts = np.bincount(detections.detector, minlength=len(voters))
        manifest = Manifest(
            fingerprint=self.fingerprint,
            images=images,
            detections=len(detections),
            seconds=round(seconds, 3),
            detectors=voters,
            boxes=dict(zip(voters, counts.tolist(), strict=True)) if len(voters) > 1 else {},
            skipped=tuple(s for part in parts for s in read_json(part, Part).skipped),
            notes=tuple(self.voter.mapping.report(self.detector.name)),
        )
        write_json(self.folder / "manifest.json", manifest)
        (self.folder / "failed.json").unlink(missing_ok=True)
        if self.checkpoint:
            self.checkpoint.clear()
        shutil.rmtree(self.folder / "parts")

    def _finished(self) -> bool:
        """Whether the part at `position` is there, and of just this input."""
        part = self._part()
        try:
            return (
                part.with_suffix(".json").exists()
                and read_json(part.with_suffix(".json"), Part).fingerprint == self.fingerprint
                and bool(Detections.from_parquet(part.with_suffix(".parquet")).detectors)
            )
        except QuorateError:
            return False

    def _part(self) -> Path:
        """The part at `position`, but for the endings of its files."""
        return self.folder / "parts" / f"{self.position // PART_SIZE:05d}"

    def _write(self) -> None:
        voters = self.detector.voters
        found = [boxes for views in self.boxes for boxes in views]
        counts = [len(boxes.score) for boxes in found]
        ids = np.repeat([image.id for image in self.images], len(voters))
        detections = Detections.build(
            image_id=np.repeat(ids, counts),
            category_id=np.concatenate([boxes.label for boxes in found]),
            xyxy=np.concatenate([boxes.xyxy for boxes in found]),
            score=np.concatenate([boxes.score for boxes in found]),
            detector=np.repeat(np.tile(np.arange(len(voters)), len(self.boxes)), counts),
            detectors=voters,
            masks=masks_of(found),
        )
        write_detections(self._part().with_suffix(".parquet"), detections)
        write_json(self._part().with_suffix(".json"), Part(self.fingerprint, tuple(self.skipped)))
        self.position += PART_SIZE
        self.images, self.boxes, self.skipped = [], [], []
        if self.checkpoint:
            self.checkpoint.keep(self.folder / "parts")
