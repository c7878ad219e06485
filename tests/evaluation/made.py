"""Made-up data sets and detections for the tests of evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.labels import Labels


def dataset(
    image_id: Any,
    category_id: Any,
    xyxy: Any,
    *,
    images: Any = None,
    labels: Labels | None = None,
    area: Any = None,
    iscrowd: Any = None,
) -> Dataset:
    truth = Annotations.build(
        image_id=image_id,
        category_id=category_id,
        xyxy=xyxy,
        area=np.nan if area is None else area,
        iscrowd=False if iscrowd is None else iscrowd,
    )
    pictures = np.unique(truth.image_id) if images is None else images
    return Dataset(
        root="pictures",
        images=tuple(Image(id=int(i), file_name=f"{i}.jpg") for i in pictures),
        labels=labels or Labels.from_names(["bolt", "nut", "washer"]),
        annotations=truth,
    )


def random_case(
    seed: int, *, images: int = 30, ties: bool = False, crowds: bool = True
) -> tuple[Dataset, Detections]:
    """Objects of all sizes, crowds, jitter, duplicates, wrong labels, empty pictures."""
    random = np.random.default_rng(seed)
    labels = Labels(("bolt", "nut", "washer", "screw", "never"), (7, 3, 90, 0, 41))
    ids = np.sort(random.choice(10_000, images, replace=False)) + 2**40
    objects = random.integers(0, 9, images)
    picture = np.repeat(ids, objects)
    n = len(picture)
    size = np.exp(random.uniform(np.log(6), np.log(250), (n, 2)))
    corner = random.uniform(0, 300, (n, 2))
    xyxy = np.hstack([corner, corner + size])
    category = random.choice(labels.ids[:4], n)
    crowd = random.random(n) < (0.15 if crowds else 0)
    truth = dataset(
        picture,
        category,
        xyxy,
        images=random.permutation(ids),
        labels=labels,
        area=size.prod(1) * random.uniform(0.4, 1, n),
        iscrowd=crowd,
    )
    rows = np.repeat(np.arange(n), random.integers(0, 4, n))
    jitter = random.normal(0, 0.12, (len(rows), 4)) * np.tile(size[rows], 2)
    jitter[random.random(len(rows)) < 0.2] = 0
    found = xyxy[rows] + jitter
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 0.5)
    wrong = random.random(len(rows)) < 0.15
    where = np.where(random.random(len(rows)) < 0.1, random.choice(ids, len(rows)), picture[rows])
    score = random.random(len(rows))
    shuffled = random.permutation(len(rows))
    return truth, Detections.build(
        image_id=where[shuffled],
        category_id=np.where(wrong, random.choice(labels.ids, len(rows)), category[rows])[shuffled],
        xyxy=found[shuffled],
        score=(np.round(score, 1) if ties else score)[shuffled],
        detectors=["made"],
    )
