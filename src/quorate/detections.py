"""Detections: the one value that flows from detectors through fusion to the published files.

Columns, one row per box, for a whole data set at once: there is no object per box anywhere.

    image_id     int64    (n,)    COCO image id
    category_id  int32    (n,)    COCO category id
    xyxy         float32  (n, 4)  x1, y1, x2, y2 in pixels of the picture as shown (EXIF
                                  orientation applied), x2 and y2 exclusive
    score        float32  (n,)    0..1
    detector     int16    (n,)    position in `detectors`; `FUSED` for a box made by fusion
    votes        int16    (n,)    detectors that carried the box; 1 for a detector's own box
    agreement    float32  (n,)    mean IoU of a fused box with its members; 1 for a detector's own
    members      Members  or None the boxes each fused box was made of
    masks        Masks    or None the pixels of each object; None where no detector gives masks

Row order has meaning: pictures in the data set's order, and within a picture as the producer
ordered them (by falling score, for every producer of Quorate).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import (
    Table,
    check_columns,
    column,
    concat_offsets,
    index_of,
    take_ragged,
    words_of_ids,
    write_table,
)
from quorate.display import ROWS, brief, html_table, of_field
from quorate.drawing import draw_boxes
from quorate.errors import InputError, nearest_file
from quorate.labels import Labels
from quorate.masks import Masks

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from PIL import Image

    from quorate.pictures import Picture

FUSED = -1


@dataclass(frozen=True, eq=False)
class Members:
    """Which boxes each fused box was made of; row i owns `offsets[i]:offsets[i + 1]`.

    offsets   int64    (n + 1,)  rising, from 0 to m
    detector  int16    (m,)      position in `Detections.detectors`
    score     float32  (m,)      the member's own score, before weights
    """

    offsets: NDArray[np.int64]
    detector: NDArray[np.int16]
    score: NDArray[np.float32]

    __repr__ = brief

    def take(self, rows: NDArray[np.int64]) -> Members:
        """The members of the given rows, in that order."""
        offsets, flat = take_ragged(self.offsets, rows)
        return Members(offsets=offsets, detector=self.detector[flat], score=self.score[flat])


@dataclass(frozen=True, eq=False)
class Detections(Table):
    """Boxes of a whole data set as columns; see the module for their meaning and order."""

    FILE: ClassVar[str] = "detections.parquet"
    """What a file of it is called in a work folder."""

    image_id: NDArray[np.int64]
    category_id: NDArray[np.int32]
    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    detector: NDArray[np.int16]
    votes: NDArray[np.int16]
    agreement: NDArray[np.float32]
    detectors: tuple[str, ...]
    members: Members | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        n = len(self.image_id)
        check_columns(self, _COLUMNS)
        if self.members is not None and len(self.members.offsets) != n + 1:
            raise InputError(
                f"Detections: {len(self.members.offsets) - 1} rows of members for {n} boxes."
            )
        if self.masks is not None and len(self.masks) != n:
            raise InputError(f"Detections: {len(self.masks)} rows of masks for {n} boxes.")

    @classmethod
    def build(
        cls,
        *,
        image_id: ArrayLike,
        category_id: ArrayLike,
        xyxy: ArrayLike,
        score: ArrayLike,
        detectors: Sequence[str],
        detector: ArrayLike = 0,
        votes: ArrayLike = 1,
        agreement: ArrayLike = 1.0,
        members: Members | None = None,
        masks: Masks | None = None,
    ) -> Self:
        """Columns from anything array-like; scalars are spread over all rows.

        Raises InputError where lengths differ or a box or score is not finite.
        """
        ids = np.ascontiguousarray(image_id, dtype=np.int64).reshape(-1)
        n = len(ids)

        def spread(name: str, values: ArrayLike) -> NDArray[Any]:
            return column(values, n, _COLUMNS[name], name=name, of="boxes")

        boxes = np.ascontiguousarray(xyxy, dtype=np.float32).reshape(-1, 4)
        if len(boxes) != n:
            raise InputError(f"Detections: {len(boxes)} boxes for {n} image ids.")
        built = cls(
            image_id=ids,
            category_id=spread("category_id", category_id),
            xyxy=boxes,
            score=spread("score", score),
            detector=spread("detector", detector),
            votes=spread("votes", votes),
            agreement=spread("agreement", agreement),
            detectors=tuple(detectors),
            members=members,
            masks=masks,
        )
        if not (np.isfinite(built.xyxy).all() and np.isfinite(built.score).all()):
            bad = int(np.count_nonzero(~np.isfinite(built.xyxy).all(1) | ~np.isfinite(built.score)))
            raise InputError(f"{bad} of {n} boxes have a coordinate or score that is NaN or inf.")
        return built

    @classmethod
    def empty(cls, detectors: Sequence[str] = ()) -> Self:
        """No boxes at all."""
        return cls.build(image_id=[], category_id=[], xyxy=[], score=[], detectors=detectors)

    @classmethod
    def concat(cls, parts: Sequence[Detections]) -> Self:
        """All rows of all parts, in order; the detectors' names are united in order of sight.

        Where some parts have masks, the rows of the others have none.
        """
        names = tuple(dict.fromkeys(name for part in parts for name in part.detectors))
        if not parts:
            return cls.empty()
        slots = [
            np.array([*(names.index(name) for name in part.detectors), FUSED], dtype=np.int16)
            for part in parts
        ]  # FUSED is -1, so it picks the last slot, which is FUSED again
        members = None
        if all(part.members is not None for part in parts):
            groups = [part.members for part in parts if part.members is not None]
            members = Members(
                offsets=concat_offsets([group.offsets for group in groups]),
                detector=np.concatenate(
                    [slot[g.detector] for g, slot in zip(groups, slots, strict=True)]
                ),
                score=np.concatenate([group.score for group in groups]),
            )
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _COLUMNS
            if name != "detector"
        }
        columns["detector"] = np.concatenate(
            [slot[part.detector] for part, slot in zip(parts, slots, strict=True)]
        )
        masks = None
        if any(part.masks is not None for part in parts):
            masks = Masks.concat([len(p) if p.masks is None else p.masks for p in parts])
        return cls(**columns, detectors=names, members=members, masks=masks)

    def __len__(self) -> int:
        return len(self.image_id)

    def __getitem__(self, image_id: int) -> Self:
        """The boxes of one picture, by its id; none where it has none. Rows are taken by `take`."""
        if not isinstance(image_id, int | np.integer) or isinstance(image_id, bool):
            raise InputError(
                f"Detections: {type(image_id).__name__} is no picture's id.",
                hint="boxes[7] has the boxes of picture 7; boxes.take(rows) has rows",
            )
        return self.take(self.image_id == image_id)

    def __iter__(self) -> Iterator[tuple[int, Self]]:
        """Each picture that has boxes, in order of sight: its id, and its boxes."""
        ids, first, place = np.unique(self.image_id, return_index=True, return_inverse=True)
        order = np.argsort(place, kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(place, minlength=len(ids)))[:-1])
        for number in np.argsort(first):
            yield int(ids[number]), self.take(rows[number])

    def __repr__(self) -> str:
        if not len(self):
            return f"Detections(no box, by {of_field(self.detectors)})"
        more = [name for name in ("members", "masks") if getattr(self, name) is not None]
        return (
            f"Detections({len(self):,} boxes in {len(np.unique(self.image_id)):,} pictures, by "
            f"{of_field(self.detectors)}, scores {self.score.min():.3g} to {self.score.max():.3g}"
            f"{', with ' * bool(more)}{' and '.join(more)})"
        )

    def _repr_html_(self) -> str:
        flat = self.take(slice(ROWS))._flat()
        rows = zip(*(values.tolist() for values in flat.values()), strict=True)
        table = [dict(zip(flat, row, strict=True)) for row in rows]
        for row in table:
            of = row["detector"]
            row["detector"] = "fused" if of == FUSED else self.detectors[of]
        return html_table(repr(self), table, max(len(self) - ROWS, 0))

    @cached_property
    def area(self) -> NDArray[np.float32]:
        """(n,) square pixels."""
        x1, y1, x2, y2 = self.xyxy.T
        return np.asarray((x2 - x1) * (y2 - y1))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The rows of an index array, a mask or a slice, in that order."""
        index = index_of(rows, len(self))
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in _COLUMNS},
            members=None if self.members is None else self.members.take(index),
            masks=None if self.masks is None else self.masks.take(index),
        )

    def of(self, detector: str) -> Self:
        """The boxes of one detector."""
        if detector not in self.detectors:
            raise InputError(f"No detector '{detector}' among {', '.join(self.detectors)}.")
        return self.take(self.detector == self.detectors.index(detector))

    def plot(
        self, picture: Picture, labels: Labels | None = None, *, min_score: float = 0.0
    ) -> Image.Image:
        """A picture with the boxes of one picture on it, the surest on top; notebooks show it.

        Args:
            picture: a file (a path), its bytes, an image of Pillow, or uint8 (h, w, 3) RGB. Of a
                file and its bytes the EXIF orientation is applied.
            labels: what the categories are called; without them their ids are written.
            min_score: boxes that score less are left out.

        A small picture comes back enlarged by a whole number. Raises InputError where the boxes
        are of several pictures, ImageError for what is no picture.
        """
        from PIL import Image

        from quorate.pictures import pixels

        if len(pictures := np.unique(self.image_id)) > 1:
            raise InputError(
                f"Detections: the boxes of {len(pictures):,} pictures on one.",
                hint=f"take those of one: boxes[{pictures[0]}].plot(…)",
            )
        rows = np.flatnonzero(self.score >= min_score)
        shown = self.take(rows[np.argsort(-self.score[rows], kind="stable")])
        ids = shown.category_id.tolist()
        words = [f"#{i}" if labels is None else labels.name_of(i) for i in ids]
        drawn = draw_boxes(
            pixels(picture, name=_named(picture), read=_read),
            shown.xyxy,
            [f"{word} {score:.2f}" for word, score in zip(words, shown.score, strict=True)],
            ids if labels is None else labels.positions(shown.category_id).tolist(),
            masks=shown.masks,
        )
        return Image.fromarray(drawn)

    def to_pandas(self, labels: Labels | None = None) -> pd.DataFrame:
        """A data frame with a row for each box; its columns are views of these, none is copied.

        The columns are those of the module, `x1 y1 x2 y2` apart, `detector` by name (none for a
        fused box); with `labels` also `label`. Raises InputError where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError("to_pandas needs pandas.", hint="pip install pandas") from None

        columns: dict[str, Any] = self._flat()
        columns["detector"] = pd.Categorical.from_codes(self.detector, self.detectors)
        if labels is not None:
            place = labels.positions(self.category_id)
            columns["label"] = pd.Categorical.from_codes(place, labels.names)
        return pd.DataFrame(columns, copy=False)

    def _flat(self) -> dict[str, NDArray[Any]]:
        """The columns as one-dimensional views."""
        flat: dict[str, NDArray[Any]] = {}
        for name in _COLUMNS:
            column = getattr(self, name)
            flat |= zip(_CORNERS, column.T, strict=True) if name == "xyxy" else {name: column}
        return flat

    def to_parquet(
        self,
        path: str | Path | BinaryIO,
        *,
        labels: Labels | None = None,
        pictures: Mapping[int, str] | None = None,
    ) -> None:
        """Write one Parquet file, or into an open one.

        The columns are those above, `x1 y1 x2 y2` apart; detectors' names are in the metadata.
        With `labels`, and with the names of `pictures` by id, the words are columns as well: a
        reader matches them with another data set's by these, for that may number its own anew.
        """
        write_table(self.to_arrow(labels=labels, pictures=pictures), path, rows=1 << 20)

    def to_arrow(
        self, *, labels: Labels | None = None, pictures: Mapping[int, str] | None = None
    ) -> pa.Table:
        """A pyarrow table with the columns of the Parquet file."""
        import pyarrow as pa

        columns: dict[str, Any] = {n: np.ascontiguousarray(c) for n, c in self._flat().items()}
        if self.members is not None:
            # 64-bit offsets: a large data set has more than 2^31 members.
            for name in ("detector", "score"):
                columns[f"member_{name}"] = pa.LargeListArray.from_arrays(
                    pa.array(self.members.offsets), pa.array(getattr(self.members, name))
                )
        if self.masks is not None:
            columns["mask_runs"] = pa.LargeListArray.from_arrays(
                pa.array(self.masks.offsets), pa.array(self.masks.runs)
            )
            columns["mask_height"], columns["mask_width"] = self.masks.size.T.copy()
        words = {} if labels is None else dict(zip(labels.ids, labels.names, strict=True))
        for name, ids, known in (
            ("label", self.category_id, words),
            ("file_name", self.image_id, pictures or {}),
        ):
            if known:
                columns[name] = words_of_ids(ids, known)
        about = {"version": 1, "detectors": list(self.detectors)}
        return pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(about).encode()})

    @classmethod
    def _of_arrow(cls, table: pa.Table) -> Self:
        wanted = [c for n in _COLUMNS for c in (_CORNERS if n == "xyxy" else (n,))]
        if missing := [name for name in wanted if name not in table.column_names]:
            raise InputError(f"not a Parquet file of detections (no column {', '.join(missing)}).")
        about = json.loads((table.schema.metadata or {})[_METADATA])
        if any(table[name].null_count for name in wanted):
            raise ValueError
        columns = {name: table[name].to_numpy() for name in wanted}
        xyxy = np.stack([columns.pop(corner) for corner in _CORNERS], axis=1)
        members = None
        if "member_detector" in table.column_names:
            detector = table["member_detector"].combine_chunks()
            score = table["member_score"].combine_chunks()
            members = Members(
                offsets=np.ascontiguousarray(detector.offsets.to_numpy(), dtype=np.int64),
                detector=detector.values.to_numpy().astype(np.int16),
                score=score.values.to_numpy().astype(np.float32),
            )
        return cls.build(
            xyxy=xyxy,
            members=members,
            masks=masks_of_table(table),
            detectors=[str(name) for name in about["detectors"]],
            **columns,
        )


def words_of_table(table: pa.Table, name: str) -> tuple[list[str], NDArray[np.int64]] | None:
    """The words of a column, `label` or `file_name`, and the position of each row's among them.

    None where the table has no such column of text, or a row of it has no word.
    """
    import pyarrow as pa

    if name not in table.column_names or table[name].null_count:
        return None
    column = table[name].combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if not pa.types.is_string(column.type.value_type):
        return None
    used, row = np.unique(column.indices.to_numpy(), return_inverse=True)
    return column.dictionary.take(pa.array(used)).to_pylist(), row


def masks_of_table(table: pa.Table) -> Masks | None:
    """The masks of a pyarrow table with the columns of the Parquet file; None without them."""
    if "mask_runs" not in table.column_names:
        return None
    runs = table["mask_runs"].combine_chunks()
    size = [table[name].to_numpy() for name in ("mask_height", "mask_width")]
    return Masks(
        offsets=np.ascontiguousarray(runs.offsets.to_numpy(), dtype=np.int64),
        runs=runs.values.to_numpy().astype(np.uint32, copy=False),
        size=np.stack(size, axis=1).astype(np.int32, copy=False),
    )


def _named(picture: Picture) -> str:
    return str(picture) if isinstance(picture, str | PathLike) else "the picture"


def _read(place: str | PathLike[str]) -> bytes:
    try:
        return Path(place).read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{place}: {why}.", hint=nearest_file(str(place))) from None


_COLUMNS: dict[str, Any] = {
    "image_id": np.int64,
    "category_id": np.int32,
    "xyxy": np.float32,
    "score": np.float32,
    "detector": np.int16,
    "votes": np.int16,
    "agreement": np.float32,
}
_CORNERS = ("x1", "y1", "x2", "y2")
_METADATA = b"quorate"
