"""Boxes of a video joined to objects, frame by frame, by norfair's tracker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from quorate.cvat.publishing.shapes import Shape
from quorate.errors import MissingExtraError

OVERLAP = 0.3
"""IoU that a box needs with where its object is expected."""
LIFE = 15
"""Frames without a box after which an object that was seen often is given up."""


def objects(
    shapes: Mapping[int, Sequence[Shape]], frames: Iterable[int]
) -> list[list[tuple[int, int]]]:
    """Which boxes are of one object: lists of (frame, position in the frame's shapes), by frame.

    Every rectangle is in exactly one list; other shapes are in none. Where an object is expected,
    its Kalman filter says, of constant speed; the filter's own boxes are used for nothing else.
    Boxes of different labels are never of one object. Objects stand in the order of their first
    boxes.

    Args:
        shapes: of each frame, by its number.
        frames: all frames that were looked at, by rising number.

    Raises:
        MissingExtraError: norfair is not installed.
    """
    try:
        from norfair import Detection, Tracker
    except ImportError:
        raise MissingExtraError("Joining boxes to tracks", "tracks") from None

    tracker = Tracker("iou", 1 - OVERLAP, hit_counter_max=LIFE, initialization_delay=0)
    found: dict[object, list[tuple[int, int]]] = {}
    before = None
    for frame in frames:
        missed = 0 if before is None else frame - before - 1
        for _ in range(min(missed, LIFE + 1)):  # nobody lives longer
            tracker.update()
        before = frame
        seen = [
            Detection(
                np.array(shape.points).reshape(2, 2),
                data=(frame, position),
                label=shape.label_id,
            )
            for position, shape in enumerate(shapes.get(frame, ()))
            if shape.type == "rectangle"
        ]
        tracker.update(seen)
        for one in tracker.tracked_objects:
            place = one.last_detection.data
            if place[0] == frame:
                found.setdefault(one, []).append(place)
    return sorted(found.values())
