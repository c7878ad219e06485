"""The plug-in of docs/examples/centerface, on maps whose faces are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from quorate.errors import DetectorError
from tests.detectors import models

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "centerface"


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from quorate_centerface import CenterFaceDetector

    yield CenterFaceDetector
    sys.modules.pop("quorate_centerface")


def maps():
    made = {
        n: np.zeros((1, c, 16, 16), np.float32) for n, c in zip("abcd", (1, 2, 2, 10), strict=True)
    }
    made["a"][0, 0, 5, 3] = 0.9
    made["b"][0, :, 5, 3] = np.log(12 / 4), np.log(8 / 4)  # height, width
    made["c"][0, :, 5, 3] = 0.25, -0.25  # down, right
    return made


def test_maps_become_faces_in_the_picture(detector, tmp_path):
    path = models.constant(tmp_path / "m.onnx", maps())
    predictor = detector(name="d", weights=path, names=("face",)).load()
    (boxes,) = predictor.predict([np.zeros((64, 128, 3), np.uint8)])
    cx, cy = (3 - 0.25 + 0.5) * 4, (5 + 0.25 + 0.5) * 4
    np.testing.assert_allclose(boxes.xyxy, [[2 * (cx - 4), cy - 6, 2 * (cx + 4), cy + 6]])
    assert boxes.score.tolist() == [pytest.approx(0.9)]
    assert predictor.told["colours"] == "RGB 0..255"


def test_another_network_is_refused(detector, tmp_path):
    path = models.constant(tmp_path / "m.onnx", {"a": np.zeros((1, 300, 6), np.float32)})
    with pytest.raises(DetectorError, match="no known layout"):
        detector(name="d", weights=path, names=("face",)).load()
