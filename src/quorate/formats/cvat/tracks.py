"""Tracks of "CVAT for video": what is said of some frames, told of every frame.

Source: `TrackManager.get_interpolated_shapes` of CVAT's server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Image

MOST_FRAMES = 1 << 22
"""Frames of one video: 38 hours at 30 a second."""
MOST_SHAPES = 1 << 28
LEFT_OUT = "shapes of tracks between two keyframes are left out: only boxes are interpolated"
ENDED = "shapes on the last frame but one end there: CVAT says so of no shape of that frame"
NO_FRAME = "shapes of tracks are left out, for they are on no frame of the video"


@dataclass
class Tracks:
    """The shapes of the tracks of a file, as they stand there: one entry a shape in each list.

    track    which track each is of
    frame    CVAT's number of the frame
    outside  whether the object is not seen from this frame on
    """

    track: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    outside: list[bool] = field(default_factory=list)

    def add(self, track: int, frame: int, outside: bool) -> None:
        """One shape more."""
        self.track.append(track)
        self.frame.append(frame)
        self.outside.append(outside)

    def frames(self, about: Mapping[str, Any]) -> range:
        """The frames of the video, by what `<meta>` says of it; else up to the last that is told.

        Raises ValueError for more than can be.
        """
        words = str(about.get("frame_filter", "")).partition("step=")[2]
        step = int(words) if words.isascii() and words.isdecimal() and int(words) else 1
        first, size, last = (
            _whole(about.get(key)) for key in ("start_frame", "size", "stop_frame")
        )
        first = first or 0
        if last is None:
            last = first + (size - 1) * step if size else max(self.frame)
        frames = range(first, last + 1, step)
        if len(frames) > MOST_FRAMES:
            raise ValueError(f"a video of {len(frames):,} frames")
        return frames

    def told(
        self, keys: Annotations, frames: range, left_out: Counter[str], *, by_cvat: bool
    ) -> Annotations:
        """The shapes on each frame; `keys` are those of the file, in its order.

        `image_id` is the position in `frames`. From each shape on the object is on every frame, up
        to the next one of its track or the last frame, if it is not outside: a box or an ellipse
        moves on in a straight line and turns the shorter way, all else stays. A polygon between
        two keyframes is left out and counted; CVAT writes them out. In CVAT's own exports
        (`by_cvat`) a shape without a track is one that ends on the next frame, but on the last
        frame but one that is not said.

        Raises ValueError for a track with two shapes on one frame or of two kinds.
        """
        track, frame = np.array(self.track), np.array(self.frame, np.int64)
        order = np.lexsort((frame, track))
        keys, track, frame = keys.take(order), track[order], frame[order]
        following = np.flatnonzero(np.diff(track) == 0)  # has one after it
        if (frame[following + 1] == frame[following]).any():
            raise ValueError("a track with two shapes on one frame")
        if (keys.kind[following + 1] != keys.kind[following]).any():
            raise ValueError("a track whose shapes are of two kinds")
        until = np.full(len(frame), frames.stop, np.int64)
        until[following] = np.minimum(frame[following + 1], frames.stop)
        seen = ~np.array(self.outside, bool)[order]
        if by_cvat and len(frames) > 1:
            single = np.bincount(track)[track] == 1
            ended = single & seen & (frame == frames[-2])
            until[ended] = frames[-1]
            left_out[ENDED] += int(ended.sum())
        count = np.where(seen, -((frame - until) // frames.step), 0).clip(0)
        if count.sum() > MOST_SHAPES:
            raise ValueError(f"tracks of {int(count.sum()):,} shapes")
        source = np.repeat(np.arange(len(frame)), count)
        moved = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        on = frame[source] + moved * frames.step
        position = (on - frames.start) // frames.step
        there = (on >= frames.start) & ((on - frames.start) % frames.step == 0)
        between = np.isin(source, following) & (moved > 0)
        still = between & np.isin(keys.kind[source], (Kind.POLYGON, Kind.POLYLINE, Kind.MASK))
        for lost, why in ((~there, NO_FRAME), (there & still, LEFT_OUT)):
            left_out[why] += int(lost.sum())
        left_out[NO_FRAME] += int((seen & (frame >= frames.stop)).sum())
        kept = np.flatnonzero(there & ~still)
        source, on, between = source[kept], on[kept], between[kept]
        after = np.where(between, source + 1, source)
        part = (on - frame[source]) / np.where(between, frame[after] - frame[source], 1)
        shapes = keys.take(source)
        turn = (keys.rotation[after] - shapes.rotation + 180) % 360 - 180
        return replace(
            shapes,
            image_id=position[kept],
            xyxy=shapes.xyxy + part[:, None] * (keys.xyxy[after] - shapes.xyxy),
            rotation=np.where(
                between, (shapes.rotation + part * turn + 360) % 360, shapes.rotation
            ),
            points=_moved(shapes, keys, after, part),
        )


def _moved(
    shapes: Annotations, keys: Annotations, after: NDArray[np.int64], part: NDArray[np.float64]
) -> Ragged:
    """The points of each shape; a single point is on its way to the next, as a box is."""
    if not (shapes.kind == Kind.POINTS).any():
        return shapes.points
    rows = list(shapes.points)
    for row in np.flatnonzero((shapes.kind == Kind.POINTS) & (part > 0)).tolist():
        here, there = rows[row], keys.points[after[row]]
        if len(here) == len(there) == 2:
            rows[row] = here + part[row] * (there - here)
    return Ragged.of(rows)


def pictures_of(
    frames: range, size: tuple[int, int], names: tuple[str, ...], first: int
) -> tuple[list[Image], str]:
    """A picture for each frame, numbered from `first`, and a note on how they are called.

    `names` are those of the pictures that are there: where they are as many as the frames, they
    are these in their order; else CVAT's own names of frames stand for them.
    """
    called = [f"frame_{frame:06d}.PNG" for frame in frames]
    said = f"called {called[0]}, … as CVAT does"
    bases = [name.rsplit("/", 1)[-1] for name in names]
    by_stem = {base.rpartition(".")[0]: base for base in bases}
    own = [by_stem.get(name.removesuffix(".PNG"), name) for name in called]
    if own == called and len(names) == len(frames):
        own, said = (
            [name.removeprefix("images/") for name in names],
            f"taken for the {len(names)} pictures that are there, in order",
        )
    width, height = size
    images = [
        Image(id=number, file_name=name, width=width, height=height, source_id=frame)
        for number, (frame, name) in enumerate(zip(frames, own, strict=True), start=first)
    ]
    return images, said


def _whole(text: object) -> int | None:
    words = str(text or "").strip()
    return int(words) if words.isascii() and words.isdecimal() and len(words) < 18 else None
