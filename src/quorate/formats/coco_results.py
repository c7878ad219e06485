"""COCO results: the list of detections that every framework writes for evaluation.

    [{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.91}, …]

Format: https://cocodataset.org/#format-results. It is read as a stream: memory holds the columns
and one part of the file, however large that is. `image_id` and `category_id` may be text; a
segmentation is left out and counted; `votes`, `agreement` and `detectors`, which Quorate adds to
fused boxes, are kept.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.detections import FUSED, Detections, Members
from quorate.errors import FormatError
from quorate.storage import open_file, writing

CHUNK = 16 << 20
"""Bytes of JSON decoded at once."""
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_AT_ITEM = re.compile(r"\$\[(\d+)\]")


_NONE = msgspec.Raw()


class _Result(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    score: float
    segmentation: msgspec.Raw = _NONE
    votes: int = 1
    agreement: float = 1.0
    detectors: list[str] | None = None


@dataclass
class Results:
    """The columns of a results file, before its ids are matched with anything.

    image, category  int64  (n,)    positions in `image_ids` and `category_ids`
    xywh             float64 (n, 4) as in the file
    """

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    xywh: NDArray[np.float64]
    score: NDArray[np.float64]
    votes: NDArray[np.int64]
    agreement: NDArray[np.float32]
    detectors: list[list[str] | None] | None
    image_ids: list[int | str] = field(default_factory=list)
    category_ids: list[int | str] = field(default_factory=list)
    segmentations: int = 0


def read_results(location: str) -> Results:
    """Read a results file (`….gz` too) as a stream.

    Raises FormatError, naming the byte or the number of the detection, for JSON that is cut short
    or damaged, for a number that is NaN or infinite, for a box that is inverted, for a score
    outside 0..1.
    """
    images: dict[int | str, int] = {}
    categories: dict[int | str, int] = {}
    parts: list[list[NDArray[Any]]] = [[] for _ in range(6)]
    named: list[list[str] | None] = []
    any_named = False
    segmentations = 0
    count = 0
    with open_file(location) as raw:
        for results in _decoded(_unpacked(raw, location), location):
            image = _numbered([r.image_id for r in results], images)
            category = _numbered([r.category_id for r in results], categories)
            numbers = chain.from_iterable([r.bbox for r in results])
            xywh = np.fromiter(numbers, np.float64, 4 * len(results)).reshape(-1, 4)
            score = np.array([r.score for r in results], dtype=np.float64)
            _check(xywh, score, f"{location}: detection", count)
            names = [r.detectors for r in results]
            any_named = any_named or any(names)
            if any_named:
                named += [None] * (count - len(named)) + names
            segmentations += sum([r.segmentation is not _NONE for r in results])
            votes = np.array([r.votes for r in results], dtype=np.int64)
            agreement = np.array([r.agreement for r in results], dtype=np.float32)
            found: tuple[NDArray[Any], ...] = (image, category, xywh, score, votes, agreement)
            for part, column in zip(parts, found, strict=True):
                part.append(column)
            count += len(results)
    empty: list[NDArray[Any]] = [np.empty(0, np.int64)] * 2 + [np.empty((0, 4))] + [np.empty(0)] * 3
    columns = []
    for part, none in zip(parts, empty, strict=True):
        columns.append(np.concatenate(part) if part else none)
        part.clear()  # so that memory never holds all columns twice
    return Results(
        image=columns[0],
        category=columns[1],
        xywh=columns[2],
        score=columns[3],
        votes=columns[4].astype(np.int64),
        agreement=columns[5],
        detectors=named if any_named else None,
        image_ids=list(images),
        category_ids=list(categories),
        segmentations=segmentations,
    )


def _numbered(ids: list[int | str], known: dict[int | str, int]) -> NDArray[np.int64]:
    """The place of each id among those known, in order of sight; new ones are added."""
    column = np.array(ids)
    if column.dtype.kind != "i":  # text, or a mixture, which numpy would turn into text
        return np.array([known.setdefault(i, len(known)) for i in ids], dtype=np.int64)
    different, sight, which = np.unique(column, return_index=True, return_inverse=True)
    for position in np.argsort(sight):
        known.setdefault(int(different[position]), len(known))
    places = np.array([known[i] for i in different.tolist()], dtype=np.int64)
    numbered: NDArray[np.int64] = places[which]
    return numbered


def _check(xywh: NDArray[Any], score: NDArray[Any], place: str, count: int) -> None:
    for wrong, what in (
        (~np.isfinite(xywh).all(axis=1), "has a coordinate that is NaN or infinite"),
        ((xywh[:, 2:] < 0).any(axis=1), "has a negative width or height; a bbox is [x, y, w, h]"),
        (~((score >= 0) & (score <= 1)), "has a score that is not within 0..1"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise FormatError(
                f"{place} {count + row + 1} {what} (bbox {xywh[row].tolist()}, score "
                f"{score[row]:g})."
            )


def _unpacked(raw: BinaryIO, location: str) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if location.endswith(".gz") else raw


def _decoded(file: BinaryIO, location: str) -> Iterator[list[_Result]]:
    """The detections, part by part; parts end between two objects of the list."""
    decoder = msgspec.json.Decoder(list[_Result])
    start = items = 0  # byte of `rest` in the file, detections before it
    rest = b""
    opened = False
    while True:
        try:
            block = file.read(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{location}: not a whole gzip file ({error}).") from None
        rest += block
        if not opened:
            body = rest.lstrip(b"\xef\xbb\xbf \t\r\n")
            if body and body[:1] != b"[":
                raise FormatError(
                    f"{location}: not a list of detections (it begins {body[:20]!r}).",
                    hint="COCO results are a list; a data set with `images` is read by "
                    "`quorate.formats.read`"
                    if body[:1] == b"{"
                    else None,
                )
            if body:
                start += len(rest) - len(body) + 1
                rest = body[1:]
                opened = True
        if not block:
            break
        cut = 0
        for found in _BETWEEN.finditer(rest, max(0, len(rest) - (1 << 20))):
            cut = found.start() + 1
        if not cut:
            continue
        try:
            results = decoder.decode(b"[" + rest[:cut] + b"]")
        except msgspec.ValidationError as error:
            raise FormatError(_fault(location, error, start, items)) from None
        except msgspec.DecodeError:
            if len(rest) > 4 * CHUNK:
                raise FormatError(f"{location}: damaged after byte {start}.") from None
            continue  # the cut was inside an object: look for a later one
        yield results
        items += len(results)
        following = rest.index(b"{", cut)
        start += following
        rest = rest[following:]
    if not opened:
        raise FormatError(f"{location}: the file is empty.")
    try:
        yield decoder.decode(b"[" + rest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(_fault(location, error, start, items, start + len(rest))) from None


def _fault(location: str, error: Exception, start: int, items: int, end: int = 0) -> str:
    said = str(error)
    if isinstance(error, msgspec.ValidationError):
        item = _AT_ITEM.search(said)
        number = items + int(item[1]) + 1 if item else items
        return f"{location}: detection {number}: {said.split(' - at ')[0]}."
    if "truncated" in said:
        return f"{location}: the file is truncated: it ends at byte {end} in the middle."
    at = _AT_BYTE.search(said)
    byte = start + int(at[1]) - 1 if at else start
    return f"{location}: not JSON at byte {byte} ({_AT_BYTE.sub('', said).strip()})."


def members_of(
    lists: list[list[str] | None] | None, detectors: tuple[str, ...]
) -> tuple[Members | None, tuple[str, ...]]:
    """The members that lists of detectors' names tell of (their scores are not known: NaN)."""
    if lists is None:
        return None, detectors
    positions = {name: i for i, name in enumerate(detectors)}
    flat = [positions.setdefault(name, len(positions)) for names in lists for name in names or ()]
    offsets = np.cumsum([0, *(len(names or ()) for names in lists)])
    members = Members(
        offsets=offsets.astype(np.int64),
        detector=np.array(flat, dtype=np.int16),
        score=np.full(len(flat), np.nan, dtype=np.float32),
    )
    return members, tuple(positions)


class _Written(msgspec.Struct, omit_defaults=True):
    image_id: int | str
    category_id: int
    bbox: list[float]
    score: float
    votes: int = 0
    agreement: float = -1.0
    detectors: list[str] | None = None


def write_results(
    detections: Detections,
    location: str,
    *,
    image_ids: Mapping[int, int | str] | None = None,
    extras: bool = True,
    decimals: int = 3,
) -> None:
    """Write a results file, in the detections' own order; `….gz` is packed.

    Args:
        detections: what to write.
        location: a local file or one in S3.
        image_ids: `Image.id` -> the id to write, where that is another one.
        extras: add `votes`, `agreement` and `detectors` to boxes made by fusion.
        decimals: of the coordinates; scores have six.
    """
    encoder = msgspec.json.Encoder()
    with writing(location) as raw:
        # No time of writing and no name in the archive: the same detections, the same bytes.
        file = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
            if location.endswith(".gz")
            else raw
        )
        file.write(b"[")
        for start in range(0, len(detections), 1 << 17):
            part = detections.take(slice(start, start + (1 << 17)))
            text = encoder.encode(list(_rows(part, image_ids, extras, decimals)))
            file.write((b"," if start else b"") + text[1:-1])
        file.write(b"]\n")
        if file is not raw:
            file.close()


def _rows(
    part: Detections, image_ids: Mapping[int, int | str] | None, extras: bool, decimals: int
) -> Iterator[_Written]:
    low, high = part.xyxy[:, :2].astype(np.float64), part.xyxy[:, 2:].astype(np.float64)
    bbox = np.round(np.concatenate([low, high - low], axis=1), decimals).tolist()
    ids: list[int | str] = part.image_id.tolist()
    if image_ids is not None:
        ids = [image_ids.get(int(i), i) for i in ids]
    score = np.round(part.score.astype(np.float64), 6).tolist()
    category = part.category_id.tolist()
    fused = part.detector == FUSED
    if not extras or not fused.any():
        yield from map(_Written, ids, category, bbox, score)
        return
    names: list[list[str] | None] = [None] * len(part)
    if part.members is not None:
        owners, ends = part.members.detector.tolist(), part.members.offsets.tolist()
        names = [
            [part.detectors[i] for i in dict.fromkeys(owners[a:b]) if i >= 0] or None
            for a, b in pairwise(ends)
        ]
    votes = np.where(fused, part.votes, 0).tolist()
    agreement = np.where(fused, np.round(part.agreement.astype(np.float64), 6), -1.0).tolist()
    yield from map(_Written, ids, category, bbox, score, votes, agreement, names)
