"""Small networks as files of ONNX, in the folders of a model repository, and configurations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 1001
SIZE = 224
DTYPES = {"f2": TensorProto.FLOAT16, "f4": TensorProto.FLOAT, "i4": TensorProto.INT32}


def save(folder: Path, nodes, inputs, outputs, *, version=1, weights=()) -> None:
    """A network as FOLDER/VERSION/model.onnx; `inputs` and `outputs` are {name: (dtype, shape)}."""
    tensors = [
        [
            helper.make_tensor_value_info(name, DTYPES[kind], shape)
            for name, (kind, shape) in part.items()
        ]
        for part in (inputs, outputs)
    ]
    graph = helper.make_graph(
        nodes, "network", *tensors, [numpy_helper.from_array(v, n) for n, v in weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / str(version) / "model.onnx")


def classifier(folder: Path, seed: int, *, kernel=7, batch=1, version=1, names=("input", "output")):
    """Convolution, mean over the picture, softmax: 1001 probabilities; other weights per seed."""
    random = np.random.default_rng(seed)
    given, told = names
    nodes = [
        helper.make_node("Conv", [given, "w"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["l"]),
        helper.make_node("Softmax", ["l"], [told], axis=1),
    ]
    weights = [
        ("w", random.normal(size=(16, 3, kernel, kernel)).astype("f4")),
        ("m", random.normal(size=(16, CLASSES)).astype("f4")),
    ]
    shape = [batch, 3, SIZE, SIZE]
    save(
        folder,
        nodes,
        {given: ("f4", shape)},
        {told: ("f4", [batch, CLASSES])},
        version=version,
        weights=weights,
    )


def argmax(folder: Path) -> None:
    """The argmax of the sum of two rows of probabilities."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("ArgMax", ["s"], ["i"], axis=1, keepdims=0),
        helper.make_node("Cast", ["i"], ["label"], to=TensorProto.INT32),
    ]
    rows = {name: ("f4", [1, CLASSES]) for name in "ab"}
    save(folder, nodes, rows, {"label": ("i4", [1])})


def elementwise(folder: Path, operator: str, shape, *, by=1.0, out=None) -> None:
    """One operator with a constant: `input` to `output`, both of a shape."""
    save(
        folder,
        [helper.make_node(operator, ["input", "by"], ["output"])],
        {"input": ("f4", shape)},
        {"output": ("f4", out or shape)},
        weights=[("by", np.float32(by))],
    )


def node(name: str, model: str, inputs: dict[str, str], outputs: dict[str, str], **more: Any):
    """A node; its inputs as {tensor: "node item"}, its outputs as {model's output: alias}."""
    return {
        "name": name,
        "model_name": model,
        "type": "DL model",
        "inputs": taken(inputs),
        "outputs": [{"data_item": item, "alias": alias} for item, alias in outputs.items()],
        **more,
    }


def taken(sources: dict[str, str]) -> list[Any]:
    """Where tensors are taken from: {tensor: "node item"}."""
    return [
        {name: dict(zip(("node_name", "data_item"), source.split(), strict=True))}
        for name, source in sources.items()
    ]


def write(path: Path, models: dict[str, Any], *pipelines: Any, **more: Any) -> Path:
    """A configuration file; `models` are {name: base_path, or further settings}."""
    listed = [
        {"config": {"name": name, **(one if isinstance(one, dict) else {"base_path": str(one)})}}
        for name, one in models.items()
    ]
    said = {"model_config_list": listed, "pipeline_config_list": [*pipelines], **more}
    path.write_text(json.dumps(said))
    return path


def walk(folder: Path) -> Path:
    """The configuration of two networks, whose probabilities a third one sums, and its files."""
    classifier(folder / "googlenet-v2", 1, names=("input", "InceptionV2/Predictions/Softmax"))
    classifier(folder / "resnet-50", 2, kernel=11, names=("map/TensorArrayStack", "softmax_tensor"))
    argmax(folder / "argmax")
    models = {name: folder / name for name in ("googlenet-v2", "resnet-50", "argmax")}
    pipeline = {
        "name": "image_classification_pipeline",
        "inputs": ["image"],
        "nodes": [
            node(
                "googlenet_node",
                "googlenet-v2",
                {"input": "request image"},
                {"InceptionV2/Predictions/Softmax": "probability"},
            ),
            node(
                "resnet_node",
                "resnet-50",
                {"map/TensorArrayStack": "request image"},
                {"softmax_tensor": "probability"},
            ),
            node(
                "argmax_node",
                "argmax",
                {"a": "googlenet_node probability", "b": "resnet_node probability"},
                {"label": "most_probable_label"},
            ),
        ],
        "outputs": taken({"label": "argmax_node most_probable_label"}),
    }
    return write(folder / "config.json", models, pipeline)
