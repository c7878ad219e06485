"""Boxes and masks as CVAT's API takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.cvat.publishing.drawn import DECIMALS, RUN, Shape, Specs, Value, digest
from quorate.cvat.task import Label
from quorate.errors import LabelError
from quorate.formats.cvat.writing import attribute_value
from quorate.labels import Labels
from quorate.masks.shapes import polygon_rings

KNOWN_AS = {"score": "confidence"}
"""CVAT's COCO import takes an attribute called `score` away."""
TYPES = {Kind.BOX: "rectangle", Kind.POLYGON: "polygon", Kind.MASK: "mask"}
ADDED = ("votes", "confidence", RUN)
"""Attributes that `--add-labels` gives to labels."""


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
