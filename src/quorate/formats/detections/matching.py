"""Which pictures and labels the ids of a file of detections mean, alone or beside a data set.

Alone, a file's ids are its vocabulary: text is numbered from 1 in order of sight, numbers stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quorate.columns import positions_in
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, LabelError, did_you_mean
from quorate.formats.base import is_picture
from quorate.labels import Labels

Key = TypeVar("Key", int, str)


def pictures_of(
    ids: Sequence[int | str], location: str, dataset: Dataset | None
) -> tuple[tuple[Image, ...], NDArray[np.int64]]:
    """The pictures that ids stand for, and the number of each id's."""
    if dataset is None:
        taken = {i for i in ids if isinstance(i, int)}
        numbers = []
        images = []
        following = 1
        for known in ids:
            number = known if isinstance(known, int) else following
            if isinstance(known, str):
                while number in taken:
                    number += 1
                following = number + 1
            numbers.append(number)
            said = known if isinstance(known, str) else None
            images.append(Image(id=number, file_name=str(known), source_id=said))
        return tuple(images), _numbers(numbers, np.int64, location, "image id")
    by_name = picture_names(dataset)
    by_id = {image.id: image.id for image in dataset.images}
    if {known for known in ids if isinstance(known, int)} - by_id.keys():
        by_number = _names_as_numbers(by_name)
        if all(known in by_number for known in ids if isinstance(known, int)):
            by_id = by_number
    numbers = []
    for known in ids:
        found = by_id.get(known) if isinstance(known, int) else None
        if found is None:
            text = str(known)
            found = by_name.get(text, by_name.get(_stem(text)))
            if found is None and text.isdecimal():
                found = by_id.get(int(text))
        if found is None:
            raise FormatError(
                f"{location}: its picture {known!r} is not in the data set ({dataset.root}).",
                hint=did_you_mean(str(known), list(by_name)[:5000]),
            )
        numbers.append(found)
    return dataset.images, np.array(numbers, dtype=np.int64)


def _names_as_numbers(by_name: Mapping[str, int]) -> dict[int, int]:
    """Pictures by the number that their name is: Ultralytics calls 0045.jpg 45."""
    return _only((int(name), i) for name, i in by_name.items() if name.isdecimal())


def picture_names(dataset: Dataset) -> Mapping[str, int]:
    """Every way to name a picture of a data set that means only one, and its id."""
    return _only((way, image.id) for image in dataset.images for way in _ways(image))


def _ways(image: Image) -> Iterator[str]:
    """The names of a picture: whole or without folders, each with and without ending."""
    for name in (image.name, image.file_name, image.name.rsplit("/", 1)[-1]):
        yield name
        yield _stem(name)
    if isinstance(image.source_id, str):
        yield image.source_id


def _only(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """What each key means, without the keys that mean more than one thing."""
    found: dict[Key, int | None] = {}
    for key, meant in pairs:
        found[key] = meant if found.get(key, meant) == meant else None
    return {key: meant for key, meant in found.items() if meant is not None}


def sizes_of(images: Sequence[Image], image_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) the width and height of the pictures that boxes are in; zeros where not known."""
    sizes = np.array([(i.width, i.height) for i in images], dtype=np.int64).reshape(-1, 2)
    return sizes[positions_in([image.id for image in images], image_id)]


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if is_picture(name) else name


def two_readings(ids: Sequence[int | str], location: str, dataset: Dataset | None) -> list[str]:
    """A note where the numbers of all pictures are ids, and the names of other pictures as well."""
    numbers = [known for known in ids if isinstance(known, int)]
    if dataset is None or not numbers:
        return []
    names = {image.id: image.name for image in dataset.images}
    by_number = _names_as_numbers(picture_names(dataset))
    if not all(number in names and number in by_number for number in numbers):
        return []
    odd = next((number for number in numbers if by_number[number] != number), None)
    if odd is None:
        return []
    return [
        f"{location}: its picture {odd} is taken for the one with that id, {names[odd]}, though "
        f"{names[by_number[odd]]} is called so too. Ultralytics means names: fuse its text files "
        "(save_txt=True save_conf=True) instead."
    ]


def labels_of(
    ids: Sequence[int | str], location: str, dataset: Dataset | None
) -> tuple[Labels, NDArray[np.int32]]:
    """The labels that ids stand for, and the number of each id's."""
    labels = dataset.labels if dataset is not None else Labels((), ())
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
        if isinstance(known, int) and from_zero:
            found.append(labels.ids[known])
        elif isinstance(known, int) and known in labels.ids:
            found.append(known)
        elif str(known) in labels:
            found.append(labels.id_of(str(known)))
        else:
            raise LabelError(
                f"{location}: its category {known!r} is not one of the data set's ("
                + ", ".join(f"{i}: {n}" for n, i in zip(labels.names, labels.ids, strict=True))
                + ").",
                hint=did_you_mean(str(known), labels.names),
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
