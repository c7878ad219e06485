"""COCO results: the list of detections that every framework writes for evaluation.

    [{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.91}, …]

Format: https://cocodataset.org/#format-results. The list is read part by part: memory holds the
columns (32 bytes a box) and one part of the file, some megabytes of JSON as objects; a detection
larger than that is a part of its own. `image_id` and `category_id` may be text, or 42.0 for 42; a
picture's `file_name` goes before its `image_id`, which Ultralytics makes up from the name; a
`segmentation`, run lengths or polygons, stands for a `bbox` that is missing; `votes`, `agreement`
and `detectors`, which Quorate adds to fused boxes, are kept. A `bbox` that stands twice in a
detection is refused; of another key the last one counts, as in Python's `json`.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from typing import Annotated, Any, BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.columns import Ragged
from quorate.errors import FormatError, InputError
from quorate.formats.base import checked_scores, not_utf8, whole
from quorate.formats.coco.json_faults import in_words, refuse_twice
from quorate.formats.coco.segmentations import Segmentations, read_segmentations
from quorate.formats.detections.columns import Results
from quorate.masks import Masks
from quorate.storage import open_file

STDIN = "-"
"""The location that stands for standard input."""
CHUNK = 4 << 20
"""Bytes of JSON read at once."""
FURTHEST = float(1 << 24)
"""Pixels: beyond it float32 cannot tell two whole ones apart, and no picture reaches."""
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_AT_ITEM = re.compile(r"\$\[(\d+)\]")
_WHITE = b" \t\r\n"

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Result(msgspec.Struct, gc=False, kw_only=True):
    image_id: int | float | str | None = None
    category_id: int | float | str
    bbox: tuple[float, float, float, float] | None = None
    score: float
    segmentation: msgspec.Raw = msgspec.Raw()
    votes: _Int64 = 1
    agreement: float = 1.0
    detectors: list[str] | None = None
    file_name: str | None = None


MOST_PACKED, MOST_UNPACKED = 200, 64 << 20
"""A packed file of more bytes may unpack to at most so many times its size, as an archive may."""

EXAMPLE = 'a detection is {"image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "score": 0.9}'

_DECODER = msgspec.json.Decoder(list[_Result])


def read_results(
    location: str, *, progress: Callable[[int, int], None] = lambda done, size: None
) -> Results:
    """Read a results file (`….gz` too; '-' is standard input) part by part.

    `progress` is told how many bytes of the file are read and how many there are, where a size is
    known.

    Raises FormatError, naming the byte or the number of the detection, for JSON that is cut short
    or damaged, for text that is not UTF-8, for a number that is NaN, infinite or too large, for a
    box that is inverted, for a score or an agreement outside 0..1.
    """
    name = "standard input" if location == STDIN else location
    columns = _Columns(name)
    with nullcontext(sys.stdin.buffer) if location == STDIN else open_file(location) as file:
        tell: Callable[[], None] = lambda: None  # noqa: E731  two lines shorter than a `def`
        if location == STDIN:
            packed = cast(Any, file).peek(2)[:2] == b"\x1f\x8b"
        else:
            packed = location.endswith(".gz")
            if file.seekable():
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                tell = lambda: progress(file.tell(), size)  # noqa: E731
        plain = cast(BinaryIO, _Unpacked(file, name)) if packed else file
        for part in _List(plain, name, tell).parts():
            columns.add(part)
    return columns.results()


class _Unpacked(gzip.GzipFile):
    """What a gzip file holds; FormatError where that is far more than results ever pack into."""

    def __init__(self, file: BinaryIO, location: str) -> None:
        super().__init__(fileobj=file)
        self._location, self._counted, self._given = location, 0, file

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self._counted += len(block)
        if self._counted > MOST_UNPACKED and self._given.seekable():
            most = MOST_PACKED * max(self._given.tell(), 1)
            if self._counted > most:
                raise FormatError(
                    f"{self._location}: unpacks to more than {MOST_PACKED} times its size.",
                    hint="unpack it, and look at what it holds",
                )
        return block


class _List:
    """The list of a file, decoded part by part."""

    def __init__(self, file: BinaryIO, location: str, tell: Callable[[], None]) -> None:
        self.file, self.location, self.tell = file, location, tell
        self.start = 0  # the byte of the file at which what is not yet decoded begins
        self.count = 0  # detections decoded

    def parts(self) -> Iterator[list[_Result]]:
        """Some detections after the other; a part ends between two of them."""
        rest = self._opening()
        size = CHUNK
        while block := self._block(size):
            rest += block
            for cut in _cuts(rest):
                found = self._decoded(rest, cut)
                if found is not None:
                    yield found
                    following = rest.index(b"{", cut)
                    self.start += following
                    rest, size = rest[following:], CHUNK
                    break
            else:
                size = max(CHUNK, len(rest))  # a detection so large that it has not ended
        yield self._decoded(rest, None) or []

    def _opening(self) -> bytes:
        """What stands behind the bracket that opens the list."""
        rest = body = b""
        while not body:
            block = self._block(CHUNK)
            if not block:
                raise FormatError(
                    f"{self.location}: the file is empty.", hint="of no detections the list is []"
                )
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

    def _block(self, size: int) -> bytes:
        try:
            block = self.file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FormatError(f"{self.location}: not a whole gzip file ({error}).") from None
        except OSError as error:
            raise InputError(f"{self.location}: cannot be read ({error.strerror}).") from None
        self.tell()
        return block

    def _decoded(self, rest: bytes, cut: int | None) -> list[_Result] | None:
        """The detections before `cut`, None where that is inside of one; or all of the rest."""
        text = b"[" + rest if cut is None else b"[" + rest[:cut] + b"]"
        try:
            found = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if cut is not None and "truncated" in str(error):
                return None
            raise self._fault(error, text) from None
        refuse_twice(text, [(b'"bbox"', len(found))], self.location)
        self.count += len(found)
        return found

    def _fault(self, error: Exception, text: bytes) -> FormatError:
        said = str(error)
        if isinstance(error, msgspec.ValidationError):
            item = _AT_ITEM.search(said)
            number = self.count + int(item[1]) + 1 if item else self.count
            inside = said.partition(" - at `$[")[2].partition("]")[2].strip(".`")
            place = f", its {inside}" if inside else ""
            return FormatError(
                f"{self.location}: detection {number}{place}: {in_words(said.split(' - at ')[0])}.",
                hint=EXAMPLE,
            )
        if isinstance(error, UnicodeDecodeError):
            return not_utf8(self.location, text, self.start - 1)
        if "truncated" in said:
            return FormatError(
                f"{self.location}: the file is truncated: it ends at byte "
                f"{self.start + len(text) - 1} in the middle.",
                hint="copy it again, or let its detector write it again",
            )
        at = _AT_BYTE.search(said)
        byte = self.start + int(at[1]) - 1 if at else self.start
        return FormatError(
            f"{self.location}: not JSON at byte {byte} ({_AT_BYTE.sub('', said).strip()})."
        )


def _cuts(data: bytes) -> Iterator[int]:
    """A few ends of detections that have another behind them, the last ones first.

    The first is a guess, which is right where detections hold no lists of objects. The others are
    not inside of an object, as far as a count of the braces tells, for texts may have some too.
    """
    depth = guesses = 0
    begin = end = len(data)
    for _ in range(10_000):
        begin = data.rfind(b"{", 0, begin)
        if begin < 0 or guesses == 4:
            return
        before = data[max(0, begin - 100) : begin].rstrip(_WHITE)
        if before.endswith(b",") and before[:-1].rstrip(_WHITE).endswith(b"}"):
            cut = data.rindex(b"}", 0, begin) + 1
            if not guesses:
                yield cut
                depth = data.count(b"{", 0, cut) - data.count(b"}", 0, cut)
            else:
                depth -= data.count(b"{", cut, end) - data.count(b"}", cut, end)
                if depth == 0:
                    yield cut
            guesses += 1 if not guesses or depth == 0 else 0
            end = cut


class _Columns:
    """Collects detections part by part."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.images, self.categories = _Positions(), _Positions()
        self.parts: list[dict[str, NDArray[Any]]] = []
        self.named: list[list[str] | None] = []
        self.masks: list[Masks | int] = []
        self.polygons: list[Ragged] = []
        self.count = 0

    def add(self, results: list[_Result]) -> None:
        """Add detections, maybe none; raises FormatError for a number that cannot be."""
        n = len(results)
        pictures = _pictures(results)
        if None in pictures:
            raise FormatError(
                f"{self.location}: detection {self.count + pictures.index(None) + 1} has neither "
                "image_id nor file_name.",
                hint=EXAMPLE,
            )
        bbox = self._boxes(results)
        place = f"{self.location}: detection"
        score = checked_scores(
            np.fromiter([r.score for r in results], np.float64, n),
            lambda row: f"{place} {self.count + row + 1}",
        )
        votes = np.fromiter([r.votes for r in results], np.int64, n)
        agreement = np.fromiter([r.agreement for r in results], np.float64, n)
        for wrong, what in (
            (bbox[:, 2:] < 0, "has a negative width or height; a bbox is [x, y, w, h]"),
            (np.abs(bbox) > FURTHEST, "reaches further than any picture"),
            (~((agreement >= 0) & (agreement <= 1)), "has an agreement that is not within 0..1"),
        ):
            if wrong.any():
                row = int(np.flatnonzero(wrong.reshape(n, -1).any(axis=1))[0])
                raise FormatError(
                    f"{place} {self.count + row + 1} {what} (bbox {bbox[row].tolist()}, score "
                    f"{results[row].score!r})."
                )
        bbox[:, 2:] += bbox[:, :2]
        self.parts.append(
            {
                "image": self.images.of(pictures),
                "category": self.categories.of([r.category_id for r in results]),
                "xyxy": bbox.astype(np.float32),
                "score": score.astype(np.float32),
                "votes": votes.clip(0, np.iinfo(np.int16).max).astype(np.int16),
                "agreement": agreement.astype(np.float32),
            }
        )
        names = [r.detectors for r in results]
        if any(names):
            self.named += [None] * (self.count - len(self.named)) + names
        self.count += n

    def _boxes(self, results: list[_Result]) -> NDArray[np.float64]:
        """(n, 4) the bbox of each detection, or that of its segmentation, which is kept."""
        boxes: list[Any] = [r.bbox for r in results]
        missing = [row for row, box in enumerate(boxes) if box is None] if None in boxes else []
        found = Segmentations(None, Ragged.nothing(len(results)))
        texts = [r.segmentation for r in results]
        if any(texts):
            found = read_segmentations(list(map(bytes, texts)), self.count + 1, self.location)
        self.masks.append(len(results) if found.masks is None else found.masks)
        self.polygons.append(found.polygons)
        around = found.boxes() if missing else {}
        for row in missing:
            if row not in around:
                raise FormatError(
                    f"{self.location}: detection {self.count + row + 1} has neither bbox nor mask."
                )
            x1, y1, x2, y2 = around[row]
            boxes[row] = (x1, y1, x2 - x1, y2 - y1)
        numbers = chain.from_iterable(boxes)
        return np.fromiter(numbers, np.float64, 4 * len(boxes)).reshape(-1, 4)

    def results(self) -> Results:
        """All parts as one."""
        # One column after the other, each given up by its parts: it may be large.
        columns: dict[str, Any] = {
            name: np.concatenate([part.pop(name) for part in self.parts])
            for name in list(self.parts[0])
        }
        named = [*self.named, *([None] * (self.count - len(self.named)))]
        pictures = [one if isinstance(one, tuple) else ("", one) for one in self.images]
        return Results(
            **columns,
            detectors=named if self.named else None,
            image_ids=[name if name else _whole(known, self.location) for name, known in pictures],
            category_ids=[_whole(known, self.location) for known in self.categories],
            stated=[_whole(known, self.location) if name else None for name, known in pictures]
            if any(name for name, _ in pictures)
            else [],
            masks=Masks.concat(self.masks)
            if any(isinstance(part, Masks) for part in self.masks)
            else None,
            polygons=Ragged.concat(self.polygons)
            if any(len(part.values) for part in self.polygons)
            else None,
        )


def _pictures(results: list[_Result]) -> list[Any]:
    """What says which picture is meant: `image_id`, or where there is one `file_name` and it."""
    names = [r.file_name for r in results]
    if not any(names):
        return [r.image_id for r in results]
    return [(r.file_name, r.image_id) if r.file_name else r.image_id for r in results]


def _whole(known: Any, location: str) -> Any:
    """An id, where a float is a whole number."""
    found = whole(known)
    if isinstance(found, float):
        raise FormatError(
            f"{location}: the id {known} of a picture or category is no whole number."
        )
    return found


class _Positions(dict[Any, int]):
    """The position of each id, in order of sight."""

    def __missing__(self, value: Any) -> int:
        self[value] = position = len(self)
        return position

    def of(self, ids: list[Any]) -> NDArray[np.int32]:
        """(n,) the positions of ids, new or known."""
        return np.fromiter(map(self.__getitem__, ids), np.int32, len(ids))
