"""An ONNX graph while it is written: nodes and constants, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.errors import MissingExtraError

try:
    from onnx import NodeProto, TensorProto, helper, numpy_helper
except ImportError as error:
    raise MissingExtraError("Turning a darknet model into ONNX", "darknet") from error

IR_VERSION, OPSET = 8, 17
LEAKY = 0.1


class Graph:
    """What has been written so far; every method gives the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """A node, and the name of its first output; an input that is left out is named ""."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def constant(self, name: str, values: NDArray[Any] | Sequence[int] | float) -> str:
        """A constant: an array or a number of float32, or a list of whole numbers."""
        kind = np.int64 if isinstance(values, (list, tuple)) else np.float32
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def activation(self, kind: str, name: str, given: str) -> str:
        """Darknet's activations.c; mish's softplus has no need of its threshold here."""
        match kind:
            case "leaky":
                return self.node("LeakyRelu", [given], name, alpha=LEAKY)
            case "relu":
                return self.node("Relu", [given], name)
            case "logistic":
                return self.node("Sigmoid", [given], name)
            case "swish":
                gate = self.node("Sigmoid", [given], f"{name}_gate")
                return self.node("Mul", [given, gate], name)
            case "mish":
                positive = self.node("Softplus", [given], f"{name}_softplus")
                gate = self.node("Tanh", [positive], f"{name}_gate")
                return self.node("Mul", [given, gate], name)
            case _:
                return given

    def channels(self, name: str, given: str, first: int, last: int) -> str:
        """The channels from `first` up to `last`, which is not among them."""
        bounds = [
            self.constant(f"{name}_{word}", [number])
            for word, number in (("first", first), ("last", last), ("axis", 1))
        ]
        return self.node("Slice", [given, *bounds], name)

    def reshaped(self, name: str, given: str, shape: Sequence[int]) -> str:
        """Reshape, where 0 keeps a size as it is."""
        return self.node("Reshape", [given, self.constant(f"{name}_shape", shape)], name)

    def model(self, given: tuple[str, Sequence[Any]], found: tuple[str, Sequence[Any]]) -> bytes:
        """The whole model; input and output are a name and a shape each, of float32."""
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (given, found)]
        graph = helper.make_graph(self.nodes, "quorate", ends[:1], ends[1:], self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="quorate",
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data
