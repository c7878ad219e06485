"""Lines of YOLO text: boxes, polygons, or boxes with keypoints, relative to the picture's size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.errors import FormatError, LabelError
from quorate.formats.base import checked_scores, plain_number, plain_text
from quorate.labels import Labels

Floats = NDArray[np.float64]
FURTHEST = 4.0
"""How far from the picture a box may be, in its sides; pixels are further."""
BESIDE = 0.5
"""Likewise the corner of a polygon: a keypoint's visibility of 2 is further."""
PEOPLES = 17
"""How many keypoints people have in COCO and in the models that learnt from it."""
HAIR = 0.01
"""How far a box may leave the picture by rounding alone, in its sides."""
MANY = 0.2
"""The share of lines that leave their pictures from which on another order of numbers is tried."""
ASK = (
    "write kpt_shape: [17, 3] into data.yaml, which is how many keypoints, and whether each has 2 "
    "numbers or 3; or kpt_shape: [0, 0] where these are polygons"
)


class _Block(NamedTuple):
    """Following lines of one file that have as many numbers: (k, width), the class first."""

    place: str
    image_id: int
    size: tuple[int, int]
    values: Floats


class Lines:
    """Gathers the lines of label files; `built` makes the columns.

    A line is `class cx cy w h`, then a detector's score or the number of a track (whole numbers in
    all lines, as CVAT writes them), or both; or
    `class x y x y x y …`, a polygon, with its score last where the numbers are odd. With
    `keypoints`, data.yaml's `kpt_shape`, it is a box with them, which are left out. Without it,
    where lines look like such boxes, it is asked for.

    notes  what was left out, once `built` has been called
    """

    def __init__(self, labels: Labels, keypoints: tuple[int, int] | None = None) -> None:
        self.notes: list[str] = []
        self._labels = labels
        self._keypoints = keypoints
        self._blocks: list[_Block] = []

    def add(self, image_id: int, data: bytes, place: str, size: tuple[int, int]) -> None:
        """The lines of one file, of a picture of (width, height).

        Raises FormatError or LabelError, with the line, for one that is no box or polygon.
        """
        text = plain_text(data, place)
        lines = [
            (at, words) for at, line in enumerate(text.splitlines(), 1) if (words := line.split())
        ]
        plain = text.isascii() and "_" not in text
        for width, group in groupby(lines, key=lambda line: len(line[1])):
            places, rows = zip(*group, strict=True)
            try:
                values = [*map(float if plain else plain_number, chain.from_iterable(rows))]
            except ValueError:
                raise _no_numbers(place, lines) from None
            block = np.array(values).reshape(-1, width)
            self._check(block, place, places)
            self._blocks.append(_Block(place, image_id, size, block))

    def _check(self, block: Floats, place: str, lines: Sequence[int]) -> None:
        width = block.shape[1]
        if width < 5:
            raise FormatError(
                f"{place}, line {lines[0]}: {width} numbers, not `class cx cy w h [confidence]`."
            )
        label, far = block[:, 0], np.abs(block[:, 1:5]) > FURTHEST
        wrong = ~((label >= 0) & (label < len(self._labels)) & (label == np.floor(label)))
        if wrong.any():
            row = int(np.argmax(wrong))
            said = f"{place}, line {lines[row]}: class {label[row]:.10g}"
            if label[row] != np.floor(label[row]):
                raise FormatError(f"{said} is no whole number.")
            raise LabelError(
                f"{said} of {len(self._labels)} ({', '.join(self._labels.names[:100])})."
            )
        odd = far.any(axis=1) | ~np.isfinite(block).all(axis=1)
        if odd.any():
            row = int(np.argmax(odd))
            shown = " ".join(f"{value:g}" for value in block[row].tolist())
            raise FormatError(
                f"{place}, line {lines[row]}: not relative to the picture's size ('{shown[:60]}').",
                hint="YOLO's coordinates are from 0 to 1; these look like pixels",
            )
        if width == 6 and not _whole(block[:, 5]):
            block[:, 5] = checked_scores(
                block[:, 5], lambda row: f"{place}, line {lines[row]}: the box"
            )

    def built(self) -> Annotations:
        """The shapes of all lines, in their order.

        Raises FormatError where keypoints cannot be told from polygons, or lines do not have the
        numbers that `keypoints` say.
        """
        if not self._blocks:
            return Annotations.empty()
        tracks = self._sixth_is_a_track()
        if not tracks:
            self._put_scores_last()
        counts = [len(block.values) for block in self._blocks]
        n = sum(counts)
        size = np.repeat([block.size for block in self._blocks], counts, axis=0)
        first = np.concatenate([block.values[:, :5] for block in self._blocks])
        half = first[:, 3:] / 2
        xyxy = np.concatenate([first[:, 1:3] - half, first[:, 1:3] + half], axis=1)
        xyxy *= np.tile(size, 2)
        kind = np.full(n, Kind.BOX, np.int8)
        score = np.full(n, np.nan)
        points: list[Floats] = [np.empty(0)] * n
        extra = self._box_widths() | ({6: 0} if tracks else {})
        start = 0
        for block, count in zip(self._blocks, counts, strict=True):
            values, rows = block.values, slice(start, start + count)
            width = values.shape[1]
            start += count
            if width in extra:
                if extra[width]:
                    score[rows] = values[:, extra[width]]
                continue
            if self._keypoints and any(self._keypoints):
                raise FormatError(
                    f"{block.place}: a line of {width} numbers, where kpt_shape "
                    f"{list(self._keypoints)} asks for {max(extra) - 1}, and one more for a score."
                )
            if width % 2 == 0:
                score[rows] = values[:, -1]
            kind[rows] = Kind.POLYGON
            rings = values[:, 1 : width - 1 + width % 2].reshape(count, -1, 2) * block.size
            xyxy[rows] = np.concatenate([rings.min(axis=1), rings.max(axis=1)], axis=1)
            points[rows] = list(rings.reshape(count, -1))
        position = first[:, 0].astype(np.int64)
        return Annotations.build(
            image_id=np.repeat([block.image_id for block in self._blocks], counts),
            category_id=np.array(self._labels.ids, np.int32)[position],
            xyxy=xyxy,
            kind=kind,
            points=Ragged.of(points) if kind.any() else None,
            sources=("file",),
            attributes={} if np.isnan(score).all() else {"score": score},
        )

    def _sixth_is_a_track(self) -> bool:
        """Whether the sixth number of each line of six is the number of a track, and not a score.

        A track is once in a picture.

        Raises FormatError for scores beyond 1, where others show that they are scores.
        """
        blocks = [block for block in self._blocks if block.values.shape[1] == 6]
        if not blocks:
            return False
        numbers = np.concatenate([block.values[:, 5] for block in blocks])
        apart = all(len(set(block.values[:, 5].tolist())) == len(block.values) for block in blocks)
        if apart and _whole(numbers) and (numbers.max() > 1 or numbers.min() == 0):
            self._tell(len(numbers), "lines have the number of a track, which is left out")
            return True
        for block in blocks:
            checked_scores(block.values[:, 5], lambda row, at=block.place: f"{at}: a box")  # type: ignore[misc]
        return False

    def _put_scores_last(self) -> None:
        """Turn lines of `class score cx cy w h` into ours, where ours would leave the pictures.

        Detectors cut their boxes off at the picture, so that both orders hardly ever fit.
        """
        blocks = [block.values for block in self._blocks if block.values.shape[1] == 6]
        if not blocks:
            return
        values = np.concatenate(blocks)
        ours, theirs = (int(_outside(values[:, at : at + 4]).sum()) for at in (1, 2))
        if theirs or not ours or ours < MANY * len(values):
            return
        for block in blocks:
            block[:, 1:] = block[:, [2, 3, 4, 5, 1]]
        self.notes.append(
            f"{len(values):,} lines are read as `class score cx cy w h`: with the score last, "
            f"{ours:,} boxes would leave their pictures."
        )

    def _box_widths(self) -> dict[int, int]:
        """How many numbers a line of a box may have -> the place of its score, 0 for none."""
        widths = {5: 0, 6: 5}
        of: dict[int, list[Floats]] = {}
        for block in self._blocks:
            of.setdefault(block.values.shape[1], []).append(block.values)
        if self._keypoints is not None:
            length = self._keypoints[0] * self._keypoints[1]
            if length:
                widths |= {5 + length: 0, 6 + length: 5 + length}
                lines = sum(len(v) for w in (5 + length, 6 + length) for v in of.get(w, ()))
                self._tell(lines, "lines have keypoints, which are left out")
            return widths
        long = {width: np.concatenate(blocks) for width, blocks in of.items() if width > 6}
        if set(long) == {7} and _are_tracks(long[7]):
            self._tell(len(long[7]), "lines have the number of a track, which is left out")
            return widths | {7: 5}
        for width, values in long.items():
            numbers = values[:, 1:]
            beside = (np.abs(numbers - 0.5) > 0.5 + BESIDE).any()
            if beside or (len(long) == 1 and _are_keypoints(numbers)):
                place = next(b.place for b in self._blocks if b.values.shape[1] == width)
                raise FormatError(
                    f"{place}: lines of {width} numbers, which may be polygons or boxes with "
                    "keypoints.",
                    hint=ASK,
                )
        return widths

    def _tell(self, lines: int, what: str) -> None:
        if lines:
            self.notes.append(f"{lines:,} {what}.")


def _whole(values: Floats) -> bool:
    return bool(((values % 1 == 0) & (values >= 0) & (values < 1 << 31)).all())


def _outside(boxes: Floats) -> NDArray[np.bool_]:
    """Which boxes (k, 4), centre and size, leave the picture by more than a hair."""
    reach: Floats = (np.abs(boxes[:, :2] - 0.5) + boxes[:, 2:] / 2).max(axis=1)
    return reach > 0.5 + HAIR


def _no_numbers(place: str, lines: Sequence[tuple[int, Sequence[str]]]) -> FormatError:
    """The error for the first of the lines that is not all numbers."""
    for at, words in lines:
        try:
            list(map(plain_number, words))
        except ValueError:
            return FormatError(
                f"{place}, line {at}: not numbers ('{' '.join(words)[:60]}').",
                hint="a line is `class cx cy w h`, numbers with spaces between them",
            )
    raise AssertionError(place)  # one of them is bad


def _are_tracks(values: Floats) -> bool:
    """Whether lines of six numbers are a box, its score and the number of its track, no triangle.

    Ultralytics writes so while it tracks.
    """
    score, track = values[:, 5], values[:, 6]
    return _whole(track) and bool(
        ((score >= 0) & (score <= 1)).all() and (track.max() > 1 or len(track) > 2)
    )


def _are_keypoints(numbers: Floats) -> bool:
    """Whether the numbers of all lines look like a box and points that lie in it and fill it.

    The corners of a polygon, taken so, do not: its first two would be the box.
    """
    lines, length = numbers.shape
    centre, side = numbers[:, None, :2], np.maximum(numbers[:, None, 2:4], 1e-9)
    for each in (3, 2):
        for last in (0, 1):  # a score behind them
            count, rest = divmod(length - 4 - last, each)
            if rest or count < 2 or (each == 2 and length in (8, 9)):
                continue  # eight numbers are the corners of a turned box
            points = numbers[:, 4 : 4 + count * each].reshape(lines, count, each)
            seen = (points[..., :2] != 0).any(axis=2)
            if each == 3:
                seen &= points[..., 2] > 0
            visible = points[..., 2:]
            sure = visible.size > 0 and bool(np.isin(visible, (0, 1, 2)).all())
            offset = np.where(seen[..., None], (points[..., :2] - centre) / side, 0.0)
            spread = (offset.max(axis=1) - offset.min(axis=1)).max(axis=1)
            inside = (np.abs(offset) <= 0.55).all()
            sure |= each == 3 and count == PEOPLES
            if inside and np.median(spread) > 0.3 and (sure or lines > 2):
                return True
    return False
