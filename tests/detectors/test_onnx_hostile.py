"""ONNX files that are damaged, absurd or made to hurt: an error of ours, nothing huge allocated."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.helper import make_tensor_value_info as info

from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError, QuorateError
from tests.detectors import models

ROW = np.array([[[4, 4, 28, 28, 0.5, 0]]], np.float32)
PICTURE = np.zeros((40, 60, 3), np.uint8)
NAMES = ("a", "b")


def model(folder, *, image=("n", 3, 32, 32), outputs=None, **options):
    options = {"names": NAMES, **options}
    return models.constant(folder / "m.onnx", outputs or {"output0": ROW}, image=image, **options)


def refused(path, match, **options):
    with pytest.raises(DetectorError, match=match) as caught:
        OnnxDetector(name="d", weights=str(path), **options).load().predict([PICTURE])
    return caught.value


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (b"zzzz", b"\xff\xfezz"),
        (b"info", b"\xfffo!"),
        (b"'a'", b"'\xff'"),
        (b"output0", b"output\xff"),
        (b"images", b"im\xffges"),
    ],
)
def test_names_and_metadata_that_are_not_utf8(tmp_path, capfd, text, instead):
    path = Path(model(tmp_path, metadata={"info": "zzzz"}))
    path.write_bytes(path.read_bytes().replace(text, instead))
    assert "export" in refused(path, "not UTF-8 text", names=NAMES).hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "image",
    [(1, 3, 1 << 40, 1 << 40), (1 << 40, 3, 32, 32), (1, 3, 32, 1 << 62), (1, 3, 20_000, 20_000)],
)
def test_an_input_beyond_all_measure(tmp_path, image):
    refused(model(tmp_path, image=image), "beyond all measure")


@pytest.mark.parametrize("options", [{}, {"resize": "shortest_edge"}])
def test_a_size_beyond_all_measure_in_the_spec(tmp_path, options):
    path = model(tmp_path, image=("n", 3, "h", "w"))
    refused(path, "beyond all measure", image_size=10**9, **options)


@pytest.mark.parametrize("size", ["[0, -4]", "[1e400, 4]", "[" * 9999, "{}", "['a', 'b']"])
def test_metadata_of_a_size_that_is_none_counts_as_none(tmp_path, size):
    path = model(tmp_path, image=("n", 3, "h", "w"), metadata={"imgsz": size})
    assert OnnxDetector(name="d", weights=path).load().size == (640, 640)


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        (info("pixel_mask", TensorProto.INT64, [1, 1, 32, 32]), "failed on an input"),
        (info("pixel_mask", TensorProto.INT64, [1, 1 << 40, 32]), "failed on an input"),
        (info("pixel_mask", TensorProto.STRING, ["n", 32, 32]), "a type that no mask has"),
        (info("orig_target_sizes", TensorProto.STRING, ["n", 2]), "a type that no size has"),
        (info("orig_target_sizes", TensorProto.INT64, ["n", 3]), "failed on an input"),
    ],
)
def test_further_inputs_that_nobody_can_fill(tmp_path, beside, says):
    refused(model(tmp_path, others=[beside]), says)


@pytest.mark.parametrize(
    "names",
    [
        "{1e400: 'a', 0: 'b'}",
        "{0.5: 'a', 0: 'b'}",
        "{0: 'a', '0': 'b'}",
        "{True: 'a', 0: 'b'}",
        "{None: 'a'}",
        "{[]: 'a'}",
        "[" * 5000,
        "{" + "9" * 5000 + ": 'a'}",
        '{"' + "9" * 5000 + '": "a"}',
        "{0: '\\ud800', 1: 'b'}",
        "[" + "'a'," * 200_000 + "]",
        "a," * 900_000,
    ],
    ids=range(12),
)
def test_metadata_of_names_that_are_none(tmp_path, names):
    refused(model(tmp_path, names=None, metadata={"names": names}), "the metadata's 'names'")


@pytest.mark.parametrize("count", [np.inf, np.nan])
def test_a_number_of_boxes_that_is_none(tmp_path, count):
    boxes = {
        "num_dets": np.array([[count]], np.float32),
        "det_boxes": np.zeros((1, 4, 4), np.float32),
        "det_scores": np.full((1, 4), 0.5, np.float32),
        "det_classes": np.zeros((1, 4), np.float32),
    }
    refused(model(tmp_path, outputs=boxes), "not of the layout 'efficient_nms'")


def made_of(folder, node, output):
    graph = helper.make_graph(
        [node], "g", [info("images", TensorProto.FLOAT, [1, 3, 32, 32])], [output]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


def test_outputs_that_are_no_numbers(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("o", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["images"], ["o"])
    refused(made_of(tmp_path, node, sequence), "'o' holds no plain numbers", names=NAMES)
    words = info("o", TensorProto.STRING, [1, "a", 6])
    node = helper.make_node("Cast", ["images"], ["o"], to=TensorProto.STRING)
    refused(made_of(tmp_path, node, words), "onnxruntime cannot load it|'o' holds", names=NAMES)


def test_a_graph_that_bites_its_tail(tmp_path):
    path = model(tmp_path)
    circle = onnx.load(path)
    circle.graph.node[0].input[0] = "output0"
    onnx.save(circle, path)
    refused(path, "acyclic|onnxruntime cannot load it")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_bytes_are_a_model_or_an_error(tmp_path, changes):
    path = Path(model(tmp_path))
    data = bytearray(path.read_bytes())
    for place, byte in changes:
        data[place % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(QuorateError):
        OnnxDetector(name="d", weights=str(path)).load().predict([PICTURE])
