"""A darknet network as an ONNX graph that ends in rows of boxes.

Input `images` float32 (n, 3, height, width), RGB in 0..1; output `boxes` float32 (n, rows,
5 + classes): centre x and y, width and height in pixels of the input, objectness, and what is
said for each category if there is an object: YOLOv5's layout. Rows are those of OpenCV's region
layer: head after head, in each line after line of cells, in each cell its anchors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.darknet import protobuf
from quorate.detectors.darknet.layers import (
    Convolution,
    Dropout,
    Head,
    MaxPool,
    Reorg,
    Route,
    Shortcut,
    Upsample,
)
from quorate.detectors.darknet.network import Network
from quorate.detectors.darknet.protobuf import Attribute, Message
from quorate.detectors.darknet.weights import Filters

REVISION = 1
"""Raised when the same files make another graph, so that none is taken from the cache."""
LEAKY = 0.1


def onnx_model(network: Network, filters: Mapping[int, Filters]) -> Message:
    """The ModelProto of a network with these filters."""
    graph = _Graph(network, filters)
    heads = [graph.add(number) for number in range(len(network.layers))]
    ends = [heads[number] for number in network.heads]
    graph.node("Concat", ends, "boxes", axis=1)
    rows = sum(len(head.anchors) * head.shape[1] * head.shape[2] for head in network.heads.values())
    return protobuf.model(
        nodes=graph.nodes,
        tensors=graph.tensors,
        inputs=[protobuf.value("images", ("n", 3, *network.frame))],
        outputs=[protobuf.value("boxes", ("n", rows, 5 + network.classes))],
        producer="quorate",
    )


class _Graph:
    """Nodes and constants as they come; `names[i]` is the tensor that layer i gives."""

    def __init__(self, network: Network, filters: Mapping[int, Filters]) -> None:
        self.network = network
        self.filters = filters
        self.nodes: list[Message] = []
        self.tensors: list[Message] = []
        self.names: list[str] = []

    def add(self, number: int) -> str:
        """Everything of one layer; the name of its output."""
        layer = self.network.layers[number]
        name = f"{number}_{layer.section.name}"
        given = ["images" if i < 0 else self.names[i] for i in layer.inputs]
        match layer:
            case Convolution():
                result = self._convolution(layer, name, given[0], self.filters[number])
            case MaxPool():
                result = self._maxpool(layer, name, given[0])
            case Upsample():
                result = self._upsample(layer, name, given[0])
            case Route():
                result = self._route(layer, name, given)
            case Shortcut():
                result = self._shortcut(layer, name, given)
            case Reorg():
                result = self._reorg(layer, name, given[0])
            case Head():
                result = self._head(layer, name, given[0])
            case Dropout():
                result = given[0]
            case _:
                raise AssertionError(layer)
        self.names.append(result)
        return result

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Attribute) -> str:
        """One node with one output, whose name it gives."""
        self.nodes.append(protobuf.node(operator, inputs, [name], attributes))
        return name

    def constant(self, name: str, values: NDArray[Any] | Sequence[int] | float) -> str:
        """A constant: an array or a number of float32, or a list of whole numbers."""
        kind = np.int64 if isinstance(values, (list, tuple)) else np.float32
        self.tensors.append(protobuf.tensor(name, np.asarray(values, dtype=kind)))
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

    def _convolution(self, layer: Convolution, name: str, given: str, filters: Filters) -> str:
        kernels = self.constant(f"{name}_kernels", filters.kernels)
        biases = self.constant(f"{name}_biases", filters.biases)
        result = self.node(
            "Conv",
            [given, kernels, biases],
            f"{name}_sum",
            kernel_shape=[layer.size] * 2,
            strides=layer.stride,
            pads=[layer.padding] * 4,
            group=layer.groups,
        )
        return self.activation(layer.activation, name, result)

    def _maxpool(self, layer: MaxPool, name: str, given: str) -> str:
        before = layer.padding // 2
        after = layer.padding - before
        return self.node(
            "MaxPool",
            [given],
            name,
            kernel_shape=[layer.size] * 2,
            strides=layer.stride,
            pads=[before, before, after, after],
        )

    def _upsample(self, layer: Upsample, name: str, given: str) -> str:
        factors = np.array([1, 1, layer.stride, layer.stride], np.float32)
        result = self.node(
            "Resize",
            [given, "", self.constant(f"{name}_factors", factors)],
            f"{name}_larger",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        if layer.scale == 1:
            return result
        return self.node("Mul", [result, self.constant(f"{name}_scale", layer.scale)], name)

    def _route(self, layer: Route, name: str, given: Sequence[str]) -> str:
        parts = []
        for position, (part, number) in enumerate(zip(given, layer.inputs, strict=True)):
            if layer.groups > 1:
                size = self.network.layers[number].shape[0] // layer.groups
                first = size * layer.group
                part = self._channels(f"{name}_{position}", part, first, first + size)
            parts.append(part)
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, name, axis=1)

    def _channels(self, name: str, given: str, first: int, last: int) -> str:
        bounds = [
            self.constant(f"{name}_{word}", [number])
            for word, number in (("first", first), ("last", last), ("axis", 1))
        ]
        return self.node("Slice", [given, *bounds], name)

    def _shortcut(self, layer: Shortcut, name: str, given: Sequence[str]) -> str:
        before, other = given
        channels = layer.shape[0]
        if layer.others > channels:
            other = self._channels(f"{name}_few", other, 0, channels)
        elif layer.others < channels:
            pads = [0, 0, 0, 0, 0, channels - layer.others, 0, 0]
            other = self.node("Pad", [other, self.constant(f"{name}_pads", pads)], f"{name}_many")
        result = self.node("Add", [before, other], f"{name}_sum")
        return self.activation(layer.activation, name, result)

    def _reorg(self, layer: Reorg, name: str, given: str) -> str:
        """Darknet's reorg_cpu, which YOLOv2's weights were trained with.

        It reads the input (c, h, w) as if it were (c/s², h*s, w*s), whatever its real lines are:
        (c/s² * h, s, w, s). Then the steps inside a cell become the first channels.
        """
        channels, height, width = layer.given
        stride = layer.stride
        lines = channels // (stride * stride) * height
        cells = self._reshaped(f"{name}_cells", given, [0, lines, stride, width, stride])
        turned = self.node("Transpose", [cells], f"{name}_turned", perm=[0, 2, 4, 1, 3])
        return self._reshaped(name, turned, [0, *layer.shape])

    def _reshaped(self, name: str, given: str, shape: list[int]) -> str:
        """Reshape, where 0 keeps a size as it is."""
        return self.node("Reshape", [given, self.constant(f"{name}_shape", shape)], name)

    def _head(self, layer: Head, name: str, given: str) -> str:
        """get_yolo_box and get_region_box of darknet, in pixels of the network's input."""
        _, rows, columns = layer.shape
        anchors, row = len(layer.anchors), 5 + layer.classes
        cells = self._reshaped(f"{name}_cells", given, [0, anchors, row, rows * columns])
        turned = self.node("Transpose", [cells], f"{name}_turned", perm=[0, 3, 1, 2])
        parts = [f"{name}_{part}" for part in ("centre", "size", "objectness", "categories")]
        sizes = self.constant(f"{name}_parts", [2, 2, 1, layer.classes])
        self.nodes.append(protobuf.node("Split", [turned, sizes], parts, {"axis": 3}))
        centre, size, objectness, categories = parts

        cell = np.array([self.network.frame[1] / columns, self.network.frame[0] / rows])
        y, x = np.mgrid[:rows, :columns]
        corner = np.stack([x, y], axis=-1).reshape(1, -1, 1, 2) - (layer.xy_scale - 1) / 2
        if not layer.decoded:
            centre = self.node("Sigmoid", [centre], f"{centre}_unit")
            size = self.node("Exp", [size], f"{size}_factor")
            objectness = self.node("Sigmoid", [objectness], f"{objectness}_unit")
            categories = (
                self.node("Softmax", [categories], f"{categories}_unit", axis=3)
                if layer.softmax
                else self.node("Sigmoid", [categories], f"{categories}_unit")
            )
            factor = 1.0
        else:
            size = self.node("Mul", [size, size], f"{size}_factor")
            factor = 4.0
        reach = self.constant(f"{name}_reach", layer.xy_scale * cell)
        corner_name = self.constant(f"{name}_corner", corner * cell)
        sides = self.constant(f"{name}_anchors", factor * np.array(layer.anchors)[None, None])
        moved = self.node("Mul", [centre, reach], f"{name}_moved")
        placed = self.node("Add", [moved, corner_name], f"{name}_placed")
        sized = self.node("Mul", [size, sides], f"{name}_sized")
        boxes = self.node(
            "Concat", [placed, sized, objectness, categories], f"{name}_boxes", axis=3
        )
        return self._reshaped(name, boxes, [0, rows * columns * anchors, row])
