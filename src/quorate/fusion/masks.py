"""The masks of fused boxes: boxes decide the groups, the members' masks the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quorate.detections import Detections
from quorate.fusion.columns import OF, WEIGHT, Columns, Floats, Fused, Ints
from quorate.masks import Masks

if TYPE_CHECKING:
    from quorate.masks.fusion import MaskRule

OWN_RULE: Mapping[str, MaskRule] = {"nms": "best", "soft_nms": "best", "nmm": "union"}
"""Where the spec says nothing: as the box, so the mask; `majority` for all other methods."""


def fused_masks(
    detections: Detections,
    columns: Columns,
    numbers: Floats,
    fused: Fused,
    rule: MaskRule,
    *,
    threads: int | None = None,
) -> Masks | None:
    """The mask of each fused box by its members'; None where no box has one.

    For the majority a member counts its detector's weight, and score x weight settles an even
    split. Members stand in the order that decides groups, so nothing hangs on who came first.
    """
    masks = detections.masks
    if masks is None or not masks.there.any():
        return None
    from quorate.masks.fusion import merged

    rows = fused.member_rows
    slot = _slots(numbers, columns.category[rows])
    votes = numbers[slot, WEIGHT + columns.identity[columns.detector[rows]]]
    score = columns.score[rows].astype(np.float64)
    return merged(
        masks, fused.member_offsets, rows, rule, votes=votes, sure=score * votes, threads=threads
    )


def settled(columns: Columns, masks: Masks | None) -> Columns:
    """The same rows in an order of their masks, so that boxes equal but for these never tie."""
    if masks is None or not masks.there.any():
        return columns
    from quorate.masks.runs import digests

    picture = np.repeat(np.arange(len(columns.offsets) - 1), np.diff(columns.offsets))
    digest = digests(*masks.columns())[columns.rows]
    return replace(columns, rows=columns.rows[np.lexsort((digest, picture))])


def _slots(numbers: Floats, category: NDArray[np.int32]) -> Ints:
    """The row of the numbers that holds for each category."""
    at = np.searchsorted(numbers[1:, OF], category) + 1
    return np.where(numbers[np.minimum(at, len(numbers) - 1), OF] == category, at, 0) * (
        len(numbers) > 1
    )
