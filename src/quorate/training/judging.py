"""Who is better: every trained detector on the same held-out pictures, alone and in an ensemble.

What is measured is what a trainer exported, run as an ensemble would run it, and not what the
trainer says of itself; where the two differ, that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.errors import QuorateError, QuorumError, SpecError, StorageError, TrainingError
from quorate.evaluation.coco import CocoMetrics, evaluate
from quorate.evaluation.compare import Comparison, Interval, compare
from quorate.evaluation.doubts import doubts
from quorate.labels import Labels
from quorate.progress import Progress, silent
from quorate.report.model import own
from quorate.spec import Detector, EnsembleSpec
from quorate.spec.ensemble import ENSEMBLE
from quorate.spec.training import Training
from quorate.steps import Work
from quorate.steps.fuse import decide_boxes
from quorate.steps.whole import Loaded
from quorate.training.contract import detector_of, predictions_of, truth_of
from quorate.training.running import Outcome, failed, outcome_of
from quorate.training.truth import without_a_box
from quorate.training.work import TrainingWork
from quorate.tuning.labelled import Labelled, labelled

APART = 0.01
"""AP by which what a trainer said of itself may differ from what its detector reaches."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The trained detectors, measured.

    part       'test' or 'validation': which pictures were held out
    dataset    them, and their truth
    outcomes   how every trainer ended
    detectors  those that were trained, by trainer
    found      their boxes, `found.detectors` are the trainers
    alone      each by itself; the baseline is the best
    rounds     the ensemble, and the ensemble with each of them (`ensemble + NAME`); then, while the
               best of a round raises the AP for certain, the same with that one as a member; empty
               without an ensemble
    joins      the best of each of these rounds, who earned their votes in this order: of two that
               find the same, the second seldom does
    notes      sentences on what is odd
    """

    part: str
    dataset: Dataset
    outcomes: tuple[Outcome, ...]
    detectors: Mapping[str, Detector]
    found: Detections
    alone: Comparison
    rounds: tuple[Comparison, ...] = ()
    joins: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The trainer whose detector has the highest AP; of equals the first."""
        return self.alone.baseline

    def raises(self, name: str) -> Interval | None:
        """By how much a trained detector raises the ensemble's AP; None without an ensemble."""
        return self.rounds[0][joined(name)].ap_difference if self.rounds else None


def joined(*names: str) -> str:
    """What the ensemble with further detectors is called among the results."""
    return " + ".join((ENSEMBLE, *names))


def ensemble_of(training: Training) -> EnsembleSpec | None:
    """The ensemble that the trained detectors may join; SpecError where they cannot."""
    if training.compare.ensemble is None:
        return None
    spec = EnsembleSpec.from_yaml(training.compare.ensemble)
    known = {voter for detector in spec.detectors for voter in detector.voters}
    for trainer in training.trainers:
        if trainer.name in known or trainer.name == ENSEMBLE:
            raise SpecError(
                f"The trainer '{trainer.name}' is called like a detector of "
                f"{training.compare.ensemble}.",
                hint="give the trainer a name of its own",
            )
    return spec


def ready(training: Training, labels: Sequence[str]) -> None:
    """Refuse, before anything learns, an ensemble that could not be measured afterwards.

    Raises SpecError, DetectorError, or LabelError where it finds nothing that is learnt.
    """
    if (spec := ensemble_of(training)) is not None:
        Loaded.load(spec).voters(Labels.from_names(labels))


@dataclass(frozen=True)
class Measured:
    """One trained detector on the pictures held out."""

    name: str
    metrics: CocoMetrics
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As `results.json` has a training of one trainer."""
        mine = {"name": self.name, **self.metrics.statistics()}
        return {"pictures": self.metrics.images, "best": self.name, "trainers": [mine]}


def measure(
    training: Training, work: TrainingWork, name: str, *, progress: Progress = silent
) -> Measured:
    """Show the pictures held out to what a trainer left; keep what it finds for `judge`.

    Where that fails, it is noted in the trainer's folder, and TrainingError is raised. Only a full
    disk is raised as it is: StorageError.
    """
    place = work.trainer(name)
    try:
        detector = detector_of(place.out, name=name)
        seen = _look(training, work, (detector,), Work(place.root / "looked"), progress)
    except StorageError:
        raise
    except QuorateError as error:
        said = error.failed[name] if isinstance(error, QuorumError) else error.message
        why = TrainingError(f"{name}: its detector fails on the pictures held out: {said}")
        failed(name, place, why)
        raise why from None
    place.failed.unlink(missing_ok=True)
    boxes = own(seen.found, name)
    boxes.to_parquet(place.found)
    truth = truth_of(work.held_out.parent, work.held_out.stem)
    return Measured(name, evaluate(boxes, truth), seen.notes)


def _look(
    training: Training,
    work: TrainingWork,
    detectors: Sequence[Detector],
    place: Work,
    progress: Progress,
) -> Labelled:
    """What detectors find on the pictures held out; kept at a place, as in a run's work folder."""
    looking = EnsembleSpec(
        name=training.name,
        data=str(work.held_out),
        detectors=tuple(detectors),
        quorum=1,
        max_pixels=training.max_pixels,
    )
    return labelled(looking, place, progress=progress)


def judge(training: Training, work: TrainingWork, *, progress: Progress = silent) -> Judged:
    """Compare what the trainers left in the work folder, on the pictures that were held out.

    What the trained detectors find there `measure` has kept; the ensemble's look now. Raises
    TrainingError where no trainer left one, SpecError where the ensemble does not fit.
    """
    outcomes = tuple(outcome_of(t.name, work.trainer(t.name)) for t in training.trainers)
    done = [one.name for one in outcomes if one.failed is None]
    if not done:
        why = "; ".join(one.failed.reason for one in outcomes if one.failed)
        hints = [one.failed.hint for one in outcomes if one.failed and one.failed.hint]
        raise TrainingError(f"No trainer came to its end: {why}", hint=next(iter(hints), None))
    spec = ensemble_of(training)
    trained = {name: detector_of(work.trainer(name).out, name=name) for name in done}
    truth = truth_of(work.held_out.parent, work.held_out.stem)
    boxes = {name: Detections.from_parquet(work.trainer(name).found) for name in done}
    notes = _unmeasured(truth)
    settings = training.compare
    quality = {name: evaluate(found, truth).ap or 0.0 for name, found in boxes.items()}
    best = max(quality, key=lambda name: quality[name])
    alone = compare(
        boxes, truth, baseline=best, samples=settings.samples, confidence=settings.confidence
    )
    notes += _said_otherwise(work, trained, quality)
    notes += doubts(boxes, truth)
    rounds: tuple[Comparison, ...] = ()
    joins: tuple[str, ...] = ()
    found = Detections.concat([boxes[name] for name in trained])
    if spec is not None:
        rounds, joins, said = _rounds(spec, found, truth, training, work, progress)
        notes += said
    part = work.held_out.stem
    if part == "validation":
        notes.append(
            "The trainers saw these pictures' figures while they learnt, so the figures may "
            "flatter; `split: {test: 0.1}` holds out pictures for the comparison alone."
        )
    return Judged(part, truth, outcomes, trained, found, alone, rounds, joins, tuple(notes))


def _unmeasured(truth: Dataset) -> list[str]:
    """A note on the labels that no picture held out has a box of."""
    names = ", ".join(without_a_box(truth))
    said = f"No picture held out has a box of {names}: how well that is found is not known."
    return [said] if names else []


def _rounds(
    spec: EnsembleSpec,
    found: Detections,
    truth: Dataset,
    training: Training,
    work: TrainingWork,
    progress: Progress,
) -> tuple[tuple[Comparison, ...], tuple[str, ...], list[str]]:
    """`Judged.rounds` and `Judged.joins`, on the pictures held out, and notes."""
    try:
        seen = _look(training, work, spec.detectors, Work(work.compare), progress)
    except QuorumError as error:
        why = f"No detector of the ensemble could be run, so nothing is joined: {error.message}"
        return (), (), [why]
    all_found = Detections.concat([seen.found, found])
    rounds: list[Comparison] = []
    members: tuple[str, ...] = ()
    decided: dict[str, Detections] = {}
    settings = training.compare
    while left := [name for name in found.detectors if name not in members]:
        results = {}
        for more in (members, *((*members, name) for name in left)):
            if (title := joined(*more)) not in decided:
                voters = [*seen.found.detectors, *more]
                decided[title] = decide_boxes(of_voters(all_found, voters), spec, truth.labels)
            results[title] = decided[title]
        rounds.append(
            compare(
                results,
                truth,
                baseline=joined(*members),
                samples=settings.samples,
                confidence=settings.confidence,
            )
        )
        gains = {name: rounds[-1][joined(*members, name)].ap_difference for name in left}
        sure = {name: gain.value for name, gain in gains.items() if gain and gain.certain}
        best = max(sure, key=lambda name: sure[name], default=None)
        if best is None or sure[best] <= 0:
            break
        members += (best,)
    return tuple(rounds), members, [*seen.notes]


def of_voters(found: Detections, voters: Sequence[str]) -> Detections:
    """The boxes of some of the detectors, as if no other had taken part: votes count among them."""
    place = {name: number for number, name in enumerate(voters)}
    number = np.array([*(place.get(name, -1) for name in found.detectors), -1], np.int16)
    detector = number[found.detector]
    return replace(found, detector=detector, detectors=tuple(voters)).take(detector >= 0)


def _said_otherwise(
    work: TrainingWork, trained: Mapping[str, Detector], quality: Mapping[str, float]
) -> list[str]:
    """Notes where a trainer's own predictions measure otherwise than its detector does."""
    if work.held_out.stem != "validation":
        return []
    notes = []
    truth = truth_of(work.data, "validation")
    for name in trained:
        try:
            said = evaluate(predictions_of(work.trainer(name).out, truth), truth).ap or 0.0
        except QuorateError as error:
            notes.append(f"{name}: its own predictions cannot be measured: {error.message}")
            continue
        if abs(said - quality[name]) > APART:
            notes.append(
                f"{name}: its own predictions reach an AP of {said:.3f}, the detector that it "
                f"exported {quality[name]:.3f}: the export does something else than the trainer."
            )
    return notes
