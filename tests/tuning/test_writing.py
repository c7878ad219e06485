"""The spec file with a few values changed, and the rest as the user wrote it."""

import pytest
import yaml

from quorate.ensemble import DetectionEnsemble
from quorate.tuning.writing import with_calibrations, with_fusion, write_spec

FUSION = {"method": "wbf", "iou": 0.6, "weights": {"a": 1.0, "b": 0.4}}
TEMPERATURE = {"method": "temperature", "temperature": 1.5}

BLOCK = """\
# What we run on Mondays.
kind: DetectionEnsemble
name: street      # a-z
data: pool/
labels: [red, green]
detectors:
  - name: a
    kind: spots   # fast
    score: 0.5

  # the other one
  - kind: spots
    name: b
    labels:
      red: red

fusion:           # how we vote
  method: consensus
  iou: 0.5        # as ever
# and what we write
publish: {formats: [coco]}
"""
FLOW = """\
name: street
detectors: [{name: a, kind: spots}, {name: b, kind: spots, score: 0.5}]
publish: {formats: [coco]}
"""


@pytest.mark.parametrize("text", [BLOCK, FLOW, BLOCK.replace("\n", "\r\n")])
def test_only_the_fusion_changes(text):
    changed = with_fusion(text, FUSION, "AP +0.1")
    value = yaml.safe_load(text)
    assert yaml.safe_load(changed) == {**value, "fusion": FUSION}
    assert "# tuned: AP +0.1" in changed.splitlines()
    assert changed.count("\r\n") == (changed.count("\n") if "\r\n" in text else 0)
    assert ("# What we run on Mondays." in changed) == ("Mondays" in text)
    again = with_fusion(changed, {"method": "nms", "iou": 0.5}, "AP +0.2")
    assert again.count("# tuned:") == 1
    assert yaml.safe_load(again)["fusion"] == {"method": "nms", "iou": 0.5}


def test_comments_around_a_block_stay():
    changed = with_fusion(BLOCK, FUSION)
    head, tail = changed.split("fusion: ")
    assert head == BLOCK.split("fusion:")[0]
    assert tail.endswith("# and what we write\npublish: {formats: [coco]}\n")


@pytest.mark.parametrize("text", [BLOCK, FLOW, BLOCK.replace("\n", "\r\n")])
def test_calibrations_come_change_and_go(text):
    def of(changed):
        return {d["name"]: d.get("calibration") for d in yaml.safe_load(changed)["detectors"]}

    one = with_calibrations(text, {"a": TEMPERATURE, "b": TEMPERATURE, "c": TEMPERATURE})
    assert of(one) == {"a": TEMPERATURE, "b": TEMPERATURE}
    long = {"method": "isotonic", "knots": [[i / 20, i / 20] for i in range(21)]}
    own = {**TEMPERATURE, "categories": {"red": long, "green": TEMPERATURE}}
    two = with_calibrations(one, {"a": long, "b": own})
    assert of(two) == {"a": long, "b": own}
    assert max(map(len, two.splitlines())) <= 100 or text is FLOW
    three = with_calibrations(two, {"a": None})
    assert of(three) == {"a": None, "b": own}
    four = with_calibrations(three, {"b": None, "a": None})
    assert yaml.safe_load(four) == yaml.safe_load(text)
    if text is BLOCK:
        assert four == text


def test_only_calibration_lines_are_added():
    lines = with_calibrations(BLOCK, {"a": TEMPERATURE, "b": TEMPERATURE}).splitlines()
    added = [line for line in lines if line not in BLOCK.splitlines()]
    assert added == ["    calibration: {method: temperature, temperature: 1.5}"] * 2
    assert [line for line in lines if line not in added] == BLOCK.splitlines()


ODD = """\
# Four spaces, quotes of both kinds, a comment in the last line.
name:   'street'
detectors:
    -   calibration: {method: temperature, temperature: 2}
        # the fast one
        name: "a"
        kind: spots
        labels:
            red: red
    -   name: b
        kind: spots
        calibration:   # of March
            method: temperature
            temperature: 3   # by hand

        # its score
        score: 0.50
# the end
"""


def test_what_is_not_changed_keeps_its_quotes_numbers_and_comments():
    changed = with_calibrations(ODD, {"a": None, "b": TEMPERATURE})
    value = yaml.safe_load(ODD)
    del value["detectors"][0]["calibration"]
    value["detectors"][1]["calibration"] = TEMPERATURE
    assert yaml.safe_load(changed) == value
    comments = ("# Four spaces", "# the fast one", "# of March", "# its score", "# the end")
    assert [word for word in comments if word not in changed] == []
    for kept in ("'street'", '"a"', "score: 0.50"):
        assert kept in changed


def onnx_spec(folder, text):
    folder.mkdir(exist_ok=True)
    for name in ("pool", "onnx"):  # a word of the spec that is also a folder is no path
        (folder / name).mkdir(exist_ok=True)
    (folder / "a.onnx").write_bytes(b"")
    (folder / "spec.yaml").write_text(text)
    return DetectionEnsemble.from_yaml(folder / "spec.yaml")


SPEC = """\
name: street
data: pool   # here
detectors:
- {name: a, kind: onnx, weights: a.onnx}
"""


@pytest.mark.parametrize("target", ["here/tuned.yaml", "elsewhere/deep/tuned.yaml"])
def test_a_spec_in_another_folder_means_the_same_files(tmp_path, target, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = onnx_spec(tmp_path / "here", SPEC)
    expected = spec.model_copy(update={"fusion": type(spec.fusion)(iou=0.7)})
    fusion = {"method": "consensus", "iou": 0.7}
    path = tmp_path / target
    write_spec(expected, tmp_path / "here/spec.yaml", path, lambda t: with_fusion(t, fusion))
    back = DetectionEnsemble.from_yaml(path)
    assert (tmp_path / back.data).resolve() == (tmp_path / "here/pool").resolve()
    assert (tmp_path / back.detectors[0].weights).resolve() == (tmp_path / "here/a.onnx").resolve()
    assert back.fusion == expected.fusion
    assert "# here" in path.read_text()
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_text_that_cannot_be_changed_is_written_anew(tmp_path):
    spec = onnx_spec(tmp_path / "here", SPEC)
    expected = spec.model_copy(update={"fusion": type(spec.fusion)(iou=0.7)})
    write_spec(expected, tmp_path / "here/spec.yaml", tmp_path / "here/new.yaml", lambda t: t)
    back = DetectionEnsemble.from_yaml(tmp_path / "here/new.yaml")
    assert back.fusion.iou == 0.7
    assert back.detectors == spec.detectors
