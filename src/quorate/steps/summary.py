"""What a run came to, in a few numbers and names."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.display import brief, html_table
from quorate.errors import FormatError
from quorate.steps.work import Skipped
from quorate.storage import join

REVIEWED = 10
"""How many pictures the summary names to be looked at first."""


class Voted(msgspec.Struct, frozen=True):
    """One detector, or the ensemble, in the summary.

    `ap`, `ap50` and `effort` are None where there is no truth; `effort` holds what a person would
    have to do to its boxes from the score that is published on, as `Effort.to_dict` has it.
    """

    name: str
    boxes: int
    ap: float | None = None
    ap50: float | None = None
    effort: dict[str, Any] | None = None
    failed: str = ""


class Summary(msgspec.Struct, frozen=True):
    """What a run came to; `summary.json` holds the same, its files by their places beside it.

    about  what each detector's model was taken for, in words: layout, input, colours, boxes, names
    """

    name: str
    method: str
    images: int
    detectors: tuple[Voted, ...]
    ensemble: Voted
    published: int
    votes: dict[str, int]
    degraded: bool
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    review: tuple[str, ...]
    files: tuple[str, ...]
    about: dict[str, dict[str, str]] = {}

    __repr__ = brief

    def _repr_html_(self) -> str:
        rows = [
            {"": one.name, "boxes": one.boxes, "AP": one.ap, "AP50": one.ap50, "failed": one.failed}
            for one in (*self.detectors, self.ensemble)
        ]
        boxes = f"{self.published:,} boxes published in {self.images:,} pictures"
        return html_table(f"{self.name}: {self.method}, {boxes}", rows)

    def at(self, out: str) -> Summary:
        """The same with the files' locations, of a summary that lies in the folder `out`."""
        return msgspec.structs.replace(self, files=tuple(join(out, name) for name in self.files))


class ClassVoted(msgspec.Struct, frozen=True):
    """One classifier, or the ensemble, in the summary.

    `accuracy` and `top5` are None where there is no truth, `top5` too of five labels or fewer.
    """

    name: str
    pictures: int
    accuracy: float | None = None
    top5: float | None = None
    failed: str = ""


class ClassSummary(msgspec.Struct, frozen=True):
    """What a run of a classification ensemble came to; `summary.json` holds the same.

    published  how many pictures have a label that is written
    counts     how many of these have each label; labels of no picture are left out
    votes      how many pictures' labels so many classifiers voted for
    truth      where the true labels were found, '' for nowhere
    about      what each classifier's model was taken for, in words
    """

    name: str
    method: str
    images: int
    classifiers: tuple[ClassVoted, ...]
    ensemble: ClassVoted
    published: int
    counts: dict[str, int]
    votes: dict[str, int]
    degraded: bool
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    review: tuple[str, ...]
    files: tuple[str, ...]
    truth: str = ""
    about: dict[str, dict[str, str]] = {}

    __repr__ = brief

    def _repr_html_(self) -> str:
        rows = [
            {"": one.name, "pictures": one.pictures, "accuracy": one.accuracy, "failed": one.failed}
            for one in (*self.classifiers, self.ensemble)
        ]
        return html_table(f"{self.name}: {self.method}, {self.images:,} pictures", rows)

    def at(self, out: str) -> ClassSummary:
        """The same with the files' locations, of a summary that lies in the folder `out`."""
        return msgspec.structs.replace(self, files=tuple(join(out, name) for name in self.files))


def summary_of(data: bytes) -> Summary | ClassSummary:
    """A `summary.json`, of either kind; FormatError where it is none."""
    kinds: tuple[type[Summary] | type[ClassSummary], ...] = (Summary, ClassSummary)
    faults = []
    for kind in kinds:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            faults.append(error)
    raise FormatError(f"summary.json: {faults[0]}.")
