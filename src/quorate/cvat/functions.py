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
from quorate.steps.look import Answer

NUMBERS = ("votes", "confidence", "agreement")


class Shape(NamedTuple):
    """One shape of a picture.

    type        "rectangle", "polygon" or "mask"
    points      pixels, x and y in turn; a mask's are its run lengths, zeros first, then left, top,
                right, bottom, the last two included
    attributes  name -> value
    group       shapes with the same number belong together; None for none
    outline     of a mask, where it is asked for: its outline as one polygon
    """

    label: str
    type: str
    points: list[float]
    score: float
    attributes: dict[str, str]
    group: int | None
    outline: list[float] | None = None


class Function:
    """An ensemble that is loaded. Any number of threads may ask it at once.

    Raises as `DetectionEnsemble.load`.

    ensemble    the description
    labels      the words of its vocabulary, in order
    attributes  what every shape tells beside its place: name -> default. It is always text, for a
                number attribute of CVAT's is a whole number; and an empty number makes CVAT's COCO
                export fail, so the default of one is "1"
    label_type  the type of every label, in CVAT's words
    """

    def __init__(self, ensemble: DetectionEnsemble) -> None:
        self.ensemble = ensemble
        # A labeller may ask for less than is published, so the boxes are filtered here.
        publish = ensemble.publish.model_copy(update={"min_score": 0.0})
        self._loaded = ensemble.model_copy(update={"publish": publish}).load(servers_may_fail=True)
        self.labels = self._loaded.labels.names
        names = [KNOWN_AS.get(name, name) for name in ensemble.publish.attributes]
        self.attributes = {name: "1" * (name in NUMBERS) for name in names}
        self.label_type = "rectangle" if ensemble.publish.masks == "box" else "any"

    def look(self, picture: Picture) -> Answer:
        """What the quorum decides on a picture, whatever the score, and who took no part and why.

        The detectors' own boxes are not kept. Raises ImageError or QuorumError.
        """
        [answer] = self._loaded.answers([picture])
        if isinstance(answer, QuorateError):
            raise answer
        return answer._replace(own={})

    def shapes(
        self,
        boxes: Detections,
        threshold: float | None = None,
        *,
        base: int,
        masks: MaskShape | None = None,
        outlines: bool = False,
    ) -> Iterator[Shape]:
        """The shapes of boxes of `look`, by falling score.

        Args:
            boxes: of one picture.
            threshold: the least score; None for the spec's `publish.min_score`.
            base: of this picture, below 2^31. Groups are numbers of the whole task, so each picture
                counts from a number of its own.
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
                group = (base + row + 1) % (1 << 31) if len(parts) > 1 else None
                yield Shape(word, TYPES[kind], points, score, values, group, outline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.close()
