"""Tracks as CVAT's API takes them: an object with its box on each frame on which it was found.

Every box is a keyframe and stays as the ensemble gave it; where an object is not found, the track
is `outside`, so that CVAT shows nothing between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from quorate.cvat.publishing.drawn import Keyframe, Shape, Specs, Track, Value, digest
from quorate.cvat.publishing.shapes import by_frame
from quorate.cvat.task import Job, Label, Task
from quorate.errors import MissingExtraError

OVERLAP = 0.3
"""IoU that a box needs with where its object is expected."""
LIFE = 15
"""Frames without a box after which an object that was seen often is given up."""


class Joined(NamedTuple):
    """What became of shapes: those that stay by themselves, by frame, and the boxes of each track.

    notes  how many were joined, in a sentence
    """

    single: dict[int, list[Shape]]
    tracks: list[list[Shape]]
    notes: tuple[str, ...]


def joined(shapes: Iterable[Shape], task: Task, *, tracks: bool) -> Joined:
    """Join the boxes of a video to `tracks`; a box that joins with no other stays a shape."""
    own = by_frame(shapes)
    if not tracks:
        return Joined(own, [], ())
    frames = [frame.number for frame in task.frames]
    found = [places for places in objects(own, frames) if len(places) > 1]
    gone = {place for places in found for place in places}
    single = {
        frame: [shape for position, shape in enumerate(here) if (frame, position) not in gone]
        for frame, here in own.items()
    }
    alone = sum(map(len, single.values()))
    told = (
        f"task {task.id}: {len(gone):,} boxes are joined to {len(found):,} tracks; {alone:,} "
        "join with no other, or have a mask, and stay by themselves."
    )
    return Joined(single, [[own[frame][n] for frame, n in places] for places in found], (told,))


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


def track_of(boxes: Sequence[Shape], job: Job, labels: Sequence[Label], run: str) -> Track | None:
    """The part of an object's boxes that a job shows, as a track; None where it shows none.

    Attributes that may change from frame to frame are told of each box; the others (votes,
    confidence, where labels declare them so) are those of the surest box of the whole object.
    """
    own = [box for box in boxes if box.frame in job.numbers]
    if not own:
        return None
    label = next(label for label in labels if label.id == own[0].label_id)
    changing = {spec.id for spec in label.attributes if spec.mutable}
    keyframes: list[Keyframe] = []
    for box, after in zip(own, [*own[1:], None], strict=True):
        one = Keyframe(
            type=box.type,
            frame=box.frame,
            points=box.points,
            rotation=box.rotation,
            attributes=[value for value in box.attributes if value.spec_id in changing],
        )
        keyframes.append(one)
        end = job.stop_frame + 1 if after is None else after.frame
        if box.frame + 1 < end:
            keyframes.append(msgspec.structs.replace(one, frame=box.frame + 1, outside=True))
    surest = max(boxes, key=lambda box: box.score or 0.0)
    specs = Specs.of([label])
    telling = specs.run - changing
    track = Track(
        frame=own[0].frame,
        label_id=label.id,
        shapes=keyframes,
        source="auto",
        attributes=[v for v in surest.attributes if v.spec_id not in changing | telling],
    )
    made = f"{run}/{digest(track, specs)}"
    track.attributes = [*track.attributes, *(Value(spec, made) for spec in telling)]
    return track
