"""One picture in, fused boxes out: an ensemble that is loaded and answers picture by picture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from quorate import pictures
from quorate.detections import Detections
from quorate.detectors.container import ContainerDetector
from quorate.display import of_field
from quorate.errors import QuorateError, StorageError
from quorate.labels import Labels
from quorate.pictures import Picture, pixels
from quorate.spec import EnsembleSpec
from quorate.steps.fuse import decide, refuse_too_few
from quorate.steps.prepare import vocabulary
from quorate.steps.voter import Seen, Voter
from quorate.steps.whole import Loaded
from quorate.storage import read_bytes
from quorate.workers import processors


class LoadedEnsemble:
    """An ensemble whose detectors are loaded; `DetectionEnsemble.load` makes one.

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
        for detector in ensemble.detectors:
            if isinstance(detector, ContainerDetector):
                detector.load()
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
        # What is wrong with the fusion is said now, and its kernels are compiled now.
        voters = [name for voter in self._voters for name in voter.detector.voters]
        decide(Detections.empty(voters), ensemble, self.labels)

    def look(self, picture: Picture) -> Detections:
        """The fused boxes of one picture, by falling score; `image_id` is 0.

        `detectors` names the voters that took part, `votes` how many carried each box. A detector
        that fails on the picture costs its votes, and `on_failure` is told. The detectors look at
        it at the same time, for a picture that comes alone leaves processors idle.

        Raises:
            ImageError: a file or bytes that are no picture.
            InputError: there is no such file, or the array is not of that shape.
            QuorumError: fewer detectors than the quorum answered.
            StorageError: a file's store or a model server did not answer.
        """
        return self._decided(0, self._seen(0, [picture], self._asking.map)[0])

    def look_many(self, pictures: Iterable[Picture]) -> list[Detections]:
        """Likewise of each picture, in order; `image_id` is its place in `pictures`, from 0.

        Pictures are at work in several threads, and a detector that likes several at once is shown
        neighbours together. The boxes are those of `look`.
        """
        pictures = [*pictures]
        starts = range(0, len(pictures), self._size)

        def decided(start: int) -> list[Detections]:
            seen = self._seen(start, pictures[start : start + self._size])
            return [self._decided(start + i, answers) for i, answers in enumerate(seen)]

        return [found for together in self._pool.map(decided, starts) for found in together]

    def close(self) -> None:
        """End the threads; what is at work is finished first."""
        self._pool.shutdown()
        self._asking.shutdown()

    def __repr__(self) -> str:
        names = [detector.name for detector in self.ensemble.detectors]
        return f"LoadedEnsemble({self.ensemble.name!r}, detectors={of_field(names)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seen(
        self, start: int, given: Sequence[Picture], each: Callable[..., Iterable[Any]] = map
    ) -> list[dict[str, Seen]]:
        """What each detector, by its name, sees in each of a few pictures; `each` calls them."""
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
                answer[voter.detector.name] = seen
        return answers

    def _decided(self, position: int, answers: dict[str, Seen]) -> Detections:
        failed = {n: seen.message for n, seen in answers.items() if isinstance(seen, QuorateError)}
        refuse_too_few(self.ensemble, failed)
        for name, reason in failed.items():
            self._tell(name, reason)
        found = [
            voter.columns([position], [seen])
            for voter in self._voters
            if isinstance(seen := answers[voter.detector.name], tuple)
        ]
        fused = decide(Detections.concat(found), self.ensemble, self.labels, threads=1)
        return fused.take(fused.score >= self.ensemble.publish.min_score)


def _labels(ensemble: EnsembleSpec, loaded: Loaded) -> Labels:
    """The vocabulary of a run: with the category ids of the spec's data set, where it has one."""
    known = Labels((), ())
    if ensemble.data is not None:
        from quorate.formats import read

        known = read(ensemble.data).labels
    return vocabulary(ensemble, known, loaded.words)


def _named(picture: Picture, position: int) -> str:
    """What messages call a picture."""
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"picture {position}"


def _warn(detector: str, reason: str) -> None:
    warnings.warn(f"{detector} takes no part: {reason}", RuntimeWarning, stacklevel=2)
