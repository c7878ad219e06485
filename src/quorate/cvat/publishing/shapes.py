"""Boxes and masks as CVAT's API takes them, and how one shape is told from another."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.cvat.task import Label
from quorate.errors import LabelError
from quorate.formats.cvat.writing import attribute_value
from quorate.labels import Labels
from quorate.masks.shapes import polygon_rings

DECIMALS = 2
"""Of coordinates, as in the file that is published for CVAT and in CVAT's own exports."""
RUN = "run"
"""The label attribute that says which run made a shape, and a digest of what it then was."""
KNOWN_AS = {"score": "confidence"}
"""CVAT's COCO import takes an attribute called `score` away."""
TYPES = {Kind.BOX: "rectangle", Kind.POLYGON: "polygon", Kind.MASK: "mask"}
_MADE = re.compile(r"(.+)/([0-9a-f]{12})")
ADDED = ("votes", "confidence", RUN)
"""Attributes that `--add-labels` gives to labels."""


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
        return marks(-1, self.occluded, self.z_order, self.group)


class Key(NamedTuple):
    """What makes two shapes the same: place, label and form, not the attributes."""

    frame: int
    label_id: int
    type: str
    rotation: float
    points: tuple[float, ...]


class Made(Protocol):
    """A shape or a track."""

    id: int | None
    attributes: list[Value]

    @property
    def key(self) -> Hashable:
        """What makes two of them the same; its text tells all of it."""

    @property
    def values(self) -> list[tuple[int, int, str]]:
        """What its attributes say: frame or -1, attribute, value."""

    @property
    def marks(self) -> list[tuple[object, ...]]:
        """What people set on it beside place, label and attributes."""


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


def marks(frame: int, occluded: bool, z_order: int, group: int | None) -> list[tuple[object, ...]]:
    """What is set of these, with the frame; empty where nothing is."""
    return [(frame, occluded, z_order, group or 0)] if occluded or z_order or group else []


def shapes(
    annotations: Annotations,
    words: Labels,
    labels: Sequence[Label],
    frames: Mapping[int, int],
    *,
    run: str,
) -> list[Shape]:
    """What was decided, as shapes of a task, in the order of `annotations`.

    An attribute that a label does not declare is left out, as CVAT would refuse it; one that only
    the label has is given its default; 'score' is called 'confidence' where a label declares that.
    A polygon of several rings is a shape each.

    Args:
        annotations: boxes, polygons and masks.
        words: what `category_id` means.
        labels: the task's.
        frames: the frame of each `image_id`.
        run: the name of the run, for labels that declare an attribute 'run'.

    Raises:
        LabelError: a word that is no label of the task, or a label that takes no such shape.
    """
    by_name = {label.name: (label, Specs.of([label])) for label in labels}
    texts = values_of(annotations)
    scores = annotations.numbers("score").tolist()
    turned, hidden = annotations.rotation.tolist(), annotations.occluded.tolist()
    found: list[Shape] = []
    for row, (image, category, kind) in enumerate(
        zip(
            annotations.image_id.tolist(),
            annotations.category_id.tolist(),
            annotations.kind.tolist(),
            strict=True,
        )
    ):
        word = words.name_of(category)
        of_type = TYPES[Kind(kind)]
        if word not in by_name:
            raise LabelError(f"The task has no label '{word}' any more.")
        label, specs = by_name[word]
        if label.type not in ("any", of_type):
            raise LabelError(
                f"The label '{word}' takes shapes of type '{label.type}' alone, and a detector "
                f"gives a {of_type}.",
                hint=f"make the label's type 'any' in CVAT, or `publish: {{masks: {label.type}}}` "
                "where a detector gives masks",
            )
        values = []
        for spec in label.attributes:
            # A task that is older than the name 'confidence' may still say 'score'.
            column = texts.get(spec.name) or texts.get(KNOWN_AS.get(spec.name, ""))
            text = None if column is None else column[row]
            if text is None or (spec.input_type == "select" and text not in spec.values):
                # CVAT gives what lacks its default in each answer, and the digest must hold then.
                text = spec.default_value
            if spec.id not in specs.run:
                values.append(Value(spec.id, text))
        for points in points_of(annotations, row):
            shape = Shape(
                type=of_type,
                frame=frames[image],
                label_id=label.id,
                points=points,
                source="auto",
                attributes=values,
                rotation=turned[row],
                occluded=hidden[row],
                score=None if scores[row] != scores[row] else round(scores[row], 4),
            )
            if specs.run:
                made = f"{run}/{digest(shape, specs)}"
                shape.attributes = [*values, *(Value(spec, made) for spec in specs.run)]
            found.append(shape)
    return found


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


def values_of(annotations: Annotations) -> dict[str, list[str | None]]:
    """Each attribute of each row in CVAT's words, by CVAT's name; None where a row lacks it."""
    found = {}
    for name, column in annotations.attributes.items():
        rounded = np.round(column, 4) if column.dtype == np.float32 else column
        found[KNOWN_AS.get(name, name)] = [
            None if value is None or value != value else attribute_value(value)
            for value in rounded.tolist()
        ]
    return found


def points_of(annotations: Annotations, row: int) -> Iterator[list[float]]:
    """The points of a box or a mask, or of each ring of a polygon."""
    box, kind = annotations.xyxy[row], annotations.kind[row]
    if kind == Kind.BOX:
        yield numbers(box)
    elif kind == Kind.MASK:
        left, top, right, bottom = map(round, box.tolist())
        yield [*annotations.points[row].tolist(), left, top, right - 1, bottom - 1]
    else:
        yield from map(numbers, polygon_rings(annotations.points[row]))


def numbers(values: NDArray[np.floating]) -> list[float]:
    """Coordinates as they are told."""
    return [round(value, DECIMALS) for value in values.tolist()]


def by_frame(shapes: Iterable[Shape]) -> dict[int, list[Shape]]:
    """Shapes by their frame, each list in the order given."""
    found: defaultdict[int, list[Shape]] = defaultdict(list)
    for shape in shapes:
        found[shape.frame].append(shape)
    return dict(found)
