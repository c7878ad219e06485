"""YOLO text, written: Ultralytics' layout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import yaml

from quorate.annotations import Annotations
from quorate.dataset import Dataset
from quorate.errors import InputError
from quorate.formats.base import Written, open_target, without_ending
from quorate.formats.shapes import (
    by_image,
    known_sizes,
    lost_attributes,
    one_ring,
    outlined,
    upright,
)
from quorate.formats.yolo.reading import SPLITS
from quorate.labels import Labels


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    confidence: bool = False,
    polygons: bool = False,
) -> Written:
    """Write Ultralytics' layout: `data.yaml` and `labels/[SUBSET/]NAME.txt` for each picture.

    The pictures belong under `images/[SUBSET/]NAME`; they are not copied. A picture without boxes
    gets an empty file, for YOLO learns from those too. `confidence` adds the score as a sixth
    number: tools that evaluate read it, Ultralytics' training does not. Every shape with an area
    becomes its enclosing upright box, or with `polygons`, for segmentation, its outline: one ring,
    for the format has no more, whose parts are joined by lines without width. What reaches outside
    its picture is cut off at the border, since training leaves out pictures with such labels. The
    rest is left out and counted. Attributes are lost.

    Raises InputError where a picture's size is not known.
    """
    if polygons:
        boxes, notes = outlined(annotations, "YOLO", dataset)
    else:
        boxes, notes = upright(annotations, "YOLO")
    notes += lost_attributes(boxes, "YOLO", {"score"} if confidence else set())
    size = known_sizes(dataset, boxes, "YOLO")
    positions = dataset.labels.places(boxes.category_id)
    xyxy = boxes.xyxy.clip(0, np.tile(size, 2))
    if cut := int((np.abs(xyxy - boxes.xyxy).max(axis=1, initial=0) > 0.01).sum()):
        gone = (xyxy[:, 2:] <= xyxy[:, :2]).any(axis=1) & (boxes.xyxy != xyxy).any(axis=1)
        notes.append(
            f"YOLO: {cut} boxes reach outside their pictures and are cut off at the border, since "
            f"training leaves out such pictures; {int(gone.sum())} lie outside and are left out."
        )
        boxes, size, xyxy, positions = boxes.take(~gone), size[~gone], xyxy[~gone], positions[~gone]
    low, high = xyxy[:, :2], xyxy[:, 2:]
    numbers = np.concatenate([(low + high) / 2 / size, (high - low) / size], axis=1).tolist()
    scores = boxes.numbers("score").tolist() if confidence else None
    rows = by_image(boxes)
    subsets = list(dict.fromkeys(image.subset for image in dataset.images))
    seen: dict[str, str] = {}
    with open_target(target) as out:
        for image in dataset.images:
            name = without_ending(image.name)
            path = "/".join(part for part in ("labels", image.subset, f"{name}.txt") if part)
            if path in seen:
                raise InputError(
                    f"YOLO has one file for both '{seen[path]}' and '{image.name}': their names "
                    "differ in their ending alone."
                )
            seen[path] = image.name
            texts = []
            for row in rows.get(image.id, ()):
                cx, cy, w, h = numbers[row]
                end = ""
                if scores is not None:
                    score = 1.0 if np.isnan(scores[row]) else scores[row]
                    end = f" {score:.6g}"
                place = f"{cx:.6f} {cy:.6f} {w:.6f} {h:.6f}"
                if polygons:
                    ring = one_ring(boxes.points[row]).reshape(-1, 2) / (image.width, image.height)
                    place = " ".join(f"{value:.6f}" for value in ring.clip(0, 1).ravel().tolist())
                texts.append(f"{positions[row]} {place}{end}\n")
            out.put(path, "".join(texts).encode())
        out.put("data.yaml", _yaml(subsets, dataset.labels).encode())
    return Written(files=out.files, notes=notes)


def _yaml(subsets: Sequence[str], labels: Labels) -> str:
    """`data.yaml`; Ultralytics wants both `train` and `val`."""
    splits: dict[str, list[str]] = {}
    for subset in subsets:
        key = SPLITS.get(subset.lower(), "train")
        splits.setdefault(key, []).append(f"images/{subset}" if subset else "images")
    first = next(iter(splits.values()), ["images"])
    splits.setdefault("train", first)
    splits.setdefault("val", first)
    data = {key: value[0] if len(value) == 1 else value for key, value in splits.items()}
    names = dict(enumerate(labels.names))
    return yaml.safe_dump(
        {"path": ".", **data, "names": names}, sort_keys=False, allow_unicode=True
    )
