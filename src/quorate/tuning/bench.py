"""A bench: one labelled sample on which any number of fusion settings are measured, fast.

Pictures are not read and boxes not detected again; a setting is one call of the fusion kernels,
one of the matching kernel, and one of the AP kernel for every set of pictures that is asked for.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from quorate._version import __version__
from quorate.detections import Detections
from quorate.evaluation.compare import known_mean
from quorate.evaluation.matching import Matches
from quorate.evaluation.truth import Floats, Frame, Ints, ScoredBoxes, TruthBoxes
from quorate.fusion import fuse
from quorate.fusion.calibrate import calibrated
from quorate.spec import EnsembleSpec, Fusion
from quorate.steps.work import fingerprint
from quorate.tuning.labelled import Labelled

Objective = Literal["ap", "ap50", "f1"]
OBJECTIVES: dict[Objective, str] = {
    "ap": "mean of AP over IoU .50:.05:.95",
    "ap50": "AP at IoU .50",
    "f1": "F1 at IoU .50 of the boxes that `publish.min_score` lets through",
}


class Bench:
    """Measures settings on one sample; safe to call from many threads.

    rank  int64 (p,)  where each of the sample's pictures stands among the weights of `measure`
    """

    def __init__(self, sample: Labelled, ensemble: EnsembleSpec, objective: Objective) -> None:
        dataset = sample.dataset
        self.objective = objective
        self.pictures = len(dataset.images)
        self.labels = dataset.labels
        self.names = sample.found.detectors
        self.found = calibrated(sample.found, ensemble.calibrations, labels=dataset.labels)
        self.min_score = ensemble.publish.min_score
        self._frame = Frame.of(dataset)
        self._truth = TruthBoxes.of(dataset, self._frame)
        self.rank: Ints = self._frame.place

    def matches(self, fusion: Fusion) -> Matches:
        """The fate of every box that a setting gives."""
        fused = fuse(self.found, fusion, detectors=self.names, labels=self.labels, threads=1)
        return self._matched(fused)

    def alone(self, name: str) -> Matches:
        """The fate of one detector's boxes, not fused at all."""
        return self._matched(self.found.of(name))

    def measure(self, matches: Matches, weights: Ints) -> Floats:
        """(r,) the objective with picture i there `weights[row, rank[i]]` times; NaN: no truth."""
        if self.objective == "f1":
            return self._f1(matches, weights)
        column = 0 if self.objective == "ap" else 1
        return known_mean([matches.average_precision(row)[:, column] for row in weights])

    def _matched(self, boxes: Detections) -> Matches:
        return Matches.of(ScoredBoxes.of(boxes, self._frame), self._truth, self._frame)

    def _f1(self, matches: Matches, weights: Ints) -> Floats:
        true, false, missed = matches.errors(self.pictures, self.min_score)
        right, wrong = weights @ true, weights @ (false + missed)
        whole = 2 * right + wrong
        f1: Floats = np.divide(2 * right, whole, out=np.full(len(weights), np.nan), where=whole > 0)
        return f1

    def fingerprint(self, weights: Ints) -> str:
        """A digest of all that `measure` depends on, save the setting."""
        columns = (self.found.image_id, self.found.category_id, self.found.xyxy, self.found.score)
        truth = (self._truth.image, self._truth.category, self._truth.xywh, self._truth.crowd)
        return fingerprint(
            __version__,
            self.objective,
            str(self.min_score) if self.objective == "f1" else "",
            repr((self.names, self.labels)),
            *(np.ascontiguousarray(c).tobytes() for c in (*columns, self.found.detector)),
            *(np.ascontiguousarray(c).tobytes() for c in truth),
            weights.tobytes(),
        )


class Memory:
    """What settings measured, kept in a file as they come in: a killed search goes on from there.

    One line of JSON a setting; a last line that was cut short is left out.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, list[float]] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    key, values = json.loads(line)
                    self._known[key] = [float("nan") if v is None else float(v) for v in values]
                except (ValueError, TypeError):
                    continue

    def get(self, fusion: Fusion) -> Floats | None:
        """What a setting measured; None where it has not been measured."""
        values = self._known.get(_key(fusion))
        return None if values is None else np.array(values)

    def add(self, settings: Sequence[Fusion], values: Sequence[Floats]) -> None:
        """Keep what some settings measured."""
        lines = []
        for fusion, row in zip(settings, values, strict=True):
            self._known[_key(fusion)] = row.tolist()
            plain = [None if np.isnan(v) else float(v) for v in row]
            lines.append(json.dumps([_key(fusion), plain]) + "\n")
        if self._path is not None and lines:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # of two searches at once, one after the other
                # A line that an earlier process left unfinished is ended first.
                end = file.seek(0, os.SEEK_END)
                unended = end and file.seek(end - 1) >= 0 and file.read(1) != b"\n"
                file.write((b"\n" if unended else b"") + "".join(lines).encode())


def _key(fusion: Fusion) -> str:
    return fusion.model_dump_json()
