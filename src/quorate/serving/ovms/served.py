"""A configuration that is loaded: its models and its pipelines, on the data plane."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from quorate.errors import DetectorError, SpecError
from quorate.serving.aside import SHORT, aside
from quorate.serving.inputs import names_wanted
from quorate.serving.metrics import METRICS
from quorate.serving.ovms.config import Configuration
from quorate.serving.ovms.models import Array, Loaded, load
from quorate.serving.ovms.pipelines import Pipeline, build, rounds
from quorate.serving.values import (
    Given,
    Limits,
    Look,
    ModelInfo,
    Refused,
    Reply,
    Request,
    TensorInfo,
    Why,
)
from quorate.workers import processors

LOG = logging.getLogger("quorate.serving")
QUICK = 2e-4
"""Seconds in which another thread is asked, at least."""


@dataclass(frozen=True)
class ConfigurationSource:
    """A configuration that was read from its file, loaded as a whole; see `Source`."""

    said: Configuration

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Read a file; raises as `Configuration.from_json`."""
        return cls(Configuration.from_json(path))

    @property
    def name(self) -> str:
        """The file."""
        return self.said.origin

    @property
    def models(self) -> Sequence[str]:
        """The models, then the pipelines that no model has the name of."""
        return [*dict.fromkeys(self.said.names)]

    @property
    def files(self) -> Sequence[str]:
        """The file, and the local folders and files of models: a new version changes its folder."""
        paths = [Path(one.config.base_path or "") for one in self.said.model_config_list]
        below = [str(file) for path in paths for file in sorted(path.glob("*/*"))]
        return [self.said.origin, *map(str, paths), *below]

    def anew(self) -> Self:
        """The same as its file says now."""
        return type(self).of(self.said.origin)

    def load(self, limits: Limits) -> ServedConfiguration:
        """What answers; raises as `ServedConfiguration`."""
        return ServedConfiguration(self.said, limits)


class ServedConfiguration:
    """See `Servable`. Make it in any thread.

    A name is first that of a model, then that of a pipeline. Pipelines have no versions: whichever
    is asked for, it is the one there is.

    Raises as `ovms.models.load` and `ovms.pipelines.build`.
    """

    def __init__(self, said: Configuration, limits: Limits) -> None:
        self.limits = limits
        self.waiting = 0
        cores = processors()
        # What stands side by side shares the processors, so that none waits for another.
        together = (one for pipeline in said.pipeline_config_list for one in rounds(pipeline))
        side = max(map(len, together), default=1)
        threads = max(1, cores // side)
        self.versions: dict[str, dict[int, Loaded]] = {}
        for entry in said.model_config_list:
            name = entry.config.name
            if name in self.versions:
                raise SpecError(f"{said.origin}: has two models called '{name}'.")
            found = load(entry.config, threads=threads)
            self.versions[name] = {one.version: one for one in found}
        self.pipelines: dict[str, Pipeline] = {}
        for pipeline in said.pipeline_config_list:
            if pipeline.name in self.versions or pipeline.name in self.pipelines:
                LOG.warning(
                    "%s: '%s' is taken, so the pipeline of that name is never asked",
                    said.origin,
                    pipeline.name,
                )
                continue
            self.pipelines[pipeline.name] = build(pipeline, self._find, origin=said.origin)
        self.models: Mapping[str, ModelInfo] = {
            **{name: self.info(name, str(max(known))) for name, known in self.versions.items()},
            **{name: one.info for name, one in self.pipelines.items()},
        }
        at_once = -(-cores // side) + 1
        self._slots = asyncio.Semaphore(at_once)
        self._longest: dict[tuple[str, int], float] = {}
        self._pool = ThreadPoolExecutor(at_once * side, thread_name_prefix="serve")

    def info(self, name: str, version: str) -> ModelInfo:
        """See `Servable`."""
        if name in self.pipelines or not version:
            return self.models[name]
        one, versions = self._version(name, version), tuple(map(str, self.versions[name]))
        tensors = [*one.inputs.values()], [*one.outputs.values()]
        return ModelInfo(name, versions, "OpenVINO", *tensors)

    def warm(self) -> None:
        """See `Servable`."""
        for versions in self.versions.values():
            for model in versions.values():
                if model.warm():
                    start = time.perf_counter()
                    model.warm()
                    self._longest[model.name, model.version] = time.perf_counter() - start

    def check(self) -> None:
        """See `Servable`."""
        if self.waiting >= self.limits.waiting:
            raise Refused(
                Why.BUSY, f"{self.waiting} requests wait already; try again later.", retry_after=1
            )

    async def answer(self, request: Request) -> Reply:
        """See `Servable`: the outputs of a model or of a pipeline."""
        self.check()
        about = self.info(request.model, request.version)
        wanted = names_wanted(request, about.outputs, [one.name for one in about.outputs])
        size = sum(one.size for one in request.inputs)
        feed = await aside(size, _feed, request, about)
        looks: list[Look] = []
        request.record.looks = looks
        request.record.pictures = max((len(one) for one in feed.values() if one.ndim), default=1)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        try:
            if request.model in self.pipelines:
                found = await self.pipelines[request.model].run(
                    feed, self._pool, METRICS.noting(request.model, looks)
                )
            else:
                model = self._version(request.model, request.version)
                found = await self._run(model, feed, wanted, size)
        finally:
            self._slots.release()
        outputs = {name: found[name] for name in wanted}
        version = about.versions[-1] if request.model in self.pipelines else request.version
        return Reply(request.model, outputs, {}, request.id, version or about.versions[-1])

    async def _run(
        self, model: Loaded, feed: Mapping[str, Array], wanted: Sequence[str], size: int
    ) -> dict[str, Array]:
        """A model's outputs: computed in a thread, or here where that never took as long as asking.

        A large input is always a thread's, and so is a model once it has taken longer.
        """
        key = model.name, model.version
        if size > SHORT or self._longest.get(key, QUICK) >= QUICK:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, model.run, feed, wanted)
        start = time.perf_counter()
        try:
            return model.run(feed, wanted)
        finally:
            self._longest[key] = max(self._longest[key], time.perf_counter() - start)

    def close(self) -> None:
        """See `Servable`."""
        self._pool.shutdown()

    def _find(self, name: str, version: int | None) -> Loaded | None:
        versions = self.versions.get(name, {})
        return versions.get(max(versions, default=0) if version is None else version)

    def _version(self, name: str, version: str) -> Loaded:
        versions = {str(number): one for number, one in self.versions[name].items()}
        version = version or str(max(self.versions[name]))
        if version not in versions:
            raise Refused(
                Why.UNKNOWN,
                f"'{name}' has no version '{version[:80]}'; it has {', '.join(versions)}.",
            )
        return versions[version]


def _feed(request: Request, about: ModelInfo) -> dict[str, Array]:
    """The tensors of a request, as a model's metadata want them; Refused for any others."""
    known = {one.name: one for one in about.inputs}
    names = [one.name for one in request.inputs]
    if sorted(names) != sorted(known):
        told = ", ".join(f"'{name[:80]}'" for name in names) or "none"
        wanted = ", ".join(f"'{name}' {one.datatype} {[*one.shape]}" for name, one in known.items())
        raise Refused(Why.INVALID, f"The inputs are {told}; '{about.name}' takes {wanted}.")
    return {one.name: _tensor(one, known[one.name]) for one in request.inputs}


def _tensor(given: Given, about: TensorInfo) -> Array:
    # Before anything is made of it: a shape of a few numbers can ask for any amount of memory.
    fits = about.fits(given.shape) and all(size >= 1 for size in given.shape)
    if given.datatype != about.datatype or not fits:
        raise Refused(
            Why.INVALID,
            f"'{about.name}' is {about.datatype} {[*about.shape]}, not {given.datatype[:20]} "
            f"{[*given.shape[:16]]}.",
        )
    try:
        return given.array()
    except DetectorError as error:
        raise Refused(Why.INVALID, error.message) from None
