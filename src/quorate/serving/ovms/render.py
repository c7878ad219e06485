"""An ensemble as a folder for OpenVINO Model Server: its models, and a config.json with a pipeline.

    FOLDER/config.json              the models, and the pipeline that is called as the ensemble
    FOLDER/MEMBER/1/model.onnx      each member's file
    FOLDER/ENSEMBLE-fusion/1/…      of classifiers: what decides, a model made here

Classifiers' sums, votes, products and maxima are a network of a few nodes. Boxes of detectors need
a custom node, a library of machine code, which is named in the file and has to be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quorate.classifiers.onnx import OnnxClassifier
from quorate.classifiers.predictor import TensorClassPredictor
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble
from quorate.errors import MissingExtraError, SpecError
from quorate.spec.base import plain
from quorate.spec.classification import ClassFusion, Majority, Maximum, Product
from quorate.steps.voter import Voter
from quorate.storage import read_bytes, write_bytes
from quorate.storage.tree import join

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise MissingExtraError("A folder for OpenVINO Model Server", "openvino") from error

LIBRARY = "quorate_fusion"
"""The custom node that would fuse boxes."""
_OPSET, _IR = 17, 9
_TYPES = {"float": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "double": TensorProto.DOUBLE}
Predictors = Mapping[str, TensorPredictor | TensorClassPredictor]


def render(ensemble: DetectionEnsemble | ClassificationEnsemble, folder: str) -> list[str]:
    """Write the folder, here or in S3; what the pipeline does not do as the ensemble does, told.

    Raises:
        SpecError: a member that is no file of ONNX.
        DetectorError, LabelError: as `load`.
        InputError, StorageError: files that cannot be read or written.
    """
    files: dict[str, str] = {}
    predictors: dict[str, TensorPredictor | TensorClassPredictor] = {}
    for member in ensemble.members:
        if not isinstance(member, OnnxDetector | OnnxClassifier):
            raise SpecError(
                f"'{member.name}' is of `kind: {member.kind}`; OpenVINO Model Server takes files, "
                "and of the kinds those of `onnx` alone.",
                hint="export its model to ONNX",
            )
        files[member.name], predictors[member.name] = member.weights, member.load()
    notes = ["There is no quorum: a model that fails, fails the request."]
    fuse: Mapping[str, Any]
    made: onnx.ModelProto | None = None
    if isinstance(ensemble, ClassificationEnsemble):
        with ensemble.load() as loaded:
            labels = loaded.labels
        places = {
            one.name: labels.positions(
                Voter.of(one, predictors[one.name], labels).says.mapping.category_id
            )
            for one in ensemble.members
        }
        made = fusion(ensemble.fusion, predictors, places, len(labels))
        notes.append(
            f"'index' is the position in the labels, from 0: {', '.join(labels.names[:8])}"
            f"{', …' if len(labels) > 8 else ''}; 'probabilities' are reckoned in 32 bits."
        )
        fuse = {"type": "DL model", "model_name": f"{ensemble.name}-fusion"}
        outputs = ["probabilities", "index"]
    else:
        notes += _of_boxes(ensemble)
        said = {name: str(value) for name, value in plain(ensemble.fusion).items()}
        fuse = {"type": "custom", "library_name": LIBRARY, "params": said}
        outputs = ["boxes", "scores", "categories", "votes"]
    config, told = _config(ensemble.name, predictors, fuse, outputs)
    for name, weights in files.items():
        _copy(weights, join(folder, name, "1"))
    if made is not None:
        data = made.SerializeToString()
        write_bytes(join(folder, f"{ensemble.name}-fusion", "1", "model.onnx"), data)
    write_bytes(join(folder, "config.json"), (json.dumps(config, indent=2) + "\n").encode())
    return told + notes


def _of_boxes(ensemble: DetectionEnsemble) -> list[str]:
    turned = [one.name for one in ensemble.detectors if one.tta]
    return [
        f"The node 'fusion' is a custom node of the library '{LIBRARY}', which does not exist: "
        "that server has no node that decodes the networks' outputs to boxes and lets a quorum "
        "decide. Until it is written, the server refuses the pipeline and serves the models "
        "alone. `quorate serve` fuses an ensemble of `kind: remote` detectors on that server.",
        "Labels, limits of scores and boxes, and calibration are the library's to apply.",
        *(f"'{name}': tta is left out: a pipeline does not turn or tile." for name in turned),
    ]


def _config(
    name: str, predictors: Predictors, fuse: Mapping[str, Any], outputs: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The file, and what its inputs have to be."""
    inputs: dict[str, str] = {}  # what a network is shown: the input's name
    told = []
    nodes, into = [], []
    shown = {member: _shown(one) for member, one in predictors.items()}
    single = len(set(shown.values())) == 1
    for member, one in predictors.items():
        if shown[member] not in inputs:
            inputs[shown[member]] = "image" if single else f"{member}_image"
            told.append(f"'{inputs[shown[member]]}' takes pictures as {shown[member]}.")
        graph = one.network.graph
        sources = [_source(one.feed.image.name, "request", inputs[shown[member]])]
        for beside in one.feed.beside:
            extra = f"{member}_{beside.name}"
            inputs[extra] = extra
            told.append(f"'{extra}' takes {beside}, which a client has to give.")
            sources.append(_source(beside.name, "request", extra))
        if isinstance(one, TensorClassPredictor):
            wanted = {one.output: member}
        else:
            wanted = {output.name: f"{member}_{output.name}" for output in graph.outputs}
        nodes.append(
            {
                "name": member,
                "model_name": member,
                "type": "DL model",
                "inputs": sources,
                "outputs": [{"data_item": item, "alias": item} for item in wanted],
            }
        )
        into += [_source(tensor, member, item) for item, tensor in wanted.items()]
    given = [{"data_item": item, "alias": item} for item in outputs]
    nodes.append({"name": "fusion", **fuse, "inputs": into, "outputs": given})
    pipeline: dict[str, Any] = {
        "name": name,
        "inputs": [*dict.fromkeys(inputs.values())],
        "nodes": nodes,
        "outputs": [_source(item, "fusion", item) for item in outputs],
    }
    fixed = [member for member, one in predictors.items() if one.feed.image.shape[0] is not None]
    if fixed:
        pipeline["demultiply_count"] = -1
        told.append(
            f"The batch of {', '.join(fixed)} is fixed, so the request is demultiplexed: its "
            "tensors and those of the answer have one more axis, in front, for the pictures."
        )
    models = [*predictors, *([str(fuse["model_name"])] if "model_name" in fuse else [])]
    config: dict[str, Any] = {
        "model_config_list": [{"config": {"name": one, "base_path": one}} for one in models],
        "pipeline_config_list": [pipeline],
    }
    if "library_name" in fuse:
        place = f"/ovms/lib/custom_nodes/lib{LIBRARY}.so"
        config["custom_node_library_config_list"] = [{"name": LIBRARY, "base_path": place}]
    return config, told


def _source(tensor: str, node: str, item: str) -> dict[str, Any]:
    return {tensor: {"node_name": node, "data_item": item}}


def _shown(one: TensorPredictor | TensorClassPredictor) -> str:
    """What a network is shown, in words: two that are told alike take one input."""
    image = one.feed.image
    shape = ", ".join("?" if size is None else str(size) for size in image.shape)
    return f"{image.kind} [{shape}] ({one.told['input']}; {one.told['colours']})"


def fusion(
    how: ClassFusion, predictors: Predictors, places: Mapping[str, NDArray[Any]], count: int
) -> onnx.ModelProto:
    """The network that decides on a label.

    Its inputs are called as the members, each that one's output; `probabilities` (n, count) and
    `index` INT32 (n) come out. The rules are those of `quorate.fusion.classes`, ties are
    broken as in `quorate.classifications`.

    places  of each word of a member, its position in the vocabulary; -1: none
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(operator: str, inputs: Sequence[str], output: str, **settings: Any) -> str:
        nodes.append(helper.make_node(operator, [*inputs], [output], **settings))
        return output

    weights = {} if isinstance(how, Maximum) else how.weights
    inputs, mapped, terms = [], [], []
    least = constant("least", np.float32(np.finfo(np.float32).tiny))
    axis = constant("labels", np.array([1]))
    for member, one in predictors.items():
        assert isinstance(one, TensorClassPredictor)
        tensor = next(t for t in one.network.graph.outputs if t.name == one.output)
        shape = ["n" if size is None else size for size in tensor.shape]
        inputs.append(helper.make_tensor_value_info(member, _TYPES[tensor.kind], shape))
        name = node("Cast", [member], f"{member}/float", to=TensorProto.FLOAT)
        name = node("Flatten", [name], f"{member}/flat", axis=1)
        if one.activation != "none":
            made = {"softmax": "Softmax", "sigmoid": "Sigmoid"}[one.activation]
            settings = {"axis": 1} if made == "Softmax" else {}
            name = node(made, [name], f"{member}/probabilities", **settings)
        words = np.zeros((len(places[member]), count), np.float32)
        known = places[member] >= 0
        words[known, places[member][known]] = 1
        name = node("MatMul", [name, constant(f"{member}/words", words)], f"{member}/labels")
        mapped.append(name)
        if isinstance(how, Majority):
            name = node("ArgMax", [name], f"{member}/first", axis=1, keepdims=0)
            many, off = constant(f"{member}/many", count), np.array([0, 1], np.float32)
            name = node("OneHot", [name, many, constant(f"{member}/off", off)], f"{member}/vote")
        if isinstance(how, Product):
            name = node("Max", [name, least], f"{member}/some")
            name = node("Log", [name], f"{member}/log")
        weight = np.float32(weights.get(member, 1.0))
        if weight != 1:
            name = node("Mul", [name, constant(f"{member}/weight", weight)], f"{member}/weighed")
        terms.append(name)
    total = node("Max" if isinstance(how, Maximum) else "Sum", terms, "total")
    if isinstance(how, Product):
        largest = node("ReduceMax", [total], "largest", axes=[1], keepdims=1)
        total = node("Exp", [node("Sub", [total, largest], "less")], "product")
    whole = node("ReduceSum", [total, axis], "whole", keepdims=1)
    node("Div", [total, node("Max", [whole, least], "divisor")], "probabilities")
    # Of labels that are equal, the one of the largest sum of what the members say, then the first.
    best = node("ReduceMax", [total], "best", axes=[1], keepdims=1)
    behind = constant("behind", np.float32(-1))
    tied = [node("Equal", [total, best], "tied"), node("Sum", mapped, "said"), behind]
    position = node("ArgMax", [node("Where", tied, "of tied")], "position", axis=1, keepdims=0)
    node("Cast", [position], "index", to=TensorProto.INT32)
    size = inputs[0].type.tensor_type.shape.dim[0]
    rows = size.dim_value or "n"
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [rows, count]),
        helper.make_tensor_value_info("index", TensorProto.INT32, [rows]),
    ]
    graph = helper.make_graph(nodes, "fusion", inputs, outputs, constants)
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=_IR)


def _copy(weights: str, folder: str) -> None:
    """A file of ONNX, with the files that hold its numbers."""
    data = read_bytes(weights)
    model = onnx.load_model_from_string(data)
    beside = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    write_bytes(join(folder, "model.onnx"), data)
    for name in sorted(beside):
        write_bytes(join(folder, name), read_bytes(join(weights.rpartition("/")[0] or ".", name)))
