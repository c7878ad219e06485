"""Which pictures and labels the ids of a file of detections mean, alone or beside a data set.

Alone, a file's ids are its vocabulary: text is numbered from 1 in order of sight, numbers stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, LabelError, did_you_mean
from quorate.formats.base import as_number, ends_of, without_ending
from quorate.labels import Labels

MOST_TOLD = 20
"""Labels that an error lists."""

Key = TypeVar("Key", int, str)
Numbered = dict[Any, int | None]
"""The picture of each number; None: it means several."""


class Matched(NamedTuple):
    """The pictures that ids stand for: of the data set, or the ids' own.

    numbers  int64 (n,)  each id's `Image.id`; -1 where the data set has no such picture
    notes    what was found out, a sentence each
    """

    images: tuple[Image, ...]
    numbers: NDArray[np.int64]
    notes: list[str]


def matched(
    ids: Sequence[int | str],
    location: str,
    dataset: Dataset | None,
    stated: Sequence[int | str | None] = (),
    *,
    foreign: bool = False,
) -> Matched:
    """Which pictures the ids of a file mean.

    A text is a name, else a number. Names may have more folders than the data set's, or fewer, as
    long as that means one picture; where the folders of all differ from it, the base names decide
    if they are unique. Numbers are ids, or names where these fit more of them, as Ultralytics
    calls 0045.jpg 45; where they count from 0 and the ids from 1, or the other way, a note says so.
    Beside an id that is a file's name `stated` has its `image_id`, which counts where the name
    means several pictures, and where no such name is known. In a `foreign` file the numbers are
    those that the data set's own files have, even if it was numbered anew.

    Raises FormatError for a name that means several pictures, and where no id is known.
    """
    if dataset is None:
        return _own(ids, location, stated)
    names = PictureNames(dataset.images)
    by_id: Numbered = {image.id: image.id for image in dataset.images}
    own: Numbered = {}
    for image in dataset.images if foreign else ():
        if isinstance(image.source_id, str) and image.source_id.isdecimal():
            _mean(own, as_number(image.source_id), image.id)
    by_id = own or by_id
    notes = []
    beside = list(stated) or [None] * len(ids)
    named = [i for i, known in enumerate(beside) if known is not None]
    if named and not any(names.get(str(ids[i])) for i in named):
        ids = [known if said is None else said for known, said in zip(ids, beside, strict=True)]
    numbers = [known for known in ids if isinstance(known, int)]
    if by_name := names.as_numbers() if numbers else {}:
        called, meant = (sum(n in known for n in numbers) for known in (by_name, by_id))
        odd = next((n for n in numbers if by_name.get(n, n) != n), None)
        if called > meant:
            by_id = {**by_name}
        elif called == meant and odd is not None and (other := by_id[odd]) is not None:
            shown = names.shown
            notes.append(
                f"{location}: its picture {odd} is taken for the one with that id, {shown[other]}, "
                f"though {shown[by_name[odd]]} is called so too. Ultralytics means names: its "
                "newer versions write `file_name` as well, which decides; or fuse its text files "
                "(save_txt=True save_conf=True)."
            )
    if len(numbers) == len(ids) and (moved := _moved(numbers, by_id)):
        by_id, first, meant = moved
        notes.append(
            f"{location}: its pictures are counted from {first}, the data set's from {1 - first}: "
            f"its {first} is taken for '{names.shown[meant]}'."
        )
    found = _each(ids, beside, by_id, names, location)
    _refuse_two(ids, found, names, location)
    if None in found:
        ends = [end for known in ids if (end := names.by_base(str(known))) is not None]
        if len(set(ends)) == len(ids):
            notes.append(
                f"{location}: its pictures are found by their base names, for their folders "
                f"differ: {ids[0]!r} is '{names.shown[ends[0]]}'."
            )
            found = [*ends]
    if ids and all(number is None for number in found):
        raise _unknown(ids[0], location, dataset)
    numbers_ = np.array([-1 if number is None else number for number in found], dtype=np.int64)
    return Matched(dataset.images, numbers_, notes)


def _refuse_two(
    ids: Sequence[int | str], found: Sequence[int | None], names: PictureNames, location: str
) -> None:
    """FormatError where names of different folders mean one picture of the data set."""
    first: dict[int, str] = {}
    for known, number in zip(ids, found, strict=True):
        if number is None or not isinstance(known, str) or "/" not in _plain(known):
            continue
        before = first.setdefault(number, known)
        here, there = (f"/{without_ending(_plain(name))}" for name in (known, before))
        if not here.endswith(there) and not there.endswith(here):
            raise FormatError(
                f"{location}: its pictures {before!r} and {known!r} would both be "
                f"'{names.shown[number]}'.",
                hint="write the folders into the names of the data set",
            )


def _moved(numbers: Sequence[int], by_id: Numbered) -> tuple[Numbered, int, int] | None:
    """Pictures by numbers that count from 0 where ids do from 1, or the other way.

    Beside them the first number and its picture; None where both count alike.
    """
    known = list(by_id)
    for first in (0, 1):
        counted = sorted(known) == list(range(1 - first, len(known) + 1 - first))
        here = range(first, len(known) + first)
        odd = 0 if first == 0 else len(known)  # a number that no id has
        if counted and odd in numbers and all(number in here for number in numbers):
            shifted = {known: by_id[known + 1 - 2 * first] for known in here}
            meant = shifted[first]
            return None if meant is None else (shifted, first, meant)
    return None


def _each(
    ids: Sequence[int | str],
    beside: Sequence[int | str | None],
    by_id: Numbered,
    names: PictureNames,
    location: str,
) -> list[int | None]:
    """The picture of each id, or None.

    Where some of the file's numbers are ids, or some of its words are names, the others are too:
    of pictures that the data set does not have, though it may know their number or word.
    """
    numbered = any(known in by_id for known in ids if isinstance(known, int))
    named = any(
        names.get(known) is not None
        for known, said in zip(ids, beside, strict=True)
        if isinstance(known, str) and (said is not None or isinstance(as_number(known), int))
    )
    found: list[int | None] = []
    for known, said in zip(ids, beside, strict=True):
        if isinstance(known, int):
            number = by_id.get(known)
            if number is None and known in by_id:
                raise FormatError(
                    f"{location}: its picture {known} may be one of several: the data set's files "
                    "have that id more than once.",
                    hint="give the file of one split, or names of pictures for their ids",
                )
            if number is None and not numbered:
                number = names.get(str(known))
            found.append(number)
            continue
        number = names.get(known)
        if number is None:
            several = names.is_ambiguous(known)
            if several or not named:
                number = by_id.get(said if isinstance(said, int) else as_number(known))
            if number is None and several:
                raise FormatError(
                    f"{location}: its picture {known!r} may be {names.several(known)}.",
                    hint="write the folders into the names",
                )
        found.append(number)
    return found


def pictures_of(ids: Sequence[int | str], location: str, dataset: Dataset) -> NDArray[np.int64]:
    """The `Image.id` of each id; FormatError where the data set has no such picture."""
    found = matched(ids, location, dataset)
    for known, number in zip(ids, found.numbers.tolist(), strict=True):
        if number < 0:
            raise _unknown(known, location, dataset)
    return found.numbers


def _unknown(known: int | str, location: str, dataset: Dataset) -> FormatError:
    return FormatError(
        f"{location}: its picture {known!r} is not in the data set ({dataset.root}).",
        hint=did_you_mean(str(known), [image.name for image in dataset.images[:5000]]),
    )


def left_out(
    ids: Sequence[int | str], numbers: NDArray[np.int64], image: NDArray[np.integer], location: str
) -> list[str]:
    """A note on the boxes of pictures that the data set does not have; `image` is each box's."""
    gone = np.flatnonzero(numbers < 0)
    if not len(gone):
        return []
    boxes = int(np.isin(image, gone).sum())
    return [
        f"{location}: {boxes:,} boxes of {len(gone):,} pictures that are not in the data set are "
        f"left out, the first is of {ids[int(gone[0])]!r}."
    ]


def _own(ids: Sequence[int | str], location: str, stated: Sequence[int | str | None]) -> Matched:
    """The pictures of a file alone: text is numbered from 1 in order of sight, numbers stay."""
    beside = stated or [None] * len(ids)
    given = [known if said is None else said for known, said in zip(ids, beside, strict=True)]
    if len(set(given)) < len(given) or any(isinstance(known, str) for known in given):
        given = list(ids)  # the numbers beside the names tell less than the names do
    taken = {known for known in given if isinstance(known, int)}
    numbers, images = [], []
    following = 1
    for known, name in zip(given, ids, strict=True):
        number = known if isinstance(known, int) else following
        if isinstance(known, str):
            while number in taken:
                number += 1
            following = number + 1
        numbers.append(number)
        said = known if isinstance(known, str) else None
        images.append(Image(id=number, file_name=str(name), source_id=said))
    return Matched(tuple(images), _numbers(numbers, np.int64, location, "image id"), [])


class PictureNames:
    """Every way to name a picture of a data set: whole, or by its end; each without ending too.

    `shown` is the name of each picture, by its id.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        names = Counter(image.name for image in images)
        self.shown = {
            image.id: image.name if names[image.name] == 1 else image.file_name for image in images
        }
        self._whole: dict[str, int | None] = {}  # None: it means several
        self._ends: dict[str, int | None] = {}
        for image in images:
            for name in dict.fromkeys((image.name, image.file_name)):
                for way in _ways(*ends_of(name)):
                    _mean(self._ends, way, image.id)
                for way in _ways(name):
                    _mean(self._whole, way, image.id)
            if isinstance(image.source_id, str):
                _mean(self._whole, image.source_id, image.id)

    def get(self, name: str) -> int | None:
        """The one picture whose name ends so, or with whose name this ends; None for no one."""
        name = _plain(name)
        for known in (self._whole, self._ends):
            for way in _ways(name):
                if way in known:
                    return known[way]
        ends = _ways(*ends_of(name)[1:])
        return next((self._whole[way] for way in ends if way in self._whole), None)

    def by_base(self, name: str) -> int | None:
        """The one picture of a base name, whatever its folders."""
        base = _plain(name).rsplit("/", 1)[-1]
        return self._ends.get(base, self._ends.get(without_ending(base)))

    def is_ambiguous(self, name: str) -> bool:
        """Whether a name may mean several pictures."""
        return any(self._ends.get(way, 0) is None for way in _ways(_plain(name)))

    def several(self, name: str) -> str:
        """The names of the first three pictures that a name may mean."""
        ways = set(_ways(_plain(name)))
        meant = (one for one in self.shown.values() if not ways.isdisjoint(_ways(*ends_of(one))))
        return " or ".join(map(repr, islice(meant, 3)))

    def as_numbers(self) -> dict[int, int]:
        """Pictures by the number that their name is: Ultralytics calls 0045.jpg 45."""
        found: dict[int, int | None] = {}
        for name, meant in self._ends.items():
            number = as_number(name)
            if meant is not None and isinstance(number, int):
                _mean(found, number, meant)
        return {number: meant for number, meant in found.items() if meant is not None}


def _mean(known: dict[Key, int | None], name: Key, meant: int) -> None:
    """Add what a name means: nothing where it means something else already."""
    known[name] = meant if known.get(name, meant) == meant else None


def _ways(*names: str) -> Iterator[str]:
    """Each name, and each without its ending."""
    return (way for name in names for way in (name, without_ending(name)))


def _plain(name: str) -> str:
    """A name with '/' between its folders, whichever system wrote it."""
    return name.replace("\\", "/").removeprefix("./")


def sizes_of(images: Sequence[Image], image_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) the width and height of the pictures that boxes are in; zeros where not known."""
    sizes = np.array([(i.width, i.height) for i in images], dtype=np.int64).reshape(-1, 2)
    return sizes[positions_in([image.id for image in images], image_id)]


def labels_of(
    ids: Sequence[int | str],
    location: str,
    dataset: Dataset | None,
    stated: Sequence[int] = (),
) -> tuple[Labels, NDArray[np.int32]]:
    """The labels that ids stand for, and the number of each id's.

    `stated` are the numbers of ids that are words, for a data set without labels.
    """
    labels = dataset.labels if dataset is not None else Labels((), ())
    if stated and not len(labels):
        numbered = sorted(zip(stated, map(str, ids), strict=True))
        labels = Labels(tuple(name for _, name in numbered), tuple(i for i, _ in numbered))
        return labels, np.array(stated, dtype=np.int32)
    if not len(labels):
        if all(isinstance(i, int) for i in ids):
            numbers = sorted(int(i) for i in ids)
            _numbers(numbers, np.int32, location, "category id")
            labels = Labels(names=tuple(map(str, numbers)), ids=tuple(numbers))
        else:
            labels = Labels.from_names(sorted({str(i) for i in ids}))
    found = []
    from_zero = counted_from_zero(ids, labels)
    for known in ids:
        text = str(known)
        if isinstance(known, int) and from_zero:
            found.append(labels.ids[known])
        elif isinstance(known, int) and known in labels.ids:
            found.append(known)
        elif text in labels:
            found.append(labels.id_of(text))
        elif as_number(text) in labels.ids:
            found.append(int(text))
        else:
            told = [f"{i}: {n}" for n, i in zip(labels.names, labels.ids, strict=True)]
            rest = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
            raise LabelError(
                f"{location}: its category {known!r} is not one of the data set's "
                f"({', '.join(told[:MOST_TOLD])}{rest}).",
                hint=did_you_mean(text, labels.names)
                or "say what its categories mean, and leave out those of no label: "
                f"--labels FILE={text}:{labels.names[0]}, or FILE=names.txt",
            )
    return labels, np.array(found, dtype=np.int32)


def counted_from_zero(ids: Sequence[int | str], labels: Labels) -> bool:
    """Whether categories are counted from 0, as Ultralytics once did, and the labels from 1."""
    numbers = [known for known in ids if isinstance(known, int)]
    counted = labels.ids == tuple(range(1, len(labels) + 1))
    return counted and 0 in numbers and min(numbers) >= 0 and max(numbers) < len(labels)


def _numbers(
    numbers: Sequence[int], dtype: type[np.signedinteger[Any]], location: str, what: str
) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    for number in numbers:
        if not limits.min <= number <= limits.max:
            raise FormatError(
                f"{location}: its {what} {number} is larger than {limits.bits} bits hold."
            )
    return np.array(numbers, dtype=dtype)
