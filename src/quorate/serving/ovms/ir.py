"""Files of OpenVINO IR, run by openvino."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from quorate.errors import DetectorError, MissingExtraError
from quorate.networks import Graph, Tensor
from quorate.storage import is_s3, read_bytes

try:
    import openvino
except ImportError as error:
    raise MissingExtraError("A model of OpenVINO IR", "openvino") from error

_KINDS = {
    "f16": "float16",
    "f32": "float",
    "f64": "double",
    "boolean": "bool",
    **{f"{sign}{bits}": f"{word}{bits}" for sign, word in (("i", "int"), ("u", "uint"))
       for bits in (8, 16, 32, 64)},
}  # fmt: skip


class IrNetwork:
    """A model that openvino runs in this process; calls come from any thread."""

    def __init__(self, model: Any, compiled: Any) -> None:
        self.graph = _graph(model)
        self._compiled = compiled
        self._own = threading.local()

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """See `quorate.networks.Network`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        try:
            found = self._own.request.infer(dict(feed))
        except Exception as error:  # openvino's exceptions share no base but this
            raise DetectorError(f"the model failed: {_plain(error)}") from None
        values = {_name(port): value for port, value in found.items()}
        return {name: values[name].copy() for name in outputs}


def open_ir(
    file: str, *, threads: int, shapes: Callable[[Graph], Mapping[str, tuple[int, ...]]]
) -> IrNetwork:
    """Open a model, reshaped as `shapes` says; DetectorError where it cannot be used.

    The .bin of the same name lies beside the .xml.
    """
    core = openvino.Core()
    try:
        if is_s3(file):
            with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
                for place in (file, f"{file.removesuffix('.xml')}.bin"):
                    (Path(folder) / place.rpartition("/")[2]).write_bytes(read_bytes(place))
                model = core.read_model(str(Path(folder) / file.rpartition("/")[2]))
        else:
            model = core.read_model(file)
        if wanted := shapes(_graph(model)):
            model.reshape({name: openvino.PartialShape([*shape]) for name, shape in wanted.items()})
        compiled = core.compile_model(
            model,
            "CPU",
            # Not bfloat16 where the processor has it: the same numbers everywhere.
            {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"},
        )
    except RuntimeError as error:
        raise DetectorError(f"{file}: openvino cannot load it: {_plain(error)}") from None
    return IrNetwork(model, compiled)


def _graph(model: Any) -> Graph:
    return Graph(
        tuple(_tensor(port) for port in model.inputs),
        tuple(_tensor(port) for port in model.outputs),
        {},
    )


def _tensor(port: Any) -> Tensor:
    shape = port.get_partial_shape()
    sizes = () if shape.rank.is_dynamic else shape
    open_ = tuple(None if size.is_dynamic else size.get_length() for size in sizes)
    kind = port.get_element_type().get_type_name()
    return Tensor(_name(port), open_, _KINDS.get(kind, kind))


def _name(port: Any) -> str:
    """A tensor's name, as that server tells it: its own, else its node's."""
    names = port.get_names()
    return str(port.get_any_name() if names else port.get_node().get_friendly_name())


def _plain(error: Exception) -> str:
    """What it said, without the lines of its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    own = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    text = " ".join(own or lines)
    return text if len(text) <= 300 else f"{text[:300]}…"
