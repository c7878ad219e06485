"""What columnar values share: one value for all rows, rows of unequal length, Arrow tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quorate.display import brief
from quorate.errors import FormatError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

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


def check_columns(table: Any, dtypes: Mapping[str, Any], **wide: tuple[int, ...]) -> None:
    """Refuse columns of another length or type than `image_id` and `dtypes` ask for.

    `wide` has the further sizes of columns with more than a number a row, beside `xyxy`.
    """
    sizes = {"xyxy": (4,), **wide}
    rows, what = len(table.image_id), type(table).__name__
    for name, dtype in dtypes.items():
        column = getattr(table, name)
        shape = (rows, *sizes.get(name, ()))
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


class Table(ABC):
    """Columns that can be had as an Arrow table, and lie in a Parquet file as one."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """A pyarrow table with the columns of the Parquet file."""

    @classmethod
    def from_arrow(cls, table: pa.Table, *, origin: str = "table") -> Self:
        """The inverse of `to_arrow`; `origin` names the source in errors."""
        hint = f"Quorate writes such files with {cls.__name__}.to_parquet"
        try:
            return cls._of_arrow(table)
        except InputError as error:
            raise FormatError(f"{origin}: {error.message}", hint=hint) from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            what = cls.__name__.lower()
            raise FormatError(f"{origin}: not a Parquet file of {what}.", hint=hint) from None

    @classmethod
    @abstractmethod
    def _of_arrow(cls, table: pa.Table) -> Self:
        """The columns of a table of `to_arrow`; of another, InputError or what comes of it."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """What lets Polars, DuckDB and others that know Arrow read the columns as they are."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote; FormatError when the file is something else."""
        return cls.from_arrow(read_table(path), origin=str(path))


def words_of_ids(ids: NDArray[np.integer], known: Mapping[int, str]) -> pa.DictionaryArray:
    """The word of each number, as a column of text; null for a number that is not known."""
    import pyarrow as pa

    place = positions_in(list(known), ids)
    return pa.DictionaryArray.from_arrays(
        pa.array(place, pa.int32(), mask=place < 0), pa.array(list(known.values()))
    )


def write_table(table: pa.Table, path: str | Path | BinaryIO, *, rows: int) -> None:
    """Write a Parquet file, or into an open one, in groups of so many rows."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd", row_group_size=rows, write_page_checksum=True)


def read_table(path: str | Path | BinaryIO) -> pa.Table:
    """All columns of a Parquet file; FormatError when the file is something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # pq.read_table would load pandas, where it is there.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise FormatError(
            f"{path}: not a whole Parquet file ({error}).",
            hint="copy it again, or let its detector write it again",
        ) from None
