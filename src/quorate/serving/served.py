"""One ensemble that is loaded, warm, and has its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from quorate.ensemble import DetectionEnsemble
from quorate.errors import QuorateError, SpecError
from quorate.pictures import Picture
from quorate.serving import detection
from quorate.serving.inputs import INPUTS, names_wanted, pictures_of
from quorate.serving.line import Answered, Line
from quorate.serving.values import VERSION, Limits, ModelInfo, Refused, Reply, Request, Why
from quorate.workers import processors

PLATFORM = "quorate"
_PROBE = np.full((480, 640, 3), 114, np.uint8)


@dataclass(frozen=True)
class EnsembleSource:
    """An ensemble that was read from a file, or made in Python; see `Source`."""

    ensemble: DetectionEnsemble
    spec: Path | None = None

    @classmethod
    def of(cls, spec: str | Path | DetectionEnsemble) -> Self:
        """Read it; SpecError where that cannot be."""
        if isinstance(spec, DetectionEnsemble):
            return cls(spec)
        return cls(DetectionEnsemble.from_yaml(spec), Path(spec))

    @property
    def name(self) -> str:
        """The ensemble's."""
        return self.ensemble.name

    @property
    def models(self) -> Sequence[str]:
        """The ensemble, and each detector."""
        return [self.name, *(f"{self.name}.{one.name}" for one in self.ensemble.detectors)]

    @property
    def files(self) -> Sequence[str]:
        """The spec, and what its detectors are made of."""
        own = [file for one in self.ensemble.detectors for file in one.files]
        return own if self.spec is None else [str(self.spec), *own]

    def anew(self) -> Self:
        """The same as its spec says now; SpecError where it has another name."""
        if self.spec is None:
            return self
        new = type(self).of(self.spec)
        if new.name != self.name:
            raise SpecError(f"{self.spec}: its name is now '{new.name}', not '{self.name}'.")
        return new

    def load(self, limits: Limits) -> Served:
        """What answers; raises as `DetectionEnsemble.load`."""
        return Served(self.ensemble, limits)


class Served:
    """An ensemble that can be asked; make it in any thread, use it in the event loop.

    Raises as `DetectionEnsemble.load`, and QuorumError where too few detectors answer.

    name     the ensemble's, which is the model's
    models   what can be asked for: the ensemble, and each detector as ENSEMBLE.DETECTOR
    line     the pictures that wait
    """

    def __init__(self, ensemble: DetectionEnsemble, limits: Limits) -> None:
        self.ensemble, self.name, self.limits = ensemble, ensemble.name, limits
        self.loaded = ensemble.load(servers_may_fail=True, patience=limits.member_seconds)
        detectors = [one.name for one in ensemble.detectors]
        outputs = detection.outputs_of(detectors)
        own = detection.own_outputs()
        self.models = {self.name: ModelInfo(self.name, PLATFORM, INPUTS, outputs)}
        for detector in detectors:
            name = f"{self.name}.{detector}"
            self.models[name] = ModelInfo(name, PLATFORM, INPUTS, own)
        # As many requests at once as keep the processors busy, and one more that is decoded.
        self.line = Line(
            self._look,
            threads=-(-processors() // len(detectors)) + 1,
            batch=self.loaded.batch,
            limit=limits.waiting,
        )

    def info(self, name: str, version: str) -> ModelInfo:
        """See `Servable`."""
        if version not in ("", VERSION):
            raise Refused(
                Why.UNKNOWN, f"'{name}' has no version '{version[:80]}'; it has {VERSION}."
            )
        return self.models[name]

    def check(self) -> None:
        """See `Servable`."""
        self.line.check()

    async def answer(self, request: Request) -> Reply:
        """See `Servable`: the boxes that a run finds, as `detection` says."""
        only = request.model.partition(".")[2] or None
        known = self.models[request.model].outputs
        wanted = names_wanted(request, known, len(known) if only else len(detection.DECIDED))
        given = await asyncio.to_thread(pictures_of, request, self.limits)
        answers = await self.line.ask(given, only)
        outputs = detection.tensors(answers, wanted, self.loaded.labels)
        return Reply(request.model, outputs, detection.parameters(answers), request.id)

    def warm(self) -> None:
        """Look at a grey picture; QuorumError where too few detectors answer."""
        [answer] = self.loaded.answers([_PROBE])
        if isinstance(answer, QuorateError):
            raise answer

    def close(self) -> None:
        """Give back threads and weights, once nobody is answered any more."""
        self.line.close()
        self.loaded.close()

    def _look(
        self, given: Sequence[Picture], only: str | None, wanted: Callable[[], bool]
    ) -> Sequence[Answered]:
        return self.loaded.answers(given, only=only, wanted=wanted)
