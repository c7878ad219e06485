"""The one data plane: what is asked by REST, by gRPC and by the page is answered here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from quorate._version import __version__
from quorate.ensemble import DetectionEnsemble
from quorate.errors import ImageError, InputError, QuorateError, SpecError, did_you_mean
from quorate.open_inference.tensors import BINARY
from quorate.serving.ovms.config import Configuration
from quorate.serving.servable import Servable
from quorate.serving.served import Served
from quorate.serving.values import Limits, ModelInfo, Refused, Reply, Request, Why

LOG = logging.getLogger("quorate.serving")
NAME = "quorate"
EXTENSIONS = (BINARY, "parameters", "model_repository")


Source = DetectionEnsemble | Configuration
"""What can be served: an ensemble, or a configuration of OpenVINO Model Server."""


class Plane:
    """Answers for what is served. All methods belong to the event loop.

    served  those that are loaded, by name
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.served: dict[str, Servable] = {}
        self.ready = False

    async def load(self, sources: Sequence[Source]) -> None:
        """Load one after the other, and let each compute something; then be ready.

        Raises as `Served` and `ServedConfiguration`, and SpecError where two have one name.
        """
        for source in sources:
            served = await asyncio.to_thread(_opened, source, self.limits)
            for name in served.models:
                if name in self.models():
                    raise SpecError(f"Two models are called '{name}': models are told by name.")
            await asyncio.to_thread(served.warm)
            self.served[served.name] = served
        self.ready = True

    def close(self) -> None:
        """End the threads; what is at work is finished first."""
        self.ready = False
        for served in self.served.values():
            served.close()

    def about(self) -> dict[str, object]:
        """The server's metadata: name, version, extensions."""
        return {"name": NAME, "version": __version__, "extensions": [*EXTENSIONS]}

    def models(self) -> list[str]:
        """The names of all models that can be asked."""
        return [name for served in self.served.values() for name in served.models]

    def index(self) -> list[dict[str, str]]:
        """Every model with its state, as Triton's repository extension tells it."""
        return [
            {"name": about.name, "version": version, "state": "READY", "reason": ""}
            for served in self.served.values()
            for about in served.models.values()
            for version in about.versions
        ]

    def model(self, name: str, version: str = "") -> ModelInfo:
        """A model's metadata; Refused where it is not there."""
        return self.find(name, version).info(name, version)

    def find(self, name: str, version: str = "") -> Servable:
        """What a model belongs to; Refused where it is not there."""
        served = next((one for one in self.served.values() if name in one.models), None)
        if served is None:
            known = ", ".join(self.models())
            hint = did_you_mean(name, self.models()) or f"there are {known or 'none yet'}."
            raise Refused(Why.UNKNOWN, f"No model is called '{name[:80]}': {hint}")
        served.info(name, version)
        return served

    async def infer(self, request: Request, *, seconds: float | None = None) -> Reply:
        """Answer a request; Refused where that cannot be.

        seconds  what is left of the time that the client gives it; at most the server's own limit
        """
        served = self.find(request.model, request.version)
        limit = min([self.limits.seconds, *self._asked(request), *([seconds] if seconds else [])])
        served.users += 1
        try:
            async with asyncio.timeout(limit):
                return await served.answer(request)
        except TimeoutError:
            raise Refused(Why.TOO_LATE, f"No answer within {limit:g} s.") from None
        except (ImageError, InputError) as error:
            raise Refused(Why.INVALID, f"{error.message}") from None
        except QuorateError as error:
            raise Refused(Why.NOT_NOW, f"{error.message}") from None
        finally:
            served.users -= 1

    def _asked(self, request: Request) -> list[float]:
        """The time limit that a request names itself: `timeout`, in microseconds, as Triton's."""
        said = request.parameters.get("timeout", 0)
        if type(said) is not int or said < 0:
            raise Refused(Why.INVALID, "The parameter `timeout` is a number of microseconds.")
        return [said / 1e6] if said else []


def _opened(source: Source, limits: Limits) -> Servable:
    if isinstance(source, Configuration):
        from quorate.serving.ovms.served import ServedConfiguration

        return ServedConfiguration(source, limits)
    return Served(source, limits)
