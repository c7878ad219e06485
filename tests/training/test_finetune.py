"""The example's trainer keeps the contract: it goes on learning with the demo's `yolo`."""

import sys
from pathlib import Path

import pytest

from quorate.spec.training import Training
from quorate.training.contract import detector_of, events, truth_of
from quorate.training.data import prepare
from quorate.training.running import run
from quorate.training.work import TrainingWork

pytest.importorskip("torch")
pytestmark = pytest.mark.torch
PARTS = Path(__file__).parents[2] / "docs/examples/parts"


def test_the_demos_yolo_learns_further(tmp_path):
    entry = {
        "name": "further", "kind": "container", "epochs": 1, "batch_size": 4,
        "command": [sys.executable, str(PARTS / "finetune.py")],
        "checkpoint": str(PARTS / "models/yolo.onnx"),
        "hyperparameters": {"learning_rate": 1e-7},
    }  # fmt: skip
    training = Training(
        name="parts", data=str(PARTS / "images"), split={"validation": 0.1}, trainers=[entry]
    )
    work = TrainingWork(tmp_path)
    prepare(training, work)
    done = run(training.trainers[0], work)
    assert done.failed is None, done.failed
    own = work.trainer("further")
    said = events(own.out)
    assert [one.step for one in said] == [1, 2, 3, 4]  # 54 pictures, 16 a step
    # With next to no rate it still is the demo's, whose weights were put back into the network.
    from quorate.formats import read_detections

    held = truth_of(work.data, "validation")
    found = read_detections(own.out / "predictions.json", dataset=held).detections
    assert len(found) > 20
    assert detector_of(own.out, name="x").load().labels == ("bolt", "nut", "washer", "screw")
