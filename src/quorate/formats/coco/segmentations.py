"""Segmentations of COCO results: run lengths, plain or compressed, in and out; polygons in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import Ragged
from quorate.errors import FormatError, QuorateError
from quorate.formats.shapes import parted
from quorate.masks import Masks
from quorate.masks.shapes import FURTHEST

_Side = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]


class RunLengths(msgspec.Struct, gc=False):
    """A mask of COCO: run lengths, or their text, and (height, width)."""

    counts: list[Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]] | str
    size: tuple[_Side, _Side]


RUNS = msgspec.json.Decoder(RunLengths)
_RINGS = msgspec.json.Decoder(list[list[float]])
_RING = msgspec.json.Decoder(list[float])
_POINTS = msgspec.json.Decoder(list[list[tuple[float, float]]])
_NOTHING = (b"", b"null", b"[]", b"[[]]")


class Segmentations(NamedTuple):
    """Of n detections: masks, and the points of polygons.

    masks     None where no detection has run lengths
    polygons  n rows, as `Results` has them; no points for a detection without one
    """

    masks: Masks | None
    polygons: Ragged

    def boxes(self) -> dict[int, tuple[float, float, float, float]]:
        """x1, y1, x2, y2 around each, by row: of the pixels of masks, of the points of polygons."""
        found = {}
        if self.masks is not None:
            rows = np.flatnonzero(self.masks.there).tolist()
            box = self.masks.take(self.masks.there).measured().box
            found = dict(zip(rows, map(tuple, box.tolist()), strict=True))
        for row in np.flatnonzero(self.polygons.lengths).tolist():
            points = self.polygons[row]
            x, y = points[::2], points[1::2]
            found[row] = (np.nanmin(x), np.nanmin(y), np.nanmax(x), np.nanmax(y))
        return found


def read_segmentations(segmentations: Sequence[bytes], first: int, place: str) -> Segmentations:
    """Of detections, by the JSON of their `segmentation`.

    `first` is the number of the first detection, for errors.
    """
    runs: dict[int, RunLengths] = {}
    points: list[ArrayLike] = [()] * len(segmentations)
    for row, text in enumerate(segmentations):
        if text in _NOTHING:
            continue
        at = f"{place}: detection {first + row}"
        try:
            if text[:1] == b"{":
                runs[row] = RUNS.decode(text)
            else:
                points[row] = _polygon(text, at)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{at} has a segmentation that is none ({error}).") from None
    masks = masks_of(
        runs, len(segmentations), lambda row: f"{place}: detection {first + row}, its mask"
    )
    return Segmentations(masks if runs else None, Ragged.of(points))


def rings_of(text: bytes) -> tuple[list[list[float]], str]:
    """The rings of a segmentation that is polygons, and what is unusual about them, or ''.

    Raises msgspec's errors for what is none.
    """
    try:
        rings = [ring for ring in _RINGS.decode(text) if ring]
    except msgspec.ValidationError:
        try:
            return [_RING.decode(text)], "are one flat list; each is taken for one polygon"
        except msgspec.ValidationError:
            rings = [list(chain.from_iterable(ring)) for ring in _POINTS.decode(text)]
            return rings, "have lists of two for points, [[[x, y], …]]"
    if len(rings) > 2 and {len(ring) for ring in rings} == {2}:  # [[x, y], [x, y], …]
        points = [list(chain.from_iterable(rings))]
        return points, "are one list of points; each is taken for one polygon"
    return rings, ""


def _polygon(text: bytes, at: str) -> NDArray[np.float64]:
    """Its points; rings of fewer than three enclose nothing and are left out."""
    rings, _ = rings_of(text)
    if any(len(ring) % 2 for ring in rings):
        raise FormatError(f"{at} has a polygon with an odd number of coordinates.")
    points = parted([ring for ring in rings if len(ring) >= 6])
    if len(points) and np.nanmax(np.abs(points)) > FURTHEST:
        raise FormatError(f"{at} has a polygon that reaches further than any picture.")
    return points


def masks_of(runs: Mapping[int, RunLengths], count: int, place: Callable[[int], str]) -> Masks:
    """The masks of `count` rows by their run lengths; a row without any has none.

    Raises FormatError for the first that is damaged, with the place of its row.
    """
    makers: dict[type, Any] = {str: Masks.from_counts, list: Masks.from_runs}
    rows = {kind: [r for r, one in runs.items() if type(one.counts) is kind] for kind in makers}
    try:
        both = [
            make([runs[r].counts for r in rows[kind]], [runs[r].size for r in rows[kind]])
            for kind, make in makers.items()
        ]
        order = np.array([*rows[str], *rows[list]], np.int64)
        return Masks.nothing(count).put(order, Masks.concat(both))
    except QuorateError:
        for row, one in runs.items():
            try:
                makers[type(one.counts)]([one.counts], [one.size])
            except QuorateError as error:
                said = error.message.removeprefix("Mask 1: ").removeprefix("Masks: ")
                raise FormatError(f"{place(row)}: {said}") from None
        raise
