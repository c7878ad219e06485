"""Write COCO results: the list of detections that every framework reads for evaluation.

    [{"image_id":42,"category_id":18,"bbox":[x,y,width,height],"score":0.91}, …]

Masks add `"segmentation":{"size":[height,width],"counts":"…"}`, compressed as pycocotools has it.
Fused boxes have `votes`, `agreement` and `detectors` as well. The text is made by a compiled
kernel; whoever reads JSON reads it, and the same detections give the same bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.detections import FUSED, Detections
from quorate.formats.coco.segmentations import mask_texts
from quorate.storage import writing

PART = 1 << 17
"""Boxes whose text is made at once."""
SCORE_DECIMALS = 6
_NUMBER = 24  # bytes that no number is longer than


def write_results(
    detections: Detections,
    location: str,
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
            text = _text(part, image_ids or {}, category_ids or {}, extras, decimals)
            file.write(text[: -1 if start + PART >= len(detections) else None])
        file.write(b"]\n")
        if file is not raw:
            file.close()


def _text(
    part: Detections,
    image_ids: Mapping[int, int | str],
    category_ids: Mapping[int, int | str],
    extras: bool,
    decimals: int,
) -> memoryview:
    """The detections as JSON, each with a comma behind it."""
    ids = part.image_id
    heads = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))  # one for each run of a picture
    images = [json.dumps(image_ids.get(i, i)) for i in ids[heads].tolist()]
    categories, category = np.unique(part.category_id, return_inverse=True)
    kinds = [json.dumps(category_ids.get(i, i)) for i in categories.tolist()]
    names = [json.dumps(name) for name in part.detectors]
    fused = (part.detector == FUSED) if extras else np.zeros(len(part), np.bool_)
    members = part.members
    if members is None:
        offsets, owners = np.zeros(len(part) + 1, np.int64), np.zeros(0, np.int16)
    else:
        offsets, owners = members.offsets, members.detector
    low, high = part.xyxy[:, :2].astype(np.float64), part.xyxy[:, 2:].astype(np.float64)
    segments = [] if part.masks is None else mask_texts(part.masks)
    letters, segment_at = _table(segments)
    if part.masks is None:  # box by box it would cost as much as all else
        segment_at = np.zeros(len(part) + 1, np.int64)
    longest = [max((len(t) for t in texts), default=0) for texts in (images, kinds)]
    room = (
        sum(map(len, segments))
        + len(part) * (130 + sum(longest) + 7 * _NUMBER)
        + int(fused.sum()) * (16 + sum(len(name) + 1 for name in names))
    )
    out = np.empty(room, np.uint8)
    size = join_results(
        out,
        *_table(images),
        np.cumsum(np.bincount(heads, minlength=len(part))) - 1,
        *_table(kinds),
        category.astype(np.int64).reshape(-1),
        np.concatenate([low, high - low], axis=1),
        part.score.astype(np.float64),
        fused,
        part.votes,
        part.agreement.astype(np.float64),
        _plain(offsets),
        _plain(owners),
        *_table(names),
        letters,
        segment_at,
        decimals,
    )
    return cast(Any, out)[:size].data  # type: ignore[no-any-return]


def warm() -> None:
    """Compile the writer now, or load it from the cache."""
    box = Detections.build(
        image_id=[1], category_id=1, xyxy=[[0, 0, 1, 1]], score=1, detectors=("a",)
    )
    _text(box, {}, {}, False, 3)


def _table(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts one behind the other, and where each begins."""
    parts = [text.encode() for text in texts]
    ends = np.array(list(accumulate(map(len, parts), initial=0)), np.int64)
    return np.array(bytearray(b"".join(parts)), np.uint8), ends


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """The column in the one memory layout that the kernel is compiled for."""
    return np.require(column, requirements=("C", "W"))


def _letters(text: str) -> NDArray[np.uint8]:
    return np.array(bytearray(text.encode()), np.uint8)


_IMAGE, _CATEGORY = _letters('{"image_id":'), _letters(',"category_id":')
_BBOX, _SCORE = _letters(',"bbox":['), _letters('],"score":')
_SEGMENTATION = _letters(',"segmentation":')
_VOTES, _AGREEMENT = _letters(',"votes":'), _letters(',"agreement":')
_DETECTORS, _END = _letters(',"detectors":['), _letters("},")
_COMMA, _BRACKET = 44, 93


@kernel
def join_results(
    out: Any,
    images: Any,
    image_at: Any,
    image: Any,
    kinds: Any,
    kind_at: Any,
    kind: Any,
    bbox: Any,
    score: Any,
    fused: Any,
    votes: Any,
    agreement: Any,
    offsets: Any,
    owners: Any,
    names: Any,
    name_at: Any,
    segments: Any,
    segment_at: Any,
    decimals: int,
) -> int:
    """Write the text of boxes to `out`, which has room for it; returns its length."""
    at = 0
    detectors = len(name_at) - 1
    carried = np.full(detectors, -1, np.int64)
    for row in range(len(score)):
        at = _copy(out, at, _IMAGE, 0, len(_IMAGE))
        at = _copy(out, at, images, image_at[image[row]], image_at[image[row] + 1])
        at = _copy(out, at, _CATEGORY, 0, len(_CATEGORY))
        at = _copy(out, at, kinds, kind_at[kind[row]], kind_at[kind[row] + 1])
        at = _copy(out, at, _BBOX, 0, len(_BBOX))
        for c in range(4):
            at = _decimal(out, at, bbox[row, c], decimals)
            out[at] = _COMMA
            at += 1
        at = _copy(out, at - 1, _SCORE, 0, len(_SCORE))
        at = _decimal(out, at, score[row], SCORE_DECIMALS)
        if segment_at[row + 1] > segment_at[row]:
            at = _copy(out, at, _SEGMENTATION, 0, len(_SEGMENTATION))
            at = _copy(out, at, segments, segment_at[row], segment_at[row + 1])
        if fused[row]:
            at = _copy(out, at, _VOTES, 0, len(_VOTES))
            at = _whole(out, at, np.int64(votes[row]))
            at = _copy(out, at, _AGREEMENT, 0, len(_AGREEMENT))
            at = _decimal(out, at, agreement[row], SCORE_DECIMALS)
            some = False
            for k in range(offsets[row], offsets[row + 1]):
                if owners[k] >= 0:
                    carried[owners[k]] = row
                    some = True
            if some:
                at = _copy(out, at, _DETECTORS, 0, len(_DETECTORS))
                for d in range(detectors):
                    if carried[d] == row:
                        at = _copy(out, at, names, name_at[d], name_at[d + 1])
                        out[at] = _COMMA
                        at += 1
                out[at - 1] = _BRACKET
        at = _copy(out, at, _END, 0, len(_END))
    return at


@njit(inline="always")
def _copy(out: Any, at: int, text: Any, begin: int, end: int) -> int:
    for k in range(begin, end):
        out[at] = text[k]
        at += 1
    return at


@njit
def _whole(out: Any, at: int, value: int) -> int:
    """Write a whole number that is not negative."""
    size, rest = 1, value // 10
    while rest > 0:
        size += 1
        rest //= 10
    for k in range(at + size - 1, at - 1, -1):
        out[k] = 48 + value % 10
        value //= 10
    return at + size


@njit
def _decimal(out: Any, at: int, value: float, decimals: int) -> int:
    """Write a number rounded to so many decimals, halves to even, without idle zeros: 1.5, 2.0."""
    if value < 0.0:
        out[at] = 45
        at += 1
        value = -value
    exponent = 0
    while value >= 1e12:  # no pixel, but a number still
        value /= 10.0
        exponent += 1
    scale = 1
    for _ in range(decimals):
        scale *= 10
    scaled = np.int64(np.rint(value * scale))
    at = _whole(out, at, scaled // scale)
    out[at] = 46
    at += 1
    rest = scaled % scale
    if rest == 0:
        out[at] = 48
        at += 1
    while rest > 0:
        scale //= 10
        out[at] = 48 + rest // scale
        rest %= scale
        at += 1
    if exponent:
        out[at] = 101
        at = _whole(out, at + 1, exponent)
    return at
