"""The trainer in Keras and TensorFlow keeps the contract; TensorFlow's build for processors runs.

In an environment of its own (`make test-trainers`), with nothing of ours in it.
"""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from quorate.spec import EnsembleSpec
from quorate.training.contract import check
from tests.training.programs import Program, change, events
from tests.training.toys import NAMES, data_folder
from tests.waiting import until

THEIRS = Program("tensorflow", 900)
SMALL = {"image_size": 96, "width": 8, "learning_rate": 3e-3}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not THEIRS.python.exists(), reason="needs .venv-tensorflow: make test-trainers"
    ),
]


def arrays(path):
    """Of a safetensors file: a length, a header of JSON, and numbers one after the other."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    del header["__metadata__"]
    types = {"F32": "<f4", "I64": "<i8", "I32": "<i4"}
    return {
        key: np.frombuffer(data[start:][slice(*one["data_offsets"])], types[one["dtype"]])
        for key, one in header.items()
    }


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow")
    data = data_folder(folder / "data", epochs=30, hyperparameters=SMALL)
    status, said = THEIRS.trained(data, folder / "out")
    assert status == 0, said
    return folder


def test_it_learns(learnt):
    said = events(learnt / "out")
    assert [one["step"] for one in said] == sorted({one["step"] for one in said})
    assert said[-1]["step"] == said[-1]["steps"] == 180
    assert said[-1]["epoch"] == 30
    assert said[-1]["loss"] < said[0]["loss"] / 2
    assert set(said[0]["losses"]) == {"labels", "boxes"}
    rates = [one["learning_rate"] for one in said]
    assert max(rates) <= SMALL["learning_rate"]
    assert rates[-1] < max(rates) / 20
    # Boxes drawn by chance reach 0.001; this one has seen 24 pictures for half a minute.
    assert said[-1]["map"] > 0.2


def detector(out):
    """The detector of detector.json, as a spec takes it."""
    entry = json.loads((out / "detector.json").read_text())
    entry["weights"] = str(out / entry["weights"])
    spec = EnsembleSpec.model_validate({"name": "toy", "detectors": [entry]})
    return spec.detectors[0].load()


def test_what_it_exports_finds_the_same_here(learnt):
    out = learnt / "out"
    predictor = detector(out)
    predictions = json.loads((out / "predictions.json").read_text())
    for image in json.loads((learnt / "data/validation.json").read_text())["images"]:
        with Image.open(learnt / "data/images" / image["file_name"]) as picture:
            (found,) = predictor.predict([np.asarray(picture.convert("RGB"))])
        mine = sorted(
            (one for one in predictions if one["image_id"] == image["id"] and one["score"] > 0.3),
            key=lambda one: -one["score"],
        )
        assert len(mine) == int((found.score > 0.3).sum())
        for i, one in enumerate(mine):
            x, y, width, height = one["bbox"]
            assert found.xyxy[i] == pytest.approx([x, y, x + width, y + height], abs=0.1)
            assert found.score[i] == pytest.approx(one["score"], abs=1e-3)
            assert predictor.labels[found.label[i]] == NAMES[one["category_id"] - 1]


def test_it_keeps_the_contract(learnt):
    assert check(learnt / "out", learnt / "data", name="keras") == []


def test_it_says_with_what_it_was_made(learnt):
    versions = json.loads((learnt / "out/versions.json").read_text())
    assert versions["tensorflow-cpu"].startswith("2.")
    assert {"keras", "tf2onnx", "python"} <= versions.keys()


def test_killed_and_run_again_it_ends_where_it_would_have(tmp_path):
    settings = SMALL | {"checkpoint_seconds": 0.0}
    data = data_folder(tmp_path / "data", train=12, epochs=6, hyperparameters=settings)
    status, said = THEIRS.trained(data, tmp_path / "whole")
    assert status == 0, said
    process = THEIRS.started(data, tmp_path / "killed")
    until((tmp_path / "killed/checkpoint/state.safetensors").exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    status, said = THEIRS.trained(data, tmp_path / "killed")
    assert status == 0, said
    assert "going on after step" in said
    one, other = (
        arrays(tmp_path / name / "checkpoint/state.safetensors") for name in ("whole", "killed")
    )
    assert one.keys() == other.keys()
    for key, value in one.items():
        np.testing.assert_allclose(value, other[key], rtol=0, atol=1e-6, err_msg=key)
    steps = [event["step"] for event in events(tmp_path / "killed")]
    assert steps == sorted(set(steps))


def test_it_begins_with_a_checkpoint_of_other_labels(learnt, tmp_path):
    data = data_folder(tmp_path / "data", train=4, validation=2, hyperparameters=SMALL)
    (data / "labels.txt").write_text("disc\nplate\nring\n")
    (data / "begin").mkdir()
    os.link(learnt / "out/model/model.safetensors", data / "begin/model.safetensors")
    change(data, checkpoint="begin")
    status, said = THEIRS.trained(data, tmp_path / "out")
    assert status == 0, said
    (line,) = [one for one in said.splitlines() if "begun anew" in one]
    assert line.endswith("labels/kernel, labels/bias")


@pytest.mark.parametrize(
    ("change_it", "sentence"),
    [
        ({"hyperparameters": {"learning_rat": 1}}, "There is no hyperparameter 'learning_rat'"),
        ({"hyperparameters": {"image_size": 100}}, "image_size is a multiple of 32"),
        ({"hyperparameters": {"width": "wide"}}, "width is 'wide', which is no such number"),
        ({"epochs": -1}, "epochs and batch_size are at least 1"),
        ({"checkpoint": "labels.txt"}, "labels.txt is no checkpoint of this trainer"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, change_it, sentence):
    data = data_folder(tmp_path / "data", train=2, validation=1, hyperparameters=SMALL)
    change(data, **change_it)
    status, said = THEIRS.trained(data, tmp_path / "out")
    assert status == 2
    assert sentence in said.splitlines()[-1]


def test_pictures_without_boxes_are_refused(tmp_path):
    data = data_folder(tmp_path / "data", train=2, validation=1)
    coco = json.loads((data / "train.json").read_text())
    (data / "train.json").write_text(json.dumps(coco | {"annotations": []}))
    status, said = THEIRS.trained(data, tmp_path / "out")
    assert (status, said.splitlines()[-1]) == (
        2, "train.json has no boxes: there is nothing to learn.",
    )  # fmt: skip


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_checkpoint(tmp_path):
    settings = SMALL | {"learning_rate": 1e30, "checkpoint_seconds": 0.0, "warmup": 0.0}
    data = data_folder(tmp_path / "data", train=8, epochs=20, hyperparameters=settings)
    status, said = THEIRS.trained(data, tmp_path / "out")
    assert status == 2
    assert "is no number; the last checkpoint is kept" in said.splitlines()[-1]
    assert (tmp_path / "out/checkpoint/state.safetensors").exists()
    assert not (tmp_path / "out/detector.json").exists()
