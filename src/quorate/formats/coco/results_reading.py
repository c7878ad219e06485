"""COCO results: the list of detections that every framework writes for evaluation.

    [{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.91}, …]

Format: https://cocodataset.org/#format-results. It is read as a stream: memory holds the columns
and one part of the file, however large that is. `image_id` and `category_id` may be text; a
`segmentation`, run lengths or polygons, stands for a `bbox` that is missing; `votes`, `agreement`
and `detectors`, which Quorate adds to fused boxes, are kept. Of a key that stands twice in a
detection the last one counts, as in Python's `json`.

A compiled scanner reads what every framework writes. From the first detection on that is not so
plain, and for small files, msgspec reads; it also says what is wrong.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.errors import FormatError, InputError
from quorate.formats.detections.columns import Polygons, Results
from quorate.masks import Masks
from quorate.storage import open_file

if TYPE_CHECKING:
    from quorate.formats.coco.segmentations import Segmentations

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""
STDIN = "-"
"""The location that stands for standard input."""
CHUNK = 16 << 20
"""Bytes of JSON read at once."""
SCANNED = 1 << 20
"""Smaller files are not worth loading the scanner for."""
FURTHEST = float(1 << 24)
"""Pixels: beyond it float32 cannot tell two whole ones apart, and no picture reaches."""
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_AT_ITEM = re.compile(r"\$\[(\d+)\]")
_WHITE = b" \t\r\n"


class _Result(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    score: float
    bbox: tuple[float, float, float, float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()
    votes: int = 1
    agreement: float = 1.0
    detectors: list[str] | None = None


def read_results(location: str, *, progress: Progress = lambda done, size: None) -> Results:
    """Read a results file (`….gz` too; '-' is standard input) as a stream.

    `progress` is told how many bytes of the file are read and how many there are, where a size is
    known.

    Raises FormatError, naming the byte or the number of the detection, for JSON that is cut short
    or damaged, for a number that is NaN, infinite or too large, for a box that is inverted, for a
    score outside 0..1.
    """
    reader = _Reader(location)
    with nullcontext(sys.stdin.buffer) if location == STDIN else open_file(location) as file:
        if location == STDIN:
            packed = cast(Any, file).peek(2)[:2] == b"\x1f\x8b"
        else:
            packed = location.endswith(".gz")
            if file.seekable():
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                reader.tell = lambda: progress(file.tell(), size)
        reader.read(cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file)
    return reader.results()


_COLUMNS: dict[str, Any] = {
    "image": np.int32,
    "category": np.int32,
    "xyxy": np.float32,
    "score": np.float32,
    "votes": np.int16,
    "agreement": np.float32,
}


class _Reader:
    """Collects the columns of one file, part by part."""

    def __init__(self, location: str) -> None:
        self.location = "standard input" if location == STDIN else location
        self.images: dict[int | str, int] = {}
        self.categories: dict[int | str, int] = {}
        self.parts: list[dict[str, NDArray[Any]]] = []
        self.named: list[list[str] | None] = []
        self.any_named = False
        self.masks: list[Masks | int] = []
        self.polygons: list[Polygons] = []
        self.count = 0
        self.start = 0  # the byte of the file at which what is not yet decoded begins
        self.tell: Callable[[], None] = lambda: None  # called when a part has been read

    def read(self, file: BinaryIO) -> None:
        """Read the whole list."""
        rest = self._opening(file)
        block = self._block(file) if len(rest) < SCANNED else b""
        if len(rest) + len(block) >= SCANNED:
            rest = self._scanned(file, rest + block)
        else:
            rest += block
        self._decoded(file, rest)

    def results(self) -> Results:
        """All parts as one."""
        named: list[list[str] | None] | None = None
        if self.any_named:
            named = [*self.named, *([None] * (self.count - len(self.named)))]
        return Results(
            **{name: self._column(name) for name in _COLUMNS},
            detectors=named,
            image_ids=list(self.images),
            category_ids=list(self.categories),
            masks=Masks.concat(self.masks)
            if any(isinstance(part, Masks) for part in self.masks)
            else None,
            polygons=Polygons.concat(self.polygons),
        )

    def _column(self, name: str) -> Any:
        """One column of all parts, which no longer have it afterwards: it may be large."""
        empty = np.empty((0, 4) if name == "xyxy" else 0, _COLUMNS[name])
        return np.concatenate([empty, *(part.pop(name) for part in self.parts)])

    def _block(self, file: BinaryIO) -> bytes:
        try:
            block = file.read(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{self.location}: not a whole gzip file ({error}).") from None
        except OSError as error:
            raise InputError(f"{self.location}: cannot be read ({error.strerror}).") from None
        self.tell()
        return block

    def _opening(self, file: BinaryIO) -> bytes:
        """What stands behind the bracket that opens the list."""
        rest = body = b""
        while not body:
            block = self._block(file)
            if not block:
                raise FormatError(f"{self.location}: the file is empty.")
            rest += block
            body = rest.removeprefix(b"\xef\xbb\xbf").lstrip(_WHITE)
        if body[:1] != b"[":
            raise FormatError(
                f"{self.location}: not a list of detections (it begins {body[:20]!r}).",
                hint="COCO results are a list; a data set with `images` is read by "
                "`quorate.formats.read`"
                if body[:1] == b"{"
                else None,
            )
        self.start = len(rest) - len(body) + 1
        return body[1:]

    def _scanned(self, file: BinaryIO, rest: bytes) -> bytes:
        """Scan as much as is plain; returns what comes behind, at a detection or at the end."""
        from quorate.formats import results_kernel as kernel

        while True:
            at, state = 0, kernel.FULL
            while state == kernel.FULL:
                at, state = self._scan(rest, at)
            self.start += at
            rest = rest[at:]
            block = b"" if state in (kernel.STRANGE, kernel.CLOSED) else self._block(file)
            if not block:
                break
            rest += block
        after = rest.lstrip(_WHITE)
        if self.count and after[:1] == b",":
            behind = after[1:].lstrip(_WHITE)
            if behind[:1] == b"]":
                byte = self.start + len(rest) - len(behind)
                raise FormatError(f"{self.location}: not JSON at byte {byte} (a trailing comma).")
            self.start += len(rest) - len(behind)
            return behind
        return rest

    def _scan(self, rest: bytes, at: int) -> tuple[int, int]:
        from quorate.formats import results_kernel as kernel

        rows = (len(rest) - at) // 50 + 2  # the four keys alone are longer
        ids = np.empty((rows, 2), np.int32)
        numbers = np.empty((rows, 7))
        images, categories = np.empty((rows + 1, 2), np.int64), np.empty((rows + 1, 2), np.int64)
        table = np.zeros((2, 1 << (2 * rows).bit_length()), np.int32)
        hard = np.empty((1 << 12, 4), np.int64)
        data = np.frombuffer(rest, np.uint8)
        n, end, state, seen_images, seen_categories, hards = kernel.scan(
            data, at, self.count == 0, ids, numbers, images, categories, table, hard
        )
        try:
            image = self._known(self.images, rest, images[:seen_images])
            category = self._known(self.categories, rest, categories[:seen_categories])
        except msgspec.MsgspecError:  # an id that is null, true, 1.5: let msgspec say where
            return at, kernel.STRANGE
        for row, column, begin, behind in hard[:hards].tolist():
            numbers[row, column] = float(rest[begin:behind])
        if n:
            self._add(image[ids[:n, 0]], category[ids[:n, 1]], numbers[:n])
        return end, state

    def _known(
        self, known: dict[int | str, int], rest: bytes, spans: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Positions of ids by the bytes they stand in."""
        texts = [rest[begin:end] for begin, end in spans.tolist()]
        values = msgspec.json.decode(b"[" + b",".join(texts) + b"]", type=list[int | str])
        return np.array([known.setdefault(value, len(known)) for value in values], np.int32)

    def _add(
        self,
        image: NDArray[np.int32],
        category: NDArray[np.int32],
        numbers: NDArray[np.float64],
        masks: Masks | None = None,
    ) -> None:
        """Add detections by positions of their ids and their numbers (see `results_kernel`)."""
        bbox, score = numbers[:, :4], numbers[:, 4]
        for wrong, what in (
            (~np.isfinite(bbox).all(axis=1), "has a coordinate that is NaN or infinite"),
            (
                (bbox[:, 2:] < 0).any(axis=1),
                "has a negative width or height; a bbox is [x, y, w, h]",
            ),
            (~((score >= 0) & (score <= 1)), "has a score that is not within 0..1"),
            ((np.abs(bbox) > FURTHEST).any(axis=1), "reaches further than any picture"),
        ):
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise FormatError(
                    f"{self.location}: detection {self.count + row + 1} {what} (bbox "
                    f"{bbox[row].tolist()}, score {score[row]:g})."
                )
        xyxy = np.empty((len(numbers), 4), np.float32)
        xyxy[:, :2] = bbox[:, :2]
        xyxy[:, 2:] = bbox[:, :2] + bbox[:, 2:]
        self.parts.append(
            {
                "image": image,
                "category": category,
                "xyxy": xyxy,
                "score": score.astype(np.float32),
                "votes": numbers[:, 5].clip(0, np.iinfo(np.int16).max).astype(np.int16),
                "agreement": numbers[:, 6].astype(np.float32),
            }
        )
        self.count += len(numbers)
        self.masks.append(len(numbers) if masks is None else masks)

    def _decoded(self, file: BinaryIO, rest: bytes) -> None:
        """Decode the rest of the list; parts end between two detections."""
        decoder = msgspec.json.Decoder(list[_Result])
        while block := self._block(file):
            rest += block
            cut = 0
            for found in _BETWEEN.finditer(rest, max(0, len(rest) - (1 << 20))):
                cut = found.start() + 1
            if not cut:
                continue
            try:
                results = decoder.decode(b"[" + rest[:cut] + b"]")
            except msgspec.ValidationError as error:
                raise self._fault(error) from None
            except (msgspec.DecodeError, UnicodeDecodeError):
                if len(rest) > 4 * CHUNK:
                    raise FormatError(
                        f"{self.location}: damaged after byte {self.start}."
                    ) from None
                continue  # the cut was inside an object: look for a later one
            self._add_results(results)
            following = rest.index(b"{", cut)
            self.start += following
            rest = rest[following:]
        try:
            results = decoder.decode(b"[" + rest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._fault(error, self.start + len(rest)) from None
        self._add_results(results)

    def _add_results(self, results: list[_Result]) -> None:
        if not results:
            return
        segmentations = [bytes(r.segmentation) for r in results]
        masks = found = None
        if any(segmentations):
            from quorate.formats.coco.segmentations import read_segmentations

            found = read_segmentations(segmentations, self.count + 1, self.location)
            masks, polygons = found.masks, found.polygons
            self.polygons.append(Polygons(self.count + polygons.rows, polygons.points))
        boxes = self._boxes(results, found)
        numbers = np.array(
            [(*b, r.score, r.votes, r.agreement) for b, r in zip(boxes, results, strict=True)],
            dtype=np.float64,
        )
        images, categories = self.images, self.categories
        image = [images.setdefault(r.image_id, len(images)) for r in results]
        category = [categories.setdefault(r.category_id, len(categories)) for r in results]
        if any(r.detectors for r in results):
            self.any_named = True
            self.named += [None] * (self.count - len(self.named))
            self.named += [r.detectors for r in results]
        self._add(np.array(image, np.int32), np.array(category, np.int32), numbers, masks)

    def _boxes(
        self, results: list[_Result], found: Segmentations | None
    ) -> list[tuple[float, ...]]:
        """The bbox of each detection: its own, or that of its segmentation."""
        boxes = [result.bbox for result in results]
        without = [row for row, box in enumerate(boxes) if box is None]
        if not without:
            return boxes  # type: ignore[return-value]
        around = found.boxes() if found is not None else {}
        for row in without:
            if row not in around:
                raise FormatError(
                    f"{self.location}: detection {self.count + row + 1} has neither bbox nor mask."
                )
            x1, y1, x2, y2 = around[row]
            boxes[row] = (x1, y1, x2 - x1, y2 - y1)
        return boxes  # type: ignore[return-value]

    def _fault(self, error: Exception, end: int = 0) -> FormatError:
        said = str(error)
        if isinstance(error, msgspec.ValidationError):
            item = _AT_ITEM.search(said)
            number = self.count + int(item[1]) + 1 if item else self.count
            return FormatError(f"{self.location}: detection {number}: {said.split(' - at ')[0]}.")
        if "truncated" in said:
            return FormatError(
                f"{self.location}: the file is truncated: it ends at byte {end} in the middle."
            )
        at = _AT_BYTE.search(said)
        byte = self.start + int(at[1]) - 1 if at else self.start
        return FormatError(
            f"{self.location}: not JSON at byte {byte} ({_AT_BYTE.sub('', said).strip()})."
        )


def warm() -> None:
    """Compile the scanner now, or load it from the cache."""
    text = b'{"image_id":1,"category_id":1,"bbox":[0,0,1,1],"score":1}]'
    _Reader("")._scan(text, 0)
