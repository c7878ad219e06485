"""One ensemble that is loaded, warm, and has its queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble, read_ensemble
from quorate.errors import QuorateError, SpecError
from quorate.pictures import Picture
from quorate.serving.classification import Classification
from quorate.serving.detection import Detection
from quorate.serving.inputs import INPUTS, names_wanted, pictures_of
from quorate.serving.line import Answered, Line, Looked
from quorate.serving.metrics import METRICS
from quorate.serving.values import (
    VERSION,
    Limits,
    Look,
    ModelInfo,
    Parameters,
    Refused,
    Reply,
    Request,
    TensorInfo,
    Why,
)
from quorate.steps.look import PROBE
from quorate.workers import processors

LOG = logging.getLogger("quorate.serving")
PLATFORM = "quorate"
Runnable = DetectionEnsemble | ClassificationEnsemble


class Tensors(Protocol):
    """What a kind of ensemble says of a picture, as tensors.

    own         one member's outputs, as a model of its own
    decided     those of the decision; an ensemble has them, then each member's own
    on_request  which of them are not given where a request names none
    """

    own: tuple[TensorInfo, ...]
    decided: tuple[TensorInfo, ...]
    on_request: tuple[str, ...]

    def tensors(
        self, answers: Sequence[Any], wanted: Sequence[str], parameters: Parameters
    ) -> dict[str, NDArray[Any]]:
        """The outputs wanted, each of them known; of a member's model they are its decision."""

    def voters(self, answer: Any) -> tuple[str, ...]:
        """Who took part in an answer."""

    def votes(self, answer: Any) -> list[int]:
        """The votes of each thing that was decided."""


@dataclass(frozen=True)
class EnsembleSource:
    """An ensemble that was read from a file, or made in Python; see `Source`."""

    ensemble: Runnable
    spec: Path | None = None

    @classmethod
    def of(cls, spec: str | Path | Runnable) -> Self:
        """Read it; SpecError where that cannot be."""
        if isinstance(spec, Runnable):
            return cls(spec)
        return cls(read_ensemble(spec), Path(spec))

    @property
    def name(self) -> str:
        """The ensemble's."""
        return self.ensemble.name

    @property
    def models(self) -> Sequence[str]:
        """The ensemble, and each member."""
        return [self.name, *(f"{self.name}.{one.name}" for one in self.ensemble.members)]

    @property
    def files(self) -> Sequence[str]:
        """The spec, and what its members are made of."""
        own = [file for one in self.ensemble.members for file in one.files]
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

    Raises as `DetectionEnsemble.load`.

    name     the ensemble's, which is the model's
    models   what can be asked for: the ensemble, and each member as ENSEMBLE.MEMBER
    line     the pictures that wait
    """

    def __init__(self, ensemble: Runnable, limits: Limits) -> None:
        self.name, self.limits = ensemble.name, limits
        self.loaded = ensemble.load(servers_may_fail=True, patience=limits.member_seconds)
        if unlike := self.loaded.widen():
            LOG.warning(
                "%s: %s gives other numbers with several threads, so it has one for each picture",
                self.name,
                ", ".join(unlike),
            )
        members = [one.name for one in ensemble.members]
        kind = Detection if isinstance(ensemble, DetectionEnsemble) else Classification
        self.kind: Tensors = kind(self.loaded.labels)
        own = self.kind.own
        outputs = {self.name: [*self.kind.decided]}
        for member in members:
            outputs[self.name] += [replace(one, name=f"{member}.{one.name}") for one in own]
            outputs[f"{self.name}.{member}"] = [*own]
        self.models = {
            name: ModelInfo(name, (VERSION,), PLATFORM, INPUTS, known)
            for name, known in outputs.items()
        }
        # As many groups as keep the processors busy where each waits for its slowest member, and
        # one more that is decoded.
        self.line = Line(
            self._look,
            threads=processors() + 1,
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

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return self.line.waiting

    def check(self) -> None:
        """See `Servable`."""
        self.line.check()

    async def answer(self, request: Request) -> Reply:
        """See `Servable`: what a run finds, as `detection` and `classification` say it."""
        only = request.model.partition(".")[2] or None
        usual = self.kind.own if only else self.kind.decided
        default = [one.name for one in usual if one.name not in self.kind.on_request]
        wanted = names_wanted(request, self.models[request.model].outputs, default)
        given = await asyncio.to_thread(pictures_of, request, self.limits)
        request.record.pictures = len(given)
        looked = await self.line.ask(given, only)
        answers = [one.answer for one in looked]
        request.record.looks = [*dict.fromkeys(look for one in looked for look in one.looks)]
        outputs = self.kind.tensors(answers, wanted, request.parameters)
        said = self._parameters(answers)
        request.record.degraded, request.record.failed = said["degraded"], said.get("failed", "")
        if only is None:
            METRICS.decided(self.name, [n for one in answers for n in self.kind.votes(one)])
        return Reply(request.model, outputs, said, request.id)

    def warm(self) -> None:
        """Look at a grey picture; QuorumError where too few members answer."""
        [answer] = self.loaded.answers([PROBE])
        if isinstance(answer, QuorateError):
            raise answer

    def close(self) -> None:
        """Give back threads and weights, once nobody is answered any more."""
        self.line.close()
        self.loaded.close()

    def _look(
        self,
        given: Sequence[Picture],
        names: Sequence[str],
        only: str | None,
        wanted: Callable[[], bool],
        alone: bool,
    ) -> Sequence[Answered]:
        looks: list[Look] = []
        told = METRICS.noting(self.name, looks)
        found: Sequence[Any] = self.loaded.answers(
            given, names=names, only=only, wanted=wanted, told=told, alone=alone
        )
        METRICS.grouped(self.name, len(given))
        for answer in found:
            if not isinstance(answer, QuorateError):
                METRICS.answered(self.name, self.kind.voters(answer), [*answer.failed])
        return [one if isinstance(one, QuorateError) else Looked(one, looks) for one in found]

    def _parameters(self, answers: Sequence[Any]) -> dict[str, Any]:
        """Whether an answer is degraded, who voted on all pictures, and why the others did not."""
        failed: dict[str, str] = {}
        for answer in answers:
            failed |= answer.failed
        voted = [name for name in self.kind.voters(answers[0]) if name not in failed]
        said: dict[str, Any] = {"degraded": bool(failed), "voted": ",".join(voted)}
        if failed:
            said["failed"] = "; ".join(f"{name}: {why}" for name, why in failed.items())
        return said
