"""Several views of a picture through one detector, their boxes led back and made one vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.detectors.base import Boxes, Predictor, masks_of
from quorate.fusion import fuse
from quorate.spec import Affirmative
from quorate.spec.tta import GEOMETRIC, View
from quorate.tta.geometric import moved
from quorate.tta.maps import CoordinateMap, cut_sides
from quorate.tta.masks import masks_led_back
from quorate.tta.tiles import in_calls

Picture = NDArray[np.uint8]

_Seen = tuple[Boxes, CoordinateMap | None]
"""What a view's boxes are, and its map where coordinates change."""

WITHIN = Affirmative(iou=0.5)
"""How views are fused: as detectors are by `affirmative`, a box of each view to an object."""


@dataclass(frozen=True)
class Augmented:
    """A predictor that is shown several views of each picture; see `Predictor` for its duties.

    The picture as it is comes first, then `views` in their order.
    """

    predictor: Predictor
    views: tuple[View, ...]
    max_detections: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The detector's own words."""
        return self.predictor.labels

    @property
    def batch(self) -> int:
        """Pictures whose views together fill a batch of the predictor."""
        return max(1, int(getattr(self.predictor, "batch", 1)) // (1 + len(self.views)))

    def predict(self, pictures: Sequence[Picture]) -> list[Boxes]:
        """Find the boxes of each picture, the views' fused into one set.

        A box is the mean of the views' boxes by score, its mask what most of them cover. Its
        score is the mean over the views that show it whole, one that did not find it counting 0.
        By falling score, ties by corners, then label.
        """
        return [self._fused(*both) for both in zip(pictures, self._seen(pictures), strict=True)]

    def look(self, pictures: Sequence[Picture]) -> list[list[Boxes]]:
        """The boxes of each view of each picture, led back to the picture.

        What a crop or a shift cuts is dropped: the view shows a part that another shows whole.
        """
        return [[boxes for boxes, _ in views] for views in self._seen(pictures)]

    def _seen(self, pictures: Sequence[Picture]) -> list[list[_Seen]]:
        """For each picture, each view's boxes and map.

        View by view, for the same view of pictures of one size is of one size too, and only such
        neighbours share a run of a network.
        """
        maps: list[CoordinateMap | None] = []

        def shown() -> Iterator[Picture]:
            for view in (None, *self.views):
                for picture in pictures:
                    pixels, back = (picture, None) if view is None else see(picture, view)
                    maps.append(back)
                    yield pixels

        found = list(in_calls(self.predictor, shown()))
        led = [
            (boxes if back is None else _led_back(boxes, back), back)
            for boxes, back in zip(found, maps, strict=True)
        ]
        return [led[number :: len(pictures)] for number in range(len(pictures))]

    def _fused(self, picture: Picture, seen: list[_Seen]) -> Boxes:
        counts = [len(boxes.score) for boxes, _ in seen]
        fused = fuse(
            Detections.build(
                image_id=np.zeros(sum(counts)),
                category_id=np.concatenate([boxes.label for boxes, _ in seen]),
                xyxy=np.concatenate([boxes.xyxy for boxes, _ in seen]),
                score=np.concatenate([boxes.score for boxes, _ in seen]),
                detector=np.repeat(np.arange(len(seen)), counts),
                detectors=[str(number) for number in range(len(seen))],
                masks=masks_of([boxes for boxes, _ in seen]),
            ),
            WITHIN,
            threads=1,
        )
        shape = (picture.shape[0], picture.shape[1])
        cut = [cut_sides(fused.xyxy, back.window, shape).any(axis=1) for _, back in seen if back]
        could = len(seen) - np.sum(cut, axis=0)
        share = len(seen) / np.maximum(could, fused.votes)
        score = np.minimum(fused.score * share, 1).astype(np.float32)
        order = np.lexsort((fused.category_id, *fused.xyxy.T[::-1], -score))
        rows = order[: self.max_detections]
        return Boxes(fused.xyxy, score, fused.category_id, fused.masks).take(rows)


def see(picture: Picture, view: View) -> tuple[Picture, CoordinateMap | None]:
    """The view of a picture, and its map where coordinates change."""
    if view.name in GEOMETRIC:
        return moved(picture, view.name, *view.numbers)
    from quorate.tta.photometric import toned  # OpenCV, which takes a moment to import

    return toned(picture, view.name, *view.numbers), None


def _led_back(boxes: Boxes, back: CoordinateMap) -> Boxes:
    xyxy = back.boxes_to_picture(boxes.xyxy)
    kept = np.logical_not(cut_sides(xyxy, back.window, back.picture).any(axis=1))
    height, width = back.picture
    inside = np.clip(xyxy, 0, np.array([width, height, width, height])).astype(np.float32)
    kept &= (inside[:, 2:] > inside[:, :2]).all(axis=1)
    masks = None if boxes.masks is None else masks_led_back(boxes.masks.take(kept), back)
    return Boxes(inside[kept], boxes.score[kept], boxes.label[kept], masks)
