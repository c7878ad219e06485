"""What several classifiers say of pictures becomes one decision for each.

    sum       Σ w p           of each label; `mean` and `weighted` are the same rule
    majority  Σ w [its first choice]
    product   Π p^w           reckoned in logarithms
    max       the largest p

The scores of a picture are divided by their sum, so that they are probabilities again; the label of
the largest one wins (ties: `quorate.classifications`). The rules are those of Kittler et al., "On
combining classifiers", 1998 (10.1109/34.667881).

A member that took no part counts nothing. All is reckoned in 64 bits, and the terms of a sum are
added in the order of their size: neither the order of the members nor the other pictures of a table
change a bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quorate.classifications import Classifications, first_choices
from quorate.errors import InputError
from quorate.spec.classification import ClassFusion, Majority, Maximum, Product, Sum

LEAST = float(np.finfo(np.float32).tiny)
"""What a probability of 0 counts for in a product: so little that hardly anything makes up for it,
but no veto that leaves nothing to choose from."""


def fuse(found: Classifications, how: ClassFusion | None = None) -> Classifications:
    """The same table, decided: `probabilities` are what `how` (by default `Sum`) makes of it.

    A picture of which all members say 0 for every label has probabilities of 0. InputError for a
    table without members.
    """
    how = how or Sum()
    if not found.members:
        raise InputError("Classifications: there is no member to decide.")
    given = {} if isinstance(how, Maximum) else how.weights
    weights = np.array([given.get(name, 1.0) for name in found.members])
    there = found.took_part[:, :, None]
    said = np.where(there, found.of_members, 0).astype(np.float64)
    return replace(found, probabilities=_shares(_scores(said, there, weights, how)))


def _scores(
    said: NDArray[np.float64],
    there: NDArray[np.bool_],
    weights: NDArray[np.float64],
    how: ClassFusion,
) -> NDArray[np.float64]:
    """(n, m, k) probabilities and (n, m, 1) who took part -> (n, k) scores, 0 or more."""
    heavy = weights[:, None]
    if isinstance(how, Maximum):
        return np.asarray(said.max(axis=1))
    if isinstance(how, Majority):
        chosen = first_choices(said.astype(np.float32))[:, :, None]
        return _added((chosen == np.arange(said.shape[2])) * heavy)
    if isinstance(how, Product):
        logs = _added(np.where(there, heavy * np.log(np.maximum(said, LEAST)), 0))
        scores = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(scores * (said.max(axis=(1, 2)) > 0)[:, None])
    return _added(said * heavy)


def _added(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m, k) -> (n, k), the terms of each sum added one by one from the smallest on."""
    ordered = np.sort(terms, axis=1)
    total = np.zeros((len(terms), terms.shape[2]))
    for member in range(terms.shape[1]):
        total += ordered[:, member]
    return total


def _shares(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, k) each score's share of its row's sum; 0 where that is 0."""
    total = np.array([row.sum() for row in scores]).reshape(-1, 1)
    shares = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
    return np.asarray(shares, dtype=np.float32)
