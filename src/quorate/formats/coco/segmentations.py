"""Segmentations of COCO results: run lengths, plain or compressed, in and out; polygons in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.columns import Ragged
from quorate.errors import FormatError, QuorateError
from quorate.formats.detections.columns import Polygons
from quorate.formats.shapes import parted
from quorate.masks import Masks
from quorate.masks.shapes import FURTHEST

_Side = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]


class RunLengths(msgspec.Struct, gc=False):
    """A mask of COCO: run lengths, or their text, and (height, width)."""

    counts: list[Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]] | str
    size: tuple[_Side, _Side]


class _Some:
    """Masks of one kind: whose they are, their run lengths, their pictures' sizes."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.counts: list[Any] = []
        self.sizes: list[tuple[int, int]] = []

    def add(self, row: int, found: RunLengths) -> None:
        self.rows.append(row)
        self.counts.append(found.counts)
        self.sizes.append(found.size)


RUNS = msgspec.json.Decoder(RunLengths)
_RINGS = msgspec.json.Decoder(list[list[float]])
_RING = msgspec.json.Decoder(list[float])
_NOTHING = (b"", b"null", b"[]", b"[[]]")


class Segmentations(NamedTuple):
    """Of some detections: masks, and polygons, whose rows count from the first of them.

    masks is None where no detection has run lengths.
    """

    masks: Masks | None
    polygons: Polygons

    def boxes(self) -> dict[int, tuple[float, float, float, float]]:
        """x1, y1, x2, y2 around each, by row: of the pixels of masks, of the points of polygons."""
        found = {}
        if self.masks is not None:
            rows = np.flatnonzero(self.masks.there).tolist()
            box = self.masks.take(self.masks.there).measured().box
            found = dict(zip(rows, map(tuple, box.tolist()), strict=True))
        for row, points in zip(self.polygons.rows.tolist(), self.polygons.points, strict=True):
            x, y = points[::2], points[1::2]
            found[row] = (np.nanmin(x), np.nanmin(y), np.nanmax(x), np.nanmax(y))
        return found


def read_segmentations(segmentations: Sequence[bytes], first: int, place: str) -> Segmentations:
    """Of detections, by the JSON of their `segmentation`.

    `first` is the number of the first detection, for errors.
    """
    packed, plain = _Some(), _Some()
    rows: list[int] = []
    points: list[NDArray[np.float64]] = []
    for row, text in enumerate(segmentations):
        if text in _NOTHING:
            continue
        at = f"{place}: detection {first + row}"
        try:
            if text[:1] == b"{":
                found = RUNS.decode(text)
                (packed if isinstance(found.counts, str) else plain).add(row, found)
            elif len(polygon := _polygon(text, at)):
                rows.append(row)
                points.append(polygon)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{at} has a segmentation that is none ({error}).") from None
    polygons = Polygons(np.array(rows, np.int64), Ragged.of(points))
    return Segmentations(_masks(packed, plain, len(segmentations), first, place), polygons)


def _polygon(text: bytes, at: str) -> NDArray[np.float64]:
    """Its points; rings of fewer than three enclose nothing and are left out."""
    try:
        rings = _RINGS.decode(text)
    except msgspec.ValidationError:
        rings = [_RING.decode(text)]  # pycocotools takes a ring alone, too
    if any(len(ring) % 2 for ring in rings):
        raise FormatError(f"{at} has a polygon with an odd number of coordinates.")
    points = parted([ring for ring in rings if len(ring) >= 6])
    if len(points) and np.nanmax(np.abs(points)) > FURTHEST:
        raise FormatError(f"{at} has a polygon that reaches further than any picture.")
    return points


def _masks(packed: _Some, plain: _Some, count: int, first: int, place: str) -> Masks | None:
    """The masks of `count` detections; None where there are none."""
    rows = packed.rows + plain.rows
    if not rows:
        return None
    order = np.full(count, len(rows), np.int64)
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
    return both.take(order)


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
