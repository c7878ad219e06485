"""What is drawn in a job, as CVAT's `…/annotations` has it, and what tells things apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

import msgspec

from quorate.cvat.publishing.journal import Kind
from quorate.cvat.task import Label

DECIMALS = 2
"""Of coordinates, as in the file that is published for CVAT and in CVAT's own exports."""
RUN = "run"
"""The label attribute that says which run made a shape, and a digest of what it then was."""
_MADE = re.compile(r"(.+)/([0-9a-f]{12})")


class Value(msgspec.Struct, frozen=True):
    """The value of an attribute of a shape."""

    spec_id: int
    value: str


class Shape(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A shape as `…/annotations` has it; `points` are pixels, x and y in turn.

    A mask's are its run lengths, zeros first, then left, top, right, bottom, the last two included.
    """

    type: str
    frame: int
    label_id: int
    points: list[float] = []
    source: str = "manual"
    rotation: float = 0.0
    occluded: bool = False
    z_order: int = 0
    group: int | None = None
    attributes: list[Value] = []
    id: int | None = None
    score: float | None = None

    @property
    def key(self) -> Key:
        """What tells it from others; coordinates count to the second decimal."""
        points = tuple([round(value, DECIMALS) for value in self.points])
        return Key(self.frame, self.label_id, self.type, round(self.rotation, 2), points)

    @property
    def values(self) -> list[tuple[int, int, str]]:
        """-1, attribute and value of each attribute."""
        return [(-1, v.spec_id, v.value) for v in self.attributes]

    @property
    def marks(self) -> list[tuple[object, ...]]:
        """What else people set on it, where they did."""
        return _marks(-1, self.occluded, self.z_order, self.group)


class Key(NamedTuple):
    """What makes two shapes the same: place, label and form, not the attributes."""

    frame: int
    label_id: int
    type: str
    rotation: float
    points: tuple[float, ...]


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
        own = _marks(-1, False, 0, self.group)
        return own + [
            m for one in self.shapes for m in _marks(one.frame, one.occluded, one.z_order, 0)
        ]


class TrackKey(NamedTuple):
    """What makes two tracks the same: label and boxes, not the attributes."""

    label_id: int
    boxes: tuple[tuple[int, str, bool, float, tuple[float, ...]], ...]


Made = Shape | Track


class Drawn(msgspec.Struct):
    """What is in a job."""

    shapes: list[Shape] = []
    tracks: list[Track] = []

    def of(self, kind: Kind) -> Sequence[Made]:
        """One kind of it."""
        return self.shapes if kind == "shapes" else self.tracks


class Specs(NamedTuple):
    """What labels declare of attributes: the ids of those called 'run', and each one's default."""

    run: frozenset[int]
    defaults: Mapping[int, str]

    @classmethod
    def of(cls, labels: Iterable[Label]) -> Self:
        """Those of labels."""
        known = [spec for label in labels for spec in label.attributes]
        return cls(
            frozenset(s.id for s in known if s.name == RUN and s.input_type == "text"),
            {spec.id: spec.default_value for spec in known},
        )


def _marks(frame: int, occluded: bool, z_order: int, group: int | None) -> list[tuple[object, ...]]:
    """What is set of these, with the frame; empty where nothing is."""
    return [(frame, occluded, z_order, group or 0)] if occluded or z_order or group else []


def digest(made: Made, specs: Specs) -> str:
    """A short digest of all that a shape or a track is, but for its attributes 'run'.

    Values that are an attribute's default do not count: CVAT gives them to whatever lacks one, also
    where the label has got the attribute since.
    """
    values = sorted(
        (frame, spec, value)
        for frame, spec, value in made.values
        if spec not in specs.run and value != specs.defaults.get(spec)
    )
    told = (made.key, values, *([made.marks] if made.marks else []))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def maker(made: Made, specs: Specs) -> tuple[str, str] | None:
    """The run that made it and the digest that it then had, as its attribute 'run' says."""
    for value in made.attributes:
        if value.spec_id in specs.run and (match := _MADE.fullmatch(value.value)):
            return match[1], match[2]
    return None
