"""The ONNX detector as a whole: its files, its labels, its boxes, its threads."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError
from quorate.spec.detector import detector_kinds
from tests.detectors import models

NAMES = ("ant", "bee", "cat")
PICTURE = np.zeros((64, 64, 3), dtype=np.uint8)


def load(path, **options):
    return OnnxDetector(name="d", weights=str(path), **options).load()


def rows(*given):
    output = np.zeros((1, max(len(given), 1), 6), dtype=np.float32)
    for i, row in enumerate(given):
        output[0, i] = row
    return {"output0": output}


def model(tmp_path, *given, names=NAMES, **options):
    return models.constant(tmp_path / "m.onnx", rows(*given), names=names, **options)


def test_the_kind_is_found_by_entry_point_and_describing_it_loads_nothing_heavy():
    assert detector_kinds()["onnx"].load() is OnnxDetector
    code = (
        "import sys, quorate.detectors.onnx.spec as o; o.OnnxDetector(name='a', weights='w');"
        "print([m for m in ('onnxruntime', 'numba', 'PIL', 'cv2', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Where the boxes lie


@pytest.fixture(scope="module")
def lamp(tmp_path_factory):
    return models.bright_box(tmp_path_factory.mktemp("lamp") / "lamp.onnx")


def lit(height, width, x1, y1, x2, y2):
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[y1:y2, x1:x2] = 255
    return picture


@settings(max_examples=60, deadline=None)
@given(data=st.data(), times=st.integers(1, 4), extra=st.tuples(*[st.integers(0, 9)] * 2))
def test_a_drawn_rectangle_is_found_at_its_exact_pixels(lamp, data, times, extra):
    """Whatever the padding, wherever the scale is whole: there its edges fall between pixels."""
    height, width = data.draw(st.integers(8, 57)), data.draw(st.integers(8, 57))
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(
        data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True))
    )
    # One direction has padding, the other none, so the scale is `times`.
    tall = data.draw(st.booleans())
    frame = [height * times + (extra[0] if tall else 0), width * times + (0 if tall else extra[1])]
    predictor = load(lamp, image_size=frame)
    [boxes] = predictor.predict([lit(height, width, x1, y1, x2, y2)])
    assert boxes.xyxy.tolist() == [[x1, y1, x2, y2]]


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    resize=st.sampled_from(["letterbox", "corner", "stretch"]),
)
def test_at_any_scale_it_is_found_to_half_a_pixel_of_picture_and_network(lamp, size, resize):
    height, width = size
    x1, y1, x2, y2 = width // 5, height // 4, width - width // 3, height - height // 6
    predictor = load(lamp, image_size=[160, 192], resize=resize)
    placement = predictor.place(size)
    [boxes] = predictor.predict([lit(height, width, x1, y1, x2, y2)])
    pixel = width / placement.inner[1], height / placement.inner[0]
    error = np.abs(boxes.xyxy[0] - [x1, y1, x2, y2])
    assert (error <= np.tile(pixel, 2) / 2 + 0.5).all()


def test_a_network_of_any_size_sees_the_picture_as_it_is(lamp):
    predictor = load(lamp, resize="none")
    [boxes] = predictor.predict([lit(33, 71, 9, 4, 70, 31)])
    assert boxes.xyxy.tolist() == [[9, 4, 70, 31]]


def test_uint8_networks_are_fed_grey_levels(tmp_path):
    path = models.bright_box(tmp_path / "u.onnx", (64, 64), TensorProto.UINT8)
    [boxes] = load(path).predict([lit(64, 33, 3, 7, 30, 60)])
    assert boxes.xyxy.tolist() == [[3, 7, 30, 60]]


def test_one_pixel_is_a_picture(lamp):
    [boxes] = load(lamp, image_size=32).predict([lit(1, 1, 0, 0, 1, 1)])
    assert boxes.xyxy.tolist() == [[0, 0, 1, 1]]


# What becomes of odd boxes


def test_boxes_are_clipped_and_what_is_left_empty_is_dropped(tmp_path):
    path = model(
        tmp_path,
        [-50, -5, 30, 1e9, 0.9, 0],
        [70, 10, 90, 20, 0.8, 0],  # outside
        [30, 10, 20, 20, 0.7, 0],  # inverted
        [30, 10, 30, 20, 0.6, 0],  # empty
        [10, 10, 20, 20, 0.5, 2],
    )
    [boxes] = load(path).predict([PICTURE])
    assert boxes.xyxy.tolist() == [[0, 0, 30, 64], [10, 10, 20, 20]]
    assert (boxes.xyxy.dtype, boxes.score.dtype, boxes.label.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )


@pytest.mark.parametrize(
    ("column", "bad"),
    [(0, np.nan), (3, np.nan), (4, np.nan), (0, -np.inf), (3, np.inf), (4, np.inf)],
)
def test_a_number_that_is_none_is_an_error(tmp_path, bad, column):
    row = [10.0, 10.0, 20.0, 20.0, 0.5, 2]
    row[column] = bad
    with pytest.raises(DetectorError, match="NaN or infinite"):
        load(model(tmp_path, row)).predict([PICTURE])


def test_numbers_that_are_none_below_the_score_cost_nothing(tmp_path):
    path = model(tmp_path, [np.nan, 1, 2, 3, 0.0, 0], [1, 1, 9, 9, 0.5, 0])
    [boxes] = load(path).predict([PICTURE])
    assert len(boxes.score) == 1


def test_a_score_just_above_one_counts_as_one(tmp_path):
    [boxes] = load(model(tmp_path, [1, 1, 9, 9, 1.0005, 0])).predict([PICTURE])
    assert boxes.score.tolist() == [1.0]
    with pytest.raises(DetectorError, match=r"outside 0\.\.1"):
        load(model(tmp_path, [1, 1, 9, 9, 1.5, 0])).predict([PICTURE])


def test_a_label_without_a_name_is_an_error(tmp_path):
    with pytest.raises(DetectorError, match="label number 3, but there are 3 names"):
        load(model(tmp_path, [1, 1, 9, 9, 0.9, 3])).predict([PICTURE])


def test_order_is_by_score_then_corners_then_label_and_the_best_are_kept(tmp_path):
    path = model(
        tmp_path,
        [5, 1, 9, 9, 0.5, 2],
        [5, 1, 9, 9, 0.5, 0],
        [1, 1, 9, 9, 0.5, 1],
        [3, 3, 9, 9, 0.7, 1],
        [3, 3, 9, 9, 0.2, 1],
    )
    [boxes] = load(path).predict([PICTURE])
    assert boxes.label.tolist() == [1, 1, 0, 2, 1]
    assert boxes.xyxy[:, 0].tolist() == [3, 1, 5, 5, 3]
    [boxes] = load(path, max_detections=2, min_score=0.3).predict([PICTURE])
    assert boxes.score.tolist() == pytest.approx([0.7, 0.5])


def test_no_boxes_and_no_pictures(tmp_path):
    predictor = load(model(tmp_path))
    [boxes] = predictor.predict([PICTURE])
    assert boxes.xyxy.shape == (0, 4)
    assert predictor.predict([]) == []


# Labels


@pytest.mark.parametrize(
    "metadata",
    [
        {"names": "{0: 'ant', 1: 'bee', 2: 'cat'}"},
        {"names": "{2: 'cat', 0: 'ant', 1: 'bee'}"},
        {"names": '{"0": "ant", "1": "bee", "2": "cat"}'},
        {"names": "['ant', 'bee', 'cat']"},
        {"classes": '["ant", "bee", "cat"]'},
        {"id2label": '{"0": "ant", "1": "bee", "2": "cat"}'},
        {"names": "ant, bee,cat"},
    ],
)
def test_labels_come_from_the_metadata(tmp_path, metadata):
    path = model(tmp_path, [1, 1, 9, 9, 0.9, 1], names=None, metadata=metadata)
    assert load(path).labels == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'ant', 2: 'cat'}",
        "{'a': 'ant'}",
        "{0: __import__('os').system('true')}",
        "[" * 5000,
        "{}",
    ],
)
def test_metadata_that_makes_no_sense_is_an_error_and_runs_nothing(tmp_path, text):
    path = model(tmp_path, names=None, metadata={"names": text})
    with pytest.raises(DetectorError, match="metadata's 'names'"):
        load(path)


def test_the_spec_goes_before_the_metadata(tmp_path):
    assert load(model(tmp_path), names=("x", "y", "z")).labels == ("x", "y", "z")


def test_no_labels_anywhere_is_an_error_that_says_where_to_put_them(tmp_path):
    with pytest.raises(DetectorError, match="does not say what its labels") as caught:
        load(model(tmp_path, names=None))
    assert "names: [" in caught.value.hint


# Files that are no models


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"hello, this is no model" * 20, "not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
    ],
)
def test_files_that_are_no_models(tmp_path, data, why):
    path = tmp_path / "w.onnx"
    path.write_bytes(data)
    with pytest.raises(DetectorError, match=why) as caught:
        load(path)
    assert str(path) in caught.value.message


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_no_model_and_is_not_run(tmp_path):
    path = tmp_path / "w.onnx"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(DetectorError, match="not an ONNX model"):
        load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(DetectorError, match="there is no such file") as caught:
        load(tmp_path / "nowhere" / "w.onnx")
    assert "the spec's own folder" in str(caught.value)
    with pytest.raises(DetectorError, match=r"folder|Is a directory"):
        load(tmp_path)


def test_a_truncated_model(tmp_path):
    path = tmp_path / "t.onnx"
    path.write_bytes((lambda data: data[: len(data) // 2])(_bytes(model(tmp_path))))
    with pytest.raises(DetectorError, match="not an ONNX model, or cut short"):
        load(path)


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_external_data_that_is_missing(tmp_path):
    output = np.zeros((1, 300, 6), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["v"], ["output0"])],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 300, 6])],
        [numpy_helper.from_array(output, "v")],
    )
    saved = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(
        saved, tmp_path / "e.onnx", save_as_external_data=True, location="e.bin", size_threshold=0
    )
    assert load(tmp_path / "e.onnx", names=NAMES).labels == NAMES
    (tmp_path / "e.bin").unlink()
    with pytest.raises(DetectorError, match="external data is missing") as caught:
        load(tmp_path / "e.onnx", names=NAMES)
    assert "beside" in caught.value.hint


def changed(path, change):
    proto = onnx.load(path)
    change(proto)
    path = path.replace("m.onnx", "changed.onnx")
    onnx.save(proto, path)
    return path


def test_a_model_from_the_future(tmp_path):
    def newer(proto):
        proto.opset_import[0].version = 99

    with pytest.raises(DetectorError, match="newer ONNX") as caught:
        load(changed(model(tmp_path), newer))
    assert "opset" in caught.value.hint
    assert "/onnxruntime_src" not in caught.value.message

    def much_newer(proto):
        proto.ir_version = 99

    with pytest.raises(DetectorError, match="newer ONNX"):
        load(changed(model(tmp_path), much_newer))


def test_an_operator_nobody_has(tmp_path):
    def plug_in(proto):
        proto.graph.node[0].domain = "trt"
        proto.graph.node[0].op_type = "EfficientNMS_TRT"
        proto.opset_import.append(helper.make_opsetid("trt", 1))

    with pytest.raises(DetectorError, match="operator that onnxruntime does not have"):
        load(changed(model(tmp_path), plug_in))


def test_auto_takes_the_fastest_provider_and_says_which(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="quorate.detectors")
    path = model(tmp_path, [1, 1, 9, 9, 0.5, 0])
    plain = load(path).predict([PICTURE])[0]
    assert not caplog.records, "nothing is chosen, so nothing is said"
    found = load(path, providers="auto").predict([PICTURE])[0]
    assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True))
    assert f"{path} runs on CPUExecutionProvider" in caplog.text

    offered = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    asked = []
    session = onnxruntime.InferenceSession

    def opened(path, options, providers, **_):
        asked.append(providers)
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    load(path, providers="auto")
    assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]]
    assert "CUDAExecutionProvider is there but cannot be used" in caplog.text


def test_inputs_laid_on_the_device_first_give_the_same_boxes(tmp_path):
    """What a card's memory takes beforehand; here the device is the processor's own."""
    predictor = load(models.echo(tmp_path / "e.onnx"), batch=2)
    network = predictor.network
    assert network.device is None, "on the CPU there is nothing to copy"
    bound = replace(predictor, network=replace(network, device="cpu"))
    many = pictures(3)
    assert all(
        same(a, b) for a, b in zip(bound.predict(many), predictor.predict(many), strict=True)
    )
    with pytest.raises(DetectorError, match=r"images float32\(1, 3, 9, 9\)"):
        bound.network.run(["output0"], {"images": np.zeros((1, 3, 9, 9), np.float32)})


@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "yolov10", "detr", "tensorflow"])
def test_a_model_of_half_precision_gives_the_boxes_of_a_single_one(tmp_path, layout):
    """What a half holds is reckoned with as a single: far from the origin its steps are wide."""
    if layout == "detr":
        outputs = {
            "logits": np.array([[[2, -9, -9, -9], [-9, 3, -9, -9]]]),
            "pred_boxes": np.array([[[0.9, 0.77, 0.13, 0.21], [0.5, 0.51, 0.23, 0.11]]]),
        }
    elif layout == "tensorflow":
        outputs = {
            "detection_boxes": np.array([[[0.77, 0.9, 0.87, 0.97]]]),
            "detection_scores": np.array([[0.77]]),
            "detection_classes": np.array([[2]]),
        }
    elif layout == "yolov10":
        outputs = {"output0": np.array([[[600, 500, 601, 503, 0.75, 1], [1, 2, 9, 8, 0.5, 2]]])}
    else:
        rows = np.zeros((1, 8, 8 if layout == "yolov5" else 7))
        rows[0, 0, :4] = 600.5, 500.5, 1.3, 3.1
        rows[0, 0, 4:] = 0.77
        outputs = {"output0": rows}
    found = {}
    for name, dtype, kind in (
        ("half", np.float16, TensorProto.FLOAT16),
        ("single", np.float32, TensorProto.FLOAT),
    ):
        path = models.constant(
            tmp_path / f"{name}.onnx",
            {key: value.astype(np.float16).astype(dtype) for key, value in outputs.items()},
            image=(1, 3, 640, 640),
            image_kind=kind,
            names=NAMES,
        )
        [found[name]] = load(path, layout=layout).predict([np.zeros((640, 640, 3), np.uint8)])
    assert len(found["half"].score) > 0
    assert same(found["half"], found["single"])


def test_an_unknown_provider_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(DetectorError, match="CPUExecutionProvider") as caught:
        load(model(tmp_path), providers=["CPUExecutionProvidr"])
    assert "did you mean 'CPUExecutionProvider'?" in caught.value.hint


def test_a_size_that_the_network_does_not_take(tmp_path):
    with pytest.raises(DetectorError, match="does not fit the network"):
        load(model(tmp_path), image_size=96)
    with pytest.raises(DetectorError, match="takes any size"):
        load(model(tmp_path), resize="none")


@pytest.mark.parametrize("image", [(1, 1, 64, 64), (1, 10), (1, 4, 64, 64)])
def test_a_network_that_takes_no_pictures_of_three_channels(tmp_path, image):
    with pytest.raises(DetectorError, match=r"three channels|rank 4"):
        load(model(tmp_path, image=image))


def test_an_input_that_nobody_can_fill(tmp_path):
    other = helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, 77])
    with pytest.raises(DetectorError, match="tokens"):
        load(model(tmp_path, others=[other]))


# Company: batches and threads


def pictures(count, size=(40, 52)):
    rng = np.random.default_rng(5)
    return [np.full((*size, 3), rng.integers(0, 256), dtype=np.uint8) for _ in range(count)]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (("n", 3, 32, 32), {}),
        (("n", 3, 32, 32), {"batch": 3}),
        ((4, 3, 32, 32), {}),
        (("n", 32, 32, 3), {"batch": 2}),
        (("n", 3, "h", "w"), {"batch": 4, "resize": "none"}),
    ],
)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_picture_has_the_same_boxes_in_any_company(tmp_path, image, options, kind):
    path = models.echo(tmp_path / "e.onnx", image=image, image_kind=kind)
    predictor = load(path, **options)
    many = [*pictures(4), *pictures(3, (20, 30))]
    together = predictor.predict(many)
    assert len(together) == 7
    alone = [predictor.predict([picture])[0] for picture in many]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert len({boxes.score.tobytes() for boxes in together}) > 2


def test_it_keeps_the_contract(tmp_path):
    assert_conforms(load(models.echo(tmp_path / "e.onnx")))
    assert_conforms(load(models.echo(tmp_path / "b.onnx"), batch=3), tolerance=1e-3)


def test_threads_do_not_disturb_each_other(tmp_path):
    predictor = load(models.echo(tmp_path / "e.onnx", image=("n", 3, "h", "w")), image_size=96)
    many = [picture for size in ((40, 52), (90, 33)) for picture in pictures(40, size)]
    alone = [predictor.predict([picture])[0] for picture in many]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            at_once = list(pool.map(lambda picture: predictor.predict([picture])[0], many))
            assert all(same(a, b) for a, b in zip(at_once, alone, strict=True))


def test_pictures_are_left_as_they_are(tmp_path):
    predictor = load(models.echo(tmp_path / "e.onnx"))
    picture = pictures(1)[0]
    before = picture.copy()
    predictor.predict([picture])
    assert np.array_equal(picture, before)


def test_a_model_that_fails_is_an_error_that_says_what_it_was_fed(tmp_path):
    shape = numpy_helper.from_array(np.array([1, 1, 6], np.int64), "shape")
    path = models.save(
        tmp_path / "f.onnx",
        [helper.make_node("Reshape", ["images", "shape"], ["output0"])],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 1, 6])],
        [shape],
        {"names": repr(list(NAMES))},
    )
    with pytest.raises(DetectorError, match=r"images float32\(1, 3, 64, 64\)"):
        load(path, image_size=64).predict([PICTURE])
