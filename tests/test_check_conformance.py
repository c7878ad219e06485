"""quorate check --conformance: every detector of a spec, its findings, its exit status."""

import json

import numpy as np
import pytest
from PIL import Image

from quorate.cli import main
from tests.detectors import models

SPEC = """\
kind: DetectionEnsemble
name: lamps
data: pictures/
labels: [lamp]
detectors:
  - {name: good, kind: onnx, weights: lamp.onnx, image_size: 64}
  - {name: bad, kind: onnx, weights: {weights}}
"""


@pytest.fixture
def spec(tmp_path):
    """A spec with one good detector, and another of which the test says what its file is."""
    models.bright_box(tmp_path / "lamp.onnx")
    (tmp_path / "pictures").mkdir()
    lamp = np.zeros((48, 64, 3), dtype=np.uint8)
    lamp[10:20, 30:50] = 255
    Image.fromarray(lamp).save(tmp_path / "pictures/a.png")
    (tmp_path / "pictures/b.png").write_bytes(b"no picture")

    def write(weights):
        path = tmp_path / "spec.yaml"
        path.write_text(SPEC.replace("{weights}", weights))
        return str(path)

    return write


def run(*arguments):
    """The exit status."""
    return main(["check", *arguments, "--conformance"])


def test_detectors_that_keep_the_contract(spec, capsys):
    assert run(spec("lamp.onnx")) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "lamps: the detectors' contract"
    assert [line.split() for line in out[1:]] == [
        ["detector", "kind", "boxes", "findings"],
        ["good", "onnx", "8", "none"],
        ["bad", "onnx", "8", "none"],
    ]


def test_one_that_breaks_it_is_named_with_what_it_does(spec, tmp_path, capsys):
    row = np.array([[[1, 1, 9, 9, 1.5, 0]]], dtype=np.float32)
    models.constant(tmp_path / "wild.onnx", {"output0": row}, names=("lamp", "b", "c"))
    assert run(spec("wild.onnx"), "--json") == 2
    said = capsys.readouterr()
    good, bad = json.loads(said.out)
    assert good == {"detector": "good", "kind": "onnx", "boxes": 8, "findings": []}
    assert (bad["detector"], bad["boxes"]) == ("bad", 0)
    assert "outside 0..1" in bad["findings"][0]
    assert "1 of 2 detectors do not keep the contract: bad." in said.err


def test_one_that_cannot_be_loaded_is_a_finding(spec, capsys):
    assert run(spec("nowhere.onnx")) == 2
    assert "it cannot be loaded" in capsys.readouterr().out


def test_a_tolerance_is_pixels(spec, capsys):
    assert run(spec("lamp.onnx"), "--tolerance", "0.001") == 0
    assert "none" in capsys.readouterr().out


def test_a_container_is_left_to_its_own_check(spec, tmp_path, capsys):
    path = spec("lamp.onnx")
    text = (tmp_path / "spec.yaml").read_text()
    container = (
        "  - {name: legacy, kind: container, image: 'mmdet:3', command: [run], names: [lamp]}\n"
    )
    (tmp_path / "spec.yaml").write_text(text + container)
    assert run(path) == 0
    said = capsys.readouterr()
    assert "legacy" not in said.out
    assert "legacy: `quorate check-container`" in said.err
