"""A detector that is ready: loaded, its labels mapped onto the data set's, its boxes checked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import get_ident

import numpy as np
from numpy.typing import NDArray

from quorate._version import __version__
from quorate.detections import Detections
from quorate.detectors.base import Boxes, Predictor, masks_of
from quorate.display import merged
from quorate.errors import DetectorError, QuorateError, StorageError
from quorate.labels import UNMAPPED, LabelMapping, Labels, map_labels
from quorate.spec import Detector
from quorate.steps.work import Skipped, fingerprint
from quorate.storage import is_s3, open_tree, read_bytes
from quorate.workers import in_threads

Seen = tuple[Boxes, ...] | Skipped | QuorateError
"""What became of one picture and one detector: boxes for each of its voters, or why there are none.
"""


@dataclass(frozen=True)
class Voter:
    """A detector that is ready: described, loaded, its labels mapped onto the data set's.

    The predictor shows the network what the spec asks for: views of a picture, or tiles.

    about         what its model was taken for, in words; {} where it does not tell
    take_dropped  how many boxes it left out since this was last asked, by the reason
    """

    detector: Detector
    predictor: Predictor
    mapping: LabelMapping
    about: Mapping[str, str]
    take_dropped: Callable[[], dict[str, int]] = dict

    @classmethod
    def load(cls, detector: Detector, labels: Labels) -> Voter:
        """Read the weights and map the labels; DetectorError or LabelError where that fails."""
        return cls.of(detector, detector.load(), labels)

    @classmethod
    def of(cls, detector: Detector, predictor: Predictor, labels: Labels) -> Voter:
        """Map the labels of a detector that is loaded."""
        mapping = map_labels(predictor.labels, labels, detector.labels, detector=detector.name)
        about = getattr(predictor, "told", {})
        take_dropped = getattr(predictor, "take_dropped", dict)
        if detector.tta or detector.tiles is not None:
            from quorate.tta import augmented

            predictor = augmented(detector, predictor)
        return cls(detector, predictor, mapping, about, take_dropped)

    @property
    def batch(self) -> int:
        """How many pictures the predictor likes to be shown at once."""
        return int(getattr(self.predictor, "batch", 1))

    def look(self, picture: NDArray[np.uint8]) -> tuple[Boxes, ...]:
        """The boxes found in one picture, for each name in `detector.voters`."""
        [found] = self.look_together([picture])
        return found

    def look_together(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Boxes, ...]]:
        """Likewise of several pictures, in one call."""
        return [
            tuple(checked(boxes, self.detector, self.mapping, picture.shape) for boxes in views)
            for views, picture in zip(self._views(pictures), pictures, strict=True)
        ]

    def answers(self, names: Sequence[str], shown: Sequence[NDArray[np.uint8]]) -> list[Seen]:
        """Likewise of any number of pictures with their names, at most `batch` in one call.

        Where a call fails, its pictures are shown one by one, to know which it was; the answer of
        that one is the error. Raises StorageError where a model server does not answer.
        """
        answers: list[Seen] = []
        for start in range(0, len(shown), self.batch):
            part = slice(start, start + self.batch)
            answers += self._patiently(names[part], shown[part])
        return answers

    def _patiently(self, names: Sequence[str], shown: Sequence[NDArray[np.uint8]]) -> list[Seen]:
        try:
            return [*self.look_together(shown)]
        except StorageError:
            raise
        except Exception as error:  # a plug-in may raise anything; it costs the detector's votes
            if len(shown) == 1:
                reason = error.message if isinstance(error, QuorateError) else repr(error)
                return [DetectorError(f"{names[0]}: {reason}")]
        each = range(len(shown))
        return [self._patiently(names[i : i + 1], shown[i : i + 1])[0] for i in each]

    def columns(self, image_ids: Sequence[int], found: Sequence[tuple[Boxes, ...]]) -> Detections:
        """The boxes of some pictures as columns: picture by picture, in each voter by voter."""
        boxes = [one for views in found for one in views]
        return as_columns(boxes, image_ids, self.detector.voters)

    def _views(self, pictures: Sequence[NDArray[np.uint8]]) -> Sequence[Sequence[Boxes]]:
        """The boxes of each picture: of every view where the views vote, else of the predictor."""
        if len(self.detector.voters) > 1:
            from quorate.tta import Augmented

            if isinstance(self.predictor, Augmented):
                return self.predictor.look(pictures)
        return [[boxes] for boxes in self.predictor.predict(pictures)]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the boxes depend on, save the pictures."""
        about = self.detector.model_dump_json(exclude=set(self.detector.aside))
        return fingerprint(
            __version__,
            about,
            *(part for location in self.detector.files for part in contents(location)),
            repr(self.predictor.labels),
            self.mapping.category_id.tobytes(),
        )


def load_all(detectors: Iterable[Detector]) -> dict[str, Predictor]:
    """Each detector loaded, by name; a warning of several is one line in the log, that names them.

    Several are loaded at once, in threads. Raises DetectorError for the first of them, in their
    order, that cannot be loaded.
    """
    log = logging.getLogger("quorate.detectors")
    wanted = list(detectors)
    loading: dict[int, str] = {}
    said: dict[str, list[str]] = {detector.name: [] for detector in wanted}

    def let_through(record: logging.LogRecord) -> bool:
        name = loading.get(record.thread or 0)
        if name is None or record.levelno < logging.WARNING:
            return True
        said[name].append(record.getMessage())
        return False

    def load(detector: Detector) -> Predictor:
        loading[get_ident()] = detector.name
        return detector.load()

    log.addFilter(let_through)
    try:
        found = in_threads(load, wanted)
    finally:
        log.removeFilter(let_through)
        for line in merged(f"{name}: {what}" for name in said for what in said[name]):
            log.warning("%s", line)
    return {detector.name: one for detector, one in zip(wanted, found, strict=True)}


def contents(location: str) -> Iterator[bytes]:
    """The bytes of a file, or of each file in a folder."""
    if os.path.isdir(location) or (is_s3(location) and location.endswith("/")):
        with open_tree(location) as tree:
            for name in tree.names():
                yield name.encode()
                yield tree.read(name)
    else:
        yield read_bytes(location)


def as_columns(
    boxes: Sequence[Boxes], image_ids: Sequence[int], voters: Sequence[str]
) -> Detections:
    """The checked boxes of pictures as columns: for each picture those of each voter, in order."""
    counts = [len(one.score) for one in boxes]
    return Detections.build(
        image_id=np.repeat(np.repeat(np.array(image_ids, np.int64), len(voters)), counts),
        category_id=np.concatenate([one.label for one in boxes]),
        xyxy=np.concatenate([one.xyxy for one in boxes]),
        score=np.concatenate([one.score for one in boxes]),
        detector=np.repeat(np.tile(np.arange(len(voters)), len(image_ids)), counts),
        detectors=voters,
        masks=masks_of(boxes),
    )


def checked(
    boxes: Boxes, detector: Detector, mapping: LabelMapping, shape: tuple[int, ...]
) -> Boxes:
    """What every detector's boxes are held to: finite, inside the picture, mapped, the best few.

    `shape` begins with the picture's height and width; boxes are clipped to it. What is then
    empty, scores less than `min_score`, or has a label that the data set lacks is dropped. Labels
    become category ids.
    """
    xyxy, score = boxes.xyxy, boxes.score
    if not (np.isfinite(xyxy).all() and np.isfinite(score).all()):
        raise DetectorError("the model gave a box or a score that is NaN or infinite")
    if len(score) and (score.min() < 0 or score.max() > 1):
        raise DetectorError(f"the model gave a score of {score.max():g}, outside 0..1")
    height, width = shape[:2]
    xyxy = np.clip(xyxy, 0, np.array([width, height, width, height], dtype=np.float32))
    category = mapping.category_id[boxes.label]
    keep = (score >= detector.min_score) & (category != UNMAPPED)
    keep &= (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    rows = np.flatnonzero(keep)
    # A total order, so that ties do not depend on how the model listed its boxes.
    corners = xyxy[rows].T
    order = np.lexsort((*corners[::-1], category[rows], -score[rows]))
    rows = rows[order[: detector.max_detections]]
    masks = boxes.masks
    if masks is not None:
        masks = masks.take(rows)
        if (masks.size[masks.there] != [height, width]).any():
            raise DetectorError(f"the model gave a mask that is not of {width}x{height} pixels")
        masks.check()
    return Boxes(xyxy=xyxy[rows], score=score[rows], label=category[rows], masks=masks)
