"""The one orchestration: load, prepare, then detect shard by shard.

`run` fuses each shard as it comes and then publishes; `tune` and `calibrate` take the boxes as they
are. All of them run containers too. `finish` is what is left after `prepare`, as pods do it: there
a detector that cannot even be loaded costs its votes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from quorate.detectors.container import ContainerDetector
from quorate.errors import AccessError, InputError, QuorateError, StorageError
from quorate.labels import Labels
from quorate.progress import Progress, adding, silent
from quorate.spec import Ensemble
from quorate.spec.member import Member
from quorate.steps.container import Runner
from quorate.steps.detect import detect
from quorate.steps.fuse import fuse
from quorate.steps.moving import mark
from quorate.steps.prepare import prepare
from quorate.steps.publish import publish
from quorate.steps.summary import ClassSummary, Summary
from quorate.steps.voter import Voter, load_all
from quorate.steps.work import Work
from quorate.storage import remove_unfinished
from quorate.workers import in_threads, processors


@dataclass(frozen=True)
class Loaded:
    """An ensemble whose members are ready.

    predictors  by the member's name, of those that are shown pictures
    runners     of the containers
    """

    ensemble: Ensemble
    predictors: Mapping[str, Any]
    runners: tuple[Runner, ...]

    @classmethod
    def load(cls, ensemble: Ensemble) -> Self:
        """Load every member; DetectorError, before any work, for one that cannot be loaded."""
        containers = [one for one in ensemble.members if isinstance(one, ContainerDetector)]
        runners = tuple(Runner.of(detector) for detector in containers)
        predictors = load_all(one for one in ensemble.members if one not in containers)
        return cls(ensemble, predictors, runners)

    @property
    def words(self) -> Labels:
        """Every word that the members use, as the spec renames it, in order of first sight."""
        said: list[tuple[Member, Iterable[str]]]
        said = [(d, self.predictors[d.name].labels) for d in self._shown]
        said += [(one.detector, tuple(one.detector.words.values())) for one in self.runners]
        return Labels.from_names(
            dict.fromkeys(d.labels.get(word, word) for d, words in said for word in words)
        )

    def voters(self, labels: Labels) -> list[Voter]:
        """The members that are shown pictures, their labels mapped; LabelError if none fits."""
        return [Voter.of(d, self.predictors[d.name], labels) for d in self._shown]

    def detect(
        self, work: Work, *, labels: Labels | None = None, workers: int, progress: Progress
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """Prepare, then run all members on one shard after the other.

        Gives each shard when it is done, with the members that failed on it and why. `labels` is
        the vocabulary of last resort, by default the members' own words. See `prepare` and
        `quorate.steps.detect` for errors.
        """
        plan = prepare(
            self.ensemble,
            work,
            labels=self.words if labels is None else labels,
            progress=partial(progress, "prepare"),
        )
        voters = self.voters(work.images(0).labels)
        advance = adding(partial(progress, "detect"), plan.images)
        for shard in range(plan.shards):
            failed = self._contained(work, shard)
            yield shard, failed | detect(work, shard, voters, workers=workers, progress=advance)

    @property
    def _shown(self) -> list[Member]:
        return [one for one in self.ensemble.members if one.name in self.predictors]

    def _contained(self, work: Work, shard: int) -> dict[str, str]:
        """Run the containers on a shard, one after the other; those that failed, and why."""
        failed = {}
        for runner in self.runners:
            try:
                runner.run(work, shard)
            except (AccessError, StorageError):
                raise
            except QuorateError as error:
                failed[runner.detector.name] = error.message
        return failed


def run(
    ensemble: Ensemble,
    out: Path,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Summary | ClassSummary:
    """Prepare, detect and fuse shard by shard, publish; the work folder is `out/work`.

    All detectors see a picture while it is decoded once. Memory does not grow with the number
    of pictures. See `DetectionEnsemble.run` for errors.
    """
    data = ensemble.where()  # before anything is loaded
    if os.path.realpath(data) == os.path.realpath(out):
        raise InputError(
            f"{out}: is the folder of the data; results would be taken for data.",
            hint="choose another folder with -o; one inside the data is left out of it",
        )
    work = Work(out / "work")
    loaded = Loaded.load(ensemble)
    with work.owned():
        mark(out)
        remove_unfinished(out)
        if fresh:
            work.forget()
        shards = loaded.detect(work, workers=workers or processors(), progress=progress)
        for shard, failed in shards:
            fuse(work, shard, ensemble, failed=failed)
        return publish(ensemble, work, out, progress=partial(progress, "publish"))


def finish(
    ensemble: Ensemble,
    work: Work,
    out: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary | ClassSummary:
    """Detect, fuse and publish what is prepared; no detector may be a container.

    What is written is what the steps write that run one by one, of detectors that fail too.
    Raises StorageError or AccessError where pictures or weights cannot be reached, QuorumError
    where too few detectors are left.
    """
    plan, members = work.plan(), ensemble.members
    labels = work.images(0).labels
    loaded = in_threads(lambda one: _loaded(one, labels), members)
    voters = [one for one in loaded if isinstance(one, Voter)]
    advance = adding(progress, plan.images)
    for shard in range(plan.shards):
        for member, one in zip(members, loaded, strict=True):
            if isinstance(one, str):
                work.failed(shard, member.name, one)
        failed = detect(work, shard, voters, workers=workers, progress=advance)
        for name, reason in failed.items():
            work.failed(shard, name, f"{name}: {reason}")
        fuse(work, shard, ensemble)
    return publish(ensemble, work, out)


def _loaded(member: Member, labels: Labels) -> Voter | str:
    """A member that is ready, or why it cannot be loaded."""
    try:
        return Voter.load(member, labels)
    except (StorageError, MemoryError):  # another try may help
        raise
    except Exception as error:  # whatever it was, fusion and the report tell it
        return error.message if isinstance(error, QuorateError) else repr(error)
