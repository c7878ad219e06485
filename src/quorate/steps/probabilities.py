"""What classifiers say of pictures: probabilities of the data set's labels, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quorate.classifications import Classifications
from quorate.classifiers.base import ClassPredictor
from quorate.errors import DetectorError
from quorate.labels import LabelMapping, Labels
from quorate.spec import Classifier

Row = NDArray[np.float32]
"""(k,) the probabilities of the data set's labels."""
FEW = 8
"""Pictures whose answers may be alike by chance."""
SAME = 1e-4
"""Probabilities that differ no more are the same."""
BEYOND = 1e-3
"""How far above 1 the labels of the data set may sum up; more is refused."""


@dataclass(frozen=True)
class ProbabilitiesOf:
    """A classifier's answers: of each picture the probability of each label of the data set.

    Of several words of the classifier that are one label of the data set, the probabilities add
    up; those of words that the data set lacks are left out.
    """

    table: ClassVar[type[Classifications]] = Classifications

    classifier: Classifier
    predictor: ClassPredictor
    mapping: LabelMapping
    labels: Labels

    @property
    def depends_on(self) -> tuple[str, ...]:
        """What else the answers depend on, beside the member and its labels' mapping."""
        return (repr(self.labels),)

    @property
    def remarks(self) -> list[str]:
        """What did not map, a sentence each."""
        return self.mapping.report(self.classifier.name, lost="what it gives to", are="is")

    @property
    def nothing(self) -> tuple[Row, ...]:
        """The answer to a picture that cannot be read: it has no row."""
        return ()

    def look(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Row, ...]]:
        """The probabilities of each picture."""
        said = np.asarray(self.predictor.predict(pictures))
        if said.shape != (len(pictures), len(self.predictor.labels)):
            raise DetectorError(
                f"the model gave numbers of shape {list(said.shape)}, not "
                f"{[len(pictures), len(self.predictor.labels)]}"
            )
        if not np.isfinite(said).all() or said.min(initial=0) < 0 or said.max(initial=0) > 1:
            raise DetectorError("the model gave a probability that is NaN, or outside 0..1")
        return [(self._mapped(row),) for row in said]

    def _mapped(self, row: NDArray[np.float32]) -> Row:
        """(words of the classifier,) -> (k,)."""
        place = self.labels.positions(self.mapping.category_id)
        known = place >= 0
        # Added in the order of the words, in 64 bits: at most a rounding above 1.
        added = np.bincount(
            place[known], weights=row[known].astype(np.float64), minlength=len(self.labels)
        )
        if added.max() > 1 + BEYOND:
            raise DetectorError(
                f"the words of '{self.labels.names[int(added.argmax())]}' have a probability of "
                f"{added.max():g} together: they do not exclude each other"
            )
        return np.minimum(added, 1).astype(np.float32)

    def columns(
        self, image_ids: Sequence[int], found: Sequence[tuple[Row, ...]]
    ) -> Classifications:
        """The probabilities of some pictures as columns, without those that have none."""
        there = [(i, one[0]) for i, one in zip(image_ids, found, strict=True) if one]
        rows = np.array([row for _, row in there], np.float32).reshape(-1, len(self.labels))
        return Classifications.of(self.classifier.name, [i for i, _ in there], rows, self.labels)

    def known(self, rows: Classifications) -> tuple[Row, ...]:
        """The answer to a picture, from its row of a table."""
        return tuple(rows.probabilities)

    def counts(self, found: Classifications) -> dict[str, int]:
        """Nothing: a classifier has one voter."""
        return {}

    def odd(
        self,
        found: Sequence[tuple[Row, ...]],
        sizes: Sequence[tuple[int, int]],
        about: Mapping[str, str],
    ) -> str:
        """What is odd about the answers to a run's first pictures, '' for nothing."""
        rows = np.array([one[0] for one in found if one])
        if len(rows) < FEW or np.ptp(rows, axis=0).max() > SAME:
            return ""
        return (
            f"the first {len(rows)} pictures have the same probabilities, whatever they show. Is "
            "`scale` that of the network, and `mean`?"
        )
