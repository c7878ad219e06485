"""Large pictures in overlapping tiles, and one box of all that the tiles saw of an object.

Two boxes of one label, from two tiles, are of one object when they agree on what both tiles see:
clipped to the part that the tiles share, their IoU is above `AGREE`. For objects that lie within
that part it is plain IoU; of an object that a seam cuts, both tiles see the same strip, however
much longer either piece is. Merging by the overlap of whole pieces, as slicing tools do, leaves
such an object in pieces wherever the strip is less than half of the smaller one.

Groups grow by falling agreement, and have at most one box of each tile, so two objects that one
tile tells apart stay apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quorate.columns import shared_area
from quorate.detectors.base import Boxes, Predictor, masks_of
from quorate.masks import Masks
from quorate.spec.tta import Tiles
from quorate.tta.maps import Shape, cut_sides

Picture = NDArray[np.uint8]
Rows = NDArray[np.float64]

AGREE = 0.5
"""IoU, of what two tiles both see, above which two boxes are of one object."""
FRAGMENT = 0.8
"""A piece on a seam with no partner, of which more than this lies in another box, is part of it."""
PAIRS_AT_ONCE = 1 << 20
"""About so many pairs of boxes are compared at once: some tens of megabytes."""
PIXELS_AT_ONCE = 1 << 24
"""About so many pixels are shown to a detector in one call, at least one picture."""


@dataclass(frozen=True)
class Tiled:
    """A predictor that is shown tiles, and answers for whole pictures."""

    predictor: Predictor
    tiles: Tiles
    max_detections: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The detector's own words."""
        return self.predictor.labels

    def predict(self, pictures: Sequence[Picture]) -> list[Boxes]:
        """Find the boxes of each picture: by falling score, ties by corners, then label."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> Boxes:
        shape = (picture.shape[0], picture.shape[1])
        windows = cut_up(shape, self.tiles)
        if len(windows) == 1:
            return self.predictor.predict([picture])[0]
        shown = (np.ascontiguousarray(picture[y1:y2, x1:x2]) for x1, y1, x2, y2 in windows)
        found = list(in_calls(self.predictor, shown))
        shift = np.array(windows, dtype=np.float64)[:, [0, 1, 0, 1]]
        tile = np.repeat(np.arange(len(windows)), [len(f.score) for f in found])
        masks = masks_of(found)
        if masks is not None:
            masks = masks.moved(shift[tile, 0], shift[tile, 1], *shape)
        boxes = merged(
            np.concatenate([f.xyxy + s for f, s in zip(found, shift, strict=True)]),
            np.concatenate([f.score for f in found]),
            np.concatenate([f.label for f in found]),
            tile,
            windows,
            shape,
            masks,
        )
        return boxes.take(slice(self.max_detections))


def in_calls(predictor: Predictor, pictures: Iterable[Picture]) -> Iterator[Boxes]:
    """Ask about pictures that are made on the way, few enough at once for memory to hold."""
    waiting: list[Picture] = []
    for picture in pictures:
        if waiting and sum(p.size for p in waiting) + picture.size > 3 * PIXELS_AT_ONCE:
            yield from predictor.predict(waiting)
            waiting = []
        waiting.append(picture)
    if waiting:
        yield from predictor.predict(waiting)


def cut_up(picture: Shape, tiles: Tiles) -> list[tuple[int, int, int, int]]:
    """x1, y1, x2, y2 of each tile, row by row, then of the whole picture if it is asked for.

    As few tiles as the overlap allows, spread evenly, all of one size. A picture no larger than a
    tile is one tile.
    """
    height, width = picture
    rows = _starts(height, tiles.sides[0], tiles.overlap)
    columns = _starts(width, tiles.sides[1], tiles.overlap)
    windows = [
        (x, y, min(x + tiles.sides[1], width), min(y + tiles.sides[0], height))
        for y in rows
        for x in columns
    ]
    if tiles.whole and len(windows) > 1:
        windows.append((0, 0, width, height))
    return windows


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    step = max(side - int(np.ceil(side * overlap)), 1)
    count = -(-(length - side) // step) + 1
    starts: list[int] = np.linspace(0, length - side, count).round().astype(int).tolist()
    return starts


def merged(
    xyxy: Rows,
    score: NDArray[np.float32],
    label: NDArray[np.int32],
    tile: NDArray[np.intp],
    windows: Sequence[tuple[int, int, int, int]],
    picture: Shape,
    masks: Masks | None = None,
) -> Boxes:
    """One box of each object, by falling score, ties by corners, then label.

    Where some tile sees an object whole, it is the best such box; else the union of the pieces.
    So is its mask. The score is the best of the group. Boxes (n, 4) and masks are in pixels of the
    picture of (height, width); `tile` (n,) is each one's position in `windows`: x1, y1, x2, y2.
    """
    # One order, so that nothing depends on how the detector listed its boxes.
    place = order = np.lexsort((tile, label, *xyxy.T[::-1], -score))
    xyxy, score, label, tile = xyxy[order], score[order], label[order], tile[order]
    cut = np.zeros(len(xyxy), dtype=bool)
    for number, window in enumerate(windows):
        mine = tile == number
        cut[mine] = cut_sides(xyxy[mine], window, picture).any(axis=1)
    groups = _groups(*_agreeing(xyxy, label, tile, np.array(windows, dtype=np.float64)), tile)
    rows, sources = [], []
    for members in groups:
        whole = members[~cut[members]]
        sources.append(whole[:1] if len(whole) else members)
        pieces = xyxy[sources[-1]]
        rows.append(np.concatenate([pieces[:, :2].min(axis=0), pieces[:, 2:].max(axis=0)]))
    first = np.array([members[0] for members in groups], dtype=np.intp)
    alone = np.array([len(members) == 1 for members in groups], dtype=bool)
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    kept = ~_fragments(boxes, label[first], alone & cut[first])
    shown, first = boxes[kept].astype(np.float32), first[kept]
    order = np.lexsort((label[first], *shown.T[::-1], -score[first]))
    chosen, first = np.flatnonzero(kept)[order], first[order]
    if masks is not None:
        from quorate.masks.fusion import merged as one_mask

        sources = [sources[group] for group in chosen]
        group = np.cumsum([0, *map(len, sources)], dtype=np.int64)
        pieces = place[np.concatenate([*sources, np.empty(0, np.intp)])]
        masks = one_mask(masks, group, pieces, "union", threads=1)
    return Boxes(shown[order], score[first], label[first], masks)


def _agreeing(
    xyxy: Rows, label: NDArray[np.int32], tile: NDArray[np.intp], windows: Rows
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of boxes of one object, by falling agreement, then by position."""
    upper = np.maximum(windows[:, None, :2], windows[None, :, :2])
    lower = np.minimum(windows[:, None, 2:], windows[None, :, 2:])
    pairs: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]] = []
    rows_of = [np.flatnonzero(tile == number) for number in range(len(windows))]
    for a, b in np.argwhere(np.triu((lower > upper).all(axis=2), 1)):
        shared = np.concatenate([upper[a, b], lower[a, b]])
        one, one_rows = _clipped(xyxy, rows_of[a], shared)
        other, other_rows = _clipped(xyxy, rows_of[b], shared)
        if len(one) and len(other):
            both = shared_area(one, other)
            iou = both / (_area(one)[:, None] + _area(other) - both)
            iou[label[one_rows][:, None] != label[other_rows]] = 0
            i, j = np.nonzero(iou > AGREE)
            pairs.append((iou[i, j], one_rows[i], other_rows[j]))
    if not pairs:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    iou, one_rows, other_rows = (np.concatenate(column) for column in zip(*pairs, strict=True))
    left, right = np.minimum(one_rows, other_rows), np.maximum(one_rows, other_rows)
    order = np.lexsort((right, left, -iou))
    return left[order], right[order]


def _clipped(
    xyxy: Rows, rows: NDArray[np.intp], window: NDArray[np.float64]
) -> tuple[Rows, NDArray[np.intp]]:
    """What of the boxes lies in a window, and whose it is."""
    part = np.concatenate(
        [np.maximum(xyxy[rows, :2], window[:2]), np.minimum(xyxy[rows, 2:], window[2:])], axis=1
    )
    inside = (part[:, 2:] > part[:, :2]).all(axis=1)
    return part[inside], rows[inside]


def _area(xyxy: Rows) -> NDArray[np.float64]:
    return np.asarray((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1))


def _groups(
    left: NDArray[np.intp], right: NDArray[np.intp], tile: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """The rows of each object: the best pair joins first, and a tile has one box in a group."""
    leader = list(range(len(tile)))
    tiles = [1 << int(number) for number in tile]

    def of(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    for i, j in zip(left.tolist(), right.tolist(), strict=True):
        a, b = sorted((of(i), of(j)))
        if a != b and not tiles[a] & tiles[b]:
            leader[b] = a
            tiles[a] |= tiles[b]
    groups: dict[int, list[int]] = {}
    for row in range(len(tile)):
        groups.setdefault(of(row), []).append(row)
    return [np.array(members) for members in groups.values()]


def _fragments(boxes: Rows, label: NDArray[np.int32], lone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the lone pieces on a seam lie, for the most part, in another, larger box."""
    area = _area(boxes)
    lost = np.zeros(len(boxes), dtype=bool)
    rows = np.flatnonzero(lone)
    for part in np.array_split(rows, -(-len(rows) * len(boxes) // PAIRS_AT_ONCE) or 1):
        within = shared_area(boxes[part], boxes) > FRAGMENT * area[part, None]
        within &= (label[part, None] == label) & (area > area[part, None])
        lost[part] = within.any(axis=1)
    return lost
