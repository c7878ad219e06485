"""Oriented boxes, centre, size and angle: suppressed as such, then told by what is upright."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.tensors.layouts.layout import Raw

UPRIGHT = "the upright box around each oriented one"
MOST = 2000
"""Boxes that suppression looks at, best first."""
TINY = 1e-7


def upright(raw: Raw, angle: NDArray[np.floating], *, iou: float | None) -> Raw:
    """The upright box in xyxy around each oriented one, of centre, width and height in `raw`.

    `angle` (n,), in radians, turns the width from the x axis. Where `iou` is given, a box goes
    whose likeness to a better one of its label is at least that.
    """
    turned = np.asarray(angle, dtype=np.float32)
    rows = np.arange(len(turned))
    if iou is not None:
        rows = np.argsort(-raw.score, kind="stable")[:MOST]
        like = np.triu(likeness(np.asarray(raw.boxes[rows], np.float64), turned[rows]), 1)
        same = raw.label[rows, None] == raw.label[None, rows]
        rows = rows[~((like >= iou) & same).any(axis=0)]
    boxes = np.asarray(raw.boxes[rows], dtype=np.float32)
    cosine, sine = np.abs(np.cos(turned[rows])), np.abs(np.sin(turned[rows]))
    width, height = boxes[:, 2], boxes[:, 3]
    half = np.stack([width * cosine + height * sine, width * sine + height * cosine], axis=1) / 2
    xyxy = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return Raw(xyxy, raw.score[rows], raw.label[rows])


def likeness(boxes: NDArray[np.float64], angle: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, n): how far two oriented boxes are alike, 0..1, as Gaussian distributions.

    One less the Hellinger distance, as Ultralytics' `probiou` (Llerena et al. 2021,
    arXiv:2106.06072).
    """
    x, y = boxes[:, 0], boxes[:, 1]
    wide, high = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cosine, sine = np.cos(angle), np.sin(angle)
    a, b = wide * cosine**2 + high * sine**2, wide * sine**2 + high * cosine**2
    c = (wide - high) * cosine * sine
    sum_a, sum_b, sum_c = (one[:, None] + one[None, :] for one in (a, b, c))
    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    area = sum_a * sum_b - sum_c**2
    far = (sum_a * dy**2 + sum_b * dx**2) / (area + TINY) / 4
    far -= sum_c * dx * dy / (area + TINY) / 2
    own = (a * b - c**2).clip(0)
    far += np.log(area / (4 * np.sqrt(own[:, None] * own[None, :]) + TINY) + TINY) / 2
    likeness: NDArray[np.float64] = 1 - np.sqrt(1 - np.exp(-far.clip(TINY, 100)) + TINY)
    return likeness
