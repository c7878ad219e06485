"""MOT 1.1: boxes by the number of their frame, as the Multiple Object Tracking benchmark has them.

    gt/gt.txt      frame, track, left, top, width, height, counts, class, visibility
    gt/labels.txt  a label in each line, which CVAT adds; without it, MOT's own twelve classes
    img1/…         the frames; 000001.jpg is frame 1
    seqinfo.ini    names the frames' folder, their number, ending and size

Several sequences lie in folders of their own. The format has no names of pictures. A picture whose
name is a number is that frame; any other is the frame of its place among the names in order, as
CVAT and datumaro number them when they write.

Sources: motchallenge.net/instructions; arXiv:1906.04567; datumaro's `mot.py`, by which CVAT writes.
Coordinates are taken as they stand, as both take them: the benchmark itself counts from 1.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations
from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError
from quorate.formats.base import (
    Source,
    Written,
    open_target,
    side,
    without_ending,
)
from quorate.formats.shapes import lost_attributes, scattered, upright
from quorate.labels import Labels
from quorate.storage import PICTURES, join

CLASSES = (
    "pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle",
    "static person", "distractor", "occluder", "occluder on the ground", "occluder full",
    "reflection",
)  # fmt: skip
"""MOT's own, from 1."""
COLUMNS = (7, 10)
"""The least and the most numbers of a line. Of ten, the last three are a place in the world."""
MOST_FRAMES = 10_000_000
_TRUTH = re.compile(r"^(?:.+/)?gt/gt\.txt$")
_LINE = re.compile(r"\s*(\d[\d.]*\s*,\s*-?\d|$)")
_NONE = -1


def recognise(source: Source) -> bool:
    """Whether there is a `gt/gt.txt` of numbers with commas between them."""
    files = _files(source)
    return bool(files) and _LINE.match(source.begins(files[0])) is not None


def _files(source: Source) -> list[str]:
    return [name for name in source.names if _TRUTH.match(name)]


class _Sequence(NamedTuple):
    """One sequence.

    folder  with '/' at its end, or ''
    frames  the folder of its pictures, '' for the source's own
    length  frames that `seqinfo.ini` counts; size and ending are its too
    """

    folder: str
    frames: str
    length: int
    size: tuple[int, int]
    ending: str


def read(source: Source) -> Dataset:
    """Every frame that there is a picture of, that has a box, or that `seqinfo.ini` counts.

    A box that does not count (the seventh number is 0) is a crowd, as COCO calls what evaluation
    passes over; seventh numbers between 0 and 1 are scores. `track_id` and `visibility` are
    attributes; what is not visible at all is occluded. Sizes are those of `seqinfo.ini`, else
    unknown. Of several sequences, the first folder is the subset.

    Raises:
        FormatError: a line has no 7 to 10 numbers, a number is none, a frame or class does not
            exist, or two pictures are the same frame.
    """
    images: list[Image] = []
    notes: list[str] = []
    tables: list[NDArray[np.float64]] = []
    files = _files(source)
    sequences = [_sequence(source, name) for name in files]
    alone = len(sequences) == 1
    labels, named = _labels(source, files)
    for name, sequence, known in zip(files, sequences, named, strict=True):
        table = _table(source, name)
        names, numbers, told = _frames(source, sequence, table)
        first = len(images) + 1
        subset, _, inner = ("", "", "") if alone else sequence.folder.partition("/")
        cut = len(sequence.frames) + 1 if sequence.frames else 0
        for number, file_name in enumerate(names, start=first):
            images.append(
                Image(
                    number,
                    file_name[cut:] if alone else file_name,
                    *sequence.size,
                    subset=subset,
                    published_as="" if alone else f"{inner}{file_name[cut:]}",
                )
            )
        table[:, 0] = first + np.searchsorted(numbers, table[:, 0].astype(np.int64))
        table[:, 7], more = _categories(table, known, labels, source.place(name))
        notes += [*told, *more]
        tables.append(table[table[:, 7] != _NONE])
    return Dataset(
        root=join(source.location, sequences[0].frames) if alone else source.location,
        images=tuple(images),
        labels=labels,
        annotations=_shapes(np.concatenate(tables)),
        notes=tuple(notes),
    )


def _table(source: Source, name: str) -> NDArray[np.float64]:
    """(n, 9) numbers of a file, NaN for a class that is not told, 1 for such a visibility."""
    place = source.place(name)
    lines = [line for line in source.text(name).splitlines() if line.strip()]
    if not lines:
        return np.empty((0, 9))
    try:
        found = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise FormatError(f"{place}: {_wrong(lines, error)}.") from None
    width = found.shape[1]
    if not COLUMNS[0] <= width <= COLUMNS[1]:
        raise FormatError(
            f"{place}: its lines have {width} numbers.",
            hint="MOT has frame, track, left, top, width, height, counts, class, visibility",
        )
    if not np.isfinite(found[:, :7]).all():
        line = int(np.argmin(np.isfinite(found[:, :7]).all(axis=1))) + 1
        raise FormatError(f"{place}, line {line}: a number that is NaN or infinite.")
    frames = found[:, 0]
    odd = (frames % 1 != 0) | (frames < 0) | (frames > MOST_FRAMES)
    if odd.any():
        line = int(np.argmax(odd)) + 1
        raise FormatError(f"{place}, line {line}: a frame numbered {frames[line - 1]:g}.")
    table = np.empty((len(found), 9))
    table[:, :7] = found[:, :7]
    world = width == COLUMNS[1]
    table[:, 7] = np.nan if width < 8 or world else found[:, 7]
    table[:, 8] = 1.0 if width < 9 or world else found[:, 8]
    return table


def _wrong(lines: Sequence[str], error: ValueError) -> str:
    """Which line cannot be read, and why."""
    width = lines[0].count(",")
    for number, line in enumerate(lines, start=1):
        if line.count(",") != width:
            return f"line {number} has {line.count(',') + 1} numbers, the first {width + 1}"
        try:
            np.loadtxt([line], delimiter=",", comments=None)
        except ValueError:
            return f"line {number} is not numbers with commas between them ({line[:60]!r})"
    return str(error)


def _frames(
    source: Source, sequence: _Sequence, table: NDArray[np.float64]
) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """The pictures of a sequence by rising frame, below the source; their frames; and notes."""
    elsewhere = source.pictures is not None
    folder = f"{sequence.frames}/" if sequence.frames and not elsewhere else ""
    start = sequence.folder if elsewhere else folder
    there = [name for name in source.frames if name.startswith(start)]
    wanted = np.unique(table[:, 0].astype(np.int64))
    called = [name[len(folder) :] for name in there]
    names = dict(zip(frame_numbers(called, source.location), there, strict=True))
    counted = {*names, *wanted.tolist()} | set(range(1, 1 + (0 if there else sequence.length)))
    numbers = np.array(sorted(counted), np.int64)
    missing = [number for number in numbers.tolist() if number not in names]
    notes = []
    if not there and missing:
        notes.append(
            f"{source.location}: MOT has no names of pictures, and no pictures are there; "
            f"{len(missing):,} frames are called {missing[0]:06d}{sequence.ending} and so on."
        )
    elif any(_number(name) is None for name in called):
        if missing:
            raise FormatError(
                f"{source.location}: there is a box of frame {missing[-1]}, but there are "
                f"{len(there)} pictures in '{folder}'.",
                hint="give all pictures of the task, or export it as 'CVAT for images 1.1'",
            )
        notes.append(
            f"{source.location}: MOT has no names of pictures; frames are counted along the "
            f"pictures in order of their names, the first is '{called[0]}'"
            + (
                "."
                if source.pictures is None
                else f": these {len(called):,} have to be the task's."
            )
        )
    elif missing:
        notes.append(
            f"{source.location}: {len(missing)} of {len(numbers)} pictures are not there, the "
            f"first that of frame {missing[0]}."
        )
    found = [names.get(n) or f"{folder}{n:06d}{sequence.ending}" for n in numbers.tolist()]
    return found, numbers, notes


def frame_numbers(names: Sequence[str], origin: str) -> list[int]:
    """The frame that each picture is, by its name or else by its place among all in order.

    Names are in order of their code points. FormatError where two are the same frame.
    """
    found: dict[int, str] = {}
    for place, name in enumerate(names, start=1):
        number = _number(name)
        other = found.setdefault(place if number is None else number, name)
        if other is not name:
            raise FormatError(
                f"{origin}: the pictures '{other}' and '{name}' are both frame "
                f"{place if number is None else number}.",
                hint="MOT tells pictures by number alone: name all by numbers, or none",
            )
    return list(found)


def _number(name: str) -> int | None:
    stem = without_ending(name)
    return int(stem) if stem.isascii() and stem.isdecimal() and int(stem) <= MOST_FRAMES else None


def _sequence(source: Source, name: str) -> _Sequence:
    folder = name.removesuffix("gt/gt.txt")
    frames, length, ending, size = "img1", 0, PICTURES[0], (0, 0)
    info = f"{folder}seqinfo.ini"
    if info in source.names:
        place = source.place(info)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(source.text(info))
            told = parser["Sequence"] if parser.has_section("Sequence") else parser["DEFAULT"]
            length = side(told.get("seqLength"), place)
            size = side(told.get("imWidth"), place), side(told.get("imHeight"), place)
        except configparser.Error as error:
            said = " ".join(str(error).split())[:120]
            raise FormatError(f"{place}: not an INI file ({said}).") from None
        if length > MOST_FRAMES:
            raise FormatError(f"{place}: a sequence of {length:,} frames.")
        frames = told.get("imDir", frames).strip("/ ")
        ending = told.get("imExt", ending).strip()
        ending = ending if ending.lower() in PICTURES else PICTURES[0]
    frames = f"{folder}{frames}"
    there = any(one.startswith(f"{frames}/") for one in source.names)
    return _Sequence(folder, frames if there else folder.rstrip("/"), length, size, ending)


def _labels(source: Source, files: Iterable[str]) -> tuple[Labels, list[list[str]]]:
    """The vocabulary, and the names that each file numbers from 1; none for MOT's own."""
    named = []
    for name in files:
        beside = f"{name.removesuffix('gt.txt')}labels.txt"
        lines = source.text(beside).rstrip().splitlines() if beside in source.names else []
        if "" in (lines := [line.strip() for line in lines]):
            raise FormatError(
                f"{source.place(beside)}, line {lines.index('') + 1}: a label without a name."
            )
        named.append(lines)
    every = dict.fromkeys(label for lines in named for label in lines or CLASSES)
    return Labels.from_names(every), named


def _categories(
    table: NDArray[np.float64], known: list[str], labels: Labels, place: str
) -> tuple[NDArray[np.int64], list[str]]:
    """(n,) category ids, -1 for a box that has none; and notes."""
    classes = table[:, 7]
    names = known or list(CLASSES)
    untold = np.isnan(classes) | (classes == _NONE)
    wrong = ~untold & ~((classes >= 1) & (classes <= len(names)) & (classes % 1 == 0))
    if wrong.any():
        line = int(np.argmax(wrong))
        raise FormatError(
            f"{place}, line {line + 1}: class {classes[line]:g}, of {len(names)} that there are.",
            hint="gt/labels.txt has a label in each line, the first of class 1",
        )
    ids = np.array([labels.id_of(name) for name in names], np.int64)
    found = np.full(len(table), _NONE, np.int64)
    found[~untold] = ids[classes[~untold].astype(np.int64) - 1]
    notes = []
    if count := int(untold.sum()):
        if known and len(known) > 1:
            notes.append(f"{place}: {count:,} boxes without a class are left out.")
        else:
            found[untold] = labels.id_of(names[0])
            notes.append(f"{place}: {count:,} boxes without a class are taken for '{names[0]}'.")
    return found, notes


def _shapes(table: NDArray[np.float64]) -> Annotations:
    """The shapes of (n, 9) numbers: the first is the id of a picture, the eighth of a category."""
    counts, visibility, track = table[:, 6], table[:, 8], table[:, 1]
    scored = bool(((counts > 0) & (counts < 1)).any())
    partly = np.flatnonzero((visibility > 0) & (visibility < 1))
    tracked = np.flatnonzero(track > 0)
    attributes: dict[str, NDArray[Any]] = {}
    if len(tracked):
        ids = track[tracked].astype(np.int64).tolist()
        attributes["track_id"] = scattered(len(table), tracked, ids)
    if len(partly):
        attributes["visibility"] = scattered(len(table), partly, visibility[partly].tolist())
    if scored:
        attributes["score"] = counts
    return Annotations.build(
        image_id=table[:, 0].astype(np.int64),
        category_id=table[:, 7].astype(np.int32),
        xyxy=np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1),
        occluded=visibility <= 0,
        iscrowd=(counts == 0) & (not scored),
        sources=("file",),
        attributes=attributes,
    )


def write(
    dataset: Dataset,
    annotations: Annotations,
    target: str,
    *,
    decimals: int = 2,
) -> Written:
    """Write `gt/gt.txt` and `gt/labels.txt`; of several subsets, each below its own folder.

    The pictures belong under `img1/` there; they are not copied. They are told by number alone: by
    their names where these are numbers, else by their place among the names in order. Every shape
    with an area becomes its enclosing upright box; the rest is left out and counted. Kept are the
    attributes `track_id` and `visibility`, `occluded` as a visibility of 0, and crowds as boxes
    that do not count.

    Raises InputError for two pictures that are the same frame, and for labels of several lines.
    """
    for label in dataset.labels.names:
        if len(label.splitlines()) > 1 or label != label.strip():
            raise InputError(f"MOT has a label in each line, and cannot hold {label!r}.")
    by_name = attrgetter("name")
    boxes, notes = upright(annotations, "MOT")
    notes += lost_attributes(boxes, "MOT", {"track_id", "visibility"})
    subsets = list(dict.fromkeys(image.subset for image in dataset.images))
    classes = dataset.labels.places(boxes.category_id) + 1
    track, visibility = boxes.numbers("track_id"), boxes.numbers("visibility")
    track = np.where(track > 0, track, _NONE)
    hidden = np.where(boxes.occluded, 0.0, 1.0)
    visibility = np.where((visibility >= 0) & (visibility <= 1), visibility, hidden)
    xy, size = boxes.xyxy[:, :2], boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    numbers = np.round(np.concatenate([xy, size], axis=1), decimals)
    with open_target(target) as out:
        for subset in subsets:
            images = sorted((i for i in dataset.images if i.subset == subset), key=by_name)
            try:
                frames = frame_numbers([image.name for image in images], "MOT")
            except FormatError as error:
                raise InputError(error.message, hint=error.hint) from None
            if frames != list(range(1, len(frames) + 1)):
                notes.append(
                    f"MOT: frames are numbered by their names, from {frames[0]} to {frames[-1]}; "
                    "CVAT's import takes frame n for the n-th picture of a task."
                )
            place = positions_in([image.id for image in images], boxes.image_id)
            rows = np.flatnonzero(place >= 0)
            rows = rows[np.lexsort((rows, np.array(frames, np.int64)[place[rows]]))]
            lines = [
                f"{frames[place[row]]},{track[row]:.0f},{','.join(map(str, box))},"
                f"{int(not boxes.iscrowd[row])},{classes[row]},{visibility[row]:g}\n"
                for row, box in zip(rows.tolist(), numbers[rows].tolist(), strict=True)
            ]
            folder = f"{subset}/" if len(subsets) > 1 and subset else ""
            out.put(f"{folder}gt/gt.txt", "".join(lines).encode())
            out.put(f"{folder}gt/labels.txt", "\n".join(dataset.labels.names).encode())
    if [i.id for i in sorted(dataset.images, key=by_name)] != [i.id for i in dataset.images]:
        notes.append("MOT: frames are numbered in order of the pictures' names.")
    return Written(files=out.files, notes=notes)
