"""Who is better: every trained detector on the same held-out pictures, alone and in an ensemble.

What is measured is what a trainer exported, run as an ensemble would run it, and not what the
trainer says of itself; where the two differ, that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.errors import QuorateError, SpecError, TrainingError
from quorate.evaluation.coco import evaluate
from quorate.evaluation.compare import Comparison, Interval, compare
from quorate.evaluation.doubts import doubts
from quorate.labels import Labels
from quorate.progress import Progress, silent
from quorate.report.model import own
from quorate.spec import Detector, EnsembleSpec
from quorate.spec.training import Training
from quorate.steps import Work
from quorate.steps.fuse import decide_boxes
from quorate.steps.whole import Loaded
from quorate.training.contract import detector_of, predictions_of, truth_of
from quorate.training.running import Outcome, outcome_of
from quorate.training.work import Failed, TrainingWork
from quorate.tuning.labelled import labelled

APART = 0.01
"""AP by which what a trainer said of itself may differ from what its detector reaches."""
ENSEMBLE = "ensemble"


@dataclass(frozen=True, eq=False)
class Judged:
    """The trained detectors, measured.

    part       'test' or 'validation': which pictures were held out
    dataset    them, and their truth
    outcomes   how every trainer ended
    detectors  those that were trained, by trainer
    found      their boxes, `found.detectors` are the trainers
    alone      each by itself; the baseline is the best
    ensemble   the ensemble, and the ensemble with each of them (`ensemble + NAME`); None without
    notes      sentences on what is odd
    """

    part: str
    dataset: Dataset
    outcomes: tuple[Outcome, ...]
    detectors: Mapping[str, Detector]
    found: Detections
    alone: Comparison
    ensemble: Comparison | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The trainer whose detector has the highest AP; of equals the first."""
        return self.alone.baseline

    def raises(self, name: str) -> Interval | None:
        """By how much a trained detector raises the ensemble's AP; None without an ensemble."""
        return None if self.ensemble is None else self.ensemble[joined(name)].ap_difference

    @property
    def earns(self) -> tuple[str, ...]:
        """The trainers whose detectors raise the ensemble's AP for certain, the most first."""
        gains = {name: gain for name in self.detectors if (gain := self.raises(name)) is not None}
        sure = [name for name, gain in gains.items() if gain.certain and gain.value > 0]
        return tuple(sorted(sure, key=lambda name: -gains[name].value))


def joined(name: str) -> str:
    """What the ensemble with a further detector is called among the results."""
    return f"{ENSEMBLE} + {name}"


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


def judge(training: Training, work: TrainingWork, *, progress: Progress = silent) -> Judged:
    """Measure what the trainers left in the work folder, on the pictures that were held out.

    Detectors run once; what they found is kept, as in a run's work folder. Raises TrainingError
    where no trainer is done, SpecError where the ensemble does not fit.
    """
    outcomes = tuple(outcome_of(t.name, work.trainer(t.name)) for t in training.trainers)
    done = [one.name for one in outcomes if one.failed is None]
    if not done:
        why = "; ".join(one.failed.reason for one in outcomes if one.failed)
        raise TrainingError(f"No trainer came to its end: {why}")
    spec = ensemble_of(training)
    trained = {name: detector_of(work.trainer(name).out, name=name) for name in done}
    truth = truth_of(work.held_out.parent, work.held_out.stem)
    looking = EnsembleSpec(
        name=training.name,
        data=str(work.held_out),
        detectors=(*trained.values(), *(spec.detectors if spec else ())),
        quorum=1,
        max_pixels=training.max_pixels,
    )
    seen = labelled(looking, Work(work.compare), progress=progress)
    notes = list(seen.notes)
    outcomes = tuple(
        replace(one, failed=_unusable(seen.failed[one.name])) if one.name in seen.failed else one
        for one in outcomes
    )
    trained = {name: one for name, one in trained.items() if name not in seen.failed}
    if not trained:
        raise TrainingError(
            "No trained detector could look at the pictures that are held out: "
            + "; ".join(f"{name}: {why}" for name, why in seen.failed.items())
        )
    boxes = {name: own(seen.found, name) for name in trained}
    settings = training.compare
    quality = {name: evaluate(found, truth).ap or 0.0 for name, found in boxes.items()}
    best = max(quality, key=lambda name: quality[name])
    alone = compare(
        boxes, truth, baseline=best, samples=settings.samples, confidence=settings.confidence
    )
    notes += _said_otherwise(work, trained, quality)
    notes += doubts(boxes, truth)
    together = None
    if spec is not None:
        together, said = _together(spec, seen.found, list(trained), truth, training)
        notes += said
    found = Detections.concat([boxes[name] for name in trained])
    part = work.held_out.stem
    if part == "validation":
        notes.append(
            "The trainers saw these pictures' figures while they learnt, so the figures may "
            "flatter; `split: {test: 0.1}` holds out pictures for the comparison alone."
        )
    return Judged(part, truth, outcomes, trained, found, alone, together, tuple(notes))


def _unusable(reason: str) -> Failed:
    return Failed(f"its detector fails on the held-out pictures: {reason}")


def _together(
    spec: EnsembleSpec,
    found: Detections,
    trained: Sequence[str],
    truth: Dataset,
    training: Training,
) -> tuple[Comparison | None, list[str]]:
    """The ensemble, and the ensemble with each trained detector, on the same pictures."""
    took_part = [d for d in spec.detectors if set(d.voters) <= set(found.detectors)]
    notes = [
        f"{d.name} of the ensemble failed, so the ensemble is measured without it."
        for d in spec.detectors
        if d not in took_part
    ]
    if not took_part:
        return None, [*notes, "No detector of the ensemble could be run, so nothing is joined."]
    results = {}
    for name in ("", *trained):
        voters = [voter for one in took_part for voter in one.voters] + [name] * bool(name)
        decided = decide_boxes(of_voters(found, voters), spec, truth.labels)
        results[joined(name) if name else ENSEMBLE] = decided
    settings = training.compare
    done = compare(
        results, truth, baseline=ENSEMBLE, samples=settings.samples, confidence=settings.confidence
    )
    return done, notes


def of_voters(found: Detections, voters: Sequence[str]) -> Detections:
    """The boxes of some of the detectors, as if no other had taken part: votes count among them."""
    kept = np.array([*(name in voters for name in found.detectors), False])
    part = found.take(kept[found.detector])
    number = np.array(
        [voters.index(name) if name in voters else -1 for name in found.detectors], np.int16
    )
    detector = number[part.detector] if len(part) else part.detector
    return replace(part, detector=detector, detectors=tuple(voters))


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
