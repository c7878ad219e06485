"""Read CVAT XML as a stream: neither its text nor a tree of elements is held.

The parser knows no entities but XML's own: a DOCTYPE is refused, so that no file can make it
expand or fetch anything. Shapes are gathered as the parser meets them, and converted to columns
many at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import msgspec
import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image, LabelInfo
from quorate.errors import FormatError, LabelError
from quorate.formats.base import Source, plain_number
from quorate.formats.cvat.meta import read_meta
from quorate.formats.cvat.tracks import Tracks, pictures_of
from quorate.formats.places import placed
from quorate.formats.shapes import scattered, with_scores
from quorate.labels import Labels
from quorate.masks.shapes import MOST_PIXELS, fits

CHUNK = 1 << 18
SHAPES_AT_ONCE = 1 << 14
DEEPEST_META = 16
MOST_SOURCES = 100
LIMIT = 1 << 31
"""Numbers must be nearer to 0: they are kept in 32 bits."""
KINDS = {kind.name.lower(): int(kind) for kind in Kind}
LEFT_OUT = ("cuboid", "skeleton")
_OF_A_TRACK = ("label", "source", "group_id")
_FLAGS = dict.fromkeys(("1", "True", "true"), True)
_FLAGS |= dict.fromkeys(("0", "False", "false", ""), False)


def recognise(source: Source) -> bool:
    """Whether there is an XML file whose root is `<annotations>`."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    near = [name for name in source.ending(".xml") if source.single or "/" not in name]
    return [name for name in near if "<annotations" in source.begins(name)]


def read(source: Source) -> Dataset:
    """Every CVAT XML file at a place, as one data set (CVAT too loads each XML of an archive).

    Pictures are numbered from 1 in the file's order. `Image.source_id` is CVAT's frame number
    where the file is the only one and CVAT's export of one task or job: its `<meta>` then has the
    task's or job's `<id>`, which no other program writes. Any other `<image id>` is dropped, for
    it need not be a frame.

    Category ids are the labels' places in `<meta>`, from 1, as in CVAT's own COCO export; without
    `<meta>`, labels stand in order of sight. Attributes stay text. `confidence`, as Quorate writes
    a score, becomes the attribute `score` where all its values are within 0..1 and no shape has an
    attribute `score` itself. Cuboids and skeletons are left out and counted. Tracks ("CVAT for
    video") are refused, and so is a number that is not finite or does not fit 32 bits.
    """
    files = _files(source)
    if not files:
        raise FormatError(f"{source.location}: no CVAT XML file (its root is `<annotations>`).")
    content = _Content(source.frames)
    for name in files:
        with source.tree.open(name) as file:
            _Reader(source.place(name), content).read(file)
    notes = [f"{source.location}: {note}" for note in content.notes]
    notes += [
        f"{source.location}: {count} {what}."
        for what, count in sorted(content.left_out.items())
        if count
    ]
    images, info = content.images, content.info
    if len(files) > 1 or not any(info.get(top, {}).get("id") for top in ("task", "job")):
        images = [msgspec.structs.replace(image, source_id=None) for image in images]
    shapes = Annotations.concat(content.parts)
    return placed(
        source,
        images,
        labels=Labels.from_names(content.labels),
        annotations=shapes if "score" in shapes.attributes else with_scores(shapes),
        name=next((name for name in content.names if name), ""),
        label_info=content.labels,
        info=info,
        notes=notes,
    )


@dataclass
class _Content:
    """What has been read so far, of all files of a place."""

    pictures: tuple[str, ...]
    images: list[Image] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: dict[str, LabelInfo] = field(default_factory=dict)
    parts: list[Annotations] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)


class _Reader:
    """One file, element by element; what it has goes to the content.

    Depth 1 is `<annotations>`, 2 `<meta>`, `<image>` or `<track>`, 3 a shape, 4 its `<attribute>`.
    """

    def __init__(self, place: str, content: _Content) -> None:
        self._place = place
        self._content = content
        self._numbers = {name: i for i, name in enumerate(content.labels, start=1)}
        self._declared = False
        self._meta: TreeBuilder | None = None  # while in <meta>
        self._depth = 0
        self._picture = 0  # the number of the picture around, 0 outside
        self._tracks = Tracks()
        self._track: dict[str, str] | None = None  # the attributes of the track around
        self._track_count = 0
        self._task: str | None = None
        self._about: dict[str, Any] = {}
        self._size = (0, 0)
        self._in_shape = False
        self._text = ""
        self._attribute: tuple[list[int], list[str]] | None = None
        known: dict[str, str] = {}
        self._same = known.setdefault  # equal texts are one object
        self._listener = self._characters  # only while text counts: white space costs time
        self._begin()
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        self._expat = parser

    def _begin(self) -> None:
        """Forget the shapes; each has one entry in each list, until `_convert` is called."""
        self._kinds: list[int] = []
        self._values: list[dict[str, str]] = []
        self._owners: list[int] = []
        self._lines: list[int] = []
        self._attributes: dict[str, tuple[list[int], list[str]]] = {}

    def read(self, file: BinaryIO) -> None:
        """Read a whole file; FormatError, with the line, for what is wrong in it."""
        try:
            while chunk := file.read(CHUNK):
                self._expat.Parse(chunk, False)
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            cut = " (the file is truncated?)" if error.code in _ENDS else ""
            raise FormatError(f"{self._place}, line {error.lineno}: {why}{cut}.") from None
        except (ValueError, LookupError) as error:  # an encoding that is unknown, or not kept to
            raise self._fault(str(error)) from None
        self._convert()
        if self._track_count:
            self._tell_tracks()

    def _fault(self, what: str, row: int | None = None) -> FormatError:
        """An error in the shape of a row, or in what is being parsed."""
        line, picture = self._expat.CurrentLineNumber, self._picture
        if row is not None:
            line, picture = self._lines[row], self._owners[row]
            what = f"a <{Kind(self._kinds[row]).name.lower()}> {what}"
        where = f", picture '{self._content.images[picture - 1].name}'" if picture else ""
        return FormatError(f"{self._place}, line {line}{where}: {what}.")

    def _doctype(self, *_: Any) -> None:
        raise self._fault("a DOCTYPE, which CVAT never writes and which may hide a bomb")

    def _start(self, tag: str, values: dict[str, str]) -> None:
        self._depth = depth = self._depth + 1
        if self._in_shape:
            if tag == "attribute" and depth == 4:
                name = values.get("name")
                if name is None:
                    self._content.left_out["attributes without a name are left out"] += 1
                    return
                found = self._attributes.get(name)
                if found is None:
                    found = self._attributes[name] = ([], [])
                self._attribute = found
                self._text = ""
                self._expat.CharacterDataHandler = self._listener
        elif self._meta is not None:
            self._start_meta(tag, self._meta)
        elif depth == 3:
            if self._picture:
                self._start_shape(tag, values)
            elif self._track is not None:
                self._start_tracked(tag, values, self._track)
        elif depth == 2:
            if tag == "image":
                self._start_image(values)
            elif tag == "meta":
                self._meta = TreeBuilder()
                self._expat.CharacterDataHandler = self._meta.data
                self._start_meta(tag, self._meta)
            elif tag == "track":
                self._start_track(values)
            elif tag != "version":
                self._content.left_out[f"<{tag}> outside of an <image> are left out"] += 1
        elif depth == 1 and tag != "annotations":
            raise self._fault(f"the root is <{tag}>, not <annotations>")

    def _end(self, tag: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if self._meta is not None:
            meta = self._meta.end(tag)
            if depth == 2:
                self._meta = self._expat.CharacterDataHandler = None
                self._take_meta(meta)
        elif depth == 4:
            if self._attribute is not None:
                rows, texts = self._attribute
                rows.append(len(self._kinds) - 1)
                text = self._text
                texts.append(self._same(text, text))
                self._attribute = self._expat.CharacterDataHandler = None
        elif depth == 3:
            self._in_shape = False
        elif depth == 2:
            self._picture, self._track = 0, None
            if len(self._kinds) >= SHAPES_AT_ONCE and not self._track_count:
                self._convert()

    def _characters(self, text: str) -> None:
        self._text += text

    def _start_meta(self, tag: str, meta: TreeBuilder) -> None:
        if self._depth > DEEPEST_META + 2:
            raise self._fault("<meta> is nested deeper than CVAT ever does")
        meta.start(tag, {})

    def _take_meta(self, meta: Element) -> None:
        name, declared, info = read_meta(meta)
        self._about = next((info[top] for top in ("task", "job") if top in info), {})
        for size in meta.iter("original_size"):
            told = {side: size.findtext(side, "0") for side in ("width", "height")}
            self._size = (_told(told, "width", _side), _told(told, "height", _side))
        self._content.names.append(name)
        self._content.info |= info
        self._declared |= declared is not None
        for label, about in (declared or {}).items():
            if label not in self._numbers:
                self._declare(label, about)

    def _declare(self, label: str, about: LabelInfo) -> None:
        self._content.labels[label] = about
        self._numbers[label] = len(self._numbers) + 1

    def _start_image(self, values: dict[str, str]) -> None:
        images = self._content.images
        try:
            image = Image(
                id=len(images) + 1,
                file_name=_told(values, "name", str),
                width=_told(values, "width", _side, "0"),
                height=_told(values, "height", _side, "0"),
                subset=values.get("subset", ""),
                source_id=_told(values, "id", _whole) if "id" in values else None,
            )
        except ValueError as error:
            raise self._fault(f"an <image> {error}") from None
        if not (image.width and image.height) and {"width", "height"} & values.keys():
            self._content.left_out["pictures have a width or height of 0, which is unknown"] += 1
        images.append(image)
        self._picture = image.id

    def _start_track(self, values: dict[str, str]) -> None:
        if not self._track_count:
            self._convert()  # what is gathered from here on are tracks
        if self._track_count and values.get("task_id") != self._task:
            raise self._fault(
                "tracks of several tasks; export each by itself, or as 'CVAT for images 1.1'"
            )
        self._task = values.get("task_id")
        self._track_count += 1
        self._track = {name: values[name] for name in _OF_A_TRACK if name in values}

    def _start_tracked(self, tag: str, values: dict[str, str], track: dict[str, str]) -> None:
        """A shape of a track, which has its label, its source and its group."""
        if tag not in KINDS:
            self._content.left_out[f"{tag}s are left out; Quorate knows none"] += 1
            return
        try:
            frame = _told(values, "frame", _whole)
            outside = _told(values, "outside", _flag, "0")
        except ValueError as error:
            raise self._fault(f"a <{tag}> {error}") from None
        self._tracks.add(self._track_count, frame, outside)
        self._start_shape(tag, values | track)

    def _tell_tracks(self) -> None:
        """The shapes of all tracks on each frame, and the frames as pictures."""
        content = self._content
        keys = content.parts.pop()
        if not len(keys):
            return
        try:
            frames = self._tracks.frames(self._about)
            by_cvat = "id" in self._about
            shapes = self._tracks.told(keys, frames, content.left_out, by_cvat=by_cvat)
        except ValueError as error:
            raise self._fault(str(error)) from None
        first = len(content.images) + 1
        images, called = pictures_of(frames, self._size, content.pictures, first)
        content.images += images
        content.parts.append(replace(shapes, image_id=shapes.image_id + first))
        content.notes.append(
            f"{self._track_count:,} tracks of a video are {len(shapes):,} shapes on its "
            f"{len(frames):,} frames, which are {called}."
        )

    def _start_shape(self, tag: str, values: dict[str, str]) -> None:
        kind = KINDS.get(tag)
        if kind is None:
            if tag not in LEFT_OUT:
                raise self._fault(f"an unknown shape <{tag}>")
            self._content.left_out[f"{tag}s are left out; Quorate knows none"] += 1
            return
        self._in_shape = True
        self._kinds.append(kind)
        self._values.append(values)
        self._owners.append(self._picture)
        self._lines.append(self._expat.CurrentLineNumber)

    def _convert(self) -> None:
        n = len(self._kinds)
        if twice := sum(len(rows) - len(set(rows)) for rows, _ in self._attributes.values()):
            said = "attributes stand twice in a shape, of which the last counts"
            self._content.left_out[said] += twice
        kind = np.array(self._kinds, dtype=np.int8)
        xyxy = np.zeros((n, 4))
        boxes = np.flatnonzero(kind == Kind.BOX)
        values = [self._values[row] for row in boxes.tolist()]
        for side, corner in enumerate(("xtl", "ytl", "xbr", "ybr")):
            xyxy[boxes, side] = self._corner(values, boxes, corner)
        points: list[Any] = [()] * n
        for row in np.flatnonzero((kind != Kind.BOX) & (kind != Kind.TAG)).tolist():
            try:
                xyxy[row], points[row] = _geometry(self._kinds[row], self._values[row])
            except ValueError as error:
                raise self._fault(str(error), row) from None
            if self._kinds[row] == Kind.POLYGON and len(points[row]) < 6:
                self._content.left_out["polygons have fewer than three points; they are kept"] += 1
        columns = {
            "category_id": self._column("label", None, self._number),
            "rotation": self._column("rotation", "0", _finite),
            "occluded": self._column("occluded", "0", _flag),
            "z_order": self._column("z_order", "0", _whole),
            "group": self._column("group_id", "0", lambda text: _whole(text or "0")),
            "source": self._column("source", "manual", self._source),
        }
        self._content.parts.append(
            Annotations.build(
                image_id=self._owners,
                xyxy=xyxy,
                kind=kind,
                points=Ragged.of(points) if len(boxes) < n else None,
                sources=tuple(self._content.sources) or ("manual",),
                attributes={
                    name: scattered(n, rows, texts)
                    for name, (rows, texts) in self._attributes.items()
                },
                **columns,
            )
        )
        self._begin()

    def _corner(
        self, boxes: list[dict[str, str]], rows: NDArray[np.intp], name: str
    ) -> NDArray[np.float64]:
        """A coordinate of the boxes, which are in the given rows."""
        try:
            texts = [values[name] for values in boxes]
            found = np.array([*map(float, texts)])
            all_ = "".join(texts)  # what Python alone takes for a number has '_' or is not ASCII
            if (np.abs(found) < LIMIT).all() and "_" not in all_ and all_.isascii():
                return found
        except (KeyError, ValueError):
            pass
        for row, values in zip(rows.tolist(), boxes, strict=True):
            try:
                _told(values, name, _finite)
            except ValueError as error:
                raise self._fault(str(error), row) from None
        raise AssertionError(name)  # one of the rows is bad

    def _column(self, name: str, default: str | None, convert: Callable[[str], Any]) -> Any:
        """Of every shape; each different text is converted once. One value where all are equal."""
        texts = [values.get(name, default) for values in self._values]
        known: dict[str | None, Any] = {}
        for text in dict.fromkeys(texts):
            try:
                known[text] = _told({name: text}, name, convert)
            except ValueError as error:
                raise self._fault(str(error), texts.index(text)) from None
            except LookupError:
                raise LabelError(
                    f"{self._place}, line {self._lines[texts.index(text)]}: the label '{text}' is "
                    f"not declared in <meta> ({', '.join(self._numbers)})."
                ) from None
        return known[texts[0]] if len(known) == 1 else [known[text] for text in texts]

    def _number(self, label: str) -> int:
        """The category id of a label; LookupError where `<meta>` does not declare it."""
        if not self._declared and label not in self._numbers:
            self._declare(label, LabelInfo())
        return self._numbers[label]

    def _source(self, source: str) -> int:
        sources = self._content.sources
        if source not in sources and len(sources) == MOST_SOURCES:
            raise ValueError(f"comes after {MOST_SOURCES} different ones")
        return sources.setdefault(source, len(sources))


_ENDS = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}


def _told(
    values: Mapping[str, str | None],
    name: str,
    convert: Callable[[str], Any],
    default: str | None = None,
) -> Any:
    """An attribute of an element; ValueError says what is wrong with it."""
    text = values.get(name, default)
    if text is None:
        raise ValueError(f"without {name}")
    try:
        return convert(text)
    except ValueError as error:
        raise ValueError(f"whose {name} '{text[:60]}' {error}") from None


def _number(text: str) -> float:
    """A number, also where it is written as '3.0'; NaN for what is none."""
    try:
        return plain_number(text)
    except ValueError:
        return math.nan


def _finite(text: str) -> float:
    found = _number(text)
    if not math.isfinite(found):
        raise ValueError("is no finite number")
    if abs(found) >= LIMIT:
        raise ValueError("is too large")
    return found


def _whole(text: str) -> int:
    found = _number(text)
    if not (found.is_integer() and abs(found) < LIMIT):
        raise ValueError("is no whole number of 32 bits")
    return int(found)


def _flag(text: str) -> bool:
    if text not in _FLAGS:
        raise ValueError("is neither 0 nor 1")
    return _FLAGS[text]


def _side(text: str) -> int:
    """A picture's width or height in whole pixels, 0 where it is not known."""
    pixels = _whole(text)
    if pixels < 0:
        raise ValueError("is no size of a picture")
    return pixels


def _geometry(kind: int, values: Mapping[str, str]) -> tuple[tuple[float, ...], Any]:
    """The enclosing box and the points of a shape; ValueError says what is wrong."""
    if kind == Kind.ELLIPSE:
        cx, cy, rx, ry = (_told(values, name, _finite) for name in ("cx", "cy", "rx", "ry"))
        return (cx - rx, cy - ry, cx + rx, cy + ry), ()
    if kind == Kind.MASK:
        left, top, width, height = (
            _told(values, name, _whole) for name in ("left", "top", "width", "height")
        )
        if min(width, height) < 0 or width * height > MOST_PIXELS:
            raise ValueError(f"with a box of {width}x{height} pixels")
        runs = _told(values, "rle", _numbers)
        if not fits(runs, width, height):
            raise ValueError(f"with run lengths that do not fill its box of {width}x{height}")
        return (left, top, left + width, top + height), runs
    points = _told(values, "points", lambda text: _numbers(text.replace(";", ",")))
    if len(points) % 2:
        raise ValueError(f"with points '{values['points'][:60]}', whose last has no y")
    x, y = points[::2], points[1::2]
    return (float(x.min()), float(y.min()), float(x.max()), float(y.max())), points


def _numbers(text: str) -> NDArray[np.float64]:
    """Numbers with commas between them, at least one."""
    try:
        plain = "_" not in text and text.isascii()
        found = np.array(text.split(",") if plain else [np.nan], dtype=np.float64)
    except ValueError:
        found = np.array([np.nan])
    if not (np.abs(found) < LIMIT).all():
        raise ValueError("are no finite numbers, or too large")
    return found
