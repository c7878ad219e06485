"""A data set to be written, a part at a time, so that not all of it is in memory at once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import numpy as np

from quorate.annotations import Annotations
from quorate.columns import offsets_of, positions_in
from quorate.dataset import Dataset, Image

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Parts:
    """Pictures in their order, and what is annotated on them; each call begins anew.

    images  the pictures of each part
    shapes  the same, with the annotations on them and on no others
    like    annotations, of any pictures or none, with the attributes and sources of every part's
    """

    images: Callable[[], Iterable[Sequence[Image]]]
    shapes: Callable[[], Iterable[tuple[Sequence[Image], Annotations]]]
    like: Annotations

    @classmethod
    def of(cls, dataset: Dataset, annotations: Annotations) -> Parts:
        """A data set as one part."""
        return cls(lambda: (dataset.images,), lambda: ((dataset.images, annotations),), annotations)

    def pictures(self) -> Iterator[Image]:
        """Every picture."""
        return chain.from_iterable(self.images())

    def gathered(self, dataset: Dataset) -> tuple[Dataset, Annotations]:
        """The data set with all pictures, and all that is annotated on them."""
        images, shapes = zip(*self.shapes(), strict=True)
        whole = replace(dataset, images=tuple(chain.from_iterable(images)))
        return whole, Annotations.concat(shapes)

    def of_size(self, pictures: int) -> Iterator[tuple[Sequence[Image], Annotations, list[int]]]:
        """The same in parts of so many pictures, the last of fewer, wherever the parts are cut.

        Beside the pictures and their annotations, in the pictures' order, are (pictures + 1)
        positions: those of each picture begin there. Annotations of other pictures are left out.
        """
        images: list[Image] = []
        shapes: list[Annotations] = []
        sizes: list[int] = []
        for more, found in self.shapes():
            position = positions_in([image.id for image in more], found.image_id)
            known = np.flatnonzero(position >= 0)
            rows = known[np.argsort(position[known], kind="stable")]
            starts = offsets_of(position[known], len(more)).tolist()
            first = 0
            while first < len(more):
                last = min(first + pictures - len(images), len(more))
                images += more[first:last]
                shapes.append(found.take(rows[starts[first] : starts[last]]))
                sizes += np.diff(starts[first : last + 1]).tolist()
                first = last
                if len(images) == pictures:
                    yield images, _joined(shapes), _begins(sizes)
                    images, shapes, sizes = [], [], []
        if images:
            yield images, _joined(shapes), _begins(sizes)


def _joined(shapes: Sequence[Annotations]) -> Annotations:
    return shapes[0] if len(shapes) == 1 else Annotations.concat(shapes)


def _begins(sizes: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


class Repeats:
    """Finds what stands more than once among very many, holding eight bytes of each."""

    def __init__(self) -> None:
        self._seen = array("q")

    def add(self, key: Hashable) -> None:
        """One more."""
        self._seen.append(hash(key))

    def found(self, keys: Iterable[K]) -> dict[K, int]:
        """Each of the same keys that stands more than once, and how often, by their first sight."""
        seen = np.sort(np.frombuffer(self._seen, np.int64))
        alike = set(seen[1:][seen[1:] == seen[:-1]].tolist())
        if not alike:
            return {}
        counts = Counter(key for key in keys if hash(key) in alike)
        return {key: count for key, count in counts.items() if count > 1}


def repeated(keys: Callable[[], Iterable[K]]) -> dict[K, int]:
    """What stands more than once, and how often, by first sight; `keys` begins anew each time."""
    found = Repeats()
    for key in keys():
        found.add(key)
    return found.found(keys())
