"""The quick way to read CVAT XML: one compiled pass over the bytes, for large files.

It takes XML as CVAT and Quorate write it, and gives up (`NotPlain`) at anything else: a comment,
a DOCTYPE, CDATA, single quotes, another encoding, an element out of place, a number that is not
plain. The parser in `reading` then starts over and decides what the file means or what is wrong
with it. So this module knows no error messages, and whatever it accepts means the same to both.

Boxes and their attributes are read here; every other shape is cut out and handed to the parser.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations
from quorate.dataset import Image
from quorate.errors import QuorateError
from quorate.formats.cvat.scan_kernel import FIELDS, scan
from quorate.formats.rows import scattered

if TYPE_CHECKING:
    from quorate.formats.cvat.reading import Parser

CHUNK = 4 << 20
"""Bytes scanned at once; the end of a chunk is the end of a picture."""
_ENCODING = re.compile(rb"""^<\?xml[^>]*encoding=["']([^"']+)""")


class NotPlain(Exception):  # noqa: N818  not an error: the other reader takes over
    """The file is not written as CVAT writes; it may still be right."""


def warm() -> None:
    """Compile the scanner, or load it from numba's cache."""
    one = np.empty((1, 8), dtype=np.int64)
    numbers = np.empty((1, 5), dtype=np.float64)
    data = np.frombuffer(b" ", dtype=np.uint8)
    scan(data, one, one, one, numbers, one, np.zeros(16, dtype=np.int32))


def read_plain(file: BinaryIO, parser: Parser) -> Annotations:
    """The shapes of a file; its pictures and labels are added to the parser's.

    Raises NotPlain, with nothing added that the caller cannot undo.
    """
    block = file.read(CHUNK)
    end = block.find(b"</meta>")
    encoding = _ENCODING.match(block)
    if end < 0 or (encoding and encoding[1].lower() not in (b"utf-8", b"utf8")):
        raise NotPlain
    end += len(b"</meta>")
    _parsed(parser, block[:end] + b"</annotations>")
    rest = block[end:]
    parts = []
    while True:
        cut = rest.rfind(b"</image>")
        if cut >= 0:
            cut += len(b"</image>")
            parts.append(_scanned(rest[:cut], parser))
            rest = rest[cut:]
        block = file.read(CHUNK)
        if not block:
            break
        rest += block
        if len(rest) > 16 * CHUNK:
            raise NotPlain  # no picture is that long
    body = rest.rstrip()
    if not body.endswith(b"</annotations>"):
        raise NotPlain
    parts.append(_scanned(body[: -len(b"</annotations>")], parser))
    return Annotations.concat(parts)


def _parsed(parser: Parser, document: bytes) -> None:
    try:
        parser.feed(io.BytesIO(document))
    except QuorateError:
        raise NotPlain from None


def _scanned(chunk: bytes, parser: Parser) -> Annotations:
    # One byte is looked for some fifty times as fast as three.
    if (b"]" in chunk and b"]]>" in chunk) or not _is_text(chunk):
        raise NotPlain
    data = np.frombuffer(chunk, dtype=np.uint8)
    room = int(np.count_nonzero(data == ord("<"))) + 1  # no more elements than that
    # Memory that is never touched costs nothing: room is for the worst case.
    strings = np.empty((room * 2, 2), dtype=np.int64)
    pictures = np.empty((room, 5), dtype=np.int64)
    shapes = np.empty((room, len(FIELDS)), dtype=np.int64)
    numbers = np.empty((room, 5), dtype=np.float64)
    attributes = np.empty((room, 3), dtype=np.int64)
    counts = (-2, 0, 0, 0)
    slots = 1 << 15
    while counts[0] == -2:
        table = np.zeros(slots, dtype=np.int32)
        counts = scan(data, strings, pictures, shapes, numbers, attributes, table)
        slots *= 8
    if counts[0] < 0:
        raise NotPlain
    n_strings, n_pictures, n_shapes, n_attributes = counts
    texts = _texts(chunk, strings[:n_strings])
    shapes, numbers = shapes[:n_shapes], numbers[:n_shapes]
    first = len(parser.images)
    told = (column.tolist() for column in pictures[:n_pictures].T)
    for name, subset, frame, width, height in zip(*told, strict=True):
        parser.images.append(
            Image(
                id=len(parser.images) + 1,
                file_name=texts[name],
                width=width,
                height=height,
                subset=texts[subset] if subset >= 0 else "",
                source_id=frame if frame >= 0 else None,
            )
        )
    column = dict(zip(FIELDS, shapes.T, strict=True))
    box = column["end"] == 0
    row_of = np.cumsum(box) - 1
    boxes = replace(
        _boxes(parser, texts, first, {k: v[box] for k, v in column.items()}, numbers[box]),
        attributes=_attributes(texts, attributes[:n_attributes], row_of, int(box.sum())),
    )
    if box.all():
        return boxes
    others, kept = _others(chunk, parser, first, {k: v[~box] for k, v in column.items()})
    order = np.concatenate([np.flatnonzero(box), np.flatnonzero(~box)[kept]])
    return Annotations.concat([boxes, others]).take(np.argsort(order))


def _is_text(chunk: bytes) -> bool:
    if chunk.isascii():
        return True
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    return True


def _boxes(
    parser: Parser,
    texts: NDArray[Any],
    first: int,
    column: dict[str, NDArray[np.int64]],
    numbers: NDArray[np.float64],
) -> Annotations:
    used, label = np.unique(column["label"], return_inverse=True)
    try:
        categories = [parser.number(texts[code]) for code in used]
    except QuorateError:
        raise NotPlain from None
    told, source = np.unique(column["source"], return_inverse=True)
    sources = [texts[code] if code >= 0 else "manual" for code in told]
    names = list(dict.fromkeys(sources)) or ["manual"]
    return Annotations.build(
        image_id=column["image"] + (first + 1),
        category_id=np.array(categories, dtype=np.int32)[label],
        xyxy=numbers[:, :4],
        rotation=numbers[:, 4],
        occluded=column["occluded"] == 1,
        z_order=column["z_order"],
        group=column["group_id"],
        source=np.array([names.index(s) for s in sources], dtype=np.int8)[source],
        sources=names,
    )


def _attributes(
    texts: NDArray[Any], found: NDArray[np.int64], row_of: NDArray[np.int64], n: int
) -> dict[str, NDArray[Any]]:
    """The attributes' columns, in order of sight."""
    shape, name, value = found.T
    codes, sight = np.unique(name, return_index=True)
    columns: dict[str, NDArray[Any]] = {}
    for code in codes[np.argsort(sight)].tolist():
        here = name == code
        columns[texts[code]] = scattered(n, row_of[shape[here]], texts[value[here]])
    return columns


def _others(
    chunk: bytes, parser: Parser, first: int, column: dict[str, NDArray[np.int64]]
) -> tuple[Annotations, NDArray[np.int64]]:
    """Shapes that are no boxes, from the parser; and which of them it kept."""
    spans = list(zip(column["start"].tolist(), column["end"].tolist(), strict=True))
    document = b"<annotations>%s</annotations>" % b"".join(
        b'<image name="_">%s</image>' % chunk[start:end] for start, end in spans
    )
    inner = parser.inner()
    _parsed(inner, document)
    parser.left_out += inner.left_out
    shapes = inner.rows.build()
    kept = shapes.image_id - 1
    shapes.image_id[:] = column["image"][kept] + (first + 1)
    return shapes, kept


def _texts(chunk: bytes, spans: NDArray[np.int64]) -> NDArray[Any]:
    """The strings as Python's, entities resolved; in an object array, to be taken from."""
    texts = np.empty(len(spans), dtype=object)
    starts, ends = spans[:, 0].tolist(), spans[:, 1].tolist()
    if chunk.isascii():
        whole = chunk.decode("ascii")
        found = [whole[a:b] for a, b in zip(starts, ends, strict=True)]
    else:
        found = [str(chunk[a:b], "utf-8") for a, b in zip(starts, ends, strict=True)]
    if b"&" in chunk:
        found = [_resolved(text) if "&" in text else text for text in found]
    texts[:] = found
    return texts


def _resolved(text: str) -> str:
    for entity, character in (("lt", "<"), ("gt", ">"), ("quot", '"'), ("apos", "'")):
        text = text.replace(f"&{entity};", character)
    if re.search(r"&(?!amp;)", text):
        raise NotPlain
    return text.replace("&amp;", "&")
