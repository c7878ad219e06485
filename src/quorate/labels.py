"""Label vocabularies, and the mapping from a detector's labels to the data set's.

A *label* is a name (CVAT's word); a *category* is its number (COCO's word). The vocabulary of a
data set keeps both, in the data set's own order. A detector numbers its labels from 0 in its
own order; `map_labels` gives, for each of them, the data set's category or `UNMAPPED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quorate.columns import positions_in
from quorate.display import brief
from quorate.errors import LabelError, did_you_mean

UNMAPPED = -1

VOCABULARIES = {
    "coco": "COCO's 80 labels",
    "coco91": "COCO's own ids, 0 to 90, background first",
    "voc": "PASCAL VOC's",
    "objects365": "Objects365 v2's own ids",
    "objects365v1": "Objects365 v1's",
    "openimages": "Open Images' class-descriptions-boxable.csv, words of version 6",
    "lvis": "LVIS v1's own ids",
}
"""Known vocabularies by name, and whose order each is in. A spec's `names` may be one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The data set's vocabulary: unique names with their unique COCO category ids, in order."""

    names: tuple[str, ...]
    ids: tuple[int, ...]

    __repr__ = brief

    def __post_init__(self) -> None:
        if len(self.names) != len(self.ids):
            raise LabelError(f"{len(self.names)} label names but {len(self.ids)} category ids.")
        for what, values in (("label", self.names), ("category id", self.ids)):
            if len(set(values)) != len(values):
                twice = next(value for value in values if values.count(value) > 1)
                raise LabelError(f"The {what} {twice!r} stands twice in the vocabulary.")
        for name in self.names:
            if not name.strip():
                raise LabelError("A label of the vocabulary is empty.")

    @classmethod
    def from_names(cls, names: Iterable[str]) -> Self:
        """Number names 1..n, as COCO and CVAT do (CVAT refuses a category id of 0)."""
        names = tuple(names)
        return cls(names=names, ids=tuple(range(1, len(names) + 1)))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def bare(self) -> bool:
        """Whether the names are nothing but the ids: numbers that nobody has put into words."""
        return self.names == tuple(map(str, self.ids))

    def id_of(self, name: str) -> int:
        """The category id of a label; LabelError, with the nearest name, when there is none."""
        try:
            return self.ids[self.names.index(name)]
        except ValueError:
            raise LabelError(
                f"The label '{name}' is not in the vocabulary ({', '.join(self.names)}).",
                hint=did_you_mean(name, self.names),
            ) from None

    def name_of(self, category_id: int) -> str:
        """The label of a category id; LabelError when there is none."""
        try:
            return self.names[self.ids.index(category_id)]
        except ValueError:
            raise LabelError(
                f"The category id {category_id} is not in the vocabulary "
                f"({', '.join(f'{i}: {n}' for n, i in zip(self.names, self.ids, strict=True))})."
            ) from None

    def ids_like(self, words: Iterable[str | None]) -> list[int]:
        """The category id of each word, whatever its case and the space around it, or `UNMAPPED`.

        A label of just that word goes first.
        """
        exact = dict(zip(self.names, self.ids, strict=True))
        alike = {name.strip().casefold(): i for name, i in exact.items()}
        given = ("" if word is None else word for word in words)  # no label is empty
        return [exact.get(w, alike.get(w.strip().casefold(), UNMAPPED)) for w in given]

    def positions(self, category_id: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) category ids -> (n,) positions in `names`; `UNMAPPED` where there is none."""
        return positions_in(self.ids, category_id)

    def places(self, category_id: NDArray[np.integer]) -> NDArray[np.int64]:
        """Likewise; LabelError for the first category that there is none of."""
        found = self.positions(category_id)
        for unknown in category_id[found < 0].tolist():
            self.name_of(unknown)
        return found


@dataclass(frozen=True, slots=True)
class LabelMapping:
    """From a detector's label numbers to the data set's category ids.

    `category_id` has one entry for each label of the detector: the data set's category id, or
    `UNMAPPED` for a label whose boxes are left out.
    """

    category_id: NDArray[np.int32]
    unmapped: tuple[str, ...]
    never_predicted: tuple[str, ...]

    __repr__ = brief

    def report(self, detector: str, *, lost: str = "boxes labelled", are: str = "are") -> list[str]:
        """What did not map, one sentence each, for the log and the summary.

        `lost` and `are` are the words for what is lost of a label.
        """
        lines = []
        if self.unmapped:
            lines.append(
                f"{detector}: {lost} {_listed(self.unmapped)} {are} left out, since the "
                "data set has no such label; map them under its `labels:`."
            )
        if self.never_predicted:
            lines.append(
                f"{detector}: knows nothing of {_listed(self.never_predicted)}, "
                "so it has no vote there."
            )
        return lines


def map_labels(
    detector_labels: Sequence[str],
    labels: Labels,
    renamed: Mapping[str, str],
    *,
    detector: str,
    noun: str = "Detector",
) -> LabelMapping:
    """Map a detector's labels onto the data set's; `noun` is what messages call it.

    A label is first renamed by `renamed` (the detector's word -> the data set's word), then
    matched exactly; when that fails, without regard to case and surrounding space. Raises
    LabelError when `renamed` names a word that one of the two sides does not have, or when
    nothing maps at all, for then every box would be lost.
    """
    for ours, theirs in renamed.items():
        if ours not in detector_labels:
            raise LabelError(
                f"{noun} '{detector}' has no label '{ours}' to rename "
                f"(it has {_listed(detector_labels)}).",
                hint=did_you_mean(ours, detector_labels),
            )
        if theirs not in labels:
            raise LabelError(
                f"{noun} '{detector}': '{ours}' is mapped to '{theirs}', which is not a label "
                f"of the data set ({_listed(labels.names)}).",
                hint=did_you_mean(theirs, labels.names),
            )
    words = [renamed.get(name, name) for name in detector_labels]
    category_id = np.array(labels.ids_like(words), dtype=np.int32)
    if not (category_id != UNMAPPED).any():
        raise LabelError(
            f"No label of {noun.lower()} '{detector}' ({_listed(detector_labels)}) is one of the "
            f"data set's ({_listed(labels.names)}).",
            hint=f"map them under `labels:` of the {noun.lower()}, for example `labels: "
            f"{{{detector_labels[0] if detector_labels else 'theirs'}: {labels.names[0]}}}`",
        )
    mapped = set(category_id.tolist())
    return LabelMapping(
        category_id=category_id,
        unmapped=tuple(
            name for name, i in zip(detector_labels, category_id, strict=True) if i == UNMAPPED
        ),
        never_predicted=tuple(
            name for name, i in zip(labels.names, labels.ids, strict=True) if i not in mapped
        ),
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
