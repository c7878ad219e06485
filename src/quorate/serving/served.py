"""One ensemble that is loaded, warm, and has its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from quorate.ensemble import DetectionEnsemble
from quorate.errors import QuorateError
from quorate.pictures import Picture
from quorate.serving import detection
from quorate.serving.inputs import INPUTS
from quorate.serving.line import Answered, Line
from quorate.serving.values import Limits, ModelInfo
from quorate.workers import processors

PLATFORM = "quorate"
_PROBE = np.full((480, 640, 3), 114, np.uint8)


class Served:
    """An ensemble that can be asked; make it in any thread, use it in the event loop.

    Raises as `DetectionEnsemble.load`, and QuorumError where too few detectors answer.

    name     the ensemble's, which is the model's
    models   what can be asked for: the ensemble, and each detector as ENSEMBLE.DETECTOR
    line     the pictures that wait
    """

    def __init__(self, ensemble: DetectionEnsemble, limits: Limits) -> None:
        self.ensemble, self.name = ensemble, ensemble.name
        self._users = 0
        self._unused: asyncio.Future[None] | None = None
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

    def warm(self) -> None:
        """Look at a grey picture; QuorumError where too few detectors answer."""
        [answer] = self.loaded.answers([_PROBE])
        if isinstance(answer, QuorateError):
            raise answer

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a request is answered; a method of the event loop, as the next one."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._unused is not None and not self._users and not self._unused.done():
                self._unused.set_result(None)

    async def unused(self) -> None:
        """Return when no request is being answered; none must come any more."""
        if self._users:
            self._unused = asyncio.get_running_loop().create_future()
            await self._unused

    def close(self) -> None:
        """Give back threads and weights, once nobody is answered any more."""
        self.line.close()
        self.loaded.close()

    def _look(
        self, given: Sequence[Picture], only: str | None, wanted: Callable[[], bool]
    ) -> Sequence[Answered]:
        return self.loaded.answers(given, only=only, wanted=wanted)
