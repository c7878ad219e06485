"""Classifications: what classifiers say of whole pictures, and what was decided.

Columns, one row per picture, for a whole data set at once. A probability stands for each label of
the vocabulary, in the vocabulary's order; k is how many labels there are, m how many members.

    image_id       int64    (n,)       COCO image id
    probabilities  float32  (n, k)     of each label, as decided
    of_members     float32  (n, m, k)  what each member said; NaN where it took no part
    labels         Labels              the vocabulary, whose order is that of the k columns
    members        names               in the order of the m

A member's own answers are a table too: of one member, whose word is the decision.

A picture's labels are ranked by falling probability as decided; equal ones by the mean of what the
members said, unweighted; and where that is equal too, the vocabulary's earlier label goes first.
The first of the ranking is the decision. A member's first choice is its largest probability, of
equal ones the vocabulary's earlier label; a member whose probabilities are all 0 has none. What a
member gives to words that the vocabulary lacks is nowhere here: its row then sums to less than 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import (
    Table,
    check_columns,
    index_of,
    positions_in,
    words_of_ids,
    write_table,
)
from quorate.display import ROWS, brief, html_table, of_field
from quorate.errors import InputError
from quorate.labels import Labels

if TYPE_CHECKING:
    import pyarrow as pa

NO_CHOICE = -1
METADATA = b"quorate.classifications"
_OF = "of_"
"""What stands before a member's name in the name of its column of a Parquet file."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One label of a picture.

    label        its name
    index        its position in the vocabulary: the argmax, where it is the first choice
    probability  0..1
    """

    label: str
    index: int
    probability: float


@dataclass(frozen=True, eq=False)
class Classifications(Table):
    """Probabilities of the labels of pictures as columns; see the module for their meaning."""

    FILE: ClassVar[str] = "classifications.parquet"
    """What a file of it is called in a work folder."""

    image_id: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    of_members: NDArray[np.float32]
    labels: Labels
    members: tuple[str, ...]

    def __post_init__(self) -> None:
        m, k = len(self.members), len(self.labels)
        check_columns(self, _COLUMNS, probabilities=(k,), of_members=(m, k))

    @classmethod
    def of(cls, member: str, image_id: ArrayLike, probabilities: ArrayLike, labels: Labels) -> Self:
        """One member's own answers, (n, k); InputError for a number that is no probability."""
        ids = np.ascontiguousarray(image_id, dtype=np.int64).reshape(-1)
        given = np.ascontiguousarray(probabilities, dtype=np.float32).reshape(-1, len(labels))
        if not ((given >= 0) & (given <= 1)).all():
            raise InputError(f"Classifications: '{member}' gives a probability outside 0..1.")
        return cls(ids, given, given[:, None], labels, (member,))

    @classmethod
    def empty(cls, members: Sequence[str] = (), labels: Labels = Labels((), ())) -> Self:  # noqa: B008
        """Of no picture."""
        m, k = len(members), len(labels)
        return cls(
            np.empty(0, np.int64),
            np.empty((0, k), np.float32),
            np.empty((0, m, k), np.float32),
            labels,
            tuple(members),
        )

    @classmethod
    def concat(cls, parts: Sequence[Classifications]) -> Self:
        """The pictures of all parts, in order; members are united in order of sight.

        InputError where the parts have different labels.
        """
        if not parts:
            return cls.empty()
        labels = parts[0].labels
        for part in parts:
            if part.labels != labels:
                raise InputError("Classifications: parts of different labels.")
        names = tuple(dict.fromkeys(name for part in parts for name in part.members))
        return cls(
            np.concatenate([part.image_id for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part._spread(names) for part in parts]),
            labels,
            names,
        )

    @classmethod
    def join(cls, tables: Sequence[Classifications]) -> Self:
        """What different members say of the same pictures, side by side, undecided.

        Pictures stand in the order of the first table that has them. Until `quorate.fusion.classes`
        has decided, `probabilities` are NaN. InputError where a member is in two tables.
        """
        if not tables:
            return cls.empty()
        names = tuple(name for table in tables for name in table.members)
        if len(set(names)) < len(names):
            raise InputError("Classifications: a member stands in two of the tables.")
        labels = tables[0].labels
        ids = np.array([*dict.fromkeys(i for t in tables for i in t.image_id.tolist())], np.int64)
        said = np.full((len(ids), len(names), len(labels)), np.nan, np.float32)
        start = 0
        for table in tables:
            if table.labels != labels:
                raise InputError("Classifications: tables of different labels.")
            rows = positions_in(ids, table.image_id)
            said[rows, start : start + len(table.members)] = table.of_members
            start += len(table.members)
        undecided = np.full((len(ids), len(labels)), np.nan, np.float32)
        return cls(ids, undecided, said, labels, names)

    def __len__(self) -> int:
        return len(self.image_id)

    def __iter__(self) -> Iterator[tuple[int, Self]]:
        """Each picture: its id, and its row."""
        for row in range(len(self)):
            yield int(self.image_id[row]), self.take(slice(row, row + 1))

    def __repr__(self) -> str:
        return (
            f"Classifications({len(self):,} pictures, {len(self.labels):,} labels, by "
            f"{of_field(self.members)})"
        )

    def _repr_html_(self) -> str:
        shown = ["image_id", "label", "probability", "votes"]
        rows = self.take(slice(ROWS)).to_arrow().select(shown).to_pylist()
        return html_table(repr(self), rows, max(len(self) - ROWS, 0))

    @cached_property
    def ranking(self) -> NDArray[np.int64]:
        """(n, k) positions of the labels, the likeliest first; see the module for ties."""
        present = np.maximum(self.took_part.sum(axis=1), 1)[:, None]
        said = np.where(np.isnan(self.of_members), 0, self.of_members).astype(np.float64)
        mean = np.sort(said, axis=1).sum(axis=1) / present
        place = np.broadcast_to(np.arange(len(self.labels)), mean.shape)
        # lexsort's last key is the first to be looked at.
        return np.lexsort((place, -mean, -self.probabilities), axis=-1)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """(n,) the position of the label that was decided on."""
        return self.ranking[:, 0] if len(self.labels) else np.empty(0, np.int64)

    @property
    def category_id(self) -> NDArray[np.int32]:
        """(n,) the COCO category id of the label that was decided on."""
        return np.asarray(self.labels.ids, np.int32)[self.index]

    @property
    def probability(self) -> NDArray[np.float32]:
        """(n,) of the label that was decided on."""
        return np.take_along_axis(self.probabilities, self.index[:, None], axis=1)[:, 0]

    @property
    def took_part(self) -> NDArray[np.bool_]:
        """(n, m) which members said something of which picture."""
        return np.asarray(~np.isnan(self.of_members).any(axis=2))

    @cached_property
    def choices(self) -> NDArray[np.int64]:
        """(n, m) the first choice of each member, a position; `NO_CHOICE` where it has none."""
        return first_choices(self.of_members)

    @property
    def votes(self) -> NDArray[np.int16]:
        """(n,) how many members' first choice is the label that was decided on."""
        return np.asarray((self.choices == self.index[:, None]).sum(axis=1), dtype=np.int16)

    def top(self, row: int, most: int = 5) -> tuple[Choice, ...]:
        """The likeliest labels of one picture, as decided."""
        return self._choices(self.probabilities[row], self.ranking[row, :most])

    def top_of(self, row: int, member: str, most: int = 5) -> tuple[Choice, ...]:
        """The likeliest labels of one picture, as one member has it; () where it took no part."""
        said = self._said_by(member)[row]
        if np.isnan(said).any():
            return ()
        return self._choices(said, np.argsort(-said, kind="stable")[:most])

    def _said_by(self, member: str) -> NDArray[np.float32]:
        """(n, k) what one member said; InputError for one that is not here."""
        if member not in self.members:
            raise InputError(f"No member '{member}' among {', '.join(self.members)}.")
        return self.of_members[:, self.members.index(member)]

    def _choices(self, said: NDArray[np.float32], order: NDArray[np.integer]) -> tuple[Choice, ...]:
        return tuple(Choice(self.labels.names[i], i, float(said[i])) for i in order.tolist())

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The rows of an index array, a mask or a slice, in that order."""
        index = index_of(rows, len(self))
        return replace(self, **{name: getattr(self, name)[index] for name in _COLUMNS})

    def _spread(self, names: Sequence[str]) -> NDArray[np.float32]:
        """`of_members` with the members in another order, NaN for those that are not here."""
        if tuple(names) == self.members:
            return self.of_members
        said = np.full((len(self), len(names), len(self.labels)), np.nan, np.float32)
        said[:, [names.index(name) for name in self.members]] = self.of_members
        return said

    def to_parquet(
        self,
        path: str | Path | BinaryIO,
        *,
        labels: Labels | None = None,
        pictures: Mapping[int, str] | None = None,
    ) -> None:
        """Write one Parquet file, or into an open one; see `to_arrow`.

        `labels` are the table's own and change nothing: a table of boxes has none.
        """
        write_table(self.to_arrow(pictures=pictures), path, rows=1 << 16)

    def to_arrow(self, *, pictures: Mapping[int, str] | None = None) -> pa.Table:
        """A pyarrow table.

        image_id       int64
        file_name      text, where the names of `pictures` are given, by id
        category_id    int32, of the label that was decided on
        label          text, its name
        probability    float32, of that label
        votes          int16
        probabilities  list of k float32, in the order of the vocabulary
        of_NAME        likewise of each member, NaN where it took no part; left out of the table of
                       one member whose word is the decision

        The members and the vocabulary stand in the metadata.
        """
        import pyarrow as pa

        columns: dict[str, Any] = {"image_id": self.image_id}
        if pictures:
            columns["file_name"] = words_of_ids(self.image_id, pictures)
        columns |= {
            "category_id": self.category_id,
            "label": pa.DictionaryArray.from_arrays(
                pa.array(self.index, pa.int32()), pa.array(list(self.labels.names), pa.string())
            ),
            "probability": self.probability,
            "votes": self.votes,
            "probabilities": _lists(self.probabilities),
        }
        if len(self.members) != 1 or not np.array_equal(
            self.probabilities, self.of_members[:, 0], equal_nan=True
        ):
            for i, name in enumerate(self.members):
                columns[_OF + name] = _lists(self.of_members[:, i])
        about = {
            "version": 1,
            "members": self.members,
            "labels": self.labels.names,
            "categories": self.labels.ids,
        }
        return pa.table(columns).replace_schema_metadata({METADATA: json.dumps(about).encode()})

    @classmethod
    def _of_arrow(cls, table: pa.Table) -> Self:
        about = json.loads((table.schema.metadata or {})[METADATA])
        members = tuple(str(name) for name in about["members"])
        labels = Labels(tuple(map(str, about["labels"])), tuple(map(int, about["categories"])))
        ids = table["image_id"].to_numpy()
        decided = _rows(table["probabilities"], len(labels))
        if _OF + members[0] in table.column_names if members else True:
            columns = [_rows(table[_OF + name], len(labels)) for name in members]
            shape = (len(ids), 0, len(labels))
            said = np.stack(columns, axis=1) if columns else np.empty(shape, np.float32)
        else:
            said = decided[:, None]
        return cls(np.ascontiguousarray(ids, np.int64), decided, said, labels, members)


@dataclass(frozen=True)
class Decision:
    """What an ensemble decided on one picture: one row of a table, and who could not say anything.

    table   of this picture alone: the probabilities as decided, and those of each member
    failed  the members that failed, and why
    """

    table: Classifications
    failed: Mapping[str, str] = field(default_factory=dict)

    __repr__ = brief

    @property
    def label(self) -> str:
        """The label that was decided on."""
        return self.table.labels.names[self.index]

    @property
    def index(self) -> int:
        """Its position in the vocabulary: the argmax."""
        return int(self.table.index[0])

    @property
    def category_id(self) -> int:
        """Its COCO category id."""
        return int(self.table.category_id[0])

    @property
    def probability(self) -> float:
        """Its probability, 0..1."""
        return float(self.table.probability[0])

    @property
    def votes(self) -> int:
        """How many members' first choice it is."""
        return int(self.table.votes[0])

    @property
    def members(self) -> tuple[str, ...]:
        """The members that took part."""
        return self.table.members

    @property
    def degraded(self) -> bool:
        """Whether a member failed."""
        return bool(self.failed)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(k,) of each label, as decided."""
        return np.asarray(self.table.probabilities[0])

    def top(self, most: int = 5) -> tuple[Choice, ...]:
        """The likeliest labels, as decided."""
        return self.table.top(0, most)

    def top_of(self, member: str, most: int = 5) -> tuple[Choice, ...]:
        """The likeliest labels, as one member has it."""
        return self.table.top_of(0, member, most)

    def of(self, member: str) -> NDArray[np.float32]:
        """(k,) what one member said; InputError for one that took no part."""
        return np.asarray(self.table._said_by(member)[0])


def first_choices(of_members: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n, m, k) -> (n, m) each member's first choice; `NO_CHOICE` where all are 0, or NaN."""
    said = np.where(np.isnan(of_members), 0, of_members)
    if not said.shape[2]:
        return np.full(said.shape[:2], NO_CHOICE, np.int64)
    return np.where(said.max(axis=2) > 0, said.argmax(axis=2), NO_CHOICE)


def _lists(rows: NDArray[np.float32]) -> pa.Array:
    """(n, k) as lists of k."""
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, rows.shape[1])


def _rows(column: pa.ChunkedArray, k: int) -> NDArray[np.float32]:
    """The inverse of `_lists`: (n, k)."""
    found = column.combine_chunks()
    if found.null_count:
        raise ValueError
    return np.asarray(found.flatten().to_numpy().reshape(len(found), k))


_COLUMNS: dict[str, Any] = {
    "image_id": np.int64,
    "probabilities": np.float32,
    "of_members": np.float32,
}
