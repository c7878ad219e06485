"""The settings that may be tried: drawn at random, or near one that did well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from quorate.errors import InputError, did_you_mean
from quorate.fusion.rules import Method, needed_votes
from quorate.spec import Fusion
from quorate.spec.fusion import METHODS as FUSIONS

_FUSION: TypeAdapter[Fusion] = TypeAdapter(Fusion)
_VOTING = ("affirmative", "consensus", "unanimous", "votes")
METHODS = ("voting", "wbf", "nms", "soft_nms", "nmw")
"""`voting` is affirmative, consensus, unanimous and votes: one method with so many votes."""
CONFIDENCE = {
    "voting": ("avg", "voters", "max"),
    "wbf": ("avg", "max", "box_and_model_avg", "absent_model_aware_avg"),
}
IOU = (0.3, 0.85)
MIN_SCORE = (0.01, 0.5)
WEIGHT = (0.05, 1.0)


class Space:
    """Methods, their numbers, and a weight for each detector.

    What is not searched (`classes`, `overlap`, settings of single labels) is that of the given
    spec. The largest weight is always 1, for only their ratios count.
    """

    def __init__(
        self, given: Fusion, detectors: Sequence[str], methods: Sequence[str] = METHODS
    ) -> None:
        known = {*FUSIONS, "voting"}
        for method in methods:
            if method not in known:
                raise InputError(
                    f"No method '{method}' to search.",
                    hint=did_you_mean(method, known) or f"known: {', '.join(METHODS)}",
                )
        self.detectors = tuple(detectors)
        self.methods = tuple(methods)
        # A detector that took no part now keeps its weight for when it does.
        self._absent = {n: w for n, w in given.weights.items() if n not in self.detectors}
        self._kept: dict[str, Any] = {
            "classes": given.classes,
            "overlap": given.overlap,
            "categories": {k: v.model_dump(mode="json") for k, v in given.categories.items()},
        }

    def draw(self, random: np.random.Generator) -> Fusion:
        """A setting from anywhere."""
        method = self.methods[int(random.integers(len(self.methods)))]
        weights = np.exp(random.uniform(np.log(WEIGHT[0]), np.log(WEIGHT[1]), len(self.detectors)))
        numbers: dict[str, Any] = {
            "method": method,
            "iou": float(random.uniform(*IOU)),
            "min_score": self._min_score(random),
            "weights": np.ones_like(weights) if random.random() < 0.25 else weights,
            "votes": int(random.integers(1, len(self.detectors) + 1)),
            "sigma": float(np.exp(random.uniform(np.log(0.05), 0.0))),
            "decay": ("linear", "gaussian")[int(random.integers(2))],
        }
        numbers["confidence"] = self._confidence(method, random)
        return self._built(numbers)

    def near(self, fusion: Fusion, random: np.random.Generator, step: float) -> Fusion:
        """A setting of the same method near another; `step` 1 is far, 0.1 close by."""
        numbers = self._numbers(fusion)
        method = numbers["method"]
        numbers["iou"] += 0.1 * step * random.normal()
        if random.random() < 0.15:
            numbers["min_score"] = self._min_score(random)
        elif numbers["min_score"]:
            numbers["min_score"] *= float(np.exp(0.7 * step * random.normal()))
        weights = numbers["weights"]
        moved = random.random(len(weights)) < max(0.4, 1 / max(len(weights), 1))
        numbers["weights"] = weights * np.exp(
            np.where(moved, 0.8 * step * random.normal(size=len(weights)), 0)
        )
        if random.random() < 0.15:
            numbers["confidence"] = self._confidence(method, random)
        if random.random() < 0.2:
            numbers["votes"] += int(random.choice([-1, 1]))
        numbers["sigma"] *= float(np.exp(0.5 * step * random.normal()))
        return self._built(numbers)

    def _min_score(self, random: np.random.Generator) -> float:
        drawn = float(np.exp(random.uniform(np.log(MIN_SCORE[0]), np.log(MIN_SCORE[1]))))
        return drawn if random.random() < 0.5 else 0.0

    def _confidence(self, method: str, random: np.random.Generator) -> str:
        choices = CONFIDENCE.get("voting" if method in _VOTING else method, ("avg",))
        return choices[int(random.integers(len(choices)))]

    def _numbers(self, fusion: Fusion) -> dict[str, Any]:
        """A setting of any method as the numbers that `_built` takes."""
        given = Method.of(fusion)
        voting = given.method in _VOTING and "voting" in self.methods
        return {
            "method": "voting" if voting else given.method,
            "iou": given.iou,
            "min_score": given.min_score,
            "weights": np.array([given.weights.get(name, 1.0) for name in self.detectors]),
            "votes": needed_votes(given, len(self.detectors)),
            "confidence": given.confidence,
            "sigma": given.sigma,
            "decay": given.decay,
        }

    def _built(self, numbers: dict[str, Any]) -> Fusion:
        """Rounded to what a person would write, so that what is measured is what is written."""
        method, count = numbers["method"], len(self.detectors)
        votes = min(max(numbers["votes"], 1), count)
        value: dict[str, Any] = dict(self._kept)
        if method == "voting":
            named = {count: "unanimous", count // 2 + 1: "consensus", 1: "affirmative"}
            method = named.get(votes, "votes")
        value["method"] = method
        if method == "votes":
            value["min_votes"] = votes
        if method in _VOTING or method == "wbf":
            value["confidence"] = numbers["confidence"]
        if method == "soft_nms":
            value["decay"] = numbers["decay"]
            value["sigma"] = round(min(max(numbers["sigma"], 0.02), 2.0), 3)
        value["iou"] = round(min(max(numbers["iou"], 0.1), 0.95), 2)
        value["min_score"] = round(min(max(numbers["min_score"], 0.0), 0.9), 3)
        weights = np.clip(numbers["weights"] / numbers["weights"].max(), 0.01, 1.0)
        rounded = {
            name: round(float(w), 2) for name, w in zip(self.detectors, weights, strict=True)
        }
        if self._absent or len(set(rounded.values())) > 1:
            value["weights"] = rounded | self._absent
        return _FUSION.validate_python(value)


def written_fusion(fusion: Fusion) -> dict[str, Any]:
    """A setting as a spec writes it: the method, its IoU, and what differs from the defaults."""
    changed = fusion.model_dump(mode="json", exclude_defaults=True)
    return {"method": fusion.method, "iou": fusion.iou} | changed
