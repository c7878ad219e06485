"""Fit each detector's calibration on labelled pictures, and say on others what it is worth.

The method is chosen by cross-validation over pictures: the simplest whose held-out log-loss is
no more than one standard error above the best (Breiman et al. 1984), where the score as it is
counts as the simplest. A detector that is calibrated already is so left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from quorate.columns import positions_in
from quorate.display import brief
from quorate.errors import InputError
from quorate.evaluation.reliability import Judged, Reliability, log_loss
from quorate.evaluation.truth import Floats
from quorate.fusion.calibrate import probability
from quorate.labels import Labels
from quorate.spec import Calibration, EnsembleSpec
from quorate.tuning.labelled import Labelled
from quorate.tuning.maps import IDENTITY, METHODS, Bools, Map, fit, plain
from quorate.tuning.split import Folds

_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)
LEAST_BOXES = 50
LEAST_OF_A_KIND = 10
LEAST_OF_A_LABEL = 200


@dataclass(frozen=True)
class Calibrated:
    """One detector's calibration, and its worth on pictures that it was not fitted on.

    calibration  None where the scores are best left as they are
    before       held-out reliability of the scores as they are
    after        and of the probabilities; `loss_before` and `loss_after` are mean log-losses
    note         why nothing was fitted, or ''
    """

    name: str
    calibration: Calibration | None
    before: Reliability
    after: Reliability
    loss_before: float | None
    loss_after: float | None
    note: str = ""

    __repr__ = brief

    @property
    def method(self) -> str:
        """The name of the method; 'none' where there is no calibration."""
        return "none" if self.calibration is None else self.calibration.method

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        how = self.calibration
        return {
            "name": self.name,
            "method": self.method,
            "boxes": self.before.boxes,
            "ece_before": self.before.ece,
            "ece_after": self.after.ece,
            "log_loss_before": self.loss_before,
            "log_loss_after": self.loss_after,
            "calibration": None if how is None else how.model_dump(mode="json"),
            "reliability_before": self.before.to_dict()["bins"],
            "reliability_after": self.after.to_dict()["bins"],
            "note": self.note,
        }


@dataclass(frozen=True)
class CalibrationResult:
    """What `calibrate` found; `held_out` says on which pictures the figures are."""

    detectors: tuple[Calibrated, ...]
    held_out: str
    notes: tuple[str, ...] = field(default=())

    __repr__ = brief

    def applied(self, ensemble: EnsembleSpec) -> EnsembleSpec:
        """The ensemble with these calibrations; detectors that took no part are as they were."""
        found = {one.name: one.calibration for one in self.detectors if not one.note}
        return ensemble.model_copy(
            update={
                "detectors": tuple(
                    d.model_copy(update={"calibration": found[d.name]}) if d.name in found else d
                    for d in ensemble.detectors
                )
            }
        )


def calibrate(
    sample: Labelled,
    fold: Folds,
    *,
    report: Labelled | None = None,
    methods: Sequence[str] = METHODS,
    per_label: bool = False,
) -> CalibrationResult:
    """Fit a calibration for every detector that took part.

    Args:
        sample: the labelled pictures to fit on.
        fold: (p,) the fold of each of its pictures, see `split.folds`.
        report: other labelled pictures, for the figures; by default they are cross-validated,
            each picture with a map that was fitted without its fold.
        methods: which may be chosen.
        per_label: also fit a map for each label with at least LEAST_OF_A_LABEL boxes, where its
            held-out log-loss says that it helps.

    A detector with fewer than LEAST_BOXES boxes, or fewer than LEAST_OF_A_KIND right or wrong
    ones, is left as it is, with a note.
    """
    for method in methods:
        if method not in METHODS:
            raise InputError(f"No method '{method}'; there are {', '.join(METHODS)}.")
    ids = [image.id for image in sample.dataset.images]
    found = []
    for name, voters in sample.voters.items():
        judged = _judged(sample, voters)
        own = fold[positions_in(ids, judged.image_id)]
        one = _calibrate_one(name, judged, own, methods, per_label, sample.dataset.labels)
        found.append(one if report is None else _reported(one, report))
    folds = len(np.unique(fold))
    others = 0 if report is None else len(report.dataset.images)
    return CalibrationResult(
        detectors=tuple(found),
        held_out=f"{others} pictures apart" if others else f"{folds} folds of {len(ids)} pictures",
        notes=sample.notes if report is None else (*sample.notes, *report.notes),
    )


def _judged(sample: Labelled, voters: Sequence[str]) -> Judged:
    """The boxes of a detector: each of its voters is matched by itself."""
    parts = [Judged.of(sample.found.of(voter), sample.dataset) for voter in voters]
    return Judged(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("image_id", "category_id", "score", "right")
        }
    )


def _calibrate_one(
    name: str,
    judged: Judged,
    fold: Folds,
    methods: Sequence[str],
    per_label: bool,
    labels: Labels,
) -> Calibrated:
    score, right = judged.score, judged.right
    before, loss = _worth(score, right)
    kinds = min(np.count_nonzero(right), np.count_nonzero(~right))
    if len(score) < LEAST_BOXES or kinds < LEAST_OF_A_KIND:
        note = (
            f"{len(score)} boxes, {np.count_nonzero(right)} of them right, are too few to learn "
            "from: the scores stay as they are"
        )
        return Calibrated(name, None, before, before, loss, loss, note)
    method, held_out = choose(score, right, fold, methods)
    overall = None if method is None else fit(method, score, right)
    own: dict[str, Map] = {}
    if per_label:
        for label, category_id in zip(labels.names, labels.ids, strict=True):
            mine = judged.category_id == category_id
            few = min(np.count_nonzero(right[mine]), np.count_nonzero(~right[mine]))
            if np.count_nonzero(mine) < LEAST_OF_A_LABEL or few < 2 * LEAST_OF_A_KIND:
                continue
            best, better = choose(
                score[mine], right[mine], fold[mine], methods, shared=held_out[mine]
            )
            if best is not None:
                own[label] = fit(best, score[mine], right[mine])
                held_out[mine] = better
    after, loss_after = _worth(held_out, right)
    found = None
    if overall is not None or own:
        categories = {label: plain(how) for label, how in own.items()}
        found = _CALIBRATION.validate_python(
            plain(overall or IDENTITY) | {"categories": categories}
        )
    return Calibrated(name, found, before, after, loss, loss_after)


def _worth(probability: Floats, right: Bools) -> tuple[Reliability, float | None]:
    """The reliability and the mean log-loss of probabilities; no loss without boxes."""
    loss = float(log_loss(probability, right).mean()) if len(right) else None
    return Reliability.of(probability, right), loss


def choose(
    score: Floats,
    right: Bools,
    fold: NDArray[np.int64],
    methods: Sequence[str],
    *,
    shared: Floats | None = None,
) -> tuple[str | None, Floats]:
    """The method of choice, None for the scores as they are, and its held-out probabilities.

    `shared` are the probabilities to do better than, by default the scores.
    """
    simplest = score if shared is None else shared
    held_out = {None: simplest.copy()} | {
        method: _held_out(method, score, right, fold, simplest)
        for method in METHODS
        if method in methods
    }
    losses = {method: log_loss(p, right) for method, p in held_out.items()}
    best = min(losses, key=lambda method: losses[method].mean())
    for method, loss in losses.items():
        gap = loss - losses[best]
        # Boxes of one picture go together, so the error is taken over the folds where that is
        # the larger.
        error = float(gap.std() / np.sqrt(len(gap)))
        if gap.mean() <= max(error, _error_over_folds(gap, fold)):
            return method, held_out[method]
    return best, held_out[best]


def _held_out(
    method: str, score: Floats, right: Bools, fold: NDArray[np.int64], otherwise: Floats
) -> Floats:
    result = otherwise.copy()
    for number in np.unique(fold):
        here = fold == number
        if right[~here].any() and not right[~here].all():
            result[here] = probability(score[here], fit(method, score[~here], right[~here]))
    return result


def _error_over_folds(values: Floats, fold: NDArray[np.int64]) -> float:
    means = np.array([values[fold == number].mean() for number in np.unique(fold)])
    return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0


def _reported(one: Calibrated, report: Labelled) -> Calibrated:
    """The same with the figures of other pictures."""
    if one.name not in report.voters:
        raise InputError(f"{one.name} took no part in the pictures to report on.")
    labels = report.dataset.labels
    judged = _judged(report, report.voters[one.name])
    after = judged.score.copy()
    if one.calibration is not None:
        after = probability(judged.score, one.calibration)
        for label, how in one.calibration.categories.items():
            if label in labels:
                mine = judged.category_id == labels.id_of(label)
                after[mine] = probability(judged.score[mine], how)
    before, loss_before = _worth(judged.score, judged.right)
    reliability, loss = _worth(after, judged.right)
    return replace(one, before=before, after=reliability, loss_before=loss_before, loss_after=loss)
