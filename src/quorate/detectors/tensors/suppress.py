"""One box for each object: non-maximum suppression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel

MOST_CANDIDATES = 30_000
"""Boxes that non-maximum suppression looks at, best first; Ultralytics' number."""


def suppress(
    xyxy: NDArray[np.float32], label: NDArray[np.int32], iou: float, most: int
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each label; boxes (n, 4) are given best first.

    A box is dropped when its IoU with a better one of its label is above `iou`; it ends when `most`
    are kept. Returns their rows in order, (k,): the result of torchvision's `batched_nms`.
    """
    keep = np.empty(min(len(xyxy), most), dtype=np.int64)
    return keep[: _kept(xyxy, label, iou, keep)]


@kernel
def _kept(
    xyxy: NDArray[np.float32], label: NDArray[np.int32], iou: float, keep: NDArray[np.int64]
) -> int:  # pragma: no cover - compiled
    """Fill `keep` until it is full or no box is left; how many there are."""
    kept = 0
    for i in range(len(xyxy)):
        if kept == len(keep):
            break
        alone = True
        for k in range(kept):
            j = keep[k]
            width = min(xyxy[i, 2], xyxy[j, 2]) - max(xyxy[i, 0], xyxy[j, 0])
            height = min(xyxy[i, 3], xyxy[j, 3]) - max(xyxy[i, 1], xyxy[j, 1])
            if label[j] == label[i] and width > 0 and height > 0:
                both = width * height
                mine = (xyxy[i, 2] - xyxy[i, 0]) * (xyxy[i, 3] - xyxy[i, 1])
                other = (xyxy[j, 2] - xyxy[j, 0]) * (xyxy[j, 3] - xyxy[j, 1])
                if both > iou * (mine + other - both):
                    alone = False
                    break
        if alone:
            keep[kept] = i
            kept += 1
    return kept
