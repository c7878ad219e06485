"""A member that is ready: loaded, its labels mapped onto the data set's, its answers checked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate._version import __version__
from quorate.display import merged
from quorate.errors import DetectorError, QuorateError, StorageError
from quorate.labels import Labels, map_labels
from quorate.spec import Classifier, Detector
from quorate.spec.member import Member
from quorate.steps.boxes import BoxesOf
from quorate.steps.probabilities import ProbabilitiesOf
from quorate.steps.work import Skipped, fingerprint
from quorate.storage import is_s3, open_tree, read_bytes
from quorate.workers import in_threads

Seen = tuple[Any, ...] | Skipped | QuorateError
"""What became of one picture and one member: an answer (boxes for each of a detector's voters, a
classifier's probabilities), or why there is none."""


@dataclass(frozen=True)
class Voter:
    """A member that is ready: described, loaded, its labels mapped onto the data set's.

    says          what its answers are, and how they become columns
    about         what its model was taken for, in words; {} where it does not tell
    notes         what there is to say of it, a sentence each
    take_dropped  how many boxes it left out since this was last asked, by the reason
    """

    member: Member
    says: BoxesOf | ProbabilitiesOf
    words: tuple[str, ...]
    about: Mapping[str, str]
    notes: tuple[str, ...] = ()
    take_dropped: Callable[[], dict[str, int]] = dict

    @classmethod
    def load(cls, member: Member, labels: Labels) -> Voter:
        """Read the weights and map the labels; DetectorError or LabelError where that fails."""
        return cls.of(member, member.load(), labels)

    @classmethod
    def of(cls, member: Member, predictor: Any, labels: Labels) -> Voter:
        """Map the labels of a member that is loaded."""
        words = tuple(predictor.labels)
        noun = "Classifier" if isinstance(member, Classifier) else "Detector"
        mapping = map_labels(words, labels, member.labels, detector=member.name, noun=noun)
        says: BoxesOf | ProbabilitiesOf
        if isinstance(member, Classifier):
            says = ProbabilitiesOf(member, predictor, mapping, labels)
        elif isinstance(member, Detector):
            says = BoxesOf.by(member, predictor, mapping)
        else:
            raise TypeError(f"{type(member).__name__} is neither a Detector nor a Classifier")
        return cls(
            member,
            says,
            words,
            getattr(predictor, "told", {}),
            tuple(getattr(predictor, "notes", ())),
            getattr(predictor, "take_dropped", dict),
        )

    @property
    def name(self) -> str:
        """What the member is called."""
        return self.member.name

    @property
    def batch(self) -> int:
        """How many pictures it likes to be shown at once."""
        return int(getattr(self.says.predictor, "batch", 1))

    def answers(self, names: Sequence[str], shown: Sequence[NDArray[np.uint8]]) -> list[Seen]:
        """The answers to any number of pictures with their names, at most `batch` in one call.

        Where a call fails, its pictures are shown one by one, to know which it was; the answer of
        that one is the error. Raises StorageError where a model server does not answer.
        """
        answers: list[Seen] = []
        for start in range(0, len(shown), self.batch):
            part = slice(start, start + self.batch)
            answers += self._patiently(names[part], shown[part])
        return answers

    def _patiently(self, names: Sequence[str], shown: Sequence[NDArray[np.uint8]]) -> list[Seen]:
        try:
            return [*self.says.look(shown)]
        except StorageError:
            raise
        except Exception as error:  # a plug-in may raise anything; it costs the member's votes
            if len(shown) == 1:
                reason = error.message if isinstance(error, QuorateError) else repr(error)
                return [DetectorError(f"{names[0]}: {reason}")]
        each = range(len(shown))
        return [self._patiently(names[i : i + 1], shown[i : i + 1])[0] for i in each]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the answers depend on, save the pictures."""
        about = self.member.model_dump_json(exclude=set(self.member.aside))
        return fingerprint(
            __version__,
            about,
            *(part for location in self.member.files for part in contents(location)),
            repr(self.words),
            self.says.mapping.category_id.tobytes(),
            *self.says.depends_on,
        )


def load_all(members: Iterable[Member]) -> dict[str, Any]:
    """Each member loaded, by name; a warning of several is one line in the log, that names them.

    Several are loaded at once, in threads. Raises DetectorError for the first of them, in their
    order, that cannot be loaded.
    """
    log = logging.getLogger("quorate.detectors")
    wanted = list(members)
    loading: dict[int, str] = {}
    said: dict[str, list[str]] = {member.name: [] for member in wanted}

    def let_through(record: logging.LogRecord) -> bool:
        name = loading.get(record.thread or 0)
        if name is None or record.levelno < logging.WARNING:
            return True
        said[name].append(record.getMessage())
        return False

    def load(member: Member) -> Any:
        loading[get_ident()] = member.name
        return member.load()

    log.addFilter(let_through)
    try:
        found = in_threads(load, wanted)
    finally:
        log.removeFilter(let_through)
        for line in merged(f"{name}: {what}" for name in said for what in said[name]):
            log.warning("%s", line)
    return {member.name: one for member, one in zip(wanted, found, strict=True)}


def contents(location: str) -> Iterator[bytes]:
    """The bytes of a file, or of each file in a folder."""
    if os.path.isdir(location) or (is_s3(location) and location.endswith("/")):
        with open_tree(location) as tree:
            for name in tree.names():
                yield name.encode()
                yield tree.read(name)
    else:
        yield read_bytes(location)
