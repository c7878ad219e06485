"""How often labels of whole pictures are right, and how far classifiers disagree about a picture.

    accuracy   the share of the pictures whose first label is the true one
    top k      the share whose true label is among the k likeliest
    confusion  (k, k + 1) pictures by their true label and the label they got; the last column is of
               those that got none

Everything is counted, so parts of a data set are measured one after the other and added.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Kind
from quorate.classifications import Classifications
from quorate.dataset import Dataset, Image
from quorate.display import brief
from quorate.errors import FormatError
from quorate.labels import Labels

TOP = 5


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Counts of one classifier, or of the ensemble; add those of parts with `+`.

    confusion  int64 (k, k + 1)  pictures by their true label, and by what they got
    within     int64 (TOP,)      pictures whose true label is among the first 1, 2, …
    labels     the vocabulary
    """

    confusion: NDArray[np.int64]
    within: NDArray[np.int64]
    labels: Labels

    __repr__ = brief

    @classmethod
    def nothing(cls, labels: Labels) -> ClassMetrics:
        """Of no picture."""
        k = len(labels)
        return cls(np.zeros((k, k + 1), np.int64), np.zeros(TOP, np.int64), labels)

    def __add__(self, other: ClassMetrics) -> ClassMetrics:
        return ClassMetrics(
            self.confusion + other.confusion, self.within + other.within, self.labels
        )

    @property
    def pictures(self) -> int:
        """How many pictures have a true label."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """The share of the pictures whose first label is right; None where there is none."""
        return self.top(1)

    def top(self, most: int) -> float | None:
        """The share whose true label is among the first `most`, at most `TOP`."""
        return float(self.within[most - 1] / self.pictures) if self.pictures else None

    @property
    def recall(self) -> NDArray[np.float64]:
        """(k,) of the pictures of each label, the share that got it; NaN where there are none."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """(k,) of the pictures that got each label, the share of which it is true; NaN likewise."""
        return _shares(self.confusion.diagonal(), self.confusion[:, :-1].sum(axis=0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the figures, and of each label how many pictures, precision and recall."""
        return {
            "pictures": self.pictures,
            "accuracy": self.accuracy,
            f"top{TOP}": self.top(TOP),
            "labels": {
                name: {"pictures": int(count), "precision": _plain(p), "recall": _plain(r)}
                for name, count, p, r in zip(
                    self.labels.names,
                    self.confusion.sum(axis=1),
                    self.precision,
                    self.recall,
                    strict=True,
                )
            },
        }


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def evaluate_classes(
    table: Classifications, truth: Mapping[int, int], *, member: str | None = None
) -> ClassMetrics:
    """Measure what was decided, or what one member says, against positions of the true labels.

    `truth` gives the position in the vocabulary for the ids of pictures; others are passed over, as
    are those of which the member says nothing. A picture whose probabilities are all 0 got no
    label.
    """
    labels = table.labels
    true = np.array([truth.get(i, -1) for i in table.image_id.tolist()], np.int64)
    said = table.probabilities
    ranking = table.ranking
    if member is not None:
        said = table.of_members[:, table.members.index(member)]
        ranking = np.argsort(-said, axis=1, kind="stable")
    known = (true >= 0) & ~np.isnan(said).any(axis=1)
    true, ranking, said = true[known], ranking[known], said[known]
    found = ClassMetrics.nothing(labels)
    got = np.where(said.max(axis=1, initial=0) > 0, ranking[:, 0], len(labels))
    np.add.at(found.confusion, (true, got), 1)
    place = (ranking == true[:, None]).argmax(axis=1)
    place[got == len(labels)] = TOP
    within = np.bincount(place[place < TOP], minlength=TOP)
    return ClassMetrics(found.confusion, np.cumsum(within), labels)


def disagreement(table: Classifications) -> NDArray[np.float32]:
    """(n,) how far the members disagree about each picture: 0, all say the same, to 1.

    The mean over all pairs of members of half the sum of |p - q|, their total variation distance.
    0 where fewer than two took part.
    """
    n, m = len(table), len(table.members)
    total, pairs = np.zeros(n), np.zeros(n)
    said = table.of_members.astype(np.float64)
    for i in range(m):
        for j in range(i):
            apart = 0.5 * np.abs(said[:, i] - said[:, j]).sum(axis=1)
            there = ~np.isnan(apart)
            total += np.where(there, apart, 0)
            pairs += there
    return np.divide(total, pairs, out=np.zeros(n), where=pairs > 0).astype(np.float32)


def truth_of(
    dataset: Dataset, images: Sequence[Image], labels: Labels
) -> tuple[dict[int, int], str]:
    """The positions of the true labels of some pictures, and where they were found, '' for nowhere.

    The truth is the tags of a data set, of a picture the first that is a label; or, where it has
    no annotations and every picture lies in a folder that is called as a label, these folders.
    """
    given = dataset.annotations
    if given is not None:
        tags = given.take(given.kind == Kind.TAG)
        place = labels.positions(tags.category_id)
        ids = {image.id for image in images}
        found: dict[int, int] = {}
        for image_id, position in zip(tags.image_id.tolist(), place.tolist(), strict=True):
            if position >= 0 and image_id in ids:
                found.setdefault(image_id, position)
        return found, "the tags of the data set" if found else ""
    folders = [image.file_name.rpartition("/")[0].rpartition("/")[2] for image in images]
    if not folders or not set(folders) <= set(labels.names):
        return {}, ""
    where = {name: i for i, name in enumerate(labels.names)}
    truth = {image.id: where[name] for image, name in zip(images, folders, strict=True)}
    return truth, "the names of the pictures' folders"


def truth_from_csv(data: bytes, place: str, labels: Labels) -> dict[str, int]:
    """The positions of the true labels by the pictures' names: a CSV file of `file_name, label`.

    Further columns are passed over. FormatError where there are no such columns or a label that is
    none.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{place}: cannot be read as CSV ({error}).") from None
    where = {name: i for i, name in enumerate(labels.names)}
    found: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        name, label = row.get("file_name"), row.get("label")
        if name is None or label is None:
            raise FormatError(
                f"{place}: has no columns `file_name` and `label`.",
                hint="the first line names the columns: file_name,label",
            )
        if label not in where:
            raise FormatError(f"{place}:{number}: '{label}' is none of {', '.join(where)}.")
        found[name] = where[label]
    return found
