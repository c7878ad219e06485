"""An ensemble as CVAT sees a function: its labels and attributes, and the shapes of a picture.

Those that CVAT calls (`nuclio`) and those that call CVAT (`auto_annotation`) share what is here. A
function's boxes are those that `quorate run` publishes for the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

from quorate.annotations import Annotations, Kind, MaskShape
from quorate.cvat.publishing.shapes import KNOWN_AS, TYPES, numbers, points_of, values_of
from quorate.detections import Detections
from quorate.ensemble import DetectionEnsemble
from quorate.errors import QuorateError
from quorate.formats.shapes import one_ring
from quorate.pictures import Picture

NUMBERS = ("votes", "confidence", "agreement")


class Attribute(NamedTuple):
    """An attribute of every label, always text: a number attribute of CVAT's is a whole number.

    An empty number makes CVAT's COCO export fail, so the default of one is "1".
    """

    name: str
    default: str


class Found(NamedTuple):
    """What the quorum decided on a picture, whatever the score, and who took no part and why."""

    boxes: Detections
    failed: tuple[tuple[str, str], ...]


class Shape(NamedTuple):
    """One shape of a picture.

    type        "rectangle", "polygon" or "mask"
    points      pixels, x and y in turn; a mask's are its run lengths, zeros first, then left, top,
                right, bottom, the last two included
    attributes  name -> value
    group       shapes with the same number belong together; 0 for none
    outline     of a mask, where it is asked for: its outline as one polygon
    """

    label: str
    type: str
    points: list[float]
    score: float
    attributes: dict[str, str]
    group: int
    outline: list[float] | None = None


class Function:
    """An ensemble that is loaded. Any number of threads may ask it at once.

    Raises as `DetectionEnsemble.load`.

    ensemble    the description
    labels      the words of its vocabulary, in order
    attributes  what every shape tells beside its place
    label_type  the type of every label, in CVAT's words
    """

    def __init__(self, ensemble: DetectionEnsemble) -> None:
        self.ensemble = ensemble
        # A labeller may ask for less than is published, so the boxes are filtered here.
        publish = ensemble.publish.model_copy(update={"min_score": 0.0})
        self._loaded = ensemble.model_copy(update={"publish": publish}).load(servers_may_fail=True)
        self.labels = self._loaded.labels.names
        names = [KNOWN_AS.get(name, name) for name in ensemble.publish.attributes]
        self.attributes = tuple(Attribute(name, "1" * (name in NUMBERS)) for name in names)
        self.label_type = "rectangle" if ensemble.publish.masks == "box" else "any"

    def look(self, picture: Picture) -> Found:
        """What the quorum decides on a picture. Raises ImageError or QuorumError."""
        [answer] = self._loaded.answers([picture])
        if isinstance(answer, QuorateError):
            raise answer
        return Found(answer.boxes, tuple(answer.failed.items()))

    def shapes(
        self,
        boxes: Detections,
        threshold: float | None = None,
        *,
        masks: MaskShape | None = None,
        outlines: bool = False,
    ) -> Iterator[Shape]:
        """The shapes of boxes of `look`, by falling score.

        Args:
            boxes: of one picture.
            threshold: the least score; None for the spec's `publish.min_score`.
            masks: what becomes of a mask; None for the spec's `publish.masks`.
            outlines: whether masks have their outlines beside.

        A box that is not finite is left out. A polygon of several rings is one shape each, in a
        group.
        """
        publish = self.ensemble.publish
        least = publish.min_score if threshold is None else threshold
        boxes = boxes.take((boxes.score >= least) & np.isfinite(boxes.xyxy).all(axis=1))

        def drawn_as(masks: MaskShape) -> Annotations:
            return Annotations.from_detections(
                boxes, attributes=publish.attributes, masks=masks, tolerance=publish.tolerance
            )

        drawn = drawn_as(masks or publish.masks)
        outlined = outlines and (drawn.kind == Kind.MASK).any()
        polygons = drawn_as("polygon").points if outlined else None
        words = [self._loaded.labels.name_of(i) for i in boxes.category_id.tolist()]
        texts = values_of(drawn)
        for row, (word, score) in enumerate(zip(words, boxes.score.tolist(), strict=True)):
            values = {
                name: value for name, column in texts.items() if (value := column[row]) is not None
            }
            kind = Kind(drawn.kind[row])
            outline = None
            if polygons is not None and kind == Kind.MASK:
                outline = numbers(one_ring(polygons[row]))
            parts = list(points_of(drawn, row))
            for points in parts:
                group = row + 1 if len(parts) > 1 else 0
                yield Shape(word, TYPES[kind], points, score, values, group, outline)

    def close(self) -> None:
        """End the threads."""
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
