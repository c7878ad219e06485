"""Small ONNX models for the tests: some give what they are told to, one really looks."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 9


def save(path, nodes, inputs, outputs, constants=(), metadata=None, **options):
    graph = helper.make_graph(nodes, "model", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    if metadata:
        helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path, **options)
    return str(path)


def kind(array):
    return helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)


def constant(
    path,
    outputs,
    *,
    image=(1, 3, 64, 64),
    image_name="images",
    image_kind=TensorProto.FLOAT,
    others=(),
    names=None,
    metadata=None,
    shapes=None,
    selects=False,
):
    """A model that gives these arrays for any picture; `shapes` is what the graph says of them.

    `selects`: it has a TopK inside, as RT-DETR chooses its queries.
    """
    metadata = dict(metadata or {})
    if names is not None:
        metadata["names"] = repr(dict(enumerate(names)))
    nodes, constants, infos = [], [], []
    for name, array in outputs.items():
        array = np.asarray(array)
        constants.append(numpy_helper.from_array(array, f"{name}_value"))
        nodes.append(helper.make_node("Identity", [f"{name}_value"], [name]))
        shape = (shapes or {}).get(name, array.shape)
        infos.append(helper.make_tensor_value_info(name, kind(array), shape))
    if selects:
        constants.append(numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "scores_in"))
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "one_in"))
        nodes.append(helper.make_node("TopK", ["scores_in", "one_in"], ["top_score", "top_place"]))
    inputs = [helper.make_tensor_value_info(image_name, image_kind, image), *others]
    return save(path, nodes, inputs, infos, constants, metadata)


def segments(path, *, level=0.0, score=0.9):
    """A YOLO model with masks that looks: all that is red, and all that is green, in 64 x 64.

    Its two boxes are the whole frame; what is above `level` of a colour is the mask.
    """
    rows = np.zeros((1, 4 + 2 + 3, 20), np.float32)
    rows[0, :4, :2] = np.array([[32], [32], [64], [64]])
    rows[0, 4, 0] = rows[0, 5, 1] = score
    rows[0, 6, 0] = rows[0, 7, 1] = 1
    tints = np.array([[1, -1, -1], [-1, 1, -1], [0, 0, 0]], np.float32)
    constants = [
        numpy_helper.from_array(rows, "rows"),
        numpy_helper.from_array(tints[:, :, None, None], "tints"),
        numpy_helper.from_array(np.full(3, -level, np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Identity", ["rows"], ["output0"]),
        helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "tints", "bias"], ["output1"]),
    ]
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, rows.shape),
            helper.make_tensor_value_info("output1", TensorProto.FLOAT, [1, 3, 16, 16]),
        ],
        constants,
        {"names": "{0: 'red', 1: 'green'}", "task": "segment"},
    )


def echo(path, *, image=("n", 3, 32, 32), image_kind=TensorProto.FLOAT):
    """A model whose only row (n, 1, 6) is a box, score and label made from the picture's pixels.

    Score and corners follow the mean of the picture, so different pictures differ.
    """
    unit = np.array([[[4.0, 4.0, 28.0, 28.0, 0.5, 0.0]]], np.float32)
    slope = np.array([[[2.0, 1.0, -3.0, -1.0, 0.4, 0.0]]], np.float32)
    constants = [
        numpy_helper.from_array(unit, "unit"),
        numpy_helper.from_array(slope, "slope"),
        numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["row_mean"]),
        helper.make_node("Mul", ["row_mean", "slope"], ["moved"]),
        helper.make_node("Add", ["moved", "unit"], ["output0"]),
    ]
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("images", image_kind, image)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [image[0], 1, 6])],
        constants,
        {"names": "{0: 'a', 1: 'b', 2: 'c'}"},
    )


def bright_box(path, frame=("h", "w"), kind=TensorProto.FLOAT):
    """A model (1, 3, h, w) -> (1, 1, 6): the box around all that is brighter than a half."""
    half = 0.5 if kind != TensorProto.UINT8 else 127.5
    constants = [
        numpy_helper.from_array(np.array(half, np.float32), "half"),
        numpy_helper.from_array(np.array([[0.9, 0.0]], np.float32), "tail"),
        numpy_helper.from_array(np.array([1.0], np.float32), "one"),
        numpy_helper.from_array(np.array([1, 1, 6], np.int64), "shape"),
    ]
    real = TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=real),
        helper.make_node("Greater", ["real", "half"], ["mask"]),
        helper.make_node("Cast", ["mask"], ["lit"], to=real),
        helper.make_node("ReduceMax", ["lit"], ["columns"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMax", ["lit"], ["rows"], axes=[1, 3], keepdims=0),
    ]
    for corner, line, last in (
        ("x1", "columns", 0),
        ("y1", "rows", 0),
        ("x2", "columns", 1),
        ("y2", "rows", 1),
    ):
        nodes += [
            helper.make_node(
                "ArgMax", [line], [f"{corner}_i"], axis=1, keepdims=1, select_last_index=last
            ),
            helper.make_node("Cast", [f"{corner}_i"], [f"{corner}_f"], to=real),
        ]
        if last:
            nodes.append(helper.make_node("Add", [f"{corner}_f", "one"], [corner]))
        else:
            nodes.append(helper.make_node("Identity", [f"{corner}_f"], [corner]))
    nodes += [
        helper.make_node("Concat", ["x1", "y1", "x2", "y2", "tail"], ["flat"], axis=1),
        helper.make_node("Reshape", ["flat", "shape"], ["output0"]),
    ]
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("images", kind, [1, 3, *frame])],
        [helper.make_tensor_value_info("output0", real, [1, 1, 6])],
        constants,
        {"names": "['lamp', 'b', 'c']"},
    )
