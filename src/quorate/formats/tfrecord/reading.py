"""TFRecord, read: an example is a picture and its boxes.

    image/filename, image/width, image/height      the picture's name and size
    image/encoded, image/format                    its file, where there is one
    image/object/bbox/xmin, xmax, ymin, ymax       of each box, as parts of the sides
    image/object/class/text, image/object/class/label
    image/object/is_crowd, group_of, difficult, truncated

Source: object_detection/data_decoders/tf_example_decoder.py of tensorflow/models; datumaro's
`tf_detection_api`, by which CVAT writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, ImageError
from quorate.formats.base import Source, is_picture, side
from quorate.formats.places import placed
from quorate.formats.shapes import scattered
from quorate.formats.tfrecord.messages import MESSAGES
from quorate.labels import Labels
from quorate.pictures import size
from quorate.protobuf import CHOICE
from quorate.storage import join, open_file, safe_name
from quorate.storage.records import ENDING, RECORDS, Piece, name_of, records

EDGES = ("xmin", "ymin", "xmax", "ymax")
MAP = "label_map.pbtxt"
DECIMALS = 3
"""Of pixels: 32 bits for a part of a side hold no more."""
MOST_BOXES = 1_000_000
_STEM = re.compile(rf"(?i:{ENDING})$")
_ENDINGS = {"jpeg": ".jpg"} | {name: f".{name}" for name in ("jpg", "png", "bmp", "gif", "webp")}
FLAGS = ("difficult", "truncated")


def recognise(source: Source) -> bool:
    """Whether there is a file of records, by its name."""
    return any(RECORDS.search(name) for name in source.names)


def read(source: Source) -> Dataset:
    """All files as one; those of several stems, or else of several folders, are subsets.

    A picture inside an example is a file of its own here: see `quorate.storage.records`; one
    outside is looked for by name. A label is what `label_map.pbtxt` says of its number, else its
    text. `is_crowd` and `group_of` are crowds; masks are left out and counted.

    Raises:
        FormatError: a damaged file, an example that is none, lists of unequal length, a box of a
            picture whose size nobody tells, a number of a label that nobody names.
    """
    files = [name for name in source.names if RECORDS.search(name)]
    known = _label_map(source)
    told: Counter[str] = Counter()
    boxes = _Boxes(known, told)
    images: list[Image] = []
    for name, subset in zip(files, _subsets(files), strict=True):
        with _opened(source, name) as file:
            for at, data in records(file, source.place(name)):
                number = len(images) + 1
                place = f"{source.place(name)}: example {number} (byte {at - 12:,})"
                example = _Example(data, place)
                image = _image(example, number, Piece(name, at, 0), subset, told)
                images.append(image)
                boxes.add(example, image)
    labels, shapes = boxes.built()
    notes = [f"{source.location}: {count:,} {what}." for what, count in told.items()]
    outside = [image for image in images if not image.published_as]
    if len(outside) == len(images):
        found = placed(source, images, labels=labels, annotations=shapes, notes=notes)
        return replace(found, root=source.tree.root) if source.single else found
    if outside:
        notes.append(
            f"{source.location}: {len(outside)} of {len(images)} examples hold no picture, the "
            f"first '{outside[0].name}'."
        )
    root = source.tree.root if source.single else source.location
    return Dataset(root, tuple(images), labels, shapes, notes=tuple(notes))


def _opened(source: Source, name: str) -> Any:
    """A whole file, which of S3 is fetched at once."""
    return open_file(join(source.tree.root, name)) if source.tree.remote else source.tree.open(name)


def _subsets(files: Sequence[str]) -> list[str]:
    """The subset of each file: its stem, or where these are all the same its folder."""
    stems = [_STEM.sub("", name.rpartition("/")[2]) for name in files]
    folders = [name.rpartition("/")[0].rpartition("/")[2] for name in files]
    several = next((told for told in (stems, folders) if len(set(told)) > 1), None)
    return several or [""] * len(files)


def _label_map(source: Source) -> dict[int, str]:
    """The names that files `….pbtxt` give to numbers."""
    from google.protobuf import text_format

    files = source.ending(".pbtxt")
    if source.single and source.tree.exists(MAP):
        files = [MAP]
    names: dict[int, str] = {}
    for name in files:
        place = join(source.tree.root, name)
        found = MESSAGES["LabelMap"]()
        try:
            text = source.tree.read(name).decode()
            text_format.Parse(text, found, allow_unknown_field=True)
        except (UnicodeDecodeError, text_format.ParseError, RecursionError, ValueError) as error:
            said = " ".join(str(error).split())[:160]
            raise FormatError(
                f"{place}: no label map ({said}).",
                hint="it has an `item { id: 1 name: 'car' }` for each label",
            ) from None
        for item in found.item:
            word = (item.name or item.display_name).strip()
            if not word or item.id < 0:
                raise FormatError(f"{place}: a label numbered {item.id} and called '{word}'.")
            if names.setdefault(item.id, word) != word:
                raise FormatError(f"{place}: {item.id} is both '{names[item.id]}' and '{word}'.")
    return names


class _Example:
    """One example, whose values are asked for by name."""

    def __init__(self, data: bytes, place: str) -> None:
        from google.protobuf.message import DecodeError

        self.data, self.place = data, place
        try:
            found = MESSAGES["Example"].FromString(data)
        except DecodeError:
            raise FormatError(f"{place}: is no tf.train.Example.") from None
        self._features: Mapping[str, Any] = found.features.feature

    def values(self, name: str, kind: str) -> Any:
        """The list of a feature, empty where there is none; `kind` is bytes, float or int64."""
        # Asking a map of protobuf for what it lacks would put it there.
        if name not in self._features:
            return ()
        feature = self._features[name]
        has = feature.WhichOneof(CHOICE)
        if has not in (None, f"{kind}_list"):
            raise FormatError(f"{self.place}: `{name}` is a {has}, not a {kind}_list.")
        return getattr(feature, f"{kind}_list").value

    def one(self, name: str, kind: str) -> Any:
        """Its only value, None where there is none."""
        found = self.values(name, kind)
        if len(found) > 1:
            raise FormatError(f"{self.place}: `{name}` has {len(found)} values, not one.")
        return found[0] if found else None

    def text(self, name: str) -> str:
        """Its only value as text, '' where there is none."""
        return self.decoded(self.one(name, "bytes") or b"")

    def decoded(self, value: bytes) -> str:
        """Bytes as text."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise FormatError(f"{self.place}: {value[:40]!r} is not text in UTF-8.") from None

    def flags(self, name: str, count: int) -> NDArray[np.bool_]:
        """(count,) which of some numbers are above 0; none where there are no numbers."""
        found = self.values(name, "int64")
        return self.as_long(np.array(found if len(found) else [0] * count) > 0, name, count)

    def as_long(self, values: NDArray[Any], name: str, count: int) -> NDArray[Any]:
        """The values; FormatError unless there are so many."""
        if len(values) != count:
            raise FormatError(f"{self.place}: `{name}` has {len(values)} values for {count} boxes.")
        return values


def _image(example: _Example, number: int, piece: Piece, subset: str, told: Counter[str]) -> Image:
    """The picture of an example; `piece` says where its record is."""
    encoded: bytes = example.one("image/encoded", "bytes") or b""
    name = example.text("image/filename").replace("\\", "/").lstrip("/")
    ending = _ENDINGS.get(example.text("image/format").strip().lower().lstrip("."), "")
    if not name:
        name = example.text("image/source_id") or f"{number:06d}"
        told["examples have no image/filename; they are called by image/source_id or number"] += 1
    if not is_picture(name):
        name += ending or ".jpg"
    safe_name(name, origin=example.place)
    width, height = (
        side(example.one(f"image/{what}", "int64"), example.place) for what in ("width", "height")
    )
    if encoded and not (width and height):
        try:
            width, height = size(encoded, name=example.place)
        except ImageError as error:
            raise FormatError(error.message, hint=error.hint) from None
    if not encoded:
        return Image(number, name, width, height, subset=subset)
    start = piece.start + example.data.index(encoded)
    inside = name_of(Piece(piece.file, start, len(encoded)), "." + name.rpartition(".")[2])
    return Image(number, inside, width, height, subset=subset, published_as=name)


class _Boxes:
    """Gathers the boxes of examples, as columns."""

    def __init__(self, known: Mapping[int, str], told: Counter[str]) -> None:
        self._known, self._told = known, told
        self._numbers: dict[str, int] = {word: n for n, word in known.items()}
        self._images: list[NDArray[np.int64]] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._words: list[str] = []
        self._crowds: list[NDArray[np.bool_]] = []
        self._flags: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in FLAGS}

    def add(self, example: _Example, image: Image) -> None:
        """The boxes of one more picture."""
        edges = {e: example.values(f"image/object/bbox/{e}", "float") for e in EDGES}
        count = len(edges["xmin"])
        if count > MOST_BOXES:
            raise FormatError(f"{example.place}: {count:,} boxes.")
        sides = np.empty((count, 4))
        for column, (edge, values) in enumerate(edges.items()):
            name = f"image/object/bbox/{edge}"
            sides[:, column] = example.as_long(np.array(values, np.float64), name, count)
        words = self._labels(example, count)
        if masks := len(example.values("image/object/mask", "bytes")):
            self._told["masks are left out; the boxes count"] += masks
        if not count:
            return
        if not image.width or not image.height:
            raise FormatError(
                f"{example.place}: has boxes, but no image/width and image/height, which they are "
                "parts of."
            )
        sides *= (image.width, image.height) * 2
        self._boxes.append(np.round(sides, DECIMALS))
        self._images.append(np.full(count, image.id, np.int64))
        self._words += words
        crowds, groups = (
            example.flags(f"image/object/{name}", count) for name in ("is_crowd", "group_of")
        )
        self._crowds.append(crowds | groups)
        for name, columns in self._flags.items():
            columns.append(example.flags(f"image/object/{name}", count))

    def _labels(self, example: _Example, count: int) -> list[str]:
        ids = example.values("image/object/class/label", "int64")
        texts = example.values("image/object/class/text", "bytes")
        for name, values in (("label", ids), ("text", texts)):
            if len(values):
                example.as_long(values, f"image/object/class/{name}", count)
        if count and not len(ids) and not len(texts):
            raise FormatError(f"{example.place}: has boxes without labels.")
        words = []
        for row in range(count):
            text = example.decoded(texts[row]).strip() if len(texts) else ""
            number = int(ids[row]) if len(ids) else None
            word = self._known.get(number, text) if number is not None else text
            if not word:
                raise FormatError(
                    f"{example.place}: label {number} has no name.",
                    hint=f"put a {MAP} beside it, or names into image/object/class/text",
                )
            if text and word != text:
                self._told[
                    f"boxes are called otherwise than by their number in {MAP}, as '{text}' for "
                    f"'{word}'; the number counts"
                ] += 1
            known = self._numbers.setdefault(word, -1 if number is None else number)
            if number not in (None, known):
                self._told["boxes have another number than others of their name, which counts"] += 1
            words.append(word)
        return words

    def built(self) -> tuple[Labels, Annotations]:
        """The vocabulary, in order of the numbers, and all boxes."""
        names = sorted(self._numbers, key=lambda word: (self._numbers[word], word))
        ids = [self._numbers[name] for name in names]
        fit = len(set(ids)) == len(ids) and all(0 < number < 1 << 31 for number in ids)
        labels = Labels(tuple(names), tuple(ids)) if fit else Labels.from_names(names)
        number = dict(zip(labels.names, labels.ids, strict=True))
        n = len(self._words)
        attributes = {}
        for name, columns in self._flags.items():
            rows = np.flatnonzero(np.concatenate(columns)) if columns else np.empty(0, np.int64)
            if len(rows):
                attributes[name] = scattered(n, rows, ["1"] * len(rows))
        return labels, Annotations.build(
            image_id=np.concatenate([np.empty(0, np.int64), *self._images]),
            category_id=np.array([number[word] for word in self._words], np.int32),
            xyxy=np.concatenate([np.empty((0, 4)), *self._boxes]),
            iscrowd=np.concatenate([np.empty(0, np.bool_), *self._crowds]),
            sources=("file",),
            attributes=attributes,
        )
