"""Write each detector as the ONNX file that its family's own tools would write."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from networks import STRIDES, Detr, Fcos, Yolo
from onnx import TensorProto, helper, numpy_helper
from shapes import LABELS
from torch import Tensor, nn

OPSET = 17
SLOPE, SHIFT = 1.8, -1.0
"""`yolo` and `detr` learn scores that whisper everywhere: these two numbers set logits right.

They were chosen on the validation pictures, and keep the order of a detector's boxes.
"""
IMAGE_SIDE = 576
ANCHORS = sum((IMAGE_SIDE // stride) ** 2 for stride in STRIDES)
QUERIES = (Detr.SIDE // 16) ** 2
SHORT_SIDE = 448


class _Decode(nn.Module):
    """The exporter calls `forward`; this calls `decode`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.network.decode(images)


def traced(
    network: nn.Module,
    example: Tensor,
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]],
    path: Path,
) -> onnx.ModelProto:
    """Return the network as a graph with its weights inside."""
    with warnings.catch_warnings():
        # The tracing exporter is the one that writes opset 17 without a converter.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Decode(network).eval(),
            (example,),
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load(path)


def _halve(graph: onnx.GraphProto) -> None:
    """Keep weights as 16-bit numbers; the graph makes 32 bits of them when it is loaded."""
    casts = []
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size >= 64:
            name = weights.name
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)


def save(model: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    _halve(model.graph)
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "pytorch", ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def shaped(model: onnx.ModelProto, shapes: dict[str, list[str | int]]) -> None:
    """Write down the outputs' shapes where the tracer lost them."""
    for output in model.graph.output:
        info = helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shapes[output.name])
        output.CopyFrom(info)


@torch.no_grad()
def _set_right(layer: nn.Module, labels: int) -> None:
    """Put SLOPE and SHIFT into the layer that gives the logits; what follows the labels is odds."""
    layer.weight *= SLOPE
    layer.bias *= SLOPE
    layer.bias[:labels] += SHIFT


def export_yolo(network: Yolo, path: Path) -> None:
    """Write `images` [n, 3, 576, 576] → `output0` [n, 8, 6804], as Ultralytics does."""
    _set_right(network.category.last, len(LABELS))
    model = traced(
        network,
        torch.rand(1, 3, IMAGE_SIDE, IMAGE_SIDE),
        ["images"],
        ["output0"],
        {"images": {0: "batch"}, "output0": {0: "batch"}},
        path,
    )
    shaped(model, {"output0": ["batch", 4 + len(LABELS), ANCHORS]})
    save(
        model,
        path,
        {
            "description": "Small anchor-free detector of machine parts",
            "task": "detect",
            "stride": "32",
            "batch": "1",
            "imgsz": f"[{IMAGE_SIDE}, {IMAGE_SIDE}]",
            "names": repr(dict(enumerate(LABELS))),
        },
    )


def export_detr(network: Detr, path: Path) -> None:
    """Write `pixel_values` [n, 3, 512, 512] → `logits` [n, 1024, 5], `pred_boxes` [n, 1024, 4]."""
    outputs = ["logits", "pred_boxes"]
    _set_right(network.category[-1], len(LABELS))
    # With fused attention the tracer would meet one opaque operator.
    torch.backends.mha.set_fastpath_enabled(False)
    model = traced(
        network,
        torch.rand(1, 3, network.SIDE, network.SIDE),
        ["pixel_values"],
        outputs,
        {name: {0: "batch"} for name in ["pixel_values", *outputs]},
        path,
    )
    shaped(
        model, {"logits": ["batch", QUERIES, len(LABELS) + 1], "pred_boxes": ["batch", QUERIES, 4]}
    )
    names = dict(enumerate(LABELS)) | {LABELS.index("screw"): "woodscrew"}
    save(model, path, {"task": "object-detection", "names": repr(names)})


def export_frcnn(network: Fcos, path: Path) -> None:
    """Write `image` [3, h, w] of any size → `boxes`, `labels`, `scores`, as torchvision does.

    The graph scales the picture so that its short side has 448 pixels, pads it to whole cells,
    and scales the boxes back.  Labels count from 1; 0 is the background.
    """
    size = (1, 3, SHORT_SIDE, 608)
    model = traced(
        network,
        torch.rand(size),
        ["scaled"],
        ["raw_boxes", "raw_scores"],
        {
            "scaled": {2: "rows", 3: "columns"},
            "raw_boxes": {1: "anchors"},
            "raw_scores": {2: "anchors"},
        },
        path,
    )
    graph = model.graph
    body = list(graph.node)
    graph.ClearField("node")
    graph.node.extend([*_before(graph), *body, *_after(graph)])
    graph.ClearField("input")
    graph.input.append(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, "height", "width"])
    )
    graph.ClearField("output")
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["detections", 4]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["detections"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["detections"]),
        ]
    )
    graph.ClearField("value_info")
    save(model, path, {})


def _constants(graph: onnx.GraphProto, **values: tuple[int, list[int], list[float]]) -> None:
    for name, (kind, shape, content) in values.items():
        graph.initializer.append(helper.make_tensor(name, kind, shape, content))


def _before(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes from `image` to `scaled`, and make `factor` (scaled / original pixels)."""
    whole, real = TensorProto.INT64, TensorProto.FLOAT
    _constants(
        graph,
        q_zero=(whole, [1], [0]),
        q_one=(whole, [1], [1]),
        q_two=(whole, [1], [2]),
        q_three=(whole, [1], [3]),
        q_four=(whole, [1], [4]),
        q_cell=(whole, [1], [32]),
        q_short=(real, [1], [SHORT_SIDE]),
        q_ones=(real, [2], [1.0, 1.0]),
        q_none=(whole, [6], [0] * 6),
        q_grey=(real, [], [0.0]),
    )
    node = helper.make_node
    return [
        node("Unsqueeze", ["image", "q_zero"], ["q_batch"]),
        node("Shape", ["q_batch"], ["q_shape"]),
        node("Slice", ["q_shape", "q_two", "q_four"], ["q_size"]),
        node("ReduceMin", ["q_size"], ["q_least"], keepdims=1),
        node("Cast", ["q_least"], ["q_least_real"], to=real),
        node("Div", ["q_short", "q_least_real"], ["factor"]),
        node("Mul", ["q_ones", "factor"], ["q_factors"]),
        node("Concat", ["q_ones", "q_factors"], ["q_scales"], axis=0),
        node(
            "Resize",
            ["q_batch", "", "q_scales"],
            ["q_resized"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        # Pad right and bottom up to a multiple of 32: (32 - size mod 32) mod 32.
        node("Shape", ["q_resized"], ["q_new_shape"]),
        node("Slice", ["q_new_shape", "q_two", "q_four"], ["q_new_size"]),
        node("Mod", ["q_new_size", "q_cell"], ["q_over"]),
        node("Sub", ["q_cell", "q_over"], ["q_under"]),
        node("Mod", ["q_under", "q_cell"], ["q_pad"]),
        node("Concat", ["q_none", "q_pad"], ["q_pads"], axis=0),
        node("Pad", ["q_resized", "q_pads", "q_grey"], ["scaled"]),
    ]


def _after(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes from raw boxes and scores to `boxes`, `labels` and `scores`."""
    _constants(
        graph,
        q_most=(TensorProto.INT64, [1], [50]),
        q_iou=(TensorProto.FLOAT, [1], [0.5]),
        q_least_score=(TensorProto.FLOAT, [1], [0.05]),
        q_flat=(TensorProto.INT64, [1], [-1]),
    )
    node = helper.make_node
    return [
        node(
            "NonMaxSuppression",
            ["raw_boxes", "raw_scores", "q_most", "q_iou", "q_least_score"],
            ["q_kept"],
        ),
        node("Slice", ["q_kept", "q_one", "q_two", "q_one"], ["q_class_column"]),
        node("Slice", ["q_kept", "q_two", "q_three", "q_one"], ["q_anchor_column"]),
        node("Reshape", ["q_class_column", "q_flat"], ["q_class"]),
        node("Reshape", ["q_anchor_column", "q_flat"], ["q_anchor"]),
        node("Squeeze", ["raw_boxes", "q_zero"], ["q_boxes"]),
        node("Gather", ["q_boxes", "q_anchor"], ["q_chosen"], axis=0),
        node("Div", ["q_chosen", "factor"], ["boxes"]),
        node("Add", ["q_class", "q_one"], ["labels"]),
        node("GatherND", ["raw_scores", "q_kept"], ["scores"]),
    ]
