import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from quorate.errors import SpecError
from quorate.spec import Consensus, EnsembleSpec, Votes, json_schema

SPEC = """\
kind: DetectionEnsemble
name: street
data: pool
labels: [car, person]
detectors:
  - name: yolo
    kind: onnx
    weights: models/yolo.onnx
    labels: {vehicle: car}
  - name: retina
    kind: onnx
    weights: s3://models/retina.onnx
fusion: {method: wbf, iou: 0.6, weights: {yolo: 2}, categories: {car: {iou: 0.7}}}
quorum: 1
publish: {formats: [cvat, coco], review: disagreement}
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def changed(old: str, new: str) -> str:
    assert old in SPEC
    return SPEC.replace(old, new)


def test_a_spec_is_read_with_paths_from_its_own_folder(written):
    path = written(SPEC)
    spec = EnsembleSpec.from_yaml(path)
    assert spec.data == str(path.parent / "pool")
    assert spec.detectors[0].weights == str(path.parent / "models/yolo.onnx")
    assert spec.detectors[1].weights == "s3://models/retina.onnx"
    assert spec.fusion.categories["car"].iou == 0.7
    assert spec.needed == 1


def test_what_is_left_out_has_sensible_values(written):
    detector = "  - {name: d%d, kind: onnx, weights: d.onnx}\n"
    text = "name: few\ndetectors:\n" + "".join(detector % i for i in range(4))
    spec = EnsembleSpec.from_yaml(written(text))
    assert spec.fusion == Consensus()
    assert spec.needed == 3  # more than half of four
    assert spec.publish.formats == ("cvat", "coco")


def test_a_fusion_method_alone_may_stand_as_a_word(written):
    spec = EnsembleSpec.from_yaml(written(changed(SPEC.splitlines()[-3], "fusion: unanimous")))
    assert spec.fusion.method == "unanimous"


def test_python_and_yaml_describe_the_same(written):
    spec = EnsembleSpec.from_yaml(written(SPEC))
    assert EnsembleSpec.model_validate(spec.model_dump()) == spec
    assert EnsembleSpec.model_validate_json(spec.model_dump_json()) == spec
    assert EnsembleSpec(name="one", detectors=spec.detectors, fusion=Votes(min_votes=2)).needed == 2


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        (changed("quorum: 1", "qorum: 1"), "spec.yaml", "did you mean 'quorum'"),
        (changed("weights: models/yolo", "wieghts: models/yolo"),
         "spec.yaml:8: detectors[0].wieghts", "did you mean 'weights'"),
        (changed("kind: onnx\n    weights: models", "kind: onxx\n    weights: models"),
         "spec.yaml:6: detectors[0]", "did you mean 'onnx'"),
        (changed("iou: 0.6", "iou: 1.6"), "spec.yaml:13: fusion.iou",
         "expected 1 or less, not 1.6"),
        (changed("method: wbf", "method: wfb"), "spec.yaml:13: fusion",
         "not 'wfb', did you mean 'wbf'?"),
        (changed("quorum: 1", "quorum: 3"), "spec.yaml:14: quorum", "quorum of 3 of 2 detectors"),
        (changed("name: retina", "name: yolo"), "spec.yaml:10: detectors[1].name",
         "two detectors are called 'yolo'"),
        (changed("name: retina", "name: ensemble"), "spec.yaml:10: detectors[1].name",
         "what the quorum's own results are called"),
        (changed("name: retina", "name: Retina Net"), "spec.yaml:10: detectors[1].name",
         "at most 63 of a-z"),
        (changed("name: street", f"name: {'s' * 64}"), "spec.yaml:", "at most 63 of a-z"),
        (changed("{yolo: 2}", "{yolos: 2}"), "spec.yaml:13: fusion.weights.yolos",
         "did you mean 'yolo'"),
        (changed("{yolo: 2}", "{yolo: 0}"), "spec.yaml:13: fusion.weights.yolo",
         "expected more than 0"),
        (changed("{car: {iou", "{cat: {iou"), "spec.yaml:13: fusion.categories.cat",
         "did you mean 'car'"),
        (changed("{vehicle: car}", "{vehicle: cat}"), "spec.yaml:9: detectors[0].labels.vehicle",
         "no label is called 'cat', did you mean 'car'?"),
        (changed("quorum: 1", "quorum: many"), "spec.yaml:14: quorum", "a whole number"),
        (changed("name: street\n", "name: street\nname: road\n"), "spec.yaml:3", "stands twice"),
        (changed("quorum: 1", "quorum: &q 1\nextra: *q"), "spec.yaml:15", "no aliases"),
        ("- a list\n", "spec.yaml", "expected keys with values, found a list"),
        ("just text", "spec.yaml", "found a word"),
        ("name: x\n\tdata: y", "spec.yaml:2", "YAML takes no tabs"),
        ("name: a: b", "spec.yaml:1", "text with ': ' in it stands in quotes"),
        ("labels: [a, b", "spec.yaml:1", "is a bracket not closed"),
        ('name: "x', "spec.yaml:1", "is a quote not closed"),
        ("", "spec.yaml", "found nothing"),
        ("a: [", "spec.yaml:1", "not valid YAML"),
        ("!!python/object/apply:os.system [ls]", "spec.yaml:1", "not valid YAML"),
        ("[" * 20000, "spec.yaml", "nested too deeply"),
        ("a: " + "x" * (2 << 20), "spec.yaml", "larger than 1 MiB"),
    ],
)  # fmt: skip
def test_an_error_names_file_place_and_what_was_expected(written, text, place, expected):
    with pytest.raises(SpecError) as caught:
        EnsembleSpec.from_yaml(written(text))
    assert place in str(caught.value)
    assert expected in str(caught.value)


def test_every_error_is_told_at_once(written):
    text = changed("iou: 0.6", "iou: 1.6").replace("name: retina", "name: Retina Net")
    with pytest.raises(SpecError) as caught:
        EnsembleSpec.from_yaml(written(text))
    assert len(caught.value.message.splitlines()) == 2


def test_a_detector_that_is_wrong_is_not_called_missing_as_well(written):
    only = "name: one\ndetectors:\n  - {name: a, kind: onxx, weights: a.onnx}\n"
    with pytest.raises(SpecError) as caught:
        EnsembleSpec.from_yaml(written(only))
    (line,) = caught.value.message.splitlines()
    assert "did you mean 'onnx'" in line
    with pytest.raises(SpecError, match="detectors: expected at least 1 in the list"):
        EnsembleSpec.from_yaml(written("name: one\ndetectors: []\n"))


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        EnsembleSpec.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read as text"):
        EnsembleSpec.from_yaml(tmp_path / "binary.yaml")
    with pytest.raises(SpecError, match="cannot be read as text"):
        EnsembleSpec.from_yaml(tmp_path)


def test_the_schema_accepts_what_the_model_accepts_and_knows_each_kinds_fields():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(SPEC), schema)
    jsonschema.validate(yaml.safe_load(SPEC) | {"fusion": "wbf"}, schema)
    for wrong in (changed("quorum: 1", "qorum: 1"), changed("weights: models", "wieghts: models")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(wrong), schema)
    assert json.loads(json.dumps(schema)) == schema
