"""Pipelines: the graph of a configuration checked against its models, and run.

A node is run as soon as what it needs is there, each in a thread of its own. A node that
demultiplies cuts the first axis off its outputs: what follows is run once for each part, until a
node gathers the parts, or the answer does. `Level` names the demultiplexers that are open at a
node, the outermost first; the parts of a level are counted by as many numbers.

Source: docs/dag_scheduler.md, docs/demultiplexing.md and src/dags/pipelinedefinition.cpp of
github.com/openvinotoolkit/model_server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.errors import InputError, SpecError
from quorate.serving.ovms import config
from quorate.serving.ovms.config import REQUEST, Source
from quorate.serving.ovms.models import Loaded
from quorate.serving.values import VERSION, ModelInfo, TensorInfo
from quorate.steps.asking import Told, nobody

Array = NDArray[Any]
Level = tuple[str, ...]
Parts = dict[tuple[int, ...], dict[str, Array]]
"""The outputs of a node, by alias, for each part of its level."""
DYNAMIC = -1


@dataclass(frozen=True)
class Step:
    """A node with its model.

    sources     where each input of the model is taken from
    given       the model's output behind each name that others know
    demultiply  how many parts its outputs are cut into; None: they are not cut
    level       at which it is run
    """

    name: str
    model: Loaded
    sources: Mapping[str, Source]
    given: Mapping[str, str]
    demultiply: int | None
    gather: str | None
    level: Level

    def run(self, feed: Mapping[str, Array], told: Told) -> dict[str, Array]:
        """The outputs of its model, by the names that others know."""
        began, start = time.time(), time.perf_counter()
        found = self.model.run(feed, [*dict.fromkeys(self.given.values())])
        told(self.name, began, time.perf_counter() - start)
        return {alias: found[name] for alias, name in self.given.items()}


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that can be run.

    steps    in an order in which each comes after what it needs
    outputs  where each tensor of the answer is taken from
    counts   the parts of each demultiplexer, -1 where that is seen only when it is run
    """

    name: str
    info: ModelInfo
    steps: tuple[Step, ...]
    outputs: Mapping[str, Source]
    counts: Mapping[str, int]

    async def run(
        self, feed: Mapping[str, Array], pool: Executor, told: Told = nobody
    ) -> dict[str, Array]:
        """The answer to a request whose tensors are as `info` says; threads tell `told` of nodes.

        Raises:
            InputError: a request that is cut into no parts, or into another number than is fixed.
            DetectorError: a model that fails, or that is given what it does not take.
        """
        start: Parts = {(): dict(feed)}
        if REQUEST in self.counts:
            start = _cut(start, self.counts[REQUEST], f"The request to '{self.name}'")
        ready = asyncio.get_running_loop().create_future()
        ready.set_result(start)
        found: dict[str, asyncio.Future[Parts]] = {REQUEST: ready}
        try:
            async with asyncio.TaskGroup() as group:
                for step in self.steps:
                    found[step.name] = group.create_task(self._step(step, found, pool, told))
        except BaseExceptionGroup as failures:  # where several fail, the first is told
            raise failures.exceptions[0] from None
        answer = {}
        for name, source in self.outputs.items():
            parts = {
                at: one[source.data_item] for at, one in found[source.node_name].result().items()
            }
            answer[name] = _gathered(parts)
        return answer

    async def _step(
        self,
        step: Step,
        found: Mapping[str, asyncio.Future[Parts]],
        pool: Executor,
        told: Told,
    ) -> Parts:
        needed = {source.node_name for source in step.sources.values()}
        # Not awaited one by one: where one fails, who waits for another is told at once.
        have = dict(
            zip(needed, await asyncio.gather(*(found[name] for name in needed)), strict=True)
        )
        inputs: Parts = {}
        for tensor, source in step.sources.items():
            parts = {at: one[source.data_item] for at, one in have[source.node_name].items()}
            if step.gather is not None:
                parts = _gathered_last(parts)
            for at, value in parts.items():
                inputs.setdefault(at, {})[tensor] = value
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(
            *(loop.run_in_executor(pool, step.run, feed, told) for feed in inputs.values())
        )
        outputs: Parts = dict(zip(inputs, answers, strict=True))
        if step.demultiply is None:
            return outputs
        return _cut(outputs, step.demultiply, f"'{step.name}' of '{self.name}'")


def _cut(whole: Parts, count: int, who: str) -> Parts:
    """Each output without its first axis, one for each place on it."""
    parts: Parts = {}
    for at, outputs in whole.items():
        sizes = {value.shape[0] if value.ndim else 0 for value in outputs.values()}
        if len(sizes) != 1 or sizes == {0} or (count != DYNAMIC and sizes != {count}):
            said = " and ".join(map(str, sorted(sizes)))
            wanted = "some, and the same number of each" if count == DYNAMIC else count
            raise InputError(f"{who} is cut into {said} parts, and has to be into {wanted}.")
        for place in range(sizes.pop()):
            parts[*at, place] = {name: value[place] for name, value in outputs.items()}
    return parts


def _gathered_last(parts: Mapping[tuple[int, ...], Array]) -> dict[tuple[int, ...], Array]:
    """The parts of the innermost level as one, with a first axis for them."""
    together: dict[tuple[int, ...], list[Array]] = {}
    for at in sorted(parts):
        together.setdefault(at[:-1], []).append(parts[at])
    return {at: _stacked(values) for at, values in together.items()}


def _gathered(parts: Mapping[tuple[int, ...], Array]) -> Array:
    """All parts as one, with a first axis for each level."""
    found = dict(parts)
    while () not in found:
        found = _gathered_last(found)
    return found[()]


def _stacked(values: list[Array]) -> Array:
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        told = " and ".join(str([*shape]) for shape in sorted(shapes))
        raise InputError(f"Parts of the shapes {told} cannot be gathered.")
    return np.stack(values)


def build(
    said: config.Pipeline, model: Callable[[str, int | None], Loaded | None], *, origin: str
) -> Pipeline:
    """A pipeline with its models; SpecError where its graph cannot be run.

    `model` finds one by its name and version, None being the newest.
    """
    return _Builder(said, model, f"{origin}: the pipeline '{said.name}'").built()


class _Builder:
    def __init__(
        self, said: config.Pipeline, model: Callable[[str, int | None], Loaded | None], who: str
    ) -> None:
        self.said, self.model, self.who = said, model, who
        self.counts: dict[str, int] = {}
        if said.demultiply_count is not None:
            self.counts[REQUEST] = said.demultiply_count or DYNAMIC
        for node in said.nodes:
            if node.demultiply_count is not None:
                self.counts[node.name] = node.demultiply_count or DYNAMIC
        self.steps: dict[str, Step] = {}
        self.inputs: dict[str, TensorInfo] = {}

    def built(self) -> Pipeline:
        said = self.said
        names = [REQUEST, *(node.name for node in said.nodes)]
        for name in names:
            if names.count(name) > 1:
                raise self._wrong(f"has two nodes called '{name}'")
        if DYNAMIC in self.counts.values() and len(self.counts) > 1:
            raise self._wrong("has several demultiplexers, one of them of an open count")
        for together in rounds(said):
            for node in together:
                self.steps[node.name] = self._step(node)
        left = [node.name for node in said.nodes if node.name not in self.steps]
        if left:
            raise self._wrong(f"goes in a circle through {', '.join(left)}")
        outputs, told = self._outputs()
        self._check_used(outputs)
        inputs = [self._input(name) for name in said.inputs if name in self.inputs]
        info = ModelInfo(said.name, (VERSION,), "OpenVINO", inputs, told)
        return Pipeline(said.name, info, tuple(self.steps.values()), outputs, self.counts)

    def _wrong(self, what: str, hint: str | None = None) -> SpecError:
        return SpecError(f"{self.who} {what}.", hint=hint)

    def _step(self, node: config.Node) -> Step:
        assert node.model_name is not None, "custom nodes are refused by Configuration"
        model = self.model(node.model_name, node.version)
        if model is None:
            version = f" of version {node.version}" if node.version else ""
            raise self._wrong(
                f"asks for the model '{node.model_name}'{version}, which is not in the list"
            )
        given = {one.alias: one.data_item for one in node.outputs}
        for name in given.values():
            if name not in model.outputs:
                known = ", ".join(model.outputs)
                raise self._wrong(f"takes '{name}' from '{node.name}', whose model has {known}")
        sources = self._sources(node.inputs, node.name)
        for name in (*sources, *model.inputs):
            if (name in sources) != (name in model.inputs):
                how = "feeds" if name in sources else "does not feed"
                known = ", ".join(model.inputs)
                raise self._wrong(f"{how} '{name}' of '{node.name}', whose model takes {known}")
        level = self._level(sources, node.name)
        if node.gather_from_node is not None:
            if node.gather_from_node not in self.counts:
                raise self._wrong(
                    f"gathers in '{node.name}' from '{node.gather_from_node}', which is no "
                    "demultiplexer"
                )
            if level[-1:] != (node.gather_from_node,):
                raise self._wrong(
                    f"gathers in '{node.name}' from '{node.gather_from_node}', which is not the "
                    "closest demultiplexer before it"
                )
            level = level[:-1]
        step = Step(
            node.name, model, sources, given, self.counts.get(node.name), node.gather_from_node,
            level,
        )  # fmt: skip
        for name in given.values():
            if step.demultiply is not None:
                self._check_cut(model.outputs[name].shape, step.demultiply, node.name)
        for name, source in sources.items():
            self._connect(step, model.inputs[name], source)
        return step

    def _sources(self, said: tuple[config.Sources, ...], who: str) -> dict[str, Source]:
        found: dict[str, Source] = {}
        for one in said:
            if len(one) != 1:
                raise self._wrong(f"names several tensors at once in '{who}'")
            [(name, source)] = one.items()
            if name in found:
                raise self._wrong(f"feeds '{name}' of '{who}' twice")
            known = (
                self.said.inputs
                if source.node_name == REQUEST
                else self.steps[source.node_name].given
                if source.node_name in self.steps
                else None
            )
            if known is None:
                raise self._wrong(f"takes something from '{source.node_name}', which is no node")
            if source.data_item not in known:
                raise self._wrong(
                    f"takes '{source.data_item}' from '{source.node_name}', which gives "
                    f"{', '.join(known) or 'nothing'}"
                )
            found[name] = source
        return found

    def _level(self, sources: Mapping[str, Source], who: str) -> Level:
        levels = {self._after(source.node_name) for source in sources.values()}
        if len(levels) > 1:
            raise self._wrong(
                f"brings together in '{who}' what is demultiplexed with what is not, or otherwise",
                "gather_from_node gathers the parts first",
            )
        return levels.pop() if levels else ()

    def _after(self, name: str) -> Level:
        """The level of what a node gives."""
        before: Level = () if name == REQUEST else self.steps[name].level
        return (*before, name) if name in self.counts else before

    def _check_cut(self, shape: tuple[int, ...], count: int, name: str) -> None:
        if len(shape) < 3:
            raise self._wrong(
                f"demultiplies '{name}', whose output {[*shape]} has fewer than three axes"
            )
        if count != DYNAMIC and shape[0] not in (-1, count):
            raise self._wrong(f"cuts the outputs of '{name}' into {count}, and they are {[*shape]}")

    def _connect(self, step: Step, wanted: TensorInfo, source: Source) -> None:
        """Check that an input takes what its source gives, or note what the request has to give."""
        shape = wanted.shape
        if step.gather is not None:
            self._check_cut(shape, self.counts[step.gather], step.name)
            shape = shape[1:]
        if source.node_name == REQUEST:
            self._ask(TensorInfo(source.data_item, wanted.datatype, shape))
            return
        before = self.steps[source.node_name]
        given = before.model.outputs[before.given[source.data_item]]
        own = given.shape if before.demultiply is None else given.shape[1:]
        if given.datatype != wanted.datatype or _both(own, shape) is None:
            raise self._wrong(
                f"gives '{wanted.name}' of '{step.name}', which is {wanted.datatype} {[*shape]}, "
                f"'{source.data_item}' of '{source.node_name}', which is {given.datatype} {[*own]}"
            )

    def _ask(self, about: TensorInfo) -> None:
        before = self.inputs.get(about.name, about)
        both = _both(before.shape, about.shape)
        if both is None or before.datatype != about.datatype:
            raise self._wrong(
                f"gives its input '{about.name}' to models that take {before.datatype} "
                f"{[*before.shape]} and {about.datatype} {[*about.shape]}"
            )
        self.inputs[about.name] = TensorInfo(about.name, about.datatype, both)

    def _input(self, name: str) -> TensorInfo:
        about = self.inputs[name]
        if REQUEST not in self.counts:
            return about
        return TensorInfo(name, about.datatype, (self.counts[REQUEST], *about.shape))

    def _outputs(self) -> tuple[dict[str, Source], list[TensorInfo]]:
        outputs = self._sources(self.said.outputs, "the answer")
        if not outputs:
            raise self._wrong("has no outputs")
        level = self._level(outputs, "the answer")
        told = []
        for name, source in outputs.items():
            if source.node_name == REQUEST:
                raise self._wrong(f"answers with its own input '{source.data_item}'")
            step = self.steps[source.node_name]
            about = step.model.outputs[step.given[source.data_item]]
            own = about.shape if step.demultiply is None else about.shape[1:]
            counts = tuple(self.counts[one] for one in level)
            told.append(TensorInfo(name, about.datatype, (*counts, *own)))
        return outputs, told

    def _check_used(self, outputs: Mapping[str, Source]) -> None:
        used = {source.node_name for source in outputs.values()}
        for step in reversed(self.steps.values()):
            if step.name not in used:
                raise self._wrong(f"has the node '{step.name}', of which nothing is taken")
            used |= {source.node_name for source in step.sources.values()}


def _both(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that is both, -1 being any size; None where there is none."""
    if len(one) != len(other):
        return None
    if any(-1 not in pair and pair[0] != pair[1] for pair in zip(one, other, strict=True)):
        return None
    return tuple(max(pair) for pair in zip(one, other, strict=True))


def rounds(said: config.Pipeline) -> Iterator[list[config.Node]]:
    """The nodes that stand side by side, each as early as it can be; those of a circle in none."""
    left = {node.name: node for node in said.nodes}

    def waits(node: config.Node) -> bool:
        return any(source.node_name in left for one in node.inputs for source in one.values())

    while ready := [node for node in left.values() if not waits(node)]:
        for node in ready:
            del left[node.name]
        yield ready
