"""The COCO evaluators behind one face: boxes in, COCO's precision and recall arrays out.

`hotcoco` (Rust, columns in and out) does the work; `pycocotools`, the reference, is the fallback
and gives the same numbers, slowly.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from quorate.errors import MissingExtraError
from quorate.evaluation.truth import Floats, Frame, ScoredBoxes, TruthBoxes
from quorate.masks import Masks

Backend = Literal["hotcoco", "pycocotools"]


@dataclass(frozen=True, eq=False)
class Accumulated:
    """What COCO's `accumulate` leaves; -1 where a category has no truth.

    Axes: IoU .50:.05:.95 (t = 10), recall 0:.01:1 (r = 101), category by id (c), area all, small,
    medium, large (4), most detections 1, 10, 100 (3).

    precision  float64  (t, r, c, 4, 3)
    recall     float64  (t, c, 4, 3)
    scores     float64  (t, r, c, 4, 3)  the score at which each precision is had
    """

    precision: Floats
    recall: Floats
    scores: Floats


def accumulate(
    found: ScoredBoxes, truth: TruthBoxes, frame: Frame, backend: Backend
) -> Accumulated:
    """Match boxes with truth by COCO's rules, for every threshold, area and category."""
    if not len(frame.image_id) or not len(frame.category_id):
        shape = (10, 101, len(frame.category_id), 4, 3)
        none = np.full(shape, -1.0)
        return Accumulated(precision=none, recall=none[:, 0], scores=none)
    # pycocotools tells of its progress; hotcoco is silent, so that its way leaves stdout alone.
    silent = contextlib.redirect_stdout(io.StringIO())
    with silent if backend == "pycocotools" else contextlib.nullcontext():
        evaluator = (_hotcoco if backend == "hotcoco" else _pycocotools)(found, truth, frame)
        evaluator.evaluate()
        evaluator.accumulate()
    result = evaluator.eval
    return Accumulated(result["precision"], result["recall"], result["scores"])


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
