"""Run an ensemble's steps here, in one process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from quorate.detectors.base import Predictor
from quorate.detectors.container import ContainerDetector
from quorate.errors import AccessError, QuorateError, StorageError
from quorate.labels import Labels
from quorate.spec import Detector, EnsembleSpec
from quorate.steps import Runner, Summary, Voter, Work, detect, fuse, prepare, publish


class Progress(Protocol):
    """Told how far the work is."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """`done` of `total` pictures of `task` are finished."""


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    ensemble: EnsembleSpec,
    out: Path,
    *,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Prepare, detect and fuse shard by shard, publish; the work folder is `out/work`.

    All detectors see a picture while it is decoded once. Memory does not grow with the number
    of pictures. See `DetectionEnsemble.run` for errors.
    """
    ensemble.where()  # before anything is loaded
    report = progress or (lambda task, done, total: None)
    work = Work(out / "work")
    if fresh:
        shutil.rmtree(work.root, ignore_errors=True)
    # Loading first: weights that cannot be read stop the run before any work.
    runners = [Runner.of(d) for d in ensemble.detectors if isinstance(d, ContainerDetector)]
    loaded = [d for d in ensemble.detectors if not isinstance(d, ContainerDetector)]
    predictors = [detector.load() for detector in loaded]
    plan = prepare(
        ensemble,
        work,
        labels=_words(loaded, predictors, runners),
        progress=lambda done, total: report("prepare", done, total),
    )
    labels = work.images(0).labels
    voters = [
        Voter.of(detector, predictor, labels)
        for detector, predictor in zip(loaded, predictors, strict=True)
    ]
    finished = 0

    def advance(pictures: int) -> None:
        nonlocal finished
        finished += pictures
        report("detect", finished, plan.images)

    for shard in range(plan.shards):
        failed = _contained(work, shard, runners)
        failed |= detect(work, shard, voters, workers=workers or processors(), progress=advance)
        fuse(work, shard, ensemble, failed=failed)
    return publish(ensemble, work, out, progress=lambda done, total: report("publish", done, total))


def _contained(work: Work, shard: int, runners: Sequence[Runner]) -> dict[str, str]:
    """Run containers on a shard, one after the other; those that failed, and why."""
    failed = {}
    for runner in runners:
        try:
            runner.run(work, shard)
        except (AccessError, StorageError):
            raise
        except QuorateError as error:
            failed[runner.detector.name] = error.message
    return failed


def _words(
    detectors: Sequence[Detector], predictors: Sequence[Predictor], runners: Sequence[Runner]
) -> Labels:
    """Every word the detectors use, as renamed by the spec, in order of first sight."""
    words = [
        detector.labels.get(word, word)
        for detector, predictor in zip(detectors, predictors, strict=True)
        for word in predictor.labels
    ]
    for runner in runners:
        known = runner.detector
        words += [known.labels.get(word, word) for word in known.words.values()]
    return Labels.from_names(dict.fromkeys(words))
