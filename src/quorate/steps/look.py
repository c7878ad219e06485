"""One picture in, a decision out: an ensemble that is loaded and answers picture by picture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

from quorate import pictures
from quorate.classifications import Decision
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.display import of_field
from quorate.errors import QuorateError, StorageError
from quorate.labels import Labels
from quorate.pictures import Picture, pixels
from quorate.spec import ClassificationSpec, Ensemble, EnsembleSpec
from quorate.steps.fuse import decide, refuse_too_few
from quorate.steps.prepare import vocabulary
from quorate.steps.voter import Seen, Voter
from quorate.steps.whole import Loaded
from quorate.storage import read_bytes
from quorate.workers import processors

E = TypeVar("E", bound=Ensemble)
D = TypeVar("D")


class LoadedMembers(Generic[E, D]):
    """What all loaded ensembles have in common: members that are asked at the same time.

    Any number of threads may call it at once. Use it as a context manager, or call `close`.

    ensemble  the description
    labels    the vocabulary that `category_id` refers to
    """

    def __init__(
        self,
        ensemble: E,
        *,
        labels: Labels | None = None,
        workers: int | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        servers_may_fail: bool = False,
    ) -> None:
        """See `DetectionEnsemble.load`."""
        for member in ensemble.members:
            if isinstance(member, ContainerDetector):
                member.load()
        pictures.allow(ensemble.max_pixels)
        loaded = Loaded.load(ensemble)
        self.ensemble = ensemble
        self.labels = _labels(ensemble, loaded) if labels is None else labels
        self._voters = loaded.voters(self.labels)
        self._size = max(voter.batch for voter in self._voters)
        self._tell = on_failure or _warn
        self._servers_may_fail = servers_may_fail
        self._pool = ThreadPoolExecutor(workers or processors(), thread_name_prefix="look")
        self._asking = ThreadPoolExecutor(
            max(processors(), len(self._voters)), thread_name_prefix="ask"
        )

    def look(self, picture: Picture) -> D:
        """What is decided on one picture.

        A member that fails on the picture costs its votes, and `on_failure` is told. The members
        look at it at the same time, for a picture that comes alone leaves processors idle.

        Raises:
            ImageError: a file or bytes that are no picture.
            InputError: there is no such file, or the array is not of that shape.
            QuorumError: fewer members than the quorum answered.
            StorageError: a file's store or a model server did not answer.
        """
        return self._decided(0, self._seen(0, [picture], self._asking.map)[0])

    def look_many(self, pictures: Iterable[Picture]) -> list[D]:
        """Likewise of each picture, in order; `image_id` is its place in `pictures`, from 0.

        Pictures are at work in several threads, and a member that likes several at once is shown
        neighbours together. The answers are those of `look`.
        """
        pictures = [*pictures]
        starts = range(0, len(pictures), self._size)

        def decided(start: int) -> list[D]:
            seen = self._seen(start, pictures[start : start + self._size])
            return [self._decided(start + i, answers) for i, answers in enumerate(seen)]

        return [found for together in self._pool.map(decided, starts) for found in together]

    def close(self) -> None:
        """End the threads; what is at work is finished first."""
        self._pool.shutdown()
        self._asking.shutdown()

    def __repr__(self) -> str:
        names = [member.name for member in self.ensemble.members]
        field = self.ensemble.members_field
        return f"{type(self).__name__}({self.ensemble.name!r}, {field}={of_field(names)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seen(
        self, start: int, given: Sequence[Picture], each: Callable[..., Iterable[Any]] = map
    ) -> list[dict[str, Seen]]:
        """What each member, by its name, sees in each of a few pictures; `each` calls them."""
        names = [_named(picture, start + i) for i, picture in enumerate(given)]
        shown = [
            pixels(picture, name=name, read=read_bytes)
            for picture, name in zip(given, names, strict=True)
        ]

        def ask(voter: Voter) -> Sequence[Seen]:
            try:
                return voter.answers(names, shown)
            except StorageError as error:
                if not self._servers_may_fail:
                    raise
                return [error] * len(shown)

        answers: list[dict[str, Seen]] = [{} for _ in shown]
        for voter, found in zip(self._voters, each(ask, self._voters), strict=True):
            for answer, seen in zip(answers, found, strict=True):
                answer[voter.name] = seen
        return answers

    def _took_part(
        self, position: int, answers: dict[str, Seen]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The tables of the members that answered, and why the others did not.

        QuorumError where these are too few.
        """
        failed = {n: seen.message for n, seen in answers.items() if isinstance(seen, QuorateError)}
        refuse_too_few(self.ensemble, failed)
        for name, reason in failed.items():
            self._tell(name, reason)
        tables = {
            voter.name: voter.says.columns([position], [seen])
            for voter in self._voters
            if isinstance(seen := answers[voter.name], tuple)
        }
        return tables, failed

    def _decided(self, position: int, answers: dict[str, Seen]) -> D:
        raise NotImplementedError


class LoadedEnsemble(LoadedMembers[EnsembleSpec, Detections]):
    """An ensemble whose detectors are loaded; `DetectionEnsemble.load` makes one.

    `look` gives the fused boxes of a picture, by falling score: `detectors` names the voters that
    took part, `votes` how many carried each box, and `image_id` is 0.

    Its boxes are those that `run` publishes for the same picture, to the last bit: the same views
    and tiles, limits of each detector, labels, calibrations, fusion, quorum and
    `publish.min_score`. Any number of threads may call it at once. Use it as a context manager, or
    call `close`.

    ensemble  the description
    labels    the vocabulary that `category_id` refers to
    """

    def __init__(
        self,
        ensemble: EnsembleSpec,
        *,
        labels: Labels | None = None,
        workers: int | None = None,
        on_failure: Callable[[str, str], None] | None = None,
        servers_may_fail: bool = False,
    ) -> None:
        """See `DetectionEnsemble.load`."""
        super().__init__(
            ensemble,
            labels=labels,
            workers=workers,
            on_failure=on_failure,
            servers_may_fail=servers_may_fail,
        )
        # What is wrong with the fusion is said now, and its kernels are compiled now.
        voters = [name for voter in self._voters for name in voter.member.voters]
        decide([Detections.empty(voters)], ensemble, self.labels)

    def _decided(self, position: int, answers: dict[str, Seen]) -> Detections:
        tables, _ = self._took_part(position, answers)
        fused: Detections = decide([*tables.values()], self.ensemble, self.labels, threads=1)
        return fused.take(fused.score >= self.ensemble.publish.min_score)


class LoadedClassification(LoadedMembers[ClassificationSpec, Decision]):
    """An ensemble whose classifiers are loaded; `ClassificationEnsemble.load` makes one.

    `look` gives a `Decision`: the label, its probability and its position in the vocabulary, the
    next likeliest, what each classifier said, and which of them failed. Its probabilities are those
    of `run` for the same picture, to the last bit. Any number of threads may call it at once. Use
    it as a context manager, or call `close`.

    ensemble  the description
    labels    the vocabulary
    """

    def _decided(self, position: int, answers: dict[str, Seen]) -> Decision:
        tables, failed = self._took_part(position, answers)
        return Decision(decide([*tables.values()], self.ensemble, self.labels), failed)


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
