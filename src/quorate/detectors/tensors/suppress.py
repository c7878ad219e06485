"""The best category of each anchor, and one box for each object: compiled kernels of YOLO heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel

MOST_CANDIDATES = 30_000
"""Boxes that non-maximum suppression looks at, best first; Ultralytics' number."""


@kernel
def best_plane(
    scores: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:  # pragma: no cover - compiled
    """The best of `c` planes at each place: float32 (c, n) -> score (n,), plane (n,).

    The first of equals wins. A NaN anywhere at a place makes its score NaN.
    """
    planes, places = scores.shape
    best = scores[0].copy()
    plane = np.zeros(places, dtype=np.int32)
    for c in range(1, planes):
        for i in range(places):
            value, most = scores[c, i], best[i]
            # Not `value > most`: a NaN must not be passed over, nor be left again.
            better = not (value <= most) and most == most
            plane[i] = c if better else plane[i]
            best[i] = value if better else most
    return best, plane


@kernel
def best_column(
    rows: NDArray[np.float32], categories: int, floor: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:  # pragma: no cover - compiled
    """The best category of each anchor: float32 (n, 5 + c or more) -> score, category (n,).

    Column 4 is objectness, the categories' scores follow; the score is their product. Where
    objectness is below `floor` the row is not read on, and the score is objectness itself. NaN
    goes through, as above.
    """
    anchors = len(rows)
    best = rows[:, 4].copy()
    category = np.zeros(anchors, dtype=np.int32)
    for i in range(anchors):
        if best[i] < floor:
            continue
        most = rows[i, 5]
        for c in range(1, categories):
            value = rows[i, 5 + c]
            if not (value <= most) and most == most:
                most = value
                category[i] = c
        best[i] *= most
    return best, category


@kernel
def suppress(
    xyxy: NDArray[np.float32], label: NDArray[np.int32], iou: float, most: int
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Greedy non-maximum suppression within each label; boxes are given best first.

    Args:
        xyxy: float32 (n, 4), by falling score.
        label: int32 (n,).
        iou: a box is dropped when its IoU with a better one of its label is above this.
        most: stop when so many are kept.

    Returns:
        int64 (k,), rows that are kept, in order; the result of torchvision's `batched_nms`.
    """
    n = len(xyxy)
    keep = np.empty(min(n, most), dtype=np.int64)
    kept = 0
    area = np.empty(n, dtype=np.float32)
    for i in range(n):
        area[i] = (xyxy[i, 2] - xyxy[i, 0]) * (xyxy[i, 3] - xyxy[i, 1])
    for i in range(n):
        if kept == most:
            break
        alone = True
        for k in range(kept):
            j = keep[k]
            if label[j] != label[i]:
                continue
            width = min(xyxy[i, 2], xyxy[j, 2]) - max(xyxy[i, 0], xyxy[j, 0])
            height = min(xyxy[i, 3], xyxy[j, 3]) - max(xyxy[i, 1], xyxy[j, 1])
            if width <= 0 or height <= 0:
                continue
            both = width * height
            if both > iou * (area[i] + area[j] - both):
                alone = False
                break
        if alone:
            keep[kept] = i
            kept += 1
    return keep[:kept]
