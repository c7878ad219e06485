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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quorate.columns import check_columns, column, concat_offsets, positions_in, take_ragged
from quorate.errors import FormatError, InputError
from quorate.labels import Labels
from quorate.masks import Masks

if TYPE_CHECKING:
    import pyarrow as pa

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

    def take(self, rows: NDArray[np.int64]) -> Members:
        """The members of the given rows, in that order."""
        offsets, flat = take_ragged(self.offsets, rows)
        return Members(offsets=offsets, detector=self.detector[flat], score=self.score[flat])


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of a whole data set as columns; see the module for their meaning and order."""

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
        return cls.build(
            image_id=[], category_id=[], xyxy=np.empty((0, 4)), score=[], detectors=detectors
        )

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

    @cached_property
    def area(self) -> NDArray[np.float32]:
        """(n,) square pixels."""
        x1, y1, x2, y2 = self.xyxy.T
        area: NDArray[np.float32] = (x2 - x1) * (y2 - y1)
        return area

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The rows of an index array, a mask or a slice, in that order."""
        index = np.arange(len(self))[rows]
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
        import pyarrow.parquet as pq

        table = self.to_arrow(labels=labels, pictures=pictures)
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 20)

    def to_arrow(
        self, *, labels: Labels | None = None, pictures: Mapping[int, str] | None = None
    ) -> pa.Table:
        """A pyarrow table with the columns of the Parquet file."""
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            if name == "xyxy":
                for i, corner in enumerate(_CORNERS):
                    columns[corner] = np.ascontiguousarray(self.xyxy[:, i])
            else:
                columns[name] = getattr(self, name)
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
                place = positions_in(list(known), ids)
                columns[name] = pa.DictionaryArray.from_arrays(
                    pa.array(place, pa.int32(), mask=place < 0), pa.array(list(known.values()))
                )
        about = {"version": 1, "detectors": list(self.detectors)}
        return pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(about).encode()})

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote; FormatError when the file is something else."""
        return cls.from_arrow(read_table(path), origin=str(path))

    @classmethod
    def from_arrow(cls, table: pa.Table, *, origin: str = "table") -> Self:
        """The inverse of `to_arrow`; `origin` names the source in errors."""
        foreign = FormatError(
            f"{origin}: not a Parquet file of detections.",
            hint="Quorate writes such files with Detections.to_parquet",
        )
        wanted = [c for n in _COLUMNS for c in (_CORNERS if n == "xyxy" else (n,))]
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            foreign.message = f"{foreign.message[:-1]} (no column {', '.join(missing)})."
            raise foreign
        try:
            about = json.loads((table.schema.metadata or {})[_METADATA])
            if any(table[name].null_count for name in wanted):
                raise foreign
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
        except FormatError:
            raise
        except InputError as error:
            raise FormatError(f"{origin}: {error.message}", hint=foreign.hint) from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise foreign from None


def read_table(path: str | Path | BinaryIO) -> pa.Table:
    """All columns of a Parquet file; FormatError when the file is something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would load pandas, where it is there
            return file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise FormatError(
            f"{path}: not a whole Parquet file ({error}).",
            hint="copy it again, or let its detector write it again",
        ) from None


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
