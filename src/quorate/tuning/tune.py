"""Tune an ensemble's fusion, and say on pictures that the search has not seen what it gained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quorate.display import brief
from quorate.errors import InputError
from quorate.evaluation.compare import Interval
from quorate.evaluation.matching import Matches
from quorate.evaluation.truth import Floats
from quorate.progress import Progress, silent
from quorate.spec import EnsembleSpec, Fusion
from quorate.tuning.bench import OBJECTIVES, Bench, Objective
from quorate.tuning.labelled import Labelled
from quorate.tuning.search import Options, Search
from quorate.tuning.space import METHODS, Space, written_fusion
from quorate.tuning.split import Folds

SETTINGS = 2000
SAMPLES = 300
CONFIDENCE = 0.95


@dataclass(frozen=True)
class HeldOut:
    """One part of the pictures, measured with what was found without it."""

    pictures: int
    fusion: Fusion
    single: str
    tuned: float
    given: float
    alone: float


@dataclass(frozen=True)
class Tuned:
    """What a tuning found. All figures are of pictures that were not searched on.

    fusion         the setting found on all pictures that were to be fitted on
    given          the mean over the held-out parts of the objective with the spec as it was
    alone          of the single detector that was best on the other parts
    tuned          of the setting that was found on the other parts
    over_given     tuned - given, and over_alone tuned - alone, with the interval of a bootstrap
                   over the pictures of each part
    """

    objective: Objective
    fusion: Fusion
    given_fusion: Fusion
    single: str
    given: float
    alone: float
    tuned: float
    over_given: Interval
    over_alone: Interval
    parts: tuple[HeldOut, ...]
    held_out: str
    settings: int
    seconds: float
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def better(self) -> bool:
        """Whether the tuned setting did better than the given one where it had not been seen."""
        return self.over_given.value > 0

    @property
    def spread(self) -> float | None:
        """Standard deviation over the parts of the gain over the given setting."""
        gains = [part.tuned - part.given for part in self.parts]
        return float(np.std(gains, ddof=1)) if len(gains) > 1 else None

    def applied(self, ensemble: EnsembleSpec) -> EnsembleSpec:
        """The ensemble with the tuned fusion, or as it was where that is no better."""
        return ensemble.model_copy(update={"fusion": self.fusion}) if self.better else ensemble

    def sentence(self) -> str:
        """The gain in one line, as the spec file keeps it."""
        gain = self.over_given
        span = "" if gain.low is None else f" ({gain.low:+.3f} to {gain.high:+.3f})"
        return (
            f"{self.objective.upper()} {gain.value:+.3f}{span} over the spec before, held out: "
            f"{self.held_out}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "objective": self.objective,
            "meaning": OBJECTIVES[self.objective],
            "held_out": self.held_out,
            "given": self.given,
            "best_single": self.alone,
            "tuned": self.tuned,
            "gain_over_given": asdict(self.over_given),
            "gain_over_best_single": asdict(self.over_alone),
            "spread_over_parts": self.spread,
            "better": self.better,
            "best_single_detector": self.single,
            "fusion": written_fusion(self.fusion),
            "given_fusion": written_fusion(self.given_fusion),
            "parts": [
                {**asdict(part), "fusion": written_fusion(part.fusion)} for part in self.parts
            ],
            "settings": self.settings,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }


def tune(
    ensemble: EnsembleSpec,
    sample: Labelled,
    fold: Folds,
    *,
    report: Labelled | None = None,
    objective: Objective = "ap",
    methods: Sequence[str] = METHODS,
    settings: int = SETTINGS,
    samples: int = SAMPLES,
    seed: int = 0,
    memory: Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Search fusion settings on labelled pictures.

    Args:
        ensemble: the spec as given; its calibrations are applied, its fusion is the one to beat.
        sample: the labelled pictures to fit on.
        fold: (p,) the fold of each of its pictures, see `split.folds`. Each fold is held out
            once: a search that does not see it finds a setting, which is then measured on it.
            The setting that is returned comes from one more search, over all folds.
        report: other labelled pictures to hold out, in the place of folds.
        objective: what is maximised, see `bench.OBJECTIVES`.
        methods: which fusion methods are searched, see `space.METHODS`.
        settings: about how many are measured in all.
        samples: draws of the bootstrap for the intervals.
        seed: of every random choice; the same seed gives the same result on any number of cores.
        memory: folder in which what was measured is kept, so that a search that was stopped goes
            on where it was.
        workers: threads; by default one for each processor.
        progress: told how many settings are measured.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"No objective '{objective}'; there are {', '.join(OBJECTIVES)}.")
    started = time.perf_counter()
    # A detector whose views vote has a voter, and so may have a weight, for each.
    ensemble = ensemble.model_copy(update={"fusion": ensemble.voting})
    names = sample.found.detectors
    space = Space(ensemble.fusion, names, methods)
    numbers = [] if report is not None else np.unique(fold).tolist()
    sets = np.array([*(fold != number for number in numbers), np.ones(len(fold), dtype=np.bool_)])
    search = Search(
        sample,
        ensemble,
        space,
        sets,
        Options(objective, settings, seed, memory, workers),
        progress=lambda done, total: progress("settings", done, total),
    )
    best = search.run()
    whole = search.rungs[-1]
    # Who is best alone is also learnt only from the pictures that may be looked at.
    alone = np.array([whole.bench.measure(whole.bench.alone(n), whole.weights) for n in names])
    singles = [names[int(i)] for i in np.argmax(np.nan_to_num(alone, nan=-1.0), axis=0)]
    parts: list[HeldOut] = []
    draws: list[Floats] = []
    held_out = [sample.take(fold == number) for number in numbers] if report is None else [report]
    for number, part in enumerate(held_out):
        bench = Bench(part, ensemble, objective)
        values, drawn = _measured(
            bench,
            [
                bench.matches(best[number]),
                bench.matches(ensemble.fusion),
                bench.alone(singles[number]),
            ],
            samples,
            [seed, number],
        )
        parts.append(HeldOut(bench.pictures, best[number], singles[number], *values.tolist()))
        draws.append(drawn)
        progress("held out", number + 1, len(held_out))
    values = np.array([[part.tuned, part.given, part.alone] for part in parts])
    if np.isnan(values).all():
        raise InputError("The pictures to report on have no object that could be found.")
    mean, stacked = np.nanmean(values, axis=0), np.stack(draws)
    # Draw by draw, parts without an object in a draw are left out.
    drawn = np.nansum(stacked, axis=0) / np.maximum((~np.isnan(stacked)).sum(0), 1)
    pictures = sum(part.pictures for part in parts)
    notes = sample.notes if report is None else (*sample.notes, *report.notes)
    if report is None and ensemble.calibrations:
        notes += (
            "The spec has calibrations. If they were fitted on these pictures, the figures "
            "flatter all rows a little; --report other pictures for figures free of that.",
        )
    return Tuned(
        objective=objective,
        fusion=best[-1],
        given_fusion=ensemble.fusion,
        single=singles[-1],
        given=float(mean[1]),
        alone=float(mean[2]),
        tuned=float(mean[0]),
        over_given=Interval.of(mean[0] - mean[1], drawn[:, 0] - drawn[:, 1], CONFIDENCE),
        over_alone=Interval.of(mean[0] - mean[2], drawn[:, 0] - drawn[:, 2], CONFIDENCE),
        parts=tuple(parts),
        held_out=f"{pictures} pictures apart"
        if report is not None
        else f"{len(parts)} folds of {pictures} pictures",
        settings=search.measured,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def _measured(
    bench: Bench, matches: Sequence[Matches], samples: int, seed: Sequence[int]
) -> tuple[Floats, Floats]:
    """(m,) the objective of each on all pictures, and (samples, m) on the same draws of them."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, bench.pictures, (samples, bench.pictures))
    weights = np.array(
        [np.ones(bench.pictures, dtype=np.int64)]
        + [np.bincount(one, minlength=bench.pictures) for one in drawn]
    )
    values = np.array([bench.measure(one, weights) for one in matches]).T
    return values[0], values[1:]
