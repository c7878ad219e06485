"""A look at a detector's first boxes: are they what a detector gives that is fed and read right?

What is told is a suspicion, never an error: a pool may hold one label alone, or nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quorate.detectors.base import Boxes

MANY = 20
"""Boxes; of fewer nothing is said but that there is none."""
PICTURES = 5
"""Pictures in which many boxes of one kind are worth a sentence."""
NEARLY = 0.95
EDGE = 1.0
"""Pixels from the picture's border."""


def suspicions(
    found: Sequence[Boxes], sizes: Sequence[tuple[int, int]], labels: Sequence[str]
) -> list[str]:
    """What is odd about the boxes of some pictures of (height, width), in words; [] for nothing.

    `labels` are the words that they may have.
    """
    count = sum(len(boxes.score) for boxes in found)
    if not count:
        return ["it found no box"] if found else []
    if count < MANY or len(found) < PICTURES:
        return []
    xyxy = np.concatenate([boxes.xyxy for boxes in found])
    score = np.concatenate([boxes.score for boxes in found])
    label = np.concatenate([boxes.label for boxes in found])
    of = np.repeat(np.array(sizes, np.float32)[:, ::-1], [len(b.score) for b in found], axis=0)
    sides = (xyxy[:, 2:] - xyxy[:, :2]) / of
    touch = (xyxy[:, :2] <= EDGE) | (of - xyxy[:, 2:] <= EDGE)
    odd = []
    if len(labels) > 1 and len(np.unique(label)) == 1:
        odd.append(f"all {count:,} boxes have one label of {len(labels):,}")
    if np.ptp(sides, axis=0).max() < 0.01:
        odd.append(f"all {count:,} boxes are of one size")
    elif touch.any(axis=1).mean() >= NEARLY:
        odd.append(f"nearly all of {count:,} boxes touch the picture's border")
    if ((score < 1e-3) | (score > 1 - 1e-3)).all():
        odd.append("all scores are 0 or 1")
    return odd


def causes(told: Mapping[str, str]) -> str:
    """What most likely makes a detector find nothing, or nonsense, the likeliest first."""
    if not {"colours", "input", "layout"} <= told.keys():
        return "Are these pictures of the kind that it was trained on?"
    return (
        "Where that is wrong, look first at the scale and colours of its input "
        f"({told['colours']}: `scale`, `mean`, `std`, `channels`), then at how pictures are "
        f"resized ({told['input']}: `resize`), then at what it was taken for ({told['layout']}: "
        "`layout`). "
        "`quorate check SPEC --try PICTURE` tries others."
    )
