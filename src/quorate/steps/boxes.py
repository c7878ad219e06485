"""What detectors say of pictures: boxes, held to their duties, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.detectors.base import Boxes, Predictor, masks_of
from quorate.detectors.sanity import causes, suspicions
from quorate.errors import DetectorError
from quorate.labels import UNMAPPED, LabelMapping
from quorate.spec import Detector


@dataclass(frozen=True)
class BoxesOf:
    """A detector's answers: of each picture the boxes of each of its voters.

    The predictor shows the network what the spec asks for: views of a picture, or tiles.
    """

    table: ClassVar[type[Detections]] = Detections

    detector: Detector
    predictor: Predictor
    mapping: LabelMapping

    @classmethod
    def by(cls, detector: Detector, predictor: Predictor, mapping: LabelMapping) -> BoxesOf:
        """Of a predictor that is loaded."""
        if detector.tta or detector.tiles is not None:
            from quorate.tta import augmented

            predictor = augmented(detector, predictor)
        return cls(detector, predictor, mapping)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """What else the answers depend on, beside the member and its labels' mapping."""
        return ()

    @property
    def remarks(self) -> list[str]:
        """What did not map, a sentence each."""
        return self.mapping.report(self.detector.name)

    @property
    def nothing(self) -> tuple[Boxes, ...]:
        """The answer to a picture that cannot be read."""
        return (Boxes.nothing(),) * len(self.detector.voters)

    def look(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Boxes, ...]]:
        """The boxes found in each picture, for each name in `detector.voters`."""
        return [
            tuple(checked(boxes, self.detector, self.mapping, picture.shape) for boxes in views)
            for views, picture in zip(self._views(pictures), pictures, strict=True)
        ]

    def _views(self, pictures: Sequence[NDArray[np.uint8]]) -> Sequence[Sequence[Boxes]]:
        """The boxes of each picture: of every view where the views vote, else of the predictor."""
        if len(self.detector.voters) > 1:
            from quorate.tta import Augmented

            if isinstance(self.predictor, Augmented):
                return self.predictor.look(pictures)
        return [[boxes] for boxes in self.predictor.predict(pictures)]

    def columns(self, image_ids: Sequence[int], found: Sequence[tuple[Boxes, ...]]) -> Detections:
        """The boxes of some pictures as columns: picture by picture, in each voter by voter."""
        boxes = [one for views in found for one in views]
        if not boxes:
            return Detections.empty(self.detector.voters)
        return as_columns(boxes, image_ids, self.detector.voters)

    def known(self, rows: Detections) -> tuple[Boxes, ...]:
        """The answer to a picture, from its rows of a table."""
        return tuple(_boxes(rows.of(name)) for name in self.detector.voters)

    def counts(self, found: Detections) -> dict[str, int]:
        """How many boxes each voter has, where there are several."""
        voters = self.detector.voters
        if len(voters) == 1:
            return {}
        counts = np.bincount(found.detector, minlength=len(voters))
        return dict(zip(voters, counts.tolist(), strict=True))

    def odd(
        self,
        found: Sequence[tuple[Boxes, ...]],
        sizes: Sequence[tuple[int, int]],
        about: Mapping[str, str],
    ) -> str:
        """What is odd about the boxes of a run's first pictures, '' for nothing.

        `sizes` are their heights and widths, `about` is what the model was taken for.
        """
        used = self.mapping.category_id[self.mapping.category_id != UNMAPPED]
        words = np.unique(used).astype(str)
        odd = suspicions([views[0] for views in found], sizes, words.tolist())
        if not odd:
            return ""
        many = f"{len(found):,} pictures" if len(found) > 1 else "picture"
        return f"in the first {many}, {' and '.join(odd)}. {causes(about)}"


def _boxes(found: Detections) -> Boxes:
    masks = found.masks if found.masks is not None and found.masks.there.any() else None
    return Boxes(found.xyxy, found.score, found.category_id, masks)


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
