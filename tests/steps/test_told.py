"""What a run tells of its detectors: what they were taken for, what was left out, what is odd."""

import json
import logging

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from quorate import DetectionEnsemble
from quorate.cli import main
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError
from quorate.steps.voter import load_all
from tests.detectors import models


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "pool").mkdir()
    for number in range(70):
        Image.new("RGB", (64, 64), (number, 200, 9)).save(tmp_path / "pool" / f"{number:02d}.png")
    return tmp_path / "pool"


def spec(tmp_path, pool, weights, **options):
    detector = {"name": "one", "kind": "onnx", "weights": weights, "names": ["ant", "bee"]}
    detectors = [detector | options]
    made = {"kind": "DetectionEnsemble", "name": "t", "data": str(pool), "detectors": detectors}
    made |= {"labels": ["ant", "bee"], "fusion": {"method": "affirmative"}}
    made |= {"publish": {"formats": ["coco"], "report": True}}
    (tmp_path / "spec.yaml").write_text(json.dumps(made))
    return tmp_path / "spec.yaml"


def three(path, labels):
    count = len(labels)
    boxes = np.array([[4, 4, 20 + i, 30] for i in range(count)], np.float32)
    outputs = {
        "boxes": boxes,
        "labels": np.array(labels),
        "scores": np.linspace(0.5, 0.9, count).astype(np.float32),
    }
    return models.constant(path, outputs, image=(1, 3, "h", "w"))


def bright(path, level):
    """A model whose one box scores .9 where a pixel is above a level, else 0."""
    real = TensorProto.FLOAT
    constants = [
        numpy_helper.from_array(np.array(level, np.float32), "level"),
        numpy_helper.from_array(np.array([[[0, 0, 0, 0, 0.9, 0]]], np.float32), "score"),
        numpy_helper.from_array(np.array([[[10, 10, 30, 30, 0, 0]]], np.float32), "box"),
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Greater", ["most", "level"], ["above"]),
        helper.make_node("Cast", ["above"], ["lit"], to=real),
        helper.make_node("Reshape", ["lit", "shape"], ["factor"]),
        helper.make_node("Mul", ["factor", "score"], ["scored"]),
        helper.make_node("Add", ["scored", "box"], ["output0"]),
    ]
    image = helper.make_tensor_value_info("images", real, [1, 3, 64, 64])
    rows = helper.make_tensor_value_info("output0", real, [1, 1, 6])
    return models.save(path, nodes, [image], [rows], constants)


def test_what_was_left_out_is_counted_over_shards_and_parts(tmp_path, pool):
    weights = three(tmp_path / "m.onnx", [0, 1, 2])
    path = spec(tmp_path, pool, weights)
    made = json.loads(path.read_text()) | {"workflow": {"shard_size": 40}}
    path.write_text(json.dumps(made))
    summary = DetectionEnsemble.from_yaml(path).run(out=str(tmp_path / "out"))
    (note,) = [n for n in summary.notes if "label number 0" in n]
    assert note.startswith("one: 70 boxes with label number 0 left out")
    assert "labels_from" in note
    about = json.loads((tmp_path / "out" / "summary.json").read_text())["about"]["one"]
    assert about["layout"] == "torchvision, by names and shapes"
    assert about["names"] == "2: 1 is 'ant'"
    assert "torchvision, by names" in (tmp_path / "out" / "report.html").read_text()


def test_a_detector_without_a_box_is_told_of_after_its_first_pictures(tmp_path, pool, caplog):
    rows = np.zeros((1, 300, 6), np.float32)
    weights = models.constant(tmp_path / "m.onnx", {"o": rows})
    path = spec(tmp_path, pool, weights)
    with caplog.at_level(logging.WARNING, "quorate.steps"):
        summary = DetectionEnsemble.from_yaml(path).run(out=str(tmp_path / "out"))
    (note,) = [n for n in summary.notes if "found no box" in n]
    assert note.startswith("one: in the first 64 pictures, it found no box.")
    assert "RGB 0..1" in note
    assert caplog.messages == [note]


def test_the_same_warning_of_several_detectors_is_one_line_that_names_them(tmp_path, pool, caplog):
    weights = models.constant(tmp_path / "m.onnx", {"o": np.zeros((1, 300, 6), np.float32)})
    path = spec(tmp_path, pool, weights)
    told = json.loads(path.read_text())
    told["detectors"] = [told["detectors"][0] | {"name": name} for name in ("one", "two", "three")]
    path.write_text(json.dumps(told))
    DetectionEnsemble.from_yaml(path).run(out=str(tmp_path / "out"))
    lines = [line for line in caplog.messages if "found no box" in line]
    assert [line.partition(": ")[0] for line in lines] == ["one, two, three"]


class Odd(OnnxDetector):
    """One that warns while it is loaded."""

    def load(self):
        logging.getLogger("quorate.detectors").warning("the %s is missing", "driver")
        return super().load()


def test_a_warning_while_loading_names_all_whom_it_concerns(tmp_path, caplog):
    weights = models.constant(tmp_path / "m.onnx", {"o": np.zeros((1, 300, 6), np.float32)})
    kinds = {"a": Odd, "b": OnnxDetector, "c": Odd}
    load_all(kind(name=n, weights=weights, names=("ant",)) for n, kind in kinds.items())
    assert caplog.messages == ["a, c: the driver is missing"]
    with pytest.raises(DetectorError):
        load_all([Odd(name="d", weights="nothing.onnx")])
    assert caplog.messages[1:] == ["d: the driver is missing"]


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_a_threshold_is_of_is_told_where_no_detector_is_calibrated(tmp_path, pool, calibrated):
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :2] = [[4, 4, 30, 30, 0.9, 0], [30, 30, 60, 60, 0.1, 1]]
    weights = models.constant(tmp_path / "m.onnx", {"o": rows})
    how = {"calibration": {"method": "temperature", "temperature": 1.1}} if calibrated else {}
    summary = DetectionEnsemble.from_yaml(spec(tmp_path, pool, weights, **how)).run(
        out=str(tmp_path / "out")
    )
    (note,) = [n for n in summary.notes if "boxes are published" in n]
    assert note.startswith("70 of 140 boxes are published: the others score less than 0.25")
    assert note.endswith("none is calibrated.") is not calibrated


def test_check_says_what_each_was_taken_for(tmp_path, pool, capsys):
    path = spec(tmp_path, pool, three(tmp_path / "m.onnx", [1, 2]))
    assert main(["check", str(path)]) == 0
    assert "one was taken for\n  layout   torchvision, by" in capsys.readouterr().out
    assert main(["check", str(path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["about"]["colours"] == "RGB 0..1"


def test_trying_a_picture_names_the_scale_that_makes_a_detector_see(tmp_path, pool, capsys):
    """The model finds what is brighter than 127.5: nothing in 0..1, all in 0..255."""
    weights = bright(tmp_path / "m.onnx", 127.5)
    path = spec(tmp_path, pool, weights, names=["lamp", "b", "c"], labels={"lamp": "ant"})
    picture = tmp_path / "lamp.png"
    lamp = np.zeros((64, 64, 3), np.uint8)
    lamp[10:30, 20:50] = 255
    Image.fromarray(lamp).save(picture)
    assert main(["check", str(path), "--try", str(picture)]) == 0
    said = capsys.readouterr()
    assert "one" in said.out
    assert "with `scale: 1` it finds 1 boxes" in said.err
    path = spec(tmp_path, pool, weights, names=["lamp", "b", "c"], labels={"lamp": "ant"}, scale=1)
    assert main(["check", str(path), "--try", str(picture)]) == 0
    assert "with `scale" not in capsys.readouterr().err


def test_pictures_of_another_size_than_the_data_says_are_told(tmp_path, pool):
    told = {
        "images": [
            {"id": n, "file_name": f"{n:02d}.png", "width": 64 if n else 80, "height": 64}
            for n in range(2)
        ],
        "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
        "annotations": [],
    }
    (pool / "instances.json").write_text(json.dumps(told))
    path = spec(tmp_path, pool, three(tmp_path / "m.onnx", [1]))
    summary = DetectionEnsemble.from_yaml(path).run(out=str(tmp_path / "out"))
    (note,) = [n for n in summary.notes if "another size" in n]
    assert note.startswith("1 of 2 pictures looked at")
    assert "00.png is 64x64, not 80x64" in note
