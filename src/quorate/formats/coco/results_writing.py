"""Write COCO results: the list of detections that every framework reads for evaluation.

    [{"image_id":42,"category_id":18,"bbox":[x,y,width,height],"score":0.91}, …]

Masks add `"segmentation":{"size":[height,width],"counts":"…"}`, compressed as pycocotools has it.
Fused boxes have `votes`, `agreement` and `detectors` as well. The same detections give the same
bytes.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from quorate.annotations import carriers
from quorate.detections import FUSED, Detections
from quorate.masks import Masks
from quorate.storage import writing

PART = 1 << 15
"""Boxes whose text is made at once."""
SCORE_DECIMALS = 6


class _Result(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    score: float
    segmentation: Any = UNSET
    votes: Any = UNSET
    agreement: Any = UNSET
    detectors: Any = UNSET


_ENCODER = msgspec.json.Encoder()


def write_results(
    detections: Detections,
    location: str | os.PathLike[str],
    *,
    image_ids: Mapping[int, int | str] | None = None,
    category_ids: Mapping[int, int | str] | None = None,
    extras: bool = True,
    decimals: int = 3,
) -> None:
    """Write a results file, in the detections' own order; `….gz` is packed.

    Args:
        detections: what to write.
        location: a local file or one in S3.
        image_ids: `Image.id` -> the id to write, where that is another one.
        category_ids: likewise.
        extras: add `votes`, `agreement` and `detectors` to boxes made by fusion.
        decimals: of the coordinates; scores have six.
    """
    location = os.fspath(location)
    with writing(location) as raw:
        # No time of writing and no name in the archive: the same detections, the same bytes.
        file = (
            cast(BinaryIO, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0))
            if location.endswith(".gz")
            else raw
        )
        file.write(b"[")
        for start in range(0, len(detections), PART):
            part = detections.take(slice(start, start + PART))
            low, high = part.xyxy[:, :2].astype(np.float64), part.xyxy[:, 2:].astype(np.float64)
            results = map(
                _Result,
                _named(part.image_id, image_ids or {}),
                _named(part.category_id, category_ids or {}),
                zip(*np.vstack([low.T, (high - low).T]).round(decimals).tolist(), strict=True),
                _decimals(part.score),
                repeat(UNSET) if part.masks is None else _segmentations(part.masks),
                *(_extras(part) if extras else ()),
            )
            file.write(b"," * (start > 0) + _ENCODER.encode(list(results))[1:-1])
        file.write(b"]\n")
        if file is not raw:
            file.close()


def _named(ids: NDArray[Any], names: Mapping[int, int | str]) -> list[int | str]:
    values = ids.tolist()
    return [names.get(value, value) for value in values] if names else values


def _decimals(values: NDArray[np.float32]) -> list[float]:
    return cast(list[float], values.astype(np.float64).round(SCORE_DECIMALS).tolist())


def _segmentations(masks: Masks) -> list[Any]:
    return [
        {"size": size, "counts": counts} if counts else UNSET
        for counts, size in zip(masks.counts(), masks.size.tolist(), strict=True)
    ]


def _extras(part: Detections) -> tuple[Iterable[Any], ...]:
    """`votes`, `agreement` and `detectors` of each box that was made by fusion."""
    fused = part.detector == FUSED
    if not fused.any():
        return ()
    sets, which = carriers(part)
    names = [list(one) or UNSET for one in sets]
    columns = (
        part.votes.tolist(),
        _decimals(part.agreement),
        [names[i] for i in which.tolist()],
    )
    if fused.all():
        return columns
    there = fused.tolist()
    return tuple(
        [value if is_fused else UNSET for value, is_fused in zip(column, there, strict=True)]
        for column in columns
    )
