"""Every field of a spec, given what it does not take, says so in plain words."""

import datetime

import pytest

import quorate
from quorate.errors import SpecError
from quorate.spec import EnsembleSpec, WeightedBoxesFusion
from quorate.spec.detector import detector_kinds
from quorate.spec.words import _models

WRONG = (
    None, True, -1, 0, 1e9, 2.5, float("nan"), "", "no such", "0,5", [], ["x", 1], {}, {"x": 1},
    {"x": "y"}, {1: 2}, datetime.date(2024, 1, 1), object(),
)  # fmt: skip
THEIRS = ("input should", "valid ", "unable", "dictionary", "tuple", "required", "string",
          "integer", "bool", "a float", "pydantic", "constrained")  # fmt: skip
DETECTOR = {"name": "a", "kind": "onnx", "weights": "a.onnx"}


def _all_models():
    found = []

    def add(model):
        if model not in found:
            found.append(model)
            for field in model.model_fields.values():
                for part in _models(field.annotation):
                    add(part)

    add(EnsembleSpec)
    for point in detector_kinds().values():
        add(point.load())
    return found


def problems(model, given):
    try:
        model.model_validate(given)
    except SpecError as error:
        return error.message.splitlines()
    return []


@pytest.mark.parametrize("model", _all_models(), ids=lambda model: model.__name__)
def test_each_field_says_what_it_is_meant_to_be(model):
    seen = 0
    for name, field in model.model_fields.items():
        for wrong in WRONG:
            for line in problems(model, {name: wrong}):
                path, _, sentence = line.removeprefix(f"{model.__name__}: ").partition(": ")
                words = sentence.split("; for example")[0].split(", not ")[0].lower()
                assert not [word for word in THEIRS if f" {word}" in f" {words}"], line
                seen += path.startswith(name) and "expected" in sentence
        for example in field.examples or ():
            assert not [line for line in problems(model, {name: example}) if f" {name}" in line
                        and "is missing" not in line], (name, example)  # fmt: skip
    assert seen


@pytest.mark.parametrize("model", _all_models(), ids=lambda model: model.__name__)
def test_each_misspelt_key_finds_its_own(model):
    for name in model.model_fields:
        if len(name) < 4:
            continue
        misspelt = f"{name[0]}{name[2]}{name[1]}{name[3:]}"
        if misspelt in model.model_fields:
            continue
        [line] = [one for one in problems(model, {misspelt: 1}) if misspelt in one]
        assert f"did you mean '{name}'?" in line
        assert f": {name}: it is missing" not in "\n".join(problems(model, {misspelt: 1}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"publish": "cvat"}, "publish: expected keys with values, not 'cvat'; for example "
         "`publish: {formats: [cvat]}`"),
        ({"publish": {"formats": "cvat"}}, "publish.formats: expected a list, not 'cvat'; for "
         "example `formats: [cvat, coco]`"),
        ({"fusion": {"method": "wbf", "weights": [2, 1]}}, "fusion.weights: expected keys with "
         "values, not [2, 1]; for example `weights: {yolo: 2, retinanet: 1}`"),
        ({"labels": [False]}, "labels[0]: expected text, not false; put it in quotes: 'false'"),
        ({"labels": [7]}, "labels[0]: expected text, not 7; put it in quotes: '7'"),
        ({"labels": [None]}, "labels[0]: expected text, not nothing; fill it in, or leave the line "
         "out"),
        ({"labels": [datetime.date(2024, 1, 1)]}, "put it in quotes: '2024-01-01'"),
        ({"fusion": {"method": "wbf", "iou": "0,5"}}, "expected a number, not '0,5'; write a "
         "point: 0.5"),
        ({"iou": 0.5}, "iou: there is no such key here; write `fusion: {iou: …}`"),
        ({"fusion": {"method": "wfb"}}, "did you mean 'wbf'?"),
        ({"fusion": "votes"}, "fusion.min_votes: it is missing (Votes that a group needs); for "
         "example `min_votes: 2`"),
        ({"detectors": [DETECTOR | {"conf": 0.3}]}, "detectors[0].conf: there is no such key, did "
         "you mean 'min_score'?"),
        ({"detectors": ["a.onnx"]}, "detectors[0]: expected keys with values, not 'a.onnx'"),
        ({"detectors": [DETECTOR | {"kind": "yolov8"}]}, "export the model to ONNX, then "
         "`kind: onnx`"),
        ({"detectors": [DETECTOR | {"kind": "yolov3"}]}, "`kind: darknet`"),
        ({"detectors": [DETECTOR | {"kind": "fasterrcnn"}]}, "`kind: torchvision`"),
        ({"detectors": [DETECTOR | {"image_size": "big"}]}, "detectors[0].image_size: expected "
         "pixels of a side, or [height, width]"),
        ({"detectors": [DETECTOR | {"tiles": {"size": "big"}}]}, "`size: 640` or "
         "`size: [480, 640]`, not 'big'"),
        ({"detectors": [DETECTOR | {"mean": [1, 2]}]}, "detectors[0].mean[2]: it is missing"),
    ],
)  # fmt: skip
def test_what_people_write_gets_the_hint_of_a_colleague(given, said):
    lines = problems(EnsembleSpec, {"name": "x", "detectors": [DETECTOR]} | given)
    assert any(said in line for line in lines), lines


def test_an_invalid_setting_in_python_is_an_error_of_quorate():
    with pytest.raises(quorate.QuorateError, match=r"WeightedBoxesFusion: iou_thr.*'iou'\?"):
        WeightedBoxesFusion(iou_thr=0.6)
    with pytest.raises(quorate.QuorateError, match="expected 1 or less"):
        WeightedBoxesFusion(iou=1.6)
    with pytest.raises(quorate.QuorateError, match="weights: it is missing"):
        quorate.OnnxDetector(name="a")


def test_words_that_old_yaml_takes_for_truth_are_labels(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: x\nlabels: [no, yes, on, off, y, n]\npublish: {report: no}\ndetectors:\n"
        "- {name: a, kind: onnx, weights: a.onnx, labels: {no: yes}}\n"
    )
    spec = EnsembleSpec.from_yaml(path)
    assert spec.labels == ("no", "yes", "on", "off", "y", "n")
    assert spec.publish.report is False
    assert spec.detectors[0].labels == {"no": "yes"}
    path.write_text(spec.to_yaml())
    assert EnsembleSpec.from_yaml(path).labels == spec.labels


def test_what_may_be_a_secret_is_not_repeated():
    hook = {"kind": "webhook", "url": "hunter2"}
    for field in ({}, {"signing": "hunter2"}):
        [*lines] = problems(
            EnsembleSpec, {"name": "x", "detectors": [DETECTOR], "notify": [hook | field]}
        )
        assert lines
        assert "hunter2" not in "\n".join(lines)
    remote = {"name": "a", "kind": "remote", "url": "http://x", "model": "m"}
    lines = problems(EnsembleSpec, {"name": "x", "detectors": [remote | {"headers": "hunter2"}]})
    assert "hunter2" not in "\n".join(lines)
    assert "headers: expected keys with values; for example" in lines[0]


@pytest.mark.parametrize("word", ["soft-nms", "Soft-NMS", "soft_nms"])
def test_a_methods_name_is_the_same_with_hyphens(word):
    spec = EnsembleSpec(name="x", detectors=[DETECTOR], fusion=word)
    assert spec.fusion.method == "soft_nms"
