"""One picture in, a decision out: an ensemble that is loaded and answers picture by picture."""

from __future__ import annotations

import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from quorate import pictures
from quorate.classifications import Classifications, Decision
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.display import of_field
from quorate.errors import DetectorError, QuorateError, as_value
from quorate.labels import Labels
from quorate.pictures import Picture, pixels
from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec
from quorate.steps.asking import Members, Told, Unwanted, always, nobody
from quorate.steps.fuse import decide, refuse_too_few
from quorate.steps.prepare import vocabulary
from quorate.steps.voter import Seen
from quorate.steps.whole import Loaded
from quorate.steps.wide import widened
from quorate.storage import read_bytes
from quorate.workers import processors


class Answer(NamedTuple):
    """What an ensemble says of one picture; `image_id` is 0 everywhere.

    boxes   what the quorum decided, by falling score
    own     each detector's own boxes, before calibration, by its name; of those that took part
    failed  why the others took no part, by their names
    """

    boxes: Detections
    own: Mapping[str, Detections]
    failed: Mapping[str, str]


PROBE = np.full((480, 640, 3), 114, np.uint8)
"""A grey picture, to try what is loaded."""
TRIES = 4
"""How often each way is tried, of which the quickest counts."""
E = TypeVar("E", bound=Ensemble)
A = TypeVar("A", Answer, Decision)
D = TypeVar("D")


class LoadedMembers(ABC, Generic[E, A, D]):
    """What every loaded ensemble does, whatever its members say of a picture.

    ensemble  the description
    labels    the vocabulary that `category_id` refers to
    batch     how many pictures its members like to be shown at once
    """

    def __init__(
        self,
        ensemble: E,
        *,
        labels: Labels | None = None,
        workers: int | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        servers_may_fail: bool = False,
        patience: float | None = None,
    ) -> None:
        """See `DetectionEnsemble.load`."""
        for member in ensemble.members:
            if isinstance(member, ContainerDetector):
                member.load()
        self._most_pixels = pictures.own_limit(ensemble.max_pixels)
        loaded = Loaded.load(ensemble)
        self.ensemble = ensemble
        self.labels = _labels(ensemble, loaded) if labels is None else labels
        self._voters = self._wide = loaded.voters(self.labels)
        self.batch = max(voter.batch for voter in self._voters)
        self._tell = on_failure or _warn
        self._pool = ThreadPoolExecutor(workers or processors(), thread_name_prefix="look")
        self._members = Members(self._voters, patience=patience, servers_may_fail=servers_may_fail)
        # What is wrong with the fusion is said now, and its kernels are compiled now.
        decide([voter.says.columns([], []) for voter in self._voters], ensemble, self.labels)

    def look(self, picture: Picture) -> D:
        """What is decided on one picture; `image_id` is 0.

        A member that fails on the picture costs its votes, and `on_failure` is told. The members
        look at it at the same time, for a picture that comes alone leaves processors idle.

        Raises:
            ImageError: a file or bytes that are no picture.
            InputError: there is no such file, or the array is not of that shape.
            QuorumError: fewer members than the quorum answered.
            StorageError: a file's store or a model server did not answer.
        """
        [answer] = self.answers([picture])
        if isinstance(answer, Exception):
            raise answer
        return self._told(answer)

    def answers(
        self,
        given: Sequence[Picture],
        *,
        names: Sequence[str] | None = None,
        only: str | None = None,
        wanted: Callable[[], bool] = always,
        told: Told = nobody,
        alone: bool = False,
    ) -> list[A | QuorateError]:
        """Of each picture what is decided, with what each member says; or why there is nothing.

        The pictures are decoded one after the other, and the members look at them at the same
        time. A picture's answer does not depend on the others.

        Args:
            given: pictures.
            names: what messages call them; by default their paths, or their places in `given`.
            only: the name of one member, whose own word is then the answer.
            wanted: asked before each part of the work whether anybody waits for the answers.
            told: told when each member looked at the pictures, and how long it took.
            alone: nothing else is at work, so every processor may work for these; after `widen`.

        Raises:
            StorageError: a model server did not answer, where that costs more than its votes.
            Unwanted: `wanted` said no.
        """
        called = names or [_named(picture, i) for i, picture in enumerate(given)]
        shown: list[NDArray[np.uint8] | QuorateError] = []
        for picture, name in zip(given, called, strict=True):
            if not wanted():
                raise Unwanted
            shown.append(self._shown(picture, name))
        there = [i for i, one in enumerate(shown) if not isinstance(one, QuorateError)]
        names = [called[i] for i in there]
        voters = [v for v in (self._wide if alone else self._voters) if only in (None, v.name)]
        pixels = [one for one in shown if not isinstance(one, QuorateError)]
        seen = self._members.ask(voters, names, pixels, wanted, told) if there else []

        def answer(position: int) -> A | QuorateError:
            by_name = {v.name: s[position] for v, s in zip(voters, seen, strict=True)}
            try:
                return self._answer(0, by_name, only)
            except QuorateError as error:
                return as_value(error)

        answers = iter([answer(position) for position in range(len(there))])
        return [one if isinstance(one, QuorateError) else next(answers) for one in shown]

    def look_many(self, pictures: Iterable[Picture]) -> list[D]:
        """Likewise of each picture, in order; `image_id` is its place in `pictures`, from 0.

        Pictures are at work in several threads, and a member that likes several at once is shown
        neighbours together. The answers are those of `look`.
        """
        pictures = [*pictures]
        starts = range(0, len(pictures), self.batch)

        def decided(start: int) -> list[D]:
            given = pictures[start : start + self.batch]
            names = [_named(picture, start + i) for i, picture in enumerate(given)]
            shown = [
                pixels(picture, name=name, read=read_bytes, most=self._most_pixels)
                for picture, name in zip(given, names, strict=True)
            ]
            seen = [self._members.answers(voter, names, shown) for voter in self._voters]
            found = []
            for i, each in enumerate(zip(*seen, strict=True)):
                by_name = {v.name: s for v, s in zip(self._voters, each, strict=True)}
                found.append(self._told(self._answer(start + i, by_name)))
            return found

        return [found for together in self._pool.map(decided, starts) for found in together]

    def widen(self) -> list[str]:
        """Open the networks a second time, for pictures that are `alone`; see `steps.wide`.

        They are kept where they are quicker, which is tried: not where the members keep every
        processor busy as it is. The names of those that are left as they are because their numbers
        would differ.
        """
        wide, unlike = widened(self._voters)
        if any(one is not voter for one, voter in zip(wide, self._voters, strict=True)):
            seconds: dict[bool, list[float]] = {False: [], True: []}
            self._wide = wide
            for alone in [False, True] * TRIES:
                start = time.perf_counter()
                self.answers([PROBE], alone=alone)
                seconds[alone].append(time.perf_counter() - start)
            if min(seconds[True]) >= min(seconds[False]):
                self._wide = self._voters
        return unlike

    def close(self) -> None:
        """End the threads; what is at work is finished first."""
        self._pool.shutdown()
        self._members.close()

    def __repr__(self) -> str:
        names = [member.name for member in self.ensemble.members]
        field = self.ensemble.members_field
        return f"{type(self).__name__}({self.ensemble.name!r}, {field}={of_field(names)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shown(self, picture: Picture, name: str) -> NDArray[np.uint8] | QuorateError:
        """A picture's pixels, or why it has none."""
        try:
            return pixels(picture, name=name, read=read_bytes, most=self._most_pixels)
        except QuorateError as error:
            return as_value(error)

    def _answer(self, position: int, seen: Mapping[str, Seen], only: str | None = None) -> A:
        """What is made of what the members saw in one picture; QuorumError for too few."""
        failed = {n: one.message for n, one in seen.items() if isinstance(one, QuorateError)}
        own: dict[str, Any] = {
            voter.name: voter.says.columns([position], [one])
            for voter in self._voters
            if isinstance(one := seen.get(voter.name), tuple)
        }
        if only is not None:
            if only in failed:
                raise DetectorError(f"{only}: {failed[only]}")
            return self._made(own[only], own, failed)
        refuse_too_few(self.ensemble, failed)
        fused = decide([*own.values()], self.ensemble, self.labels, threads=1)
        return self._made(self._published(fused), own, failed)

    def _told(self, answer: A) -> D:
        """What `look` gives of an answer; failures are told."""
        for name, reason in answer.failed.items():
            self._tell(name, reason)
        return self._given(answer)

    def _published(self, fused: Any) -> Any:
        return fused

    @abstractmethod
    def _made(self, decided: Any, own: Mapping[str, Any], failed: Mapping[str, str]) -> A:
        """The answer of what was decided, with what each member says, and those that failed."""

    @abstractmethod
    def _given(self, answer: A) -> D:
        """What `look` gives of an answer."""


class LoadedEnsemble(LoadedMembers[EnsembleSpec, Answer, Detections]):
    """An ensemble whose detectors are loaded; `DetectionEnsemble.load` makes one.

    `look` gives the fused boxes of a picture, by falling score: `detectors` names the voters that
    took part, `votes` how many carried each box, and `image_id` is 0. `answers` gives an `Answer`,
    with the detectors' own boxes.

    Its boxes are those that `run` publishes for the same picture, to the last bit: the same views
    and tiles, limits of each detector, labels, calibrations, fusion, quorum and
    `publish.min_score`. Any number of threads may call it at once. Use it as a context manager, or
    call `close`.

    ensemble  the description
    labels    the vocabulary that `category_id` refers to
    batch     how many pictures its detectors like to be shown at once
    """

    def _published(self, fused: Detections) -> Detections:
        return fused.take(fused.score >= self.ensemble.publish.min_score)

    def _made(
        self, decided: Detections, own: Mapping[str, Detections], failed: Mapping[str, str]
    ) -> Answer:
        return Answer(decided, own, failed)

    def _given(self, answer: Answer) -> Detections:
        return answer.boxes


class LoadedClassification(LoadedMembers[ClassificationSpec, Decision, Decision]):
    """An ensemble whose classifiers are loaded; `ClassificationEnsemble.load` makes one.

    `look` gives a `Decision`: the label, its probability and its position in the vocabulary, the
    next likeliest, what each classifier said, and which of them failed. Its probabilities are those
    of `run` for the same picture, to the last bit. Any number of threads may call it at once. Use
    it as a context manager, or call `close`.

    ensemble  the description
    labels    the vocabulary
    batch     how many pictures its classifiers like to be shown at once
    """

    def _made(
        self,
        decided: Classifications,
        own: Mapping[str, Classifications],
        failed: Mapping[str, str],
    ) -> Decision:
        return Decision(decided, failed)

    def _given(self, answer: Decision) -> Decision:
        return answer


def _labels(ensemble: Ensemble, loaded: Loaded) -> Labels:
    """The vocabulary of a run: with the category ids of the spec's data set, where it has one."""
    known = Labels((), ())
    if ensemble.data is not None:
        from quorate.formats import read

        known = read(ensemble.data).labels
    return vocabulary(ensemble, known, loaded.words)


def _named(picture: Picture, position: int) -> str:
    """What messages call a picture."""
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"picture {position}"


def _warn(member: str, reason: str) -> None:
    warnings.warn(f"{member} takes no part: {reason}", RuntimeWarning, stacklevel=2)
