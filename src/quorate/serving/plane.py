"""The one data plane: what is asked by REST, by gRPC and by the page is answered here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quorate._version import __version__
from quorate.errors import ImageError, InputError, QuorateError, as_value
from quorate.open_inference.tensors import BINARY
from quorate.serving.metrics import METRICS
from quorate.serving.repository import Repository
from quorate.serving.values import Limits, ModelInfo, Refused, Reply, Request, Why

NAME = "quorate"
EXTENSIONS = (BINARY, "parameters", "model_repository")
NO_SHARED_MEMORY = "Shared memory is not offered; send the tensors in the request."


class Memory:
    """Bytes that requests hold, of at most `limit`. All methods belong to the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Gives what takes so many bytes more, Refused where they are not left; all end with it."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if mine + count > self.limit:
                raise Refused(
                    Why.TOO_LARGE,
                    "This request alone takes more memory than there is for all; send tensors in "
                    "the binary form, or fewer pictures at once.",
                )
            if self.held + count > self.limit:
                raise Refused(
                    Why.BUSY,
                    "The requests that are being answered hold all the memory there is for them; "
                    "try again later.",
                    retry_after=1,
                )
            self.held += count
            mine += count

        try:
            yield take
        finally:
            self.held -= mine


class Plane:
    """Answers for the ensembles that are served. All methods belong to the event loop.

    repository  which those are
    memory      what the requests hold that are being answered
    """

    def __init__(self, repository: Repository, limits: Limits) -> None:
        self.repository, self.limits = repository, limits
        self.memory = Memory(limits.memory)
        METRICS.watch(repository.now, lambda: self.memory.held)

    def about(self) -> dict[str, object]:
        """The server's metadata: name, version, extensions."""
        return {"name": NAME, "version": __version__, "extensions": [*EXTENSIONS]}

    def models(self) -> list[str]:
        """The names of all models that can be asked."""
        return [name for served in self.repository.loaded() for name in served.models]

    def model(self, name: str, version: str = "") -> ModelInfo:
        """A model's metadata; Refused where it cannot be asked."""
        return self.repository.find(name, version).info(name, version)

    def admit(self, name: str, version: str = "") -> None:
        """Refused where a request would be, whatever it holds: before its body is read."""
        self.repository.find(name, version).check()

    async def load(self, name: str) -> None:
        """Load an ensemble, or load it anew; Refused where that is not allowed, or fails."""
        self._may_control()
        await self.repository.load(name)

    async def unload(self, name: str) -> None:
        """Take no more requests for an ensemble; Refused where that is not allowed."""
        self._may_control()
        await self.repository.unload(name)

    def _may_control(self) -> None:
        if not self.limits.control:
            raise Refused(
                Why.FORBIDDEN,
                "Clients may not load or unload models here; `quorate serve --model-control` lets "
                "them.",
            )

    async def infer(self, request: Request, *, seconds: float | None = None) -> Reply:
        """Answer a request; Refused where that cannot be.

        seconds  what is left of the time that the client gives it; at most the server's own limit
        """
        _refuse_what_is_not_offered(request)
        limit = self._limit(request)
        if seconds is not None:
            limit = min(limit, seconds)
        with self.repository.using(request.model, request.version) as served:
            request.record.model = request.model
            try:
                async with asyncio.timeout(limit):
                    return await served.answer(request)
            except TimeoutError:
                raise Refused(Why.TOO_LATE, f"No answer within {limit:g} s.") from None
            except QuorateError as error:
                wrong = isinstance(error, ImageError | InputError)
                why = Why.INVALID if wrong else Why.NOT_NOW
                raise Refused(why, as_value(error).message) from None

    def _limit(self, request: Request) -> float:
        """Seconds: the server's limit, and the request's `timeout`, in microseconds as Triton's."""
        said, most = request.parameters.get("timeout", 0), self.limits.seconds
        if type(said) is not int or said < 0:
            raise Refused(Why.INVALID, "The parameter `timeout` is a number of microseconds.")
        # Compared before it is divided: JSON's numbers may be larger than any of floating point.
        return said / 1e6 if 0 < said < 1e6 * most else most


def _refuse_what_is_not_offered(request: Request) -> None:
    """Refuse words of Triton's extensions that would change where or as what tensors come."""
    inputs = [one.parameters for one in request.inputs]
    for parameters in (request.parameters, *inputs, *request.about):
        if any(name.startswith("shared_memory") for name in parameters):
            raise Refused(Why.NOT_OFFERED, NO_SHARED_MEMORY)
    if any("classification" in parameters for parameters in request.about):
        raise Refused(
            Why.NOT_OFFERED,
            "Triton's classification extension is not offered; ask an ensemble of classifiers for "
            "`top_labels`.",
        )
