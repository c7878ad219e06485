"""Masks: the pixels of many objects as run lengths in columns; there is no object per mask.

    offsets  int64   (n + 1,)  rising from 0: mask i owns `runs[offsets[i]:offsets[i + 1]]`
    runs     uint32  (m,)      how many pixels are out, in, out, … down the columns of the
                               picture, from the left; COCO's run lengths, not compressed
    size     int32   (n, 2)    height and width of the picture that the mask covers

A row without runs has no mask at all: its detector gives none. A mask of no pixel has one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import Offsets, concat_offsets, index_of, take_ragged
from quorate.display import brief
from quorate.errors import InputError
from quorate.masks.runs import (
    Measured,
    decode,
    encode,
    measure,
    moved,
    pack,
    unpack,
    unsound,
)


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of many objects as columns; see the module for their meaning."""

    offsets: Offsets
    runs: NDArray[np.uint32]
    size: NDArray[np.int32]

    __repr__ = brief

    def __post_init__(self) -> None:
        n = len(self.offsets) - 1
        wanted = (("offsets", np.int64, (n + 1,)), ("size", np.int32, (n, 2)))
        for name, dtype, shape in (*wanted, ("runs", np.uint32, (len(self.runs),))):
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != shape:
                raise InputError(
                    f"Masks: '{name}' is {column.dtype}{column.shape}, "
                    f"expected {np.dtype(dtype)}{shape}."
                )
        if n < 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.runs):
            raise InputError("Masks: the offsets do not lead from 0 to the number of runs.")

    @classmethod
    def nothing(cls, n: int) -> Self:
        """`n` rows without a mask."""
        return cls(np.zeros(n + 1, np.int64), np.empty(0, np.uint32), np.zeros((n, 2), np.int32))

    @classmethod
    def from_bitmaps(cls, bitmaps: ArrayLike) -> Self:
        """Of (n, height, width) pixels; whatever is not 0 is in."""
        pixels = np.asarray(bitmaps).astype(np.bool_, copy=False)
        if pixels.ndim != 3:
            raise InputError(
                f"Masks: bitmaps of shape {pixels.shape}, expected (n, height, width)."
            )
        return cls(*encode(pixels), _sizes(*pixels.shape))

    @classmethod
    def from_runs(cls, rows: Sequence[ArrayLike], sizes: ArrayLike) -> Self:
        """Of each mask's run lengths; InputError where they do not cover the picture exactly."""
        parts = [np.asarray(row, dtype=np.int64).reshape(-1) for row in rows]
        flat = np.concatenate([*parts, np.empty(0, np.int64)])
        if len(flat) and not 0 <= flat.min() <= flat.max() <= np.iinfo(np.uint32).max:
            raise InputError("Masks: a run length below 0, or above what 32 bits hold.")
        masks = cls(
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
            flat.astype(np.uint32),
            np.array(sizes, dtype=np.int32).reshape(-1, 2),
        )
        masks.check()
        return masks

    @classmethod
    def from_counts(cls, counts: Sequence[bytes | str], sizes: ArrayLike) -> Self:
        """Of COCO's compressed text, '' for none; FormatError where one is damaged."""
        offsets, runs = unpack(
            [c.encode("utf-8", "replace") if isinstance(c, str) else c for c in counts]
        )
        masks = cls(offsets, runs, np.array(sizes, dtype=np.int32).reshape(-1, 2))
        masks.check()
        return masks

    @classmethod
    def concat(cls, parts: Sequence[Masks | int]) -> Self:
        """All rows of all parts, in order; a number stands for as many rows without a mask."""
        whole = [cls.nothing(part) if isinstance(part, int) else part for part in parts]
        if not whole:
            return cls.nothing(0)
        return cls(
            concat_offsets([part.offsets for part in whole]),
            np.concatenate([part.runs for part in whole]),
            np.concatenate([part.size for part in whole]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def there(self) -> NDArray[np.bool_]:
        """(n,) Which rows have a mask."""
        there: NDArray[np.bool_] = np.diff(self.offsets) > 0
        return there

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The rows of an index array, a mask or a slice, in that order."""
        index = index_of(rows, len(self))
        offsets, flat = take_ragged(self.offsets, index)
        return type(self)(offsets.astype(np.int64), self.runs[flat], self.size[index])

    def put(self, rows: NDArray[np.int64], others: Masks) -> Self:
        """The same with other masks at the given rows, in that order."""
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(others))
        return self.concat([self, others]).take(order)

    def check(self) -> None:
        """InputError where the runs of a mask do not cover its picture exactly."""
        bad = unsound(self.offsets, self.runs, self.size)
        if bad >= 0:
            height, width = self.size[bad].tolist()
            total = int(self.runs[slice(*self.offsets[bad : bad + 2])].sum(dtype=np.int64))
            raise InputError(
                f"Mask {bad + 1}: its run lengths add up to {total}, not to the {height * width} "
                f"pixels of a picture of {width}x{height}."
            )

    def measured(self) -> Measured:
        """Area and enclosing box of each."""
        return measure(self.offsets, self.runs, self.size)

    def bitmap(self, row: int, window: Sequence[int] | None = None) -> NDArray[np.bool_]:
        """(height, width) of one mask, or of what it has in `window`, x1, y1, x2, y2.

        A row without a mask is all out.
        """
        height, width = (int(value) for value in self.size[row])
        x1, y1, x2, y2 = (0, 0, width, height) if window is None else map(int, window)
        if not self.there[row]:
            return np.zeros((y2 - y1, x2 - x1), dtype=np.bool_)
        return decode(self.runs[slice(*self.offsets[row : row + 2])], height, x1, y1, x2, y2)

    def counts(self) -> list[str]:
        """COCO's compressed text of each; '' where there is no mask."""
        return pack(self.offsets, self.runs)

    def moved(self, left: ArrayLike, top: ArrayLike, height: int, width: int) -> Self:
        """Masks of windows, whose corners these are, as masks of the whole picture."""
        corner = np.empty((len(self), 2), np.int64)
        corner[:, 0], corner[:, 1] = left, top
        return self.placed(corner, _sizes(len(self), height, width))

    def placed(self, corner: NDArray[np.int64], onto: NDArray[np.int32]) -> Self:
        """Masks of windows as masks of pictures of (n, 2) sizes; what is outside is cut off.

        `corner` (n, 2) is x, y of each window in its picture.
        """
        return type(self)(*moved(self.offsets, self.runs, self.size, corner, onto), onto)

    def columns(self) -> tuple[Offsets, NDArray[np.uint32]]:
        """Offsets and runs in the one memory layout that kernels are compiled for."""
        return writeable(self.offsets), writeable(self.runs)


def writeable(column: NDArray[Any]) -> NDArray[Any]:
    """The column as kernels take it: contiguous, not read-only as Arrow's are."""
    return np.require(column, requirements=("C", "W"))


def _sizes(n: int, height: int, width: int) -> NDArray[np.int32]:
    return np.tile(np.array([height, width], np.int32), (n, 1))
