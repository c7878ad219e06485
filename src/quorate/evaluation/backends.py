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
    )
    return hotcoco.COCOeval(expected, expected.load_res(_table(found)), "bbox")


def _pycocotools(found: ScoredBoxes, truth: TruthBoxes, frame: Frame) -> Any:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingExtraError("Evaluation with pycocotools", "torch") from None

    images, categories = _headers(frame)
    columns = zip(
        truth.image.tolist(),
        truth.category.tolist(),
        truth.xywh.tolist(),
        truth.area.tolist(),
        truth.crowd.tolist(),
        strict=True,
    )
    annotations = [
        {
            "id": number,
            "image_id": image + 1,
            "category_id": category + 1,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for number, (image, category, box, area, crowd) in enumerate(columns, start=1)
    ]
    expected = COCO()
    expected.dataset = {
        "info": {},
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }
    expected.createIndex()
    if not len(found):  # pycocotools cannot load a result without boxes
        results = COCO()
        results.dataset = {"images": images, "categories": categories, "annotations": []}
        results.createIndex()
    else:
        results = expected.loadRes(_table(found))
    return COCOeval(expected, results, "bbox")
