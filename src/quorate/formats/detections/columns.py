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
    polygons         n rows of x, y, x, y, …, a pair of NaN between the rings of one: segmentations
                     that are no masks yet, see `drawn`; None where the file has none
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
    polygons: Ragged | None = None

    def take(self, rows: NDArray[np.bool_]) -> Results:
        """Those that a mask of (n,) says, with the categories that they have."""
        kept, category = np.unique(self.category[rows], return_inverse=True)
        names = ("image", "xyxy", "score", "votes", "agreement")
        return replace(
            self,
            category=category.astype(np.int32),
            category_ids=[self.category_ids[i] for i in kept.tolist()],
            **{name: getattr(self, name)[rows] for name in names},
            detectors=self.detectors and list(compress(self.detectors, rows)),
            masks=None if self.masks is None else self.masks.take(rows),
            polygons=None if self.polygons is None else self.polygons.take(np.flatnonzero(rows)),
        )

    def drawn(self, sizes: Sequence[tuple[int, int]]) -> Results:
        """The same with polygons as masks, whose pixels are those of pycocotools.

        `sizes` has (height, width) for each of `image_ids`, zeros where they are not known; a
        picture may also have a mask that tells them. Polygons in pictures whose size nothing tells
        are `undrawn`.
        """
        if self.polygons is None:
            return self
        known = np.array(sizes, np.int64).reshape(-1, 2)
        if self.masks is not None:
            masked = np.flatnonzero(self.masks.there)
            told = np.zeros_like(known)
            told[self.image[masked]] = self.masks.size[masked]
            known = np.where((known > 0).all(axis=1, keepdims=True), known, told)
        known[known.prod(axis=1) > MOST_PIXELS] = 0
        rows = np.flatnonzero(self.polygons.lengths)
        rows = rows[known[self.image[rows]].min(axis=1) > 0]
        if not len(rows):
            return self
        from quorate.masks.shapes import drawn

        points = self.polygons.take(rows)
        found = drawn(points.offsets, points.values, known[self.image[rows]].astype(np.int32))
        own = Masks.nothing(len(self.image)) if self.masks is None else self.masks
        return replace(self, masks=own.put(rows, found))

    @property
    def undrawn(self) -> int:
        """How many polygons are no masks."""
        if self.polygons is None:
            return 0
        there = self.polygons.lengths > 0
        return int((there if self.masks is None else there & ~self.masks.there).sum())


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
