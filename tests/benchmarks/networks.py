"""ONNX models of a realistic size with random weights, for benchmarks: speed, not sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = [f"thing {number}" for number in range(80)]
SIDE = 640
OPSET, IR = 17, 9


class Network:
    """Nodes and weights of one graph, added to one by one."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)
        self.flops = 0

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def convolve(
        self, x: str, given: int, wanted: int, side: int, size: int = 3, stride: int = 1
    ) -> str:
        """Convolution and SiLU; `side` is that of the result."""
        scale = np.sqrt(2 / (given * size * size))
        weight = self.random.normal(0, scale, (wanted, given, size, size)).astype(np.float32)
        pads = [size // 2] * 4
        x = self.node("Conv", x, self.constant(weight), strides=[stride] * 2, pads=pads)
        self.flops += 2 * side * side * given * wanted * size * size
        return self.node("Mul", x, self.node("Sigmoid", x))

    def backbone(self, x: str, widths: list[int], depths: list[int]) -> dict[int, tuple[str, int]]:
        """Halve the side at each stage; stride -> (tensor, channels)."""
        given, stride, stages = 3, 1, {}
        for width, depth in zip(widths, depths, strict=True):
            stride *= 2
            x = self.convolve(x, given, width, SIDE // stride, stride=2)
            for _ in range(depth):
                half = self.convolve(x, width, width // 2, SIDE // stride, size=1)
                half = self.convolve(half, width // 2, width // 2, SIDE // stride)
                half = self.convolve(half, width // 2, width // 2, SIDE // stride)
                x = self.node("Add", x, self.convolve(half, width // 2, width, SIDE // stride, 1))
            given = width
            stages[stride] = (x, width)
        return stages

    def linear(self, x: str, given: int, wanted: int, rows: int) -> str:
        scale = np.sqrt(1 / given)
        weight = self.random.normal(0, scale, (given, wanted)).astype(np.float32)
        self.flops += 2 * rows * given * wanted
        return self.node("MatMul", x, self.constant(weight))

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.constant(np.array(shape, np.int64)))

    def save(self, path: Path, outputs: dict[str, tuple[str, list[int]]], **metadata: str) -> Path:
        real = TensorProto.FLOAT
        for name, (inner, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [inner], [name]))
        infos = [helper.make_tensor_value_info(n, real, s) for n, (_, s) in outputs.items()]
        image = helper.make_tensor_value_info("images", real, [1, 3, SIDE, SIDE])
        graph = helper.make_graph(self.nodes, path.stem, [image], infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR
        helper.set_model_props(model, {"names": repr(dict(enumerate(NAMES))), **metadata})
        onnx.save(model, path)
        return path


def yolo(path: Path, *, seed: int = 0) -> Path:
    """About YOLOv8n: 8 GFLOP at 640 x 640, (1, 84, 8400)."""
    net = Network(seed)
    stages = net.backbone("images", [16, 32, 64, 128, 256], [0, 1, 3, 3, 2])
    heads = []
    for stride in (8, 16, 32):
        x, width = stages[stride]
        side = SIDE // stride
        boxes = net.convolve(net.convolve(x, width, 64, side), 64, 64, side)
        scores = net.convolve(net.convolve(x, width, 80, side), 80, 80, side)
        y, across = np.mgrid[:side, :side].astype(np.float32)
        grid = np.stack([across, y, 0 * y, 0 * y])[None] * stride + stride / 2
        boxes = net.node("Sigmoid", net.convolve(boxes, 64, 4, side, 1))
        size = net.constant(np.float32([1, 1, 6, 6]).reshape(1, 4, 1, 1) * stride)
        boxes = net.node("Add", net.node("Mul", boxes, size), net.constant(grid))
        scores = net.convolve(scores, 80, 80, side, 1)
        calm = net.constant(np.float32([[[[-3.15]]]]))
        scores = net.node("Sigmoid", net.node("Add", scores, calm))
        rows = net.node("Concat", boxes, scores, axis=1)
        heads.append(net.reshape(rows, 1, 84, side * side))
    output = net.node("Concat", *heads, axis=2)
    return net.save(path, {"output0": (output, [1, 84, 8400])}, task="detect")


def detr(path: Path, *, seed: int = 1, queries: int = 300, width: int = 256) -> Path:
    """About a small RT-DETR: a convolutional backbone, attention over 400 places, 300 queries."""
    net = Network(seed)
    x, _ = net.backbone("images", [16, 32, 64, 128, width], [0, 1, 2, 2, 1])[32]
    places = (SIDE // 32) ** 2
    x = net.node("Transpose", net.reshape(x, 1, width, places), perm=[0, 2, 1])
    for _ in range(4):
        query, key, value = (net.linear(x, width, width, places) for _ in range(3))
        weights = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 2, 1]))
        calm = net.constant(np.array(width**-0.5, np.float32))
        weights = net.node("Softmax", net.node("Mul", weights, calm), axis=-1)
        net.flops += 4 * places * places * width
        x = net.node("Add", x, net.node("MatMul", weights, value))
        hidden = net.node("Relu", net.linear(x, width, 4 * width, places))
        x = net.node("Add", x, net.linear(hidden, 4 * width, width, places))
        x = net.node(
            "LayerNormalization",
            x,
            net.constant(np.ones(width, np.float32)),
            net.constant(np.zeros(width, np.float32)),
        )
    start, stop, axis = (net.constant(np.array([v], np.int64)) for v in (0, queries, 1))
    x = net.node("Slice", x, start, stop, axis)
    calm = net.constant(np.float32([[[-5.0]]]))
    logits = net.node("Add", net.linear(x, width, len(NAMES), queries), calm)
    boxes = net.node("Sigmoid", net.linear(x, width, 4, queries))
    return net.save(
        path,
        {
            "logits": (logits, [1, queries, len(NAMES)]),
            "pred_boxes": (boxes, [1, queries, 4]),
        },
    )
