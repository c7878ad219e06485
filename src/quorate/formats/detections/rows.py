"""Detections as rows with named columns, and as one JSON file for each picture.

Rows are CSV, as OpenImages, supervision's CSVSink and people's pandas write it, or a JSON list, as
supervision's JSONSink does. One file for each picture is what mmdetection's DetInferencer writes,
`preds/NAME.json` with `labels`, `scores` and `bboxes` (corners), and `masks` as run lengths; and
what people save of Ultralytics' `to_json` and of the pipelines of transformers: a list of objects
with a `box` of named corners.
"""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.errors import FormatError
from quorate.formats.base import (
    Source,
    as_number,
    checked_scores,
    is_picture,
    plain_number,
    plain_text,
)
from quorate.formats.coco.json_faults import NO_JSON
from quorate.formats.coco.segmentations import RunLengths, masks_of
from quorate.formats.detections.columns import Results
from quorate.masks import Masks
from quorate.storage import read_bytes

PICTURE = ("filename", "imagepath", "imagename", "imgpath", "path", "image", "img", "imageid")
LABEL = ("classname", "labelname", "categoryname", "label", "category", "categoryid", "labelid")
CLASS = ("classid", "class")
"""Numbers in these columns are counted from 0, as frameworks number classes."""
SCORE = ("score", "confidence", "conf", "probability", "prob")
BOXES = {
    ("xmin", "ymin", "xmax", "ymax"): "corners",
    ("x1", "y1", "x2", "y2"): "corners",
    ("left", "top", "right", "bottom"): "corners",
    ("left", "top", "width", "height"): "size",
    ("bboxx", "bboxy", "bboxw", "bboxh"): "size",
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"): "size",
    ("bboxleft", "bboxtop", "bboxwidth", "bboxheight"): "size",
    ("cx", "cy", "w", "h"): "centre",
    ("cx", "cy", "width", "height"): "centre",
    ("xc", "yc", "w", "h"): "centre",
    ("xcenter", "ycenter", "w", "h"): "centre",
    ("xcenter", "ycenter", "width", "height"): "centre",
    ("centerx", "centery", "width", "height"): "centre",
    ("x", "y", "w", "h"): "either",
    ("x", "y", "width", "height"): "either",
}
"""Names of the four columns of a box, and what the first two are beside the others: opposite
corners, the corner of a size, its centre, or either of the last two."""
MOST_LOOKED_INTO = 20
"""Files of a folder whose beginnings tell what all of them are."""
SHOWN = "file_name, label, score, xmin, ymin, xmax, ymax"


class _Picture(msgspec.Struct):
    labels: list[int]
    scores: list[float]
    bboxes: list[list[float]]
    masks: list[RunLengths] | None = None


class _Boxed(msgspec.Struct):
    box: dict[str, float]
    label: str | None = None
    name: str | None = None
    score: float | None = None
    confidence: float | None = None


_BOXED = re.compile(rb'\s*\[\s*(?:\]\s*$|\{[^{}]*"box"\s*:\s*\{)')
"""How a file of `_Boxed` begins; [] is one of a picture without boxes."""
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_PICTURE = msgspec.json.Decoder(_Picture)
_BOXES = msgspec.json.Decoder(list[_Boxed])
_ROWS = msgspec.json.Decoder(list[dict[str, Any]])


def read_rows(location: str) -> Results:
    """The rows of a CSV or JSON file; columns are found by their names, whatever the case.

    Raises FormatError where a column is missing or a row has no number where one belongs.
    """
    data = read_bytes(location)
    if location.lower().endswith(".json"):
        try:
            rows = _ROWS.decode(data)
        except NO_JSON as error:
            raise FormatError(f"{location}: no list of rows ({error}).") from None
        columns = {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}
    else:
        text = plain_text(data, location)
        first = text.split("\n", 1)[0]
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
        try:
            header, *body = [line for line in lines if line] or [[]]
        except csv.Error as error:
            raise FormatError(f"{location}, line {lines.line_num}: not CSV ({error}).") from None
        wrong = next((i for i, line in enumerate(body, 2) if len(line) > len(header)), None)
        if wrong:
            raise FormatError(f"{location}, line {wrong}: more fields than the first line names.")
        columns = {
            name: [line[i] if i < len(line) else None for line in body]
            for i, name in enumerate(header)
        }
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise FormatError(f"{location}: two columns are called '{min(twice)}'.")
    return _results({_plain(name): column for name, column in columns.items()}, location)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _results(columns: Mapping[str, Sequence[Any]], location: str) -> Results:
    def column(names: Sequence[str]) -> str | None:
        return next((name for name in names if name in columns), None)

    picture, score = column(PICTURE), column(SCORE)
    label = column(LABEL) or column(CLASS)
    if label in CLASS:  # YOLOv5's tables and Roboflow's have the word beside the number
        words = (name for name in ("class", "name") if _are_words(columns.get(name, ())))
        label = next(words, label)
    box = next((names for names in BOXES if set(names) <= columns.keys()), None)
    if picture is None or label is None or box is None:
        missing = "the picture" if picture is None else "the label" if label is None else "the box"
        raise FormatError(
            f"{location}: no column tells {missing} ({', '.join(columns) or 'there is none'}).",
            hint=f"the first line names the columns, for example {SHOWN}",
        )
    image_ids: dict[Any, int] = {}
    category_ids: dict[Any, int] = {}
    image = [image_ids.setdefault(_id(value), len(image_ids)) for value in columns[picture]]
    category = [category_ids.setdefault(_id(value), len(category_ids)) for value in columns[label]]
    for ids, name in ((image_ids, picture), (category_ids, label)):
        if "" in ids:
            raise FormatError(f"{location}: a row without {name}.")
    xyxy = np.stack([_numbers(columns[name], name, location) for name in box], axis=1)
    form = BOXES[box]
    if form == "either" and "detectionid" in columns:
        form = "centre"  # Roboflow's predictions
    if form == "centre":
        xyxy[:, :2] -= xyxy[:, 2:] / 2
    if form != "corners":
        xyxy[:, 2:] += xyxy[:, :2]
    scores = _numbers(columns[score], score, location) if score else np.ones(len(image))
    return _checked(
        location,
        np.array(image, np.int32),
        np.array(category, np.int32),
        xyxy,
        scores,
        image_ids=list(image_ids),
        category_ids=list(category_ids),
        scored=score is not None,
        perhaps_centres=form == "either",
        from_zero=label in CLASS and all(isinstance(known, int) for known in category_ids),
    )


def _are_words(values: Sequence[Any]) -> bool:
    """Whether a column holds words that are neither numbers nor names of pictures."""
    words = {_id(value) for value in values}
    return bool(words) and not any(isinstance(w, int) or not w or is_picture(w) for w in words)


def _id(value: Any) -> int | str:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int):
        return value
    text = str(value or "").strip()
    number = as_number(text.removesuffix(".0"))  # pandas writes 42 as 42.0 beside empty cells
    return number if isinstance(number, int) else text


def _numbers(values: Sequence[Any], name: str, location: str) -> NDArray[np.float64]:
    found = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            found[row] = plain_number(value) if isinstance(value, str) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise FormatError(
                f"{location}: row {row + 1}: its {name} {str(value)[:30]!r} is no number."
            ) from None
    return found


def _checked(
    location: str,
    image: NDArray[np.int32],
    category: NDArray[np.int32],
    xyxy: NDArray[np.float64],
    scores: NDArray[np.float64],
    **more: Any,
) -> Results:
    """The columns, once their numbers are boxes and scores."""
    clipped = checked_scores(scores, lambda row: f"{location}: row {row + 1}")
    bad = ~np.isfinite(xyxy).all(axis=1) | (xyxy[:, 2:] < xyxy[:, :2]).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise FormatError(f"{location}: row {row + 1} is no box ({xyxy[row].tolist()}).")
    n = len(image)
    return Results(
        image=image,
        category=category,
        xyxy=xyxy.astype(np.float32),
        score=clipped.astype(np.float32),
        votes=np.ones(n, np.int16),
        agreement=np.ones(n, np.float32),
        detectors=None,
        **more,
    )


def boxed(start: bytes) -> bool:
    """Whether a list that begins so has objects with a `box` of corners, and names no picture."""
    return b'"image_id"' not in start and b'"box"' in start and bool(_BOXED.match(start))


def are_pictures(source: Source) -> bool:
    """Whether the JSON files of a source are one for each picture."""
    files = source.ending(".json")
    if not files:
        return False
    starts = [source.head(name).removeprefix(BOM_UTF8) for name in files[:MOST_LOOKED_INTO]]
    if any(b'"box"' in start for start in starts):
        return all(map(_BOXED.match, starts))
    start = starts[0][:64].lstrip()
    if start[:1] != b"{" or not any(b'"%s"' % key in start for key in (b"labels", b"bboxes")):
        return False
    try:
        return {"labels", "scores", "bboxes"} <= msgspec.json.decode(
            source.tree.read(files[0]), type=dict[str, msgspec.Raw]
        ).keys()
    except NO_JSON:
        return False


def read_pictures(source: Source) -> Results:
    """One JSON file for each picture, which is called like the file."""
    image: list[int] = []
    labels: list[int | str] = []
    scores: list[float] = []
    boxes: list[list[float]] = []
    masks: list[Masks | int] = []
    files = source.ending(".json")
    for number, name in enumerate(files):
        place = source.place(name)
        data = source.tree.read(name).removeprefix(BOM_UTF8)
        found = _boxes(data, place) if data.lstrip()[:1] == b"[" else _picture(data, place)
        image += [number] * len(found[0])
        labels += found[0]
        scores += found[1]
        boxes += found[2]
        masks.append(found[3])
    place_of = {known: i for i, known in enumerate(sorted(set(labels), key=_in_order))}
    stems = [name.rsplit("/", 1)[-1].removesuffix(".json") for name in files]
    return _checked(
        source.location,
        np.array(image, np.int32),
        np.array([place_of[known] for known in labels], np.int32),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
        image_ids=stems,
        category_ids=list(place_of),
        from_zero=all(isinstance(known, int) for known in place_of),
        masks=Masks.concat(masks) if any(isinstance(part, Masks) for part in masks) else None,
    )


def _in_order(known: int | str) -> tuple[bool, int | str]:
    return isinstance(known, str), known


_Found = tuple[list[int | str], list[float], list[list[float]], Masks | int]
"""Labels, scores, corners, and masks or how many there would be."""


def _picture(data: bytes, place: str) -> _Found:
    """A file of mmdetection."""
    try:
        found = _PICTURE.decode(data)
    except NO_JSON as error:
        raise FormatError(f"{place}: not the detections of a picture ({error}).") from None
    n = len(found.labels)
    lengths = {len(found.scores), len(found.bboxes), len(found.masks or found.labels)}
    if lengths != {n} or any(len(box) != 4 for box in found.bboxes):
        raise FormatError(f"{place}: not a score and four corners for each of its {n} labels.")
    masks: Masks | int = n
    if found.masks:
        runs = dict(enumerate(found.masks))
        masks = masks_of(runs, n, lambda row: f"{place}: mask {row + 1}")
    return [*found.labels], found.scores, found.bboxes, masks


def _boxes(data: bytes, place: str) -> _Found:
    """A list of objects with a `box`."""
    try:
        rows = _BOXES.decode(data)
    except NO_JSON as error:
        raise FormatError(f"{place}: not the detections of a picture ({error}).") from None
    labels: list[int | str] = []
    scores, corners = [], []
    for number, one in enumerate(rows, 1):
        names = next((names for names in _CORNERS if set(names) == one.box.keys()), None)
        label = one.name if one.label is None else one.label
        score = one.confidence if one.score is None else one.score
        if names is None or label is None or score is None:
            raise FormatError(
                f"{place}: detection {number} has no corners, label and score.",
                hint='for example {"label": "car", "score": 0.9, "box": {"xmin": 1, "ymin": 2, '
                '"xmax": 3, "ymax": 4}}; boxes that are turned, of eight numbers, are not read',
            )
        labels.append(label)
        scores.append(score)
        corners.append([one.box[name] for name in names])
    return labels, scores, corners, len(rows)
