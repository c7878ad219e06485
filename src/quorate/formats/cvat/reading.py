"""Read CVAT XML: the file is streamed, never held as text nor as a tree of elements.

A parser without entities does it: a DOCTYPE is refused, so that no file can make it expand or
fetch anything.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any
from xml.parsers import expat

import numpy as np

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image, LabelInfo
from quorate.errors import FormatError, LabelError
from quorate.formats import masks
from quorate.formats.base import Source, merged
from quorate.formats.cvat.meta import Node, read_meta
from quorate.formats.places import placed
from quorate.formats.rows import Rows
from quorate.labels import Labels

CHUNK = 1 << 20
LARGE = 4 << 20
"""From this size on, the compiled scanner is worth its start."""
KINDS = {kind.name.lower(): kind for kind in Kind}
LEFT_OUT = ("cuboid", "skeleton")


def recognise(source: Source) -> bool:
    """Whether there is an XML file whose root is `<annotations>`."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    near = [name for name in source.ending(".xml") if source.single or "/" not in name]
    return [name for name in near if b"<annotations" in source.head(name)]


def read(source: Source) -> Dataset:
    """Every CVAT XML file at a place, as one data set (CVAT too loads each XML of an archive).

    Pictures are numbered from 1 in the file's order; CVAT's frame number is kept in
    `Image.source_id`. Category ids are the labels' places in `<meta>`, from 1, as in CVAT's own
    COCO export; without `<meta>`, labels stand in order of sight. Attributes stay text. Cuboids
    and skeletons are left out and counted. Tracks ("CVAT for video") are refused.
    """
    files = _files(source)
    if not files:
        raise FormatError(f"{source.location}: no CVAT XML file (its root is `<annotations>`).")
    parsers, parts = [], []
    images: list[Image] = []
    labels: dict[str, LabelInfo] = {}
    for name in files:
        parser, shapes = _read_file(source, name, images, labels)
        parsers.append(parser)
        parts.append(shapes)
    left_out = sum((parser.left_out for parser in parsers), Counter[str]())
    notes = [
        f"{source.location}: {count} {shape}s are left out; Quorate knows none."
        for shape, count in sorted(left_out.items())
    ]
    root, moved, more = placed(source, images)
    return Dataset(
        root=root,
        images=moved,
        labels=Labels.from_names(labels),
        annotations=Annotations.concat(parts),
        name=next((parser.name for parser in parsers if parser.name), ""),
        label_info=labels,
        info=merged(*(parser.info for parser in parsers)),
        notes=(*notes, *more),
    )


def _read_file(
    source: Source, name: str, images: list[Image], labels: dict[str, LabelInfo]
) -> tuple[Parser, Annotations]:
    """One file, the quick way where it is large and plain; its pictures and labels are added."""
    with source.tree.open(name) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size >= LARGE:
            from quorate.formats.cvat.scanning import NotPlain, read_plain

            before, known = len(images), dict(labels)
            parser = Parser(source.place(name), images, labels)
            try:
                return parser, read_plain(file, parser)
            except NotPlain:
                del images[before:]
                labels.clear()
                labels.update(known)
                file.seek(0)
        parser = Parser(source.place(name), images, labels)
        parser.feed(file)
        return parser, parser.rows.build()


class Parser:
    """One file's pictures and shapes, element by element."""

    def __init__(self, place: str, images: list[Image], labels: dict[str, LabelInfo]) -> None:
        self.place = place
        self.images = images
        self.labels = labels
        self.rows = Rows()
        self.left_out: Counter[str] = Counter()
        self.name = ""
        self.info: dict[str, Any] = {}
        self._declared = False
        self._meta: list[Node] = []
        self._depth = 0
        self._shape: tuple[str, dict[str, str]] | None = None
        self._attributes: dict[str, str] = {}
        self._attribute = ""
        self._text: list[str] | None = None
        self._skipping = 0
        self._line = 0
        self._image: Image | None = None
        self._numbers = {name: i for i, name in enumerate(labels, start=1)}
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        self._expat = parser

    def feed(self, file: Any) -> None:
        """Parse a whole file; FormatError, with the line, for what is wrong in it."""
        try:
            while chunk := file.read(CHUNK):
                self._expat.Parse(chunk, False)
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            cut = " (the file is truncated?)" if error.code in _ENDS else ""
            raise FormatError(f"{self.place}, line {error.lineno}: {why}{cut}.") from None
        except (UnicodeDecodeError, LookupError) as error:
            raise self._fault(str(error)) from None

    def _fault(self, what: str) -> FormatError:
        where = f", picture '{self._image.name}'" if self._image else ""
        return FormatError(f"{self._here()}{where}: {what}.")

    def _here(self) -> str:
        """The file and the line of the shape at hand, or of where the parser is."""
        line = self._line if self._shape else self._expat.CurrentLineNumber
        return f"{self.place}, line {line}"

    def _doctype(self, *_: Any) -> None:
        raise self._fault("a DOCTYPE, which CVAT never writes and which may hide a bomb")

    def _start(self, tag: str, values: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            if tag != "annotations":
                raise self._fault(f"the root is <{tag}>, not <annotations>")
        elif self._meta or (tag == "meta" and self._depth == 2):
            if len(self._meta) > 16:
                raise self._fault("<meta> is nested deeper than CVAT ever does")
            node = Node(tag)
            if self._meta:
                self._meta[-1].children.append(node)
            self._meta.append(node)
            self._text = []
        elif self._skipping:
            self._skipping += 1
        elif self._depth == 2 and tag == "image":
            self._image = self._new_image(values)
        elif self._depth == 2 and tag == "track":
            raise FormatError(
                f"{self._here()}: tracks of a video.",
                hint="export the task from CVAT as 'CVAT for images 1.1'",
            )
        elif self._depth == 3 and self._image is not None:
            if tag in LEFT_OUT:
                self.left_out[tag] += 1
                self._skipping = 1
            elif tag in KINDS:
                self._shape = tag, values
                self._line = self._expat.CurrentLineNumber
                self._attributes = {}
            else:
                raise self._fault(f"an unknown shape <{tag}>")
        elif self._depth == 4 and tag == "attribute" and self._shape is not None:
            self._attribute = values.get("name", "")
            self._text = []

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._meta:
            node = self._meta.pop()
            if not node.children:
                node.text = "".join(self._text or ())
            self._text = None
            if not self._meta:
                self._finish_meta(node)
        elif self._skipping:
            self._skipping -= 1
        elif self._depth == 3 and self._text is not None:
            self._attributes[self._attribute] = "".join(self._text)
            self._text = None
        elif self._depth == 2 and self._shape is not None:
            self._add(*self._shape)
            self._shape = None
        elif self._depth == 1:
            self._image = None

    def _finish_meta(self, node: Node) -> None:
        self.name, declared, self.info = read_meta(node)
        if declared is not None:
            self._declared = True
            for name, info in declared.items():
                if name not in self._numbers:
                    self._declare(name, info)

    def inner(self) -> Parser:
        """A parser for cut out shapes, with the same labels."""
        inner = Parser(self.place, [], self.labels)
        inner._declared = self._declared
        inner._numbers = self._numbers
        return inner

    def number(self, label: str) -> int:
        """The category id of a label; LabelError where `<meta>` does not declare it."""
        found = self._numbers.get(label)
        if found is None:
            if self._declared:
                raise LabelError(
                    f"{self._here()}: the label '{label}' is "
                    f"not declared in <meta> ({', '.join(self._numbers)})."
                )
            found = self._declare(label, LabelInfo())
        return found

    def _declare(self, label: str, info: LabelInfo) -> int:
        self.labels[label] = info
        return self._numbers.setdefault(label, len(self._numbers) + 1)

    def _new_image(self, values: dict[str, str]) -> Image:
        try:
            image = Image(
                id=len(self.images) + 1,
                file_name=values["name"],
                width=int(values.get("width", 0)),
                height=int(values.get("height", 0)),
                subset=values.get("subset", ""),
                source_id=int(values["id"]) if "id" in values else None,
            )
        except KeyError:
            raise self._fault("an <image> without a name") from None
        except ValueError as error:
            raise self._fault(f"an <image> with {error}") from None
        self.images.append(image)
        return image

    def _add(self, tag: str, values: dict[str, str]) -> None:
        kind = KINDS[tag]
        image = self._image
        if image is None:
            return
        try:
            category_id = self.number(values["label"])
            box, points = _geometry(kind, values)
            self.rows.add(
                image.id,
                category_id,
                box,
                kind=kind,
                rotation=float(values.get("rotation", 0)),
                occluded=values.get("occluded") in ("1", "True", "true"),
                z_order=int(values.get("z_order", 0)),
                group=int(values.get("group_id", 0) or 0),
                source=values.get("source", "manual"),
                points=points,
                attributes=self._attributes,
            )
        except KeyError as error:
            raise self._fault(f"a <{tag}> without {error.args[0]}") from None
        except ValueError as error:
            raise self._fault(f"a <{tag}> with {error}") from None


_ENDS = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}


def _geometry(kind: Kind, values: dict[str, str]) -> tuple[tuple[float, float, float, float], Any]:
    """The enclosing box and the points of a shape; ValueError says what is wrong."""
    if kind == Kind.BOX:
        box = tuple(map(float, (values["xtl"], values["ytl"], values["xbr"], values["ybr"])))
        return box, ()  # type: ignore[return-value]
    if kind == Kind.TAG:
        return (0.0, 0.0, 0.0, 0.0), ()
    if kind == Kind.ELLIPSE:
        cx, cy, rx, ry = map(float, (values["cx"], values["cy"], values["rx"], values["ry"]))
        return (cx - rx, cy - ry, cx + rx, cy + ry), ()
    if kind == Kind.MASK:
        left, top = int(values["left"]), int(values["top"])
        width, height = int(values["width"]), int(values["height"])
        runs = np.array([int(run) for run in values["rle"].split(",")], dtype=np.float64)
        if width * height > masks.MOST_PIXELS or not masks.fits(runs, width, height):
            raise ValueError(f"run lengths that do not fill its box of {width}x{height}")
        return (left, top, left + width, top + height), runs
    points = np.array(values["points"].replace(";", ",").split(","), dtype=np.float64)
    if len(points) % 2 or not np.isfinite(points).all():
        raise ValueError(f"points '{values['points'][:60]}'")
    x, y = points[::2], points[1::2]
    return (float(x.min()), float(y.min()), float(x.max()), float(y.max())), points
