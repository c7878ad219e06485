"""What is told of a run, and in which words."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from quorate.spec.notify import Event

LONGEST = 600
"""The most characters of a line."""
MOST = 5
"""The most failures and notes that are listed; further ones are counted."""


class Voter(msgspec.Struct, frozen=True):
    """A detector, as `summary.json` has it."""

    name: str
    boxes: int
    ap50: float | None = None
    failed: str = ""

    @property
    def told(self) -> str:
        """What it found, and how well."""
        measured = "" if self.ap50 is None else f", AP50 {self.ap50:.3f}"
        return f"{_number(self.boxes, 'box', 'boxes')}{measured}"


class ClassVoter(msgspec.Struct, frozen=True):
    """A classifier, as `summary.json` has it."""

    name: str
    pictures: int
    accuracy: float | None = None
    failed: str = ""

    @property
    def told(self) -> str:
        """How many pictures it labelled, and how well."""
        measured = "" if self.accuracy is None else f", accuracy {self.accuracy:.3f}"
        return f"{_number(self.pictures, 'label')}{measured}"


class Unread(msgspec.Struct, frozen=True):
    """A picture that could not be read."""

    file_name: str
    reason: str


class Counts(msgspec.Struct, frozen=True):
    """The part of `summary.json` that is told."""

    method: str
    images: int
    published: int
    degraded: bool
    detectors: tuple[Voter, ...]
    skipped: tuple[Unread, ...] = ()

    @property
    def voters(self) -> tuple[Voter, ...] | tuple[ClassVoter, ...]:
        """Who took part, or failed."""
        return self.detectors

    @property
    def found(self) -> str:
        """What was found."""
        return _number(self.published, "box", "boxes")


class ClassCounts(msgspec.Struct, frozen=True):
    """The same of an ensemble of classifiers."""

    method: str
    images: int
    published: int
    degraded: bool
    classifiers: tuple[ClassVoter, ...]
    skipped: tuple[Unread, ...] = ()

    @property
    def voters(self) -> tuple[Voter, ...] | tuple[ClassVoter, ...]:
        """Who took part, or failed."""
        return self.classifiers

    @property
    def found(self) -> str:
        """What was found."""
        return _number(self.published, "label")


class Trained(msgspec.Struct, frozen=True):
    """A trainer, as `results.json` of a training has it; `ap` None where it failed."""

    name: str
    ap: float | None = None
    ap50: float | None = None
    failed: str = ""

    @property
    def told(self) -> str:
        """How good its detector is."""
        measured = [f"{what} {value:.3f}" for what, value in (("AP", self.ap), ("AP50", self.ap50))
                    if value is not None]  # fmt: skip
        return ", ".join(measured) or "no AP: the truth has no box"


class TrainingCounts(msgspec.Struct, frozen=True):
    """The same of a training: its trainers, and how good they are on pictures held out.

    Nothing is fused. Pictures that could not be read are told by the report.
    """

    method: ClassVar[str] = ""
    skipped: ClassVar[tuple[Unread, ...]] = ()

    pictures: int
    best: str
    trainers: tuple[Trained, ...]

    @property
    def images(self) -> int:
        """How many pictures were held out."""
        return self.pictures

    @property
    def degraded(self) -> bool:
        """Whether a trainer failed."""
        return any(one.failed for one in self.trainers)

    @property
    def voters(self) -> tuple[Trained, ...]:
        """Who learnt, or failed."""
        return self.trainers

    @property
    def found(self) -> str:
        """Who is best."""
        one = next((one for one in self.trainers if one.name == self.best), None)
        return f"{self.best} is best with {one.told}" if one else f"{self.best} is best"


AnyCounts = Counts | ClassCounts | TrainingCounts


def counts_of(summary: object) -> AnyCounts:
    """The part of a run's summary that is told; of a struct, or of what its JSON file holds.

    msgspec.ValidationError where it is none.
    """
    kinds: dict[str, Any] = {"classifiers": ClassCounts, "trainers": TrainingCounts}
    names = summary if isinstance(summary, dict) else dir(summary)
    kind = next((kind for name, kind in kinds.items() if name in names), Counts)
    found: AnyCounts = msgspec.convert(summary, kind, from_attributes=True)
    return found


class Failure(msgspec.Struct, frozen=True):
    """A part of the run that failed, and its message."""

    node: str
    message: str


class Link(msgspec.Struct, frozen=True):
    """Where to read more."""

    title: str
    url: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one run.

    event     started, trained, succeeded, degraded or failed
    ensemble  the spec's name
    trainer   of the event trained: who
    run       the run's name: the workflow, or a folder on this machine
    uid       tells runs of one name apart; "" where names are unique
    time      when it happened, with its time zone
    counts    None where nothing was published
    """

    event: Event
    ensemble: str
    run: str
    uid: str = ""
    time: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    counts: AnyCounts | None = None
    trainer: str = ""
    failures: tuple[Failure, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def id(self) -> str:
        """The same for the same event of the same run, however often it is sent."""
        told = (self.run, self.uid, self.event, *([self.trainer] if self.trainer else ()))
        digest = hashlib.sha256("\n".join(told).encode())
        return f"msg_{digest.hexdigest()[:32]}"

    @property
    def title(self) -> str:
        """One line."""
        if self.event == "failed":
            why = self.failures[0].message if self.failures else "no part of it said why"
            return line(f"{self.ensemble} failed: {why}", 200)
        found, lost = "", ""
        if self.counts is not None:
            pictures = _number(self.counts.images, "picture")
            found = f": {self.counts.found} on {pictures}"
            lost = ", ".join(voter.name for voter in self.counts.voters if voter.failed)
        if self.event == "trained":
            told = "" if self.counts is None else f": {self.counts.voters[0].told} on {pictures}"
            return line(f"{self.ensemble}: {self.trainer} is trained{told}", 200)
        if self.event == "degraded":
            return line(f"{self.ensemble} is degraded{found} without {lost or 'a detector'}", 200)
        return line(f"{self.ensemble} {self.event}{found}", 200)

    @property
    def lines(self) -> tuple[str, ...]:
        """The text below the title, without the links."""
        said = [f"Run: {self.run}"]
        if self.counts is not None:
            said += [f"Method: {self.counts.method}"] * bool(self.counts.method)
            said += [
                f"{voter.name}: " + (f"failed, {voter.failed}" if voter.failed else voter.told)
                for voter in self.counts.voters
            ]
            said += _listed(
                [f"Could not be read: {one.file_name}, {one.reason}" for one in self.counts.skipped]
            )
        said += _listed([f"Failed: {one.node}: {one.message}" for one in self.failures])
        return tuple(line(one) for one in said)


def line(text: str, most: int = LONGEST) -> str:
    """One line of printable characters of at most `most`: safe as a header and in a chat."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    plain = " ".join(words)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def _listed(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], f"… and {more:,} more"]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
