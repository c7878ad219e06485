"""The models of a configuration: their versions found, their files loaded, their tensors renamed.

A file of ONNX is run by onnxruntime, one of OpenVINO IR (.xml beside .bin) by openvino.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.onnx.session import CPU, open_session
from quorate.errors import DetectorError, InputError, SpecError
from quorate.networks import Graph, Network, Tensor
from quorate.open_inference.tensors import DTYPES, OF_KINDS, datatype_of, fits
from quorate.serving.ovms.config import Model
from quorate.serving.values import TensorInfo
from quorate.storage import is_s3, open_tree, read_bytes
from quorate.storage.tree import join

LOG = logging.getLogger("quorate.serving")
_THREADS = ("INFERENCE_NUM_THREADS", "CPU_THREADS_NUM")
_OTHERS = (".pdmodel", ".pdiparams", ".pb", ".tflite")
"""What that server reads, and is not read here."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Axes:
    """A tensor of a model as clients know it: under another name, or its axes in another order.

    name   what the model calls it
    given  where each axis of the model's tensor stands in the clients' one; None: in the same place
    """

    name: str
    given: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Loaded:
    """One version of a model that can be run, from any thread.

    inputs, outputs  as clients see them
    """

    name: str
    version: int
    network: Network
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    _into: Mapping[str, Axes]
    _out_of: Mapping[str, Axes]

    def run(self, feed: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """The outputs wanted for these inputs; DetectorError where they do not fit, or it fails."""
        given = {}
        for name, value in feed.items():
            check(f"'{self.name}' takes '{name}'", self.inputs[name], value)
            axes = self._into[name]
            turned = value if axes.given is None else value.transpose(axes.given)
            given[axes.name] = np.ascontiguousarray(turned)
        found = self.network.run([self._out_of[name].name for name in wanted], given)
        answer = {}
        for name in wanted:
            axes = self._out_of[name]
            value = found[axes.name]
            answer[name] = value if axes.given is None else value.transpose(np.argsort(axes.given))
        return answer

    def warm(self) -> bool:
        """Run it on zeros, where no size but the first of each input is open; whether it ran."""
        feed = {}
        for name, about in self.inputs.items():
            sizes = [1 if size < 0 and at == 0 else size for at, size in enumerate(about.shape)]
            if any(size < 0 for size in sizes):
                return False
            feed[name] = np.zeros(sizes, DTYPES[about.datatype])
        self.run(feed, [*self.outputs])
        return True


def check(who: str, about: TensorInfo, value: Array) -> None:
    """DetectorError where an array is not of the datatype and shape told; -1 may be any size."""
    if not about.fits(value.shape) or datatype_of(value) != about.datatype:
        raise DetectorError(
            f"{who} of {about.datatype} {[*about.shape]}, and was given "
            f"{datatype_of(value)} {[*value.shape]}."
        )


def load(model: Model, *, threads: int) -> list[Loaded]:
    """The versions that are to be served, the newest last.

    Raises:
        SpecError: a shape or layout that the file's own tensors cannot have.
        InputError: nothing is there.
        DetectorError: a file that cannot be loaded.
        MissingExtraError: a file of OpenVINO IR, and openvino is not installed.
        StorageError: S3 does not answer.
    """
    assert model.base_path is not None, "checked by Configuration"
    threads = _threads(model, threads)
    files = _files(model.base_path)
    versions = sorted(_chosen(model, [*files]))
    return [_load(model, version, files[version], threads) for version in versions]


def _threads(model: Model, threads: int) -> int:
    """The file's own wish, else what is given; what changes nothing here is told in the log."""
    own = {name.upper(): value for name, value in model.plugin_config.items()}
    for name in _THREADS:
        if (value := own.pop(name, None)) is not None:
            if not re.fullmatch(r"\d+", str(value)):
                raise SpecError(f"The model '{model.name}': {name} is a number, not {value!r}.")
            threads = int(value) or threads
    passed = [*own] + ["nireq"] * (model.nireq is not None)
    if model.target_device not in ("CPU", "AUTO"):
        passed.append(f"target_device {model.target_device}")
    if passed:
        LOG.warning("%s: runs on the CPU, passed over: %s", model.name, ", ".join(passed))
    return threads


def _files(base: str) -> dict[int, str]:
    """The file of each version; SpecError or InputError where there is none."""
    if not is_s3(base) and Path(base).is_file():
        return {1: base}
    found: dict[int, list[str]] = {}
    with open_tree(base) as tree:
        for name in tree.names():
            folder, _, file = name.partition("/")
            if re.fullmatch("[1-9][0-9]{0,8}", folder) and file and "/" not in file:
                found.setdefault(int(folder), []).append(file)
    chosen = {}
    for version, names in found.items():
        models = [name for name in names if name.endswith((".onnx", ".xml"))]
        if len(models) > 1:
            raise InputError(f"{base}/{version}: has several models: {', '.join(models)}.")
        if models:
            chosen[version] = join(base, str(version), models[0])
        elif other := next((name for name in names if name.endswith(_OTHERS)), None):
            raise InputError(
                f"{base}/{version}/{other}: is neither ONNX nor OpenVINO IR.",
                hint="convert it with openvino's `ovc`, or to ONNX",
            )
    if not chosen:
        raise InputError(
            f"{base}: has no version of a model, such as {base.rstrip('/')}/1/model.onnx."
        )
    return chosen


def _chosen(model: Model, there: list[int]) -> list[int]:
    policy = model.model_version_policy
    if policy.specific is not None:
        missing = [str(one) for one in policy.specific.versions if one not in there]
        if missing:
            raise InputError(f"{model.base_path}: has no version {', '.join(missing)}.")
        return [*policy.specific.versions]
    if policy.latest is not None:
        return sorted(there)[-policy.latest.num_versions :]
    return there


def _load(model: Model, version: int, file: str, threads: int) -> Loaded:
    network: Network
    if file.endswith(".xml"):
        from quorate.serving.ovms.ir import open_ir

        network = open_ir(file, threads=threads, shapes=lambda graph: _shapes(model, graph))
        shapes = _shapes(model, network.graph)
    else:
        network = open_session(file, threads=threads, providers=[CPU])
        shapes = _shapes(model, network.graph)
        _check_shapes(model, network.graph, shapes, file)
    graph = network.graph
    layouts = model.layout or {}
    if isinstance(layouts, str):
        if len(graph.inputs) != 1:
            raise SpecError(
                f"The model '{model.name}': layout '{layouts}' is of one input, and {file} has "
                f"{len(graph.inputs)}.",
                hint='say whose it is: {"input": "NHWC:NCHW"}',
            )
        layouts = {graph.inputs[0].name: layouts}
    names = _names(file)
    inputs, into = _told(graph.inputs, shapes, names.get("inputs", {}), layouts, file)
    outputs, out_of = _told(graph.outputs, {}, names.get("outputs", {}), layouts, file)
    return Loaded(model.name, version, network, inputs, outputs, into, out_of)


def _shapes(model: Model, graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shapes that the configuration gives inputs, -1 for an open size; none by itself."""
    said = model.shape
    if said is None:
        batch = model.batch_size
        if batch is None:
            return {}
        open_ = batch in ("auto", 0, "0")
        if not open_ and not re.fullmatch(r"[1-9][0-9]{0,5}", str(batch)):
            raise SpecError(f"The model '{model.name}': batch_size is a number or auto.")
        size = -1 if open_ else int(batch)
        sizes = {one.name: [-1 if n is None else n for n in one.shape] for one in graph.inputs}
        return {name: (size, *shape[1:]) for name, shape in sizes.items() if shape}
    if isinstance(said, str):
        if len(graph.inputs) != 1:
            raise SpecError(
                f"The model '{model.name}' has {len(graph.inputs)} inputs: say whose the shape is."
            )
        said = {graph.inputs[0].name: said}
    found = {}
    for name, text in said.items():
        one = next((tensor for tensor in graph.inputs if tensor.name == name), None)
        if one is None:
            known = ", ".join(tensor.name for tensor in graph.inputs)
            raise SpecError(f"The model '{model.name}' has no input '{name}'; it has {known}.")
        if text == "auto":
            found[name] = tuple(-1 for _ in one.shape)
            continue
        sizes_ = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
        if not sizes_ or not all(re.fullmatch(r"-1|[1-9][0-9]{0,8}", size) for size in sizes_):
            raise SpecError(
                f"The model '{model.name}': the shape '{text}' is none such as (1,3,224,224), "
                "where -1 is any size."
            )
        found[name] = tuple(map(int, sizes_))
    return found


def _check_shapes(
    model: Model, graph: Graph, shapes: Mapping[str, tuple[int, ...]], file: str
) -> None:
    """SpecError where a file of ONNX, whose shapes are its own, would have to be reshaped."""
    for one in graph.inputs:
        wanted = shapes.get(one.name)
        if wanted is None or not one.shape or fits(one.shape, wanted):
            continue
        raise SpecError(
            f"The model '{model.name}' is to have '{one.name}' of {[*wanted]}; in {file} it is "
            f"{one}, and onnxruntime does not change what a file fixes.",
            hint="export it with open sizes, or convert it to OpenVINO IR, which is reshaped",
        )


def _names(file: str) -> Mapping[str, Mapping[str, str]]:
    """What clients call the tensors: mapping_config.json beside the file, where there is one."""
    place = join(file.rpartition("/")[0] or ".", "mapping_config.json")
    try:
        value = json.loads(read_bytes(place))
    except InputError:
        return {}
    except ValueError as error:
        raise SpecError(f"{place}: not valid JSON: {error}.") from None
    parts = value.values() if isinstance(value, dict) else [None]
    if not all(
        isinstance(part, dict) and all(isinstance(name, str) for name in part.values())
        for part in parts
    ):
        raise SpecError(f"{place}: expected {{inputs: {{tensor: name}}, outputs: …}}.")
    found: Mapping[str, Mapping[str, str]] = value
    return found


def _told(
    tensors: Sequence[Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
    layouts: Mapping[str, str],
    file: str,
) -> tuple[dict[str, TensorInfo], dict[str, Axes]]:
    """Tensors as clients see them, and the way from there."""
    told, axes = {}, {}
    for one in tensors:
        if one.kind not in OF_KINDS:
            raise DetectorError(f"{file}: '{one.name}' is of {one.kind}, which is not served.")
        name = names.get(one.name, one.name)
        shape = shapes.get(one.name) or tuple(-1 if size is None else size for size in one.shape)
        text = layouts.get(one.name) or layouts.get(name)
        given = _axes(one, text, file) if text else None
        if given is not None:
            shape = tuple(shape[given.index(at)] for at in range(len(shape)))
        told[name] = TensorInfo(name, OF_KINDS[one.kind], shape)
        axes[name] = Axes(one.name, given)
    return told, axes


def _axes(one: Tensor, layout: str, file: str) -> tuple[int, ...] | None:
    """Where each axis stands in the clients' tensor, for a `layout` that says theirs:its own."""
    theirs, _, own = layout.upper().partition(":")
    if not own or theirs == own:
        return None
    if sorted(theirs) != sorted(own) or len(set(own)) != len(own) or not own.isalpha():
        raise SpecError(f"{file}: the layout '{layout}' of '{one.name}' says no order of axes.")
    if len(own) != len(one.shape):
        raise SpecError(f"{file}: '{layout}' is no layout of {one}.")
    return tuple(theirs.index(letter) for letter in own)
