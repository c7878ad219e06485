"""Tracks as CVAT's API takes them: an object with its box on each frame on which it was found.

Every box is a keyframe and stays as the ensemble gave it; where an object is not found, the track
is `outside`, so that CVAT shows nothing between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from quorate.cvat.publishing.shapes import DECIMALS, Shape, Specs, Value, digest, marks
from quorate.cvat.publishing.tracking import objects
from quorate.cvat.task import Job, Label, Task
from quorate.errors import InputError


class Keyframe(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The box of a track on a frame; it holds until the next, where it is `outside` not at all."""

    type: str
    frame: int
    points: list[float] = []
    outside: bool = False
    occluded: bool = False
    rotation: float = 0.0
    z_order: int = 0
    attributes: list[Value] = []


class TrackKey(NamedTuple):
    """What makes two tracks the same: label and boxes, not the attributes."""

    label_id: int
    boxes: tuple[tuple[int, str, bool, float, tuple[float, ...]], ...]


class Track(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A track as `…/annotations` has it; `shapes` are its keyframes."""

    frame: int
    label_id: int
    shapes: list[Keyframe] = []
    source: str = "manual"
    group: int | None = None
    attributes: list[Value] = []
    id: int | None = None

    @property
    def key(self) -> TrackKey:
        """What tells it from others; coordinates count to the second decimal."""
        return TrackKey(
            self.label_id,
            tuple(
                (
                    one.frame,
                    one.type,
                    one.outside,
                    round(one.rotation, 2),
                    tuple([round(value, DECIMALS) for value in one.points]),
                )
                for one in sorted(self.shapes, key=lambda one: one.frame)
            ),
        )

    @property
    def values(self) -> list[tuple[int, int, str]]:
        """Frame, attribute and value of all attributes; -1 for those of the whole track."""
        return [(-1, v.spec_id, v.value) for v in self.attributes] + [
            (one.frame, v.spec_id, v.value) for one in self.shapes for v in one.attributes
        ]

    @property
    def marks(self) -> list[tuple[object, ...]]:
        """What else people set on it or its keyframes, where they did."""
        own = marks(-1, False, 0, self.group)
        return own + [
            m for one in self.shapes for m in marks(one.frame, one.occluded, one.z_order, 0)
        ]


class Joined(NamedTuple):
    """What became of boxes: the shapes that stay by themselves, and the boxes of each track."""

    single: dict[int, list[Shape]]
    tracks: list[list[Shape]]


def joined(shapes: Mapping[int, Sequence[Shape]], frames: Iterable[int]) -> Joined:
    """Join the boxes of a video to tracks; a box that joins with no other stays a shape."""
    found = [places for places in objects(shapes, frames) if len(places) > 1]
    gone = {place for places in found for place in places}
    single = {
        frame: [shape for position, shape in enumerate(own) if (frame, position) not in gone]
        for frame, own in shapes.items()
    }
    return Joined(single, [[shapes[frame][n] for frame, n in places] for places in found])


def told(
    task: int, single: Mapping[int, Sequence[Shape]], tracks: Sequence[Sequence[Shape]]
) -> str:
    """How many boxes were joined, in a sentence."""
    boxes, alone = sum(map(len, tracks)), sum(map(len, single.values()))
    return (
        f"task {task}: {boxes:,} boxes are joined to {len(tracks):,} tracks; {alone:,} "
        "join with no other, or have a mask, and stay by themselves."
    )


def check_video(task: Task) -> None:
    """InputError for a task of pictures, of which no tracks can be made."""
    if not task.video:
        raise InputError(
            f"task {task.id} ({task.name}) holds pictures, and tracks are for videos.",
            hint="leave --tracks away: each picture then has its own boxes",
        )


def track_of(boxes: Sequence[Shape], job: Job, labels: Sequence[Label], run: str) -> Track | None:
    """The part of an object's boxes that a job shows, as a track; None where it shows none.

    Attributes that may change from frame to frame are told of each box; the others (votes,
    confidence, where labels declare them so) are those of the surest box of the whole object.
    """
    own = [box for box in boxes if job.start_frame <= box.frame <= job.stop_frame]
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
