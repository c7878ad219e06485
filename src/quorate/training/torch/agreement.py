"""What a model finds on pictures, how good that is, and whether its ONNX finds the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.detectors.base import Boxes, Predictor, masks_of
from quorate.errors import DetectorError
from quorate.evaluation.coco import evaluate
from quorate.training.torch.samples import Samples

AT_ONCE = 8
"""Pictures that are held in memory together."""
PICTURES = 200
"""Most pictures that an export is checked on."""
SEEN = 0.25
"""Boxes that score less, which an ensemble does not publish, are not compared one by one: which of
their queries a model chooses may hang on a grey level. The AP has them all."""
APART = 1e-3
"""How far a box's sides may lie apart, of the longer side of its picture."""
SCORE_APART = 5e-3
"""How far scores may lie apart."""
MAP_APART = 1e-3
"""Likewise the AP: a tenth of a point, and on few pictures as much as one object counts, for two
boxes that score nearly the same may change places."""
TIED = 1e-4
USELESS = 0.01
"""Below this AP a model knows nothing yet: the queries that it chooses hang on the last digits."""
STRAY = 0.01
"""The share of boxes that may have no twin."""


def found_by(
    predictor: Predictor,
    samples: Samples,
    indexes: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Boxes]:
    """What a detector finds on some of the pictures, in their order."""
    found: list[Boxes] = []
    for start in range(0, len(indexes), AT_ONCE):
        chosen = indexes[start : start + AT_ONCE]
        found += predictor.predict([samples.picture(i) for i in chosen])
        progress(len(found), len(indexes))
    return found


def detections_of(
    found: Sequence[Boxes], samples: Samples, indexes: Sequence[int], *, name: str
) -> Detections:
    """Boxes of pictures as detections of the data set."""
    images, ids = samples.dataset.images, samples.dataset.labels.ids
    counts = [len(one.score) for one in found]
    numbers = np.array(ids, np.int32)
    label = np.concatenate([one.label for one in found]) if found else np.zeros(0, np.int32)
    return Detections.build(
        image_id=np.repeat([images[i].id for i in indexes], counts),
        category_id=numbers[label],
        xyxy=np.concatenate([one.xyxy for one in found]) if found else np.zeros((0, 4)),
        score=np.concatenate([one.score for one in found]) if found else np.zeros(0),
        detectors=(name,),
        masks=masks_of(found),
    )


def mean_ap(detections: Detections, dataset: Dataset) -> float:
    """COCO's AP, 0..1."""
    return evaluate(detections, dataset).ap or 0.0


@dataclass(frozen=True)
class Agreement:
    """How an exported model and its original agree.

    pictures  that both were shown
    boxes     of the original that score at least `SEEN`
    stray     of these without a twin of the same label within `APART`
    tied      likewise, but score as another does: which of such queries a network takes on is
              open, and a model that knows nothing yet has no others
    apart     the largest distance of a box's sides from its twin's, of the picture's longer side
    map_original, map_export  AP on these pictures
    """

    pictures: int
    boxes: int
    stray: int
    tied: int
    apart: float
    map_original: float
    map_export: float

    @property
    def sentence(self) -> str:
        """What was compared, and how it came out."""
        same = self.stray == 0 and self.map_original >= USELESS
        return (
            f"The ONNX file {'finds the same' if same else 'was held against the model'}: on "
            f"{self.pictures} pictures {self.boxes - self.stray - self.tied} of {self.boxes} boxes "
            f"lie within {self.apart:.1e} of a picture's side, {self.stray} are elsewhere, mAP is "
            f"{self.map_export:.4f} beside {self.map_original:.4f}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def check_export(original: Predictor, export: Predictor, samples: Samples) -> Agreement:
    """Show both the same pictures; DetectorError where they do not find the same."""
    step = max(len(samples) // PICTURES, 1)
    indexes = list(range(0, len(samples), step))[:PICTURES]
    one, other = (found_by(p, samples, indexes) for p in (original, export))
    images = [samples.dataset.images[i] for i in indexes]
    boxes = stray = tied = 0
    apart = 0.0
    for a, b, image in zip(one, other, images, strict=True):
        side = max(image.width, image.height)
        for row in np.flatnonzero(a.score >= SEEN):
            boxes += 1
            same = np.flatnonzero((b.label == a.label[row]) & _near(b.score, a.score[row]))
            distance = np.abs(b.xyxy[same] - a.xyxy[row]).max(axis=1, initial=0.0) / side
            if len(same) and distance.min() <= APART:
                apart = max(apart, float(distance.min()))
            elif (np.abs(a.score - a.score[row]) <= TIED).sum() > 1:
                tied += 1
            else:
                stray += 1
    chosen = {image.id for image in images}
    part = Dataset(
        samples.dataset.root,
        tuple(images),
        samples.dataset.labels,
        _of_images(samples.dataset, chosen),
    )
    first, second = (
        mean_ap(detections_of(found, samples, indexes, name="a"), part) for found in (one, other)
    )
    agreed = Agreement(len(indexes), boxes, stray, tied, apart, first, second)
    objects = sum(len(samples.rows[i]) for i in indexes)
    if max(first, second) < USELESS:
        return agreed
    if abs(first - second) > MAP_APART + 1 / max(objects, 1) or stray > max(STRAY * boxes, 1):
        raise DetectorError(
            f"The ONNX file does not find what the model finds: of {boxes} boxes on "
            f"{len(indexes)} pictures {stray} are elsewhere, and its mAP is {second:.4f}, not "
            f"{first:.4f}.",
            hint="its weights are kept in `model/`: a detector of their own kind reads them",
        )
    return agreed


def _near(scores: Any, score: float) -> Any:
    return np.abs(scores - score) <= SCORE_APART


def _of_images(dataset: Dataset, chosen: set[int]) -> Any:
    shapes = dataset.annotations
    return None if shapes is None else shapes.take(np.isin(shapes.image_id, list(chosen)))
