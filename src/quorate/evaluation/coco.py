"""COCO's twelve numbers, per category too, and the curves behind them.

`hotcoco` (Rust, columns in and out) does the work; `pycocotools`, the reference, is the fallback
and gives the same numbers, slowly.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.errors import InputError, MissingExtraError
from quorate.evaluation.truth import Floats, Frame, ScoredBoxes, TruthBoxes, known_sizes
from quorate.masks import Masks

STATISTICS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ap": ("precision", (..., 0, 2)),  # mean of AP over IoU .50:.05:.95
    "ap50": ("precision", (0, ..., 0, 2)),  # AP at IoU .50
    "ap75": ("precision", (5, ..., 0, 2)),  # AP at IoU .75
    "ap_small": ("precision", (..., 1, 2)),  # AP of objects under 32² pixels
    "ap_medium": ("precision", (..., 2, 2)),  # AP of objects from 32² to 96² pixels
    "ap_large": ("precision", (..., 3, 2)),  # AP of objects over 96² pixels
    "ar1": ("recall", (..., 0, 0)),  # recall with one box a picture and category
    "ar10": ("recall", (..., 0, 1)),  # recall with ten boxes a picture and category
    "ar100": ("recall", (..., 0, 2)),  # recall with a hundred boxes a picture and category
    "ar_small": ("recall", (..., 1, 2)),  # ar100 of small objects
    "ar_medium": ("recall", (..., 2, 2)),  # ar100 of medium objects
    "ar_large": ("recall", (..., 3, 2)),  # ar100 of large objects
}
"""Of which part of which array of `_accumulated` each is the mean, in pycocotools' order."""

RECALLS: Floats = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class CategoryMetrics:
    """One label's figures, 0..1; None where the truth has no object of it.

    `f1` is the best harmonic mean of precision and recall at IoU .5 along the curve, and `score`
    the threshold at which it is had: keep what scores at least that.
    """

    category_id: int
    label: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar100: float | None
    f1: float | None
    score: float | None
    objects: int
    boxes: int


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision at 101 recalls, 0:.01:1, one row per label in the vocabulary's order.

    precision50  float64  (c, 101)  at IoU .5; NaN rows for labels without truth
    precision    float64  (c, 101)  mean over IoU .50:.05:.95
    score50      float64  (c, 101)  the score at which `precision50` is had
    """

    precision50: Floats
    precision: Floats
    score50: Floats

    __repr__ = brief

    def mean50(self) -> Floats:
        """(101,) precision at IoU .5, mean over labels with truth; NaN when there are none."""
        known = self.precision50[~np.isnan(self.precision50[:, 0])]
        mean: Floats = known.mean(0) if len(known) else np.full(len(RECALLS), np.nan)
        return mean


@dataclass(frozen=True, eq=False)
class CocoMetrics:
    """COCO box metrics of one result, 0..1; None where the truth has no such object."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    images: int
    objects: int
    boxes: int
    categories: tuple[CategoryMetrics, ...]
    curves: Curves

    __repr__ = brief

    def statistics(self) -> dict[str, float | None]:
        """The twelve, by name, in COCO's order."""
        return {name: getattr(self, name) for name in STATISTICS}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the curves."""
        return {
            **self.statistics(),
            "images": self.images,
            "objects": self.objects,
            "boxes": self.boxes,
            "categories": [asdict(category) for category in self.categories],
        }


Backend = Literal["hotcoco", "pycocotools"]
IouType = Literal["bbox", "segm"]
"""What is compared: boxes, or masks."""


def evaluate(
    detections: Detections,
    dataset: Dataset,
    *,
    iou_type: IouType = "bbox",
    backend: Backend = "hotcoco",
) -> CocoMetrics:
    """COCO metrics of one detector's boxes, or of fused ones, against a data set's truth.

    With `segm` the pixels of masks are compared: polygons and ellipses are drawn, and whatever
    has only a box counts as a rectangle, in the truth as in the detections.

    Matching, thresholds, areas and the meaning of `iscrowd` are those of the COCO evaluation
    (Lin et al. 2014, and pycocotools, whose twelve numbers these are). Every picture of the data
    set counts: one without annotations is a picture without objects.

    Raises InputError when the data set has no truth, or a box lies on a picture or has a category
    that the data set does not know, or masks are to be compared in a picture of unknown size.
    """
    if backend not in ("hotcoco", "pycocotools"):
        raise InputError(f"No COCO evaluator '{backend}'; there are hotcoco and pycocotools.")
    frame = Frame.of(dataset)
    if iou_type not in ("bbox", "segm"):
        raise InputError(f"No IoU of the type '{iou_type}'; there are bbox and segm.")
    truth = TruthBoxes.of(dataset, frame, masks=iou_type == "segm")
    found = ScoredBoxes.of(
        detections,
        frame,
        sizes=None if iou_type == "bbox" else known_sizes(dataset, detections.image_id),
    )
    done = _accumulated(found, truth, frame, backend)
    objects = np.bincount(truth.category[~truth.crowd], minlength=len(frame.category_id))
    boxes = np.bincount(found.category, minlength=len(frame.category_id))
    curves = _curves(done, frame)
    categories = []
    for rank, category_id, label, precision50, score50 in zip(
        frame.order.tolist(),
        dataset.labels.ids,
        dataset.labels.names,
        curves.precision50,
        curves.score50,
        strict=True,
    ):
        precision = done["precision"][:, :, rank, 0, 2]
        f1 = score = None
        if objects[rank]:
            harmonic = 2 * precision50 * RECALLS / np.maximum(precision50 + RECALLS, 1e-12)
            best = int(np.argmax(harmonic))
            f1 = float(harmonic[best])
            score = float(score50[best]) if f1 > 0 else None
        categories.append(
            CategoryMetrics(
                category_id=category_id,
                label=label,
                ap=_known_mean(precision),
                ap50=_known_mean(precision[0]),
                ap75=_known_mean(precision[5]),
                ar100=_known_mean(done["recall"][:, rank, 0, 2]),
                f1=f1,
                score=score,
                objects=int(objects[rank]),
                boxes=int(boxes[rank]),
            )
        )
    return CocoMetrics(
        **{n: _known_mean(done[array][at]) for n, (array, at) in STATISTICS.items()},
        images=len(frame.image_id),
        objects=int(objects.sum()),
        boxes=len(found),
        categories=tuple(categories),
        curves=curves,
    )


def _known_mean(values: Floats) -> float | None:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def _curves(done: Mapping[str, Floats], frame: Frame) -> Curves:
    precision = done["precision"][..., 0, 2][:, :, frame.order]  # (t, r, c)
    known = (precision[0, 0] > -1)[:, None]
    score50: Floats = done["scores"][0, :, :, 0, 2][:, frame.order].T
    return Curves(
        precision50=np.where(known, precision[0].T, np.nan),
        precision=np.where(known, precision.mean(0).T, np.nan),
        score50=np.where(known, score50, np.nan),
    )


def _accumulated(
    found: ScoredBoxes, truth: TruthBoxes, frame: Frame, backend: Backend
) -> Mapping[str, Floats]:
    """Boxes matched with truth by COCO's rules; -1 where a category has no truth.

    Axes: IoU .50:.05:.95 (t = 10), recall 0:.01:1 (r = 101), category by id (c), area all, small,
    medium, large (4), most detections 1, 10, 100 (3).

    precision  float64  (t, r, c, 4, 3)
    recall     float64  (t, c, 4, 3)
    scores     float64  (t, r, c, 4, 3)  the score at which each precision is had
    """
    if not len(frame.image_id) or not len(frame.category_id):
        none = np.full((10, 101, len(frame.category_id), 4, 3), -1.0)
        return {"precision": none, "recall": none[:, 0], "scores": none}
    # pycocotools tells of its progress; hotcoco is silent, so that its way leaves stdout alone.
    silent = contextlib.redirect_stdout(io.StringIO())
    with silent if backend == "pycocotools" else contextlib.nullcontext():
        evaluator = (_hotcoco if backend == "hotcoco" else _pycocotools)(found, truth, frame)
        evaluator.evaluate()
        evaluator.accumulate()
    result: Mapping[str, Floats] = evaluator.eval
    return result


def _table(found: ScoredBoxes) -> Floats:
    """(n, 7) image, x, y, w, h, score, category: what both call `loadRes` on."""
    return np.column_stack([found.image + 1, found.xywh, found.score, found.category + 1])


def _headers(frame: Frame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    images = [{"id": i} for i in range(1, len(frame.image_id) + 1)]
    return images, [{"id": i, "name": str(i)} for i in range(1, len(frame.category_id) + 1)]


def _hotcoco(found: ScoredBoxes, truth: TruthBoxes, frame: Frame) -> Any:
    import hotcoco

    images, categories = _headers(frame)
    expected = hotcoco.COCO.from_arrays(
        images,
        categories,
        truth.image + 1,
        truth.category + 1,
        truth.xywh,
        area=truth.area,
        iscrowd=truth.crowd,
        segmentation=None if truth.masks is None else _segmentations(truth.masks),
    )
    if found.masks is None:
        return hotcoco.COCOeval(expected, expected.load_res(_table(found)), "bbox")
    results = expected.load_res(_table(found), segmentation=_segmentations(found.masks))
    # The area of a mask, not of its box, decides what is small, medium or large.
    area = found.masks.measured().area.astype(np.float64)
    results.update_anns(ids=np.arange(1, len(found) + 1), area=area)
    return hotcoco.COCOeval(expected, results, "segm")


def _segmentations(masks: Masks) -> list[Any]:
    """COCO's run lengths of each mask, compressed."""
    sizes = masks.size.tolist()
    return [{"size": s, "counts": c} for s, c in zip(sizes, masks.counts(), strict=True)]


def _rows(**columns: list[Any]) -> list[dict[str, Any]]:
    """A dictionary for each row of the columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _pycocotools(found: ScoredBoxes, truth: TruthBoxes, frame: Frame) -> Any:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingExtraError("Evaluation with pycocotools", "torch") from None

    images, categories = _headers(frame)
    annotations = _rows(
        id=list(range(1, len(truth) + 1)),
        image_id=(truth.image + 1).tolist(),
        category_id=(truth.category + 1).tolist(),
        bbox=truth.xywh.tolist(),
        area=truth.area.tolist(),
        iscrowd=truth.crowd.astype(int).tolist(),
    )
    if truth.masks is not None:
        for annotation, one in zip(annotations, _segmentations(truth.masks), strict=True):
            annotation["segmentation"] = one
        for image in images:  # it looks for a size, though run lengths have their own
            image["height"] = image["width"] = 0
    expected, results = COCO(), COCO()
    for coco, shapes in ((expected, annotations), (results, [])):
        coco.dataset = {
            "info": {},
            "images": images,
            "categories": categories,
            "annotations": shapes,
        }
        coco.createIndex()
    if found.masks is not None and len(found):  # without bbox, so that the area is the mask's
        rows = _rows(
            image_id=(found.image + 1).tolist(),
            category_id=(found.category + 1).tolist(),
            score=found.score.tolist(),
            segmentation=_segmentations(found.masks),
        )
        results = expected.loadRes(rows)
    elif len(found):  # pycocotools cannot load a result without boxes
        results = expected.loadRes(_table(found))
    return COCOeval(expected, results, "bbox" if found.masks is None else "segm")
