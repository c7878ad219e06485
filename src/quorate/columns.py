"""What columnar values share: spreading one column over all rows, and rows of unequal length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quorate.errors import InputError

Offsets = NDArray[np.int64]
"""(n + 1,) rising from 0: row i of a ragged column owns `values[offsets[i]:offsets[i + 1]]`."""


def column(values: ArrayLike, n: int, dtype: DTypeLike, *, name: str, of: str) -> NDArray[Any]:
    """(n,) contiguous, of a type; a scalar is spread over all rows.

    Raises InputError where there are neither `n` values nor one: "3 values of NAME for n OF".
    """
    array = np.asarray(values)
    if array.ndim and len(array) != n:
        raise InputError(f"{len(array)} values of '{name}' for {n} {of}.")
    return np.ascontiguousarray(np.broadcast_to(array.astype(dtype, copy=False), (n,)))


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
