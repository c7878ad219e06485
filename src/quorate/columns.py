"""What columnar values share: spreading one column over all rows, and rows of unequal length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quorate.display import brief
from quorate.errors import InputError

Offsets = NDArray[np.int64]
"""(n + 1,) rising from 0: row i of a ragged column owns `values[offsets[i]:offsets[i + 1]]`."""


def column(values: ArrayLike, n: int, dtype: DTypeLike, *, name: str, of: str) -> NDArray[Any]:
    """(n,) contiguous, of a type; a scalar is spread over all rows.

    Raises InputError where there are neither `n` values nor one: "3 values of NAME for n OF".
    """
    array = np.asarray(values)
    if not array.ndim:
        return np.full(n, array.astype(dtype))
    if array.shape != (n,):
        raise InputError(f"{len(array)} values of '{name}' for {n} {of}.")
    return np.ascontiguousarray(array, dtype=dtype)


def check_columns(table: Any, dtypes: Mapping[str, Any]) -> None:
    """Refuse columns of another length or type than `image_id` and `dtypes` ask for."""
    rows, what = len(table.image_id), type(table).__name__
    for name, dtype in dtypes.items():
        column = getattr(table, name)
        shape = (rows, 4) if name == "xyxy" else (rows,)
        if column.shape != shape or column.dtype != dtype:
            raise InputError(
                f"{what}: column '{name}' is {column.dtype}{column.shape}, "
                f"expected {np.dtype(dtype)}{shape}."
            )


def positions_in(known: ArrayLike, wanted: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n,) where each of the wanted numbers stands among the known ones; -1 where it does not.

    Of a known number that stands twice, either place.
    """
    ids = np.asarray(known, dtype=np.int64)
    if not len(ids):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    found = order[np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)]
    return np.where(ids[found] == wanted, found, -1)


def shared_area(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """(n, m) how much of the boxes xyxy (n, 4) and (m, 4) is common to each pair."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared: NDArray[Any] = np.maximum(high - low, 0).prod(axis=2)
    return shared


def offsets_of(row: NDArray[np.integer], count: int) -> Offsets:
    """(count + 1,) where the rows begin, by (m,) how often each number from 0 to `count` stands."""
    sizes = np.bincount(row, minlength=count)
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def take_ragged(offsets: Offsets, rows: NDArray[np.integer]) -> tuple[Offsets, Offsets]:
    """The offsets of the given rows, in that order, and the positions of their values."""
    counts = np.diff(offsets)[rows]
    taken = np.concatenate(([0], np.cumsum(counts)))
    values = np.repeat(offsets[:-1][rows] - taken[:-1], counts) + np.arange(taken[-1])
    return taken, values


def concat_offsets(parts: Sequence[Offsets]) -> Offsets:
    """The offsets of all rows of all parts, whose values stand one after the other."""
    starts = np.cumsum([0, *(int(part[-1]) for part in parts)])
    shifted = [part[1:] + start for part, start in zip(parts, starts, strict=False)]
    return np.concatenate([[0], *shifted]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths; row i owns `values[offsets[i]:offsets[i + 1]]`.

    offsets  int64    (n + 1,)  rising from 0
    values   float64  (m,)
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.float64]

    __repr__ = brief

    @classmethod
    def of(cls, rows: Iterable[ArrayLike]) -> Self:
        """Rows from sequences of numbers."""
        arrays = [np.asarray(row, dtype=np.float64).reshape(-1) for row in rows]
        return cls(
            offsets=np.cumsum([0, *map(len, arrays)], dtype=np.int64),
            values=np.concatenate([*arrays, np.empty(0)]),
        )

    @classmethod
    def nothing(cls, n: int) -> Self:
        """`n` rows of length 0."""
        return cls(offsets=np.zeros(n + 1, dtype=np.int64), values=np.empty(0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.float64]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) the length of each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """The given rows, in that order."""
        offsets, flat = take_ragged(self.offsets, rows)
        return Ragged(offsets=offsets, values=self.values[flat])

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Self:
        """All rows of all parts, in order."""
        return cls(
            offsets=concat_offsets([part.offsets for part in parts]),
            values=np.concatenate([np.empty(0), *(part.values for part in parts)]),
        )


def index_of(rows: NDArray[np.integer] | NDArray[np.bool_] | slice, count: int) -> Offsets:
    """The numbers of some of `count` rows; of a slice, no other row's number is made."""
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count))
    return np.arange(count)[rows]
