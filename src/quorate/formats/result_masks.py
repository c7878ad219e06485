"""Segmentations of COCO results: run lengths, plain or compressed, in and out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from quorate.errors import FormatError, QuorateError
from quorate.masks import Masks


class _RunLengths(msgspec.Struct, gc=False):
    counts: list[int] | str
    size: tuple[int, int]


class _Some:
    """Masks of one kind: whose they are, their run lengths, their pictures' sizes."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.counts: list[Any] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, row: int, found: _RunLengths) -> None:
        self.rows.append(row)
        self.counts.append(found.counts)
        self.sizes.append(found.size)


_DECODER = msgspec.json.Decoder(_RunLengths)


def read_masks(segmentations: Sequence[bytes], first: int, place: str) -> tuple[Masks | None, int]:
    """The masks of detections by the JSON of their `segmentation`, and how many are polygons.

    Those are no masks: a results file does not tell how large its pictures are. None where no
    detection has a mask. `first` is the number of the first detection, for errors.
    """
    packed, plain = _Some(), _Some()
    polygons = 0
    for row, text in enumerate(segmentations):
        if text[:1] != b"{":
            polygons += text not in (b"", b"null", b"[]", b"[[]]")
            continue
        try:
            found = _DECODER.decode(text)
        except msgspec.DecodeError as error:
            raise FormatError(
                f"{place}: detection {first + row} has a segmentation that is none ({error})."
            ) from None
        (packed if isinstance(found.counts, str) else plain).add(row, found)
    rows = packed.rows + plain.rows
    if not rows:
        return None, polygons
    order = np.full(len(segmentations), len(rows), np.int64)
    order[rows] = np.arange(len(rows))
    try:
        both = Masks.concat(
            [
                Masks.from_counts(packed.counts, packed.sizes),
                Masks.from_runs(plain.counts, plain.sizes),
                1,
            ]
        )
    except QuorateError:
        raise _fault(packed, plain, first, place) from None
    return both.take(order), polygons


def _fault(packed: _Some, plain: _Some, first: int, place: str) -> FormatError:
    """What is wrong with the first mask that is, by the number of its detection."""
    several = [(row, k, some) for some in (packed, plain) for k, row in enumerate(some.rows)]
    for row, k, some in sorted(several, key=lambda one: one[0]):
        try:
            make: Any = Masks.from_counts if some is packed else Masks.from_runs
            make([some.counts[k]], [some.sizes[k]])
        except QuorateError as error:
            said = error.message.removeprefix("Mask 1: ").removeprefix("Masks: ")
            return FormatError(f"{place}: detection {first + row}, its mask: {said}")
    return FormatError(f"{place}: a mask whose size is no size of a picture.")


def mask_texts(masks: Masks) -> list[str]:
    """The `segmentation` of each detection as JSON; '' where it has no mask."""
    return [
        f'{{"size":[{height},{width}],"counts":{json.dumps(counts)}}}' if counts else ""
        for counts, (height, width) in zip(masks.counts(), masks.size.tolist(), strict=True)
    ]
