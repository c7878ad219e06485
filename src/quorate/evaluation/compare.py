"""Several results against one truth: who is better, by how much, how surely, and where.

Intervals come from the bootstrap over pictures (Efron 1979): the data set is drawn anew, picture
by picture and with repetition, and every result is measured on the same draw. A picture drawn
twice counts twice, which is what makes the spread right; boxes are matched only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from quorate.dataset import Dataset
from quorate.detections import Detections
from quorate.display import brief
from quorate.errors import InputError, did_you_mean
from quorate.evaluation.coco import Backend, CocoMetrics, evaluate
from quorate.evaluation.matching import Matches
from quorate.evaluation.truth import Floats, Frame, Ints, ScoredBoxes, TruthBoxes
from quorate.workers import in_threads


@dataclass(frozen=True)
class Interval:
    """A figure and what it may be on other pictures of the same kind.

    `above_zero` is the share of draws in which it was above zero (a draw at zero counts half):
    for a difference, how often the result came out ahead. Without draws all but the value is None.
    """

    value: float
    low: float | None = None
    high: float | None = None
    above_zero: float | None = None

    @classmethod
    def of(cls, value: float, draws: Floats, confidence: float) -> Self:
        """The interval that holds the share `confidence` of the draws; NaN draws are left out."""
        known = draws[~np.isnan(draws)]
        if not len(known):
            return cls(float(value))
        tail = (1 - confidence) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        above = np.count_nonzero(known > 0) + np.count_nonzero(known == 0) / 2
        return cls(float(value), float(low), float(high), above / len(known))

    @property
    def certain(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class CategoryChange:
    """AP of one label, and the difference to the baseline's; None where there is no truth."""

    label: str
    ap: float | None
    difference: Interval | None


@dataclass(frozen=True, eq=False)
class PictureErrors:
    """(p,) boxes of each picture, in the data set's order, at IoU .5 and the score of best F1."""

    true: Ints
    false: Ints
    missed: Ints
    min_score: float

    @property
    def errors(self) -> Ints:
        """(p,) false boxes and missed objects."""
        return self.false + self.missed


@dataclass(frozen=True, eq=False)
class ComparedResult:
    """One result beside the baseline; the differences are None for the baseline itself.

    Figures are 0..1. `gain` int64 (p,) is how many errors fewer each picture has.
    """

    name: str
    metrics: CocoMetrics
    ap: Interval | None
    ap50: Interval | None
    ap_difference: Interval | None
    ap50_difference: Interval | None
    categories: tuple[CategoryChange, ...]
    pictures: PictureErrors
    gain: Ints | None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results side by side, in the order given."""

    baseline: str
    results: tuple[ComparedResult, ...]
    image_id: Ints
    file_names: tuple[str, ...]
    samples: int
    confidence: float

    __repr__ = brief

    def __getitem__(self, name: str) -> ComparedResult:
        return {result.name: result for result in self.results}[name]

    def changed(self, name: str, *, most: int = 10) -> tuple[Ints, Ints]:
        """Positions of the pictures that gained most, and of those that lost most."""
        gain = self[name].gain
        if gain is None:
            gain = np.zeros(0, dtype=np.int64)
        order = np.argsort(-gain, kind="stable")
        lost = np.argsort(gain, kind="stable")
        return order[gain[order] > 0][:most], lost[gain[lost] < 0][:most]

    def to_dict(self, *, most: int = 10) -> dict[str, Any]:
        """Plain values for JSON, with the `most` pictures that gained and lost most."""
        return {
            "baseline": self.baseline,
            "pictures": len(self.image_id),
            "samples": self.samples,
            "confidence": self.confidence,
            "results": [self._result(result, most) for result in self.results],
        }

    def _result(self, result: ComparedResult, most: int) -> dict[str, Any]:
        intervals = {
            "ap_interval": result.ap,
            "ap50_interval": result.ap50,
            "ap_difference": result.ap_difference,
            "ap50_difference": result.ap50_difference,
        }
        gained, lost = self.changed(result.name, most=most)
        errors = result.pictures
        return {
            "name": result.name,
            **result.metrics.statistics(),
            **{name: None if one is None else asdict(one) for name, one in intervals.items()},
            "categories": [asdict(category) for category in result.categories],
            "best_f1_score": errors.min_score,
            "true": int(errors.true.sum()),
            "false": int(errors.false.sum()),
            "missed": int(errors.missed.sum()),
            "gained": [self._picture(result, int(position)) for position in gained],
            "lost": [self._picture(result, int(position)) for position in lost],
        }

    def _picture(self, result: ComparedResult, position: int) -> dict[str, Any]:
        return {
            "image_id": int(self.image_id[position]),
            "file_name": self.file_names[position],
            "errors": int(result.pictures.errors[position]),
            "errors_of_baseline": int(self[self.baseline].pictures.errors[position]),
        }


def compare(
    results: Mapping[str, Detections],
    dataset: Dataset,
    *,
    baseline: str | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    backend: Backend = "hotcoco",
) -> Comparison:
    """Measure several results on the same pictures and say which differences are real.

    The same seed gives the same intervals, on any number of cores.

    Args:
        results: Name -> boxes.
        dataset: The pictures and their truth.
        baseline: What the others are compared with; default: the first.
        samples: Draws of the bootstrap; 0 for no intervals.
        confidence: Share of the draws that an interval covers.
        seed: Of the draws.
        backend: As for `evaluate`.
    """
    if not results:
        raise InputError("Nothing to compare.")
    first = next(iter(results)) if baseline is None else baseline
    if first not in results:
        raise InputError(
            f"The baseline '{first}' is none of the results ({', '.join(results)}).",
            hint=did_you_mean(first, results),
        )
    if samples < 0 or not 0 < confidence < 1:
        raise InputError("`samples` must be 0 or more, and `confidence` between 0 and 1.")
    frame = Frame.of(dataset)
    truth = TruthBoxes.of(dataset, frame)
    ids = np.array([image.id for image in dataset.images], dtype=np.int64)
    matches = {
        name: Matches.of(ScoredBoxes.of(boxes, frame), truth, frame)
        for name, boxes in results.items()
    }
    once = np.ones(len(ids), dtype=np.int64)
    whole = {name: matched.average_precision(once) for name, matched in matches.items()}
    draws = _draws(matches, len(ids), samples, seed)
    pictures = {}
    for name, matched in matches.items():
        score = matched.best_score()
        true, false, missed = (each[frame.place] for each in matched.errors(len(ids), score))
        pictures[name] = PictureErrors(true, false, missed, score)
    compared = []
    for name, boxes in results.items():
        other = name != first
        metrics = evaluate(boxes, dataset, backend=backend)
        gap, gap_draws = whole[name] - whole[first], draws[name] - draws[first]
        compared.append(
            ComparedResult(
                name=name,
                metrics=metrics,
                ap=_mean_interval(whole[name], draws[name], 0, confidence),
                ap50=_mean_interval(whole[name], draws[name], 1, confidence),
                ap_difference=_mean_interval(gap, gap_draws, 0, confidence) if other else None,
                ap50_difference=_mean_interval(gap, gap_draws, 1, confidence) if other else None,
                categories=tuple(
                    CategoryChange(
                        label=category.label,
                        ap=category.ap,
                        difference=Interval.of(gap[rank, 0], gap_draws[:, rank, 0], confidence)
                        if other and not np.isnan(gap[rank, 0])
                        else None,
                    )
                    for rank, category in zip(frame.order, metrics.categories, strict=True)
                ),
                pictures=pictures[name],
                gain=pictures[first].errors - pictures[name].errors if other else None,
            )
        )
    return Comparison(
        baseline=first,
        results=tuple(compared),
        image_id=ids,
        file_names=tuple(image.file_name for image in dataset.images),
        samples=samples,
        confidence=confidence,
    )


def _draws(
    matches: Mapping[str, Matches], images: int, samples: int, seed: int
) -> dict[str, Floats]:
    """Name -> (samples, c, 2) AP and AP50 by category; the same pictures for all names."""

    def draw(sample: int) -> list[Floats]:
        drawn = np.random.default_rng([seed, sample]).integers(0, max(images, 1), images)
        weight = np.bincount(drawn, minlength=images)
        return [matched.average_precision(weight) for matched in matches.values()]

    drawn = in_threads(draw, range(samples))  # the kernels let go of the interpreter
    return {
        name: np.array([one[position] for one in drawn]).reshape(
            samples, len(matched.starts) - 1, 2
        )
        for position, (name, matched) in enumerate(matches.items())
    }


def _mean_interval(whole: Floats, draws: Floats, column: int, confidence: float) -> Interval | None:
    """The interval of the mean over categories with truth, in the data set and in each draw."""
    value = known_mean(whole[None, :, column])[0]
    return (
        None if np.isnan(value) else Interval.of(value, known_mean(draws[:, :, column]), confidence)
    )


def known_mean(rows: ArrayLike) -> Floats:
    """(n,) the mean of each row's values that are no NaN; NaN where there is none."""
    values = np.asarray(rows)
    count = (~np.isnan(values)).sum(1)
    none = np.full(len(values), np.nan)
    mean: Floats = np.divide(np.nansum(values, axis=1), count, out=none, where=count > 0)
    return mean
