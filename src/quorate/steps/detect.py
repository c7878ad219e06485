"""detect: run detectors over one shard, decoding each picture once for all of them."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate import __version__, pictures
from quorate.dataset import Image
from quorate.detections import Detections
from quorate.detectors import Boxes, Predictor
from quorate.errors import DetectorError, QuorateError, StorageError
from quorate.labels import UNMAPPED, LabelMapping, Labels, map_labels
from quorate.spec import Detector
from quorate.steps.work import (
    Manifest,
    Skipped,
    Work,
    done,
    fingerprint,
    read_json,
    write_detections,
    write_json,
)
from quorate.storage import Tree, is_s3, open_tree, read_bytes
from quorate.tta import Augmented, augmented

PART_SIZE = 64
"""Pictures a part: a killed step goes on from its last finished part."""


@dataclass(frozen=True)
class Voter:
    """A detector that is ready: described, loaded, its labels mapped onto the data set's.

    The predictor shows the network what the spec asks for: views of a picture, or tiles.
    """

    detector: Detector
    predictor: Predictor
    mapping: LabelMapping

    @classmethod
    def load(cls, detector: Detector, labels: Labels) -> Voter:
        """Read the weights and map the labels; DetectorError or LabelError where that fails."""
        return cls.of(detector, detector.load(), labels)

    @classmethod
    def of(cls, detector: Detector, predictor: Predictor, labels: Labels) -> Voter:
        """Map the labels of a detector that is loaded."""
        mapping = map_labels(predictor.labels, labels, detector.labels, detector=detector.name)
        return cls(detector, augmented(detector, predictor), mapping)

    def look(self, picture: NDArray[np.uint8]) -> tuple[Boxes, ...]:
        """The boxes found in one picture, for each name in `detector.voters`."""
        if len(self.detector.voters) > 1 and isinstance(self.predictor, Augmented):
            found = self.predictor.look(picture)
        else:
            found = self.predictor.predict([picture])
        return tuple(_checked(boxes, self, picture.shape[:2]) for boxes in found)

    @property
    def batch(self) -> int:
        """How many pictures the predictor likes to be shown at once."""
        return int(getattr(self.predictor, "batch", 1))

    def look_together(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Boxes, ...]]:
        """The boxes found in each of several pictures, in one call."""
        found = self.predictor.predict(pictures)
        return [
            (_checked(boxes, self, picture.shape[:2]),)
            for boxes, picture in zip(found, pictures, strict=True)
        ]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the boxes depend on, save the pictures."""
        about = self.detector.model_dump_json(exclude=_ASIDE)
        return fingerprint(
            __version__,
            about,
            *(part for location in self.detector.files for part in _contents(location)),
            repr(self.predictor.labels),
            self.mapping.category_id.tobytes(),
        )


_ASIDE = {"name", "weights", "calibration", "pool", "timeout", "image"}
"""What a detector's description says that its boxes do not depend on, or not by the words."""


def _contents(location: str) -> Iterator[bytes]:
    """The bytes of a file, or of each file in a folder."""
    if os.path.isdir(location) or (is_s3(location) and location.endswith("/")):
        with open_tree(location) as tree:
            for name in tree.names():
                yield name.encode()
                yield tree.read(name)
    else:
        yield read_bytes(location)


def detect(
    work: Work,
    shard: int,
    voters: Sequence[Voter],
    *,
    workers: int,
    progress: Callable[[int], None] = lambda pictures: None,
) -> dict[str, str]:
    """Write each detector's `detections.parquet` and manifest of one shard.

    A detector that is done with just this input is left alone; one that was killed goes on from
    its last part. A detector whose predictor has a `batch` is shown up to that many neighbours in
    one call. Returns the detectors that failed, each with one sentence: they have no
    manifest, so no vote. `progress` is called with the number of pictures just finished.

    Raises StorageError where the pictures cannot be reached.
    """
    contents = work.images(shard)
    seen = msgspec.json.encode(contents)
    images = contents.images
    tasks = []
    for voter in voters:
        folder = work.detections(shard, voter.detector.name)
        inputs = fingerprint(voter.fingerprint, seen)
        if not done(folder, inputs):
            tasks.append(_Task.resume(voter, folder, inputs))
    begin = min((task.position for task in tasks), default=len(images))
    progress(begin)
    started = time.perf_counter()
    with open_tree(work.plan().root) as tree, ThreadPoolExecutor(workers) as pool:

        def see(group: range) -> list[dict[str, _Seen]]:
            wanted = [task for task in tasks if task.wants(group.start)]
            return _see(tree, images[group.start : group.stop], wanted)

        size = max((task.voter.batch for task in tasks), default=1)
        for group, seen_there in _in_order(
            pool, see, _groups(begin, len(images), size), 2 * workers
        ):
            for position, answers in zip(group, seen_there, strict=True):
                for task in tasks:
                    if task.detector.name in answers:
                        task.add(images[position], answers[task.detector.name])
                progress(1)
    for task in tasks:
        if not task.failed:
            task.finish(len(images), time.perf_counter() - started)
    return {task.detector.name: task.failed for task in tasks if task.failed}


_Seen = tuple[Boxes, ...] | Skipped | QuorateError
"""What became of one picture and one detector."""


def _groups(begin: int, end: int, size: int) -> Iterator[range]:
    """Neighbouring positions, `size` at a time.

    None reaches across two parts, so that a resumed step shows a predictor the same company.
    """
    for part in range(begin, end, PART_SIZE):
        stop = min(part + PART_SIZE, end)
        for first in range(part, stop, size):
            yield range(first, min(first + size, stop))


def _see(tree: Tree, images: Sequence[Image], tasks: Sequence[_Task]) -> list[dict[str, _Seen]]:
    """Decode neighbouring pictures and show them to the detectors that still want them."""
    answers: list[dict[str, _Seen]] = [{} for _ in images]
    if not tasks:
        return answers
    shown: list[tuple[int, NDArray[np.uint8]]] = []
    for index, image in enumerate(images):
        try:
            picture = pictures.decode(tree.read(image.file_name), name=image.file_name)
        except StorageError:
            raise
        except QuorateError as error:
            skipped = Skipped(image.file_name, error.message)
            answers[index] = {task.detector.name: skipped for task in tasks}
        else:
            shown.append((index, picture))
    for task in tasks:
        batch = task.voter.batch
        for start in range(0, len(shown), batch):
            together = shown[start : start + batch]
            found = _look(task.voter, images, together)
            for (index, _), seen in zip(together, found, strict=True):
                answers[index][task.detector.name] = seen
    return answers


def _look(
    voter: Voter, images: Sequence[Image], shown: Sequence[tuple[int, NDArray[np.uint8]]]
) -> list[_Seen]:
    """Show pictures together; where that fails, one by one, to know which it was."""
    if len(shown) > 1:
        try:
            return [*voter.look_together([picture for _, picture in shown])]
        except StorageError:
            raise
        except Exception:  # noqa: S110  it is raised again below, with the picture's name
            pass
    answers: list[_Seen] = []
    for index, picture in shown:
        try:
            answers.append(voter.look(picture))
        except StorageError:
            raise
        except Exception as error:  # a plug-in may raise anything; it costs the detector's votes
            reason = error.message if isinstance(error, QuorateError) else repr(error)
            answers.append(DetectorError(f"{images[index].file_name}: {reason}"))
    return answers


def _checked(boxes: Boxes, voter: Voter, shape: tuple[int, ...]) -> Boxes:
    """What every detector's boxes are held to: finite, inside the picture, mapped, the best few.

    Boxes are clipped to the picture; what is then empty, scores less than `min_score`, or has a
    label that the data set lacks is dropped. Labels become category ids.
    """
    detector = voter.detector
    xyxy, score = boxes.xyxy, boxes.score
    if not (np.isfinite(xyxy).all() and np.isfinite(score).all()):
        raise DetectorError("the model gave a box or a score that is NaN or infinite")
    if len(score) and (score.min() < 0 or score.max() > 1):
        raise DetectorError(f"the model gave a score of {score.max():g}, outside 0..1")
    height, width = shape
    xyxy = np.clip(xyxy, 0, np.array([width, height, width, height], dtype=np.float32))
    category = voter.mapping.category_id[boxes.label]
    keep = (score >= detector.min_score) & (category != UNMAPPED)
    keep &= (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    rows = np.flatnonzero(keep)
    # A total order, so that ties do not depend on how the model listed its boxes.
    corners = xyxy[rows].T
    order = np.lexsort((*corners[::-1], category[rows], -score[rows]))
    rows = rows[order[: detector.max_detections]]
    return Boxes(xyxy=xyxy[rows], score=score[rows], label=category[rows])


def _in_order(
    pool: ThreadPoolExecutor,
    call: Callable[[range], list[dict[str, _Seen]]],
    groups: Iterable[range],
    window: int,
) -> Iterator[tuple[range, list[dict[str, _Seen]]]]:
    """Call for each group in threads; give the answers in order, at most `window` ahead."""
    waiting: deque[tuple[range, Future[list[dict[str, _Seen]]]]] = deque()
    try:
        for group in groups:
            waiting.append((group, pool.submit(call, group)))
            if len(waiting) >= window:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


class _Part(msgspec.Struct, frozen=True):
    """That a part is finished; written after its boxes."""

    fingerprint: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Task:
    """One detector at work on one shard: what is finished, and what is not yet written."""

    voter: Voter
    folder: Path
    fingerprint: str
    position: int = 0
    failed: str = ""
    images: list[Image] = field(default_factory=list)
    boxes: list[tuple[Boxes, ...]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def resume(cls, voter: Voter, folder: Path, inputs: str) -> _Task:
        """Count the finished parts of just this input; begin anew where they are of another."""
        task = cls(voter, folder, inputs)
        while (about := task._part().with_suffix(".json")).exists():
            if read_json(about, _Part).fingerprint != inputs:
                shutil.rmtree(folder)
                return cls(voter, folder, inputs)
            task.position += PART_SIZE
        if not task.position:
            shutil.rmtree(folder, ignore_errors=True)
        return task

    @property
    def detector(self) -> Detector:
        """The detector as described."""
        return self.voter.detector

    def wants(self, position: int) -> bool:
        """Whether a picture still has to be shown to this detector."""
        return not self.failed and position >= self.position

    def add(self, image: Image, seen: _Seen) -> None:
        """Take what became of the next picture; write the part when it is full."""
        if self.failed:
            return
        if isinstance(seen, QuorateError):
            self.failed = seen.message
            return
        if isinstance(seen, Skipped):
            self.skipped.append(seen)
            seen = (_NOTHING,) * len(self.detector.voters)
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
            skipped=tuple(s for part in parts for s in read_json(part, _Part).skipped),
            notes=tuple(self.voter.mapping.report(self.detector.name)),
        )
        write_json(self.folder / "manifest.json", manifest)
        (self.folder / "failed.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "parts")

    def _part(self) -> Path:
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
        )
        write_detections(self._part().with_suffix(".parquet"), detections)
        write_json(self._part().with_suffix(".json"), _Part(self.fingerprint, tuple(self.skipped)))
        self.position += PART_SIZE
        self.images, self.boxes, self.skipped = [], [], []


_NOTHING = Boxes(
    xyxy=np.empty((0, 4), np.float32), score=np.empty(0, np.float32), label=np.empty(0, np.int32)
)
