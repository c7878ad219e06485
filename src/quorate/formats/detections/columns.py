"""The columns of a results list, whoever wrote it, before its ids are matched with anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from quorate.columns import Ragged
from quorate.detections import Members
from quorate.masks import Masks

MOST_PIXELS = 1 << 32
"""A picture of more pixels has no masks: their run lengths would not fit."""


@dataclass(frozen=True, eq=False)
class Polygons:
    """Segmentations that are polygons: no masks as long as their pictures' sizes are not known.

    rows    int64 (k,)  whose they are, rising
    points  k rows of x, y, x, y, …; a pair of NaN parts the rings of one polygon
    """

    rows: NDArray[np.int64]
    points: Ragged

    @classmethod
    def concat(cls, parts: Sequence[Polygons]) -> Polygons:
        """All of all parts, in order."""
        return cls(
            np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)]),
            Ragged.concat([Ragged.nothing(0), *(part.points for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[np.bool_]) -> Polygons:
        """Those that a mask of (k,) says."""
        return Polygons(self.rows[which], self.points.take(np.flatnonzero(which)))


@dataclass
class Results:
    """What a list of detections holds.

    image, category  int32    (n,)    positions in `image_ids` and `category_ids`
    xyxy             float32  (n, 4)  in the file's own unit
    score            float32  (n,)
    votes            int16    (n,)
    agreement        float32  (n,)
    detectors        who carried each box, where the file tells it
    stated           beside `image_ids`: the `image_id` of a picture that is called by its
                     `file_name`, else None; nothing where no picture is
    from_zero        whether its categories are places in the data set's labels, from 0
    perhaps_centres  whether what `xyxy` takes for the first corner may be the centre
    scored           whether it tells scores; without, each is 1
    masks            None where the file has none
    polygons         segmentations that are no masks yet; see `drawn`
    """

    image: NDArray[np.int32]
    category: NDArray[np.int32]
    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    votes: NDArray[np.int16]
    agreement: NDArray[np.float32]
    detectors: list[list[str] | None] | None
    image_ids: list[int | str] = field(default_factory=list)
    category_ids: list[int | str] = field(default_factory=list)
    stated: list[int | str | None] = field(default_factory=list)
    from_zero: bool = False
    perhaps_centres: bool = False
    scored: bool = True
    masks: Masks | None = None
    polygons: Polygons = field(default_factory=lambda: Polygons.concat([]))

    def take(self, rows: NDArray[np.bool_]) -> Results:
        """Those that a mask of (n,) says, with the categories that they have."""
        polygons = self.polygons.take(rows[self.polygons.rows])
        kept, category = np.unique(self.category[rows], return_inverse=True)
        names = ("image", "xyxy", "score", "votes", "agreement")
        return replace(
            self,
            category=category.astype(np.int32),
            category_ids=[self.category_ids[i] for i in kept.tolist()],
            **{name: getattr(self, name)[rows] for name in names},
            detectors=self.detectors and list(compress(self.detectors, rows)),
            masks=None if self.masks is None else self.masks.take(rows),
            polygons=replace(polygons, rows=(np.cumsum(rows) - 1)[polygons.rows]),
        )

    def drawn(self, sizes: Sequence[tuple[int, int]]) -> Results:
        """The same with polygons as masks, whose pixels are those of pycocotools.

        `sizes` has (height, width) for each of `image_ids`, zeros where they are not known; a
        picture may also have a mask that tells them. What is left in `polygons` is of pictures
        whose size nothing tells.
        """
        if not len(self.polygons):
            return self
        known = np.array(sizes, np.int64).reshape(-1, 2)
        if self.masks is not None:
            rows = np.flatnonzero(self.masks.there)
            told = np.zeros_like(known)
            told[self.image[rows]] = self.masks.size[rows]
            known = np.where((known > 0).all(axis=1, keepdims=True), known, told)
        known[known.prod(axis=1) > MOST_PIXELS] = 0
        size = known[self.image[self.polygons.rows]]
        there = size.min(axis=1) > 0
        if not there.any():
            return self
        from quorate.masks.shapes import drawn

        polygons = self.polygons.take(there)
        points = polygons.points
        found = drawn(points.offsets, points.values, size[there].astype(np.int32))
        own = Masks.nothing(len(self.image)) if self.masks is None else self.masks
        masks = own.put(polygons.rows, found)
        return replace(self, masks=masks, polygons=self.polygons.take(~there))


def members_of(
    lists: list[list[str] | None] | None, detectors: tuple[str, ...]
) -> tuple[Members | None, tuple[str, ...]]:
    """The members that lists of detectors' names tell of (their scores are not known: NaN)."""
    if lists is None:
        return None, detectors
    positions = {name: i for i, name in enumerate(detectors)}
    flat = [positions.setdefault(name, len(positions)) for names in lists for name in names or ()]
    offsets = np.cumsum([0, *(len(names or ()) for names in lists)])
    members = Members(
        offsets=offsets.astype(np.int64),
        detector=np.array(flat, dtype=np.int16),
        score=np.full(len(flat), np.nan, dtype=np.float32),
    )
    return members, tuple(positions)
