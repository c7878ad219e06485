"""Find the setting that does best on each of several sets of pictures.

Random draws first (Bergstra and Bengio 2012), by successive halving (Jamieson and Talwalkar 2016)
where there are many pictures: all draws on a few, the better quarter on four times as many, and
so on. The leaders are then refined by an evolution strategy: neighbours of the best few, ever
closer. Draws do not look at the truth, so all sets share them; each set refines by itself, so
that what one set is not to know never comes to it by way of another.

The same seed gives the same result on any number of cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quorate.evaluation.truth import Floats, Ints
from quorate.spec import EnsembleSpec, Fusion
from quorate.tuning.bench import Bench, Memory, Objective
from quorate.tuning.labelled import Labelled
from quorate.tuning.space import Space
from quorate.workers import in_threads

Sets = np.ndarray[tuple[int, int], np.dtype[np.bool_]]

FIRST_PICTURES = 256
REFINED_ON = 1024
PARENTS = 4
CHILDREN = 16


@dataclass(frozen=True)
class Options:
    """How a search is done: the arguments of `tune`."""

    objective: Objective
    settings: int
    seed: int
    memory: Path | None
    workers: int | None


class Search:
    """One search over a sample, for several sets of its pictures at once.

    Args:
        sample: all pictures and boxes.
        ensemble: the spec as given; its fusion always takes part.
        space: what may be drawn.
        sets: bool (s, p), the pictures that each search may look at.
        options: what is maximised, and with how much work.
        progress: told how many settings are measured, and of how many.
    """

    def __init__(
        self,
        sample: Labelled,
        ensemble: EnsembleSpec,
        space: Space,
        sets: Sets,
        options: Options,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.space, self.ensemble, self.seed = space, ensemble, options.seed
        self.draws = max(options.settings // 2, 1)
        self.rounds = max(1, round(options.settings / 2 / len(sets) / CHILDREN))
        self.rungs: list[_Rung] = []
        order = _by_hash(sample)
        size, pictures = FIRST_PICTURES, sets.shape[1]
        while not self.rungs or self.rungs[-1].bench.pictures < pictures:
            if 2 * size >= pictures:
                size = pictures
            chosen = np.zeros(pictures, dtype=np.bool_)
            chosen[order[:size]] = True
            part = sample if size == pictures else sample.take(chosen)
            bench = Bench(part, ensemble, options.objective)
            self.rungs.append(_Rung.of(bench, sets[:, chosen], options.memory))
            size *= 4
        self.sets = len(sets)
        self.measured = 0
        self._workers = options.workers
        self._progress = progress
        self._total = self.draws + self.rounds * CHILDREN * self.sets

    def run(self) -> list[Fusion]:
        """The best setting of each set."""
        random = np.random.default_rng([self.seed, 0])
        draws = [self.ensemble.fusion]
        draws += [self.space.draw(random) for _ in range(self.draws - 1)]
        leaders = self._halve(draws)
        rung = max(
            (r for r in self.rungs if r.bench.pictures <= 2 * REFINED_ON),
            key=lambda r: r.bench.pictures,
            default=self.rungs[0],
        )
        best = []
        for number in range(self.sets):
            settings = self._refine(rung, number, leaders[number])
            if rung is not self.rungs[-1]:
                settings = self._ranked(self.rungs[-1], number, settings[:PARENTS])
            best.append(settings[0])
        self._progress(self._total, self._total)
        return best

    def _halve(self, draws: list[Fusion]) -> list[list[Fusion]]:
        """Each set's best draws; the given setting is among them as long as it is good."""
        left = [draws] * self.sets
        for rung in self.rungs:
            together = list({s.model_dump_json(): s for one in left for s in one}.values())
            self._measure(rung, together)
            keep = max(PARENTS, -(-len(draws) // 4 ** (self.rungs.index(rung) + 1)))
            left = [
                self._ranked(rung, number, settings)[:keep] for number, settings in enumerate(left)
            ]
        return left

    def _refine(self, rung: _Rung, number: int, parents: list[Fusion]) -> list[Fusion]:
        random = np.random.default_rng([self.seed, 1 + number])
        parents = self._ranked(rung, number, [self.ensemble.fusion, *parents])[:PARENTS]
        for turn in range(self.rounds):
            step = 0.1 ** (turn / self.rounds)
            children = [
                self.space.near(parents[int(random.integers(len(parents)))], random, step)
                for _ in range(CHILDREN)
            ]
            parents = self._ranked(rung, number, [*parents, *children])[:PARENTS]
        return parents

    def _ranked(self, rung: _Rung, number: int, settings: list[Fusion]) -> list[Fusion]:
        """Settings by falling objective on one set, each once; of equals the first."""
        once = list({setting.model_dump_json(): setting for setting in settings}.values())
        values = np.nan_to_num(self._measure(rung, once)[:, number], nan=-1.0)
        return [once[i] for i in np.argsort(-values, kind="stable")]

    def _measure(self, rung: _Rung, settings: Sequence[Fusion]) -> Floats:
        """(n, s) the objective of each setting on each set."""
        new = [setting for setting in settings if rung.memory.get(setting) is None]
        for start in range(0, len(new), 64):
            batch = new[start : start + 64]
            rung.memory.add(batch, in_threads(rung.measure, batch, self._workers))
            self.measured += len(batch)
            self._progress(min(self.measured, self._total), self._total)
        known = [rung.memory.get(setting) for setting in settings]
        return np.array([row for row in known if row is not None]).reshape(-1, self.sets)


@dataclass(frozen=True)
class _Rung:
    """A part of the pictures, the sets' weights on it, and what was measured there."""

    bench: Bench
    weights: Ints
    memory: Memory

    @classmethod
    def of(cls, bench: Bench, sets: Sets, memory: Path | None) -> _Rung:
        weights = np.zeros(sets.shape, dtype=np.int64)
        weights[:, bench.rank] = sets
        path = None if memory is None else memory / f"{bench.fingerprint(weights)[:32]}.jsonl"
        return cls(bench, weights, Memory(path))

    def measure(self, setting: Fusion) -> Floats:
        return self.bench.measure(self.bench.matches(setting), self.weights)


def _by_hash(sample: Labelled) -> Ints:
    """(p,) positions of the pictures by the hash of their names: a random order that stays."""
    digests = [hashlib.sha256(i.file_name.encode()).digest() for i in sample.dataset.images]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
