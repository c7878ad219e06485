"""Names of labels: a list, a file of any usual form, or a known vocabulary."""

import json

import numpy as np
import pytest

from quorate.cli import main
from quorate.detectors.names import given_names, known, told_names
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.errors import DetectorError
from quorate.labels import VOCABULARIES
from quorate.spec import EnsembleSpec
from tests.detectors import models

NAMES = ("ant", "bee", "cat")
COCO = {
    "categories": [{"id": 9, "name": "cat"}, {"id": 2, "name": "ant"}, {"id": 5, "name": "bee"}]
}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("x.names", "ant\nbee\ncat\n"),
        ("x.txt", "\ufeffant\r\nbee\r\ncat\r\n\r\n"),
        ("x.yaml", "path: ../voc\nnames: [ant, bee, cat]\n"),
        ("x.yml", "names:\n  0: ant\n  1: bee\n  2: cat\n"),
        ("x.yaml", "- ant\n- bee\n- cat\n"),
        ("x.json", json.dumps(NAMES)),
        ("x.json", json.dumps({"2": "cat", "0": "ant", "1": "bee"})),
        ("x.json", json.dumps({"id2label": {"0": "ant", "1": "bee", "2": "cat"}})),
        ("x.json", json.dumps(COCO)),
    ],
)
def test_a_file_of_any_usual_form(tmp_path, file, text):
    path = tmp_path / file
    path.write_text(text, encoding="utf-8")
    assert given_names(str(path)) == NAMES


PLACES = {
    "coco": (80, {15: "cat", 62: "tv", 79: "toothbrush"}),
    "coco91": (91, {0: "__background__", 12: "N/A", 17: "cat", 72: "tv", 90: "toothbrush"}),
    "voc": (20, {0: "aeroplane", 19: "tvmonitor"}),
    "objects365": (365, {0: "Person", 52: "Bakset", 92: "Dog", 364: "Table Tennis"}),
    "objects365v1": (365, {0: "person", 3: "hat", 5: "bottle", 364: "flashlight"}),
    "openimages": (601, {0: "Tortoise", 68: "Person", 319: "Table tennis racket", 600: "Helmet"}),
    "lvis": (1203, {0: "aerosol_can", 654: "speaker_(stero_equipment)", 1202: "zucchini"}),
}
"""How many labels each has, and some by their place, from 0, as the data sets publish them."""


@pytest.mark.parametrize("word", VOCABULARIES)
def test_known_vocabularies_are_in_the_order_of_their_data_sets(word):
    number, places = PLACES[word]
    names = known(word)
    assert len(names) == number
    assert {place: names[place] for place in places} == places
    words = [name for name in names if name != "N/A"]
    assert len(set(words)) == len(words)
    assert given_names(word) == names


def test_the_order_of_a_known_vocabulary_is_told_wherever_the_names_come_from(tmp_path, capsys):
    told = "365: 0 is 'Person', then 'Sneakers', 'Chair': the order of Objects365 v2's own ids"
    names = known("objects365")
    assert told_names(names, 0) == told
    assert told_names(names[::-1], 0) == "365: 0 is 'Table Tennis'"
    assert main(["check", spec(tmp_path, "objects365", columns=369)]) == 0
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("x.names", "ant\n\ncat", "x.names:2: the line is empty"),
        ("x.json", "{", "cannot be read"),
        ("x.json", '{"1": "ant", "2": "bee"}', "does not number its labels 0..1"),
        ("x.yaml", "names: 7", "is not a list of labels"),
        ("x.names", "x" * (1 << 21), "not a list of names"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path, file, text, said):
    (tmp_path / file).write_text(text)
    with pytest.raises(DetectorError, match=said):
        given_names(str(tmp_path / file))


def test_a_file_that_is_not_there_says_what_names_may_be(tmp_path):
    with pytest.raises(DetectorError, match="there is no such file"):
        given_names(str(tmp_path / "nothing.names"))


def spec(tmp_path, names, columns=7, metadata=None):
    output = np.zeros((1, 84, columns), np.float32)
    output[0, 0, :4] = 32
    models.constant(tmp_path / "m.onnx", {"y": output}, metadata=metadata)
    (tmp_path / "ours.names").write_text("ant\nbee\ncat\n")
    detector = {"name": "d", "kind": "onnx", "weights": "m.onnx", "names": names}
    text = {"kind": "DetectionEnsemble", "name": "t", "detectors": [detector]}
    (tmp_path / "spec.yaml").write_text(json.dumps(text))
    return str(tmp_path / "spec.yaml")


def test_a_file_is_taken_from_the_specs_folder_and_counts_when_a_run_goes_on(tmp_path):
    (detector,) = EnsembleSpec.from_yaml(spec(tmp_path, "ours.names")).detectors
    assert detector.load().labels == NAMES
    assert detector.files == (str(tmp_path / "m.onnx"), str(tmp_path / "ours.names"))
    (known,) = EnsembleSpec.from_yaml(spec(tmp_path, "coco")).detectors
    assert (known.names, known.files) == ("coco", (str(tmp_path / "m.onnx"),))


def test_a_wrong_number_of_names_fails_in_check(tmp_path, capsys):
    assert main(["check", spec(tmp_path, "ours.names")]) == 0
    assert main(["check", spec(tmp_path, "voc")]) == 2
    assert "but there are 20 names" in capsys.readouterr().err


def test_names_that_the_models_own_contradict_are_refused(tmp_path):
    """An end-to-end head does not show how many labels there are; its metadata does."""
    rows = np.zeros((1, 300, 6), np.float32)
    path = models.constant(tmp_path / "m.onnx", {"o": rows}, names=NAMES)
    with pytest.raises(DetectorError, match="names 3 labels itself, but `names`"):
        OnnxDetector(name="d", weights=path, names=("ant", "bee")).load()


def test_numbers_that_are_not_used_keep_words_apart(tmp_path):
    rows = np.zeros((1, 300, 6), np.float32)
    path = models.constant(tmp_path / "m.onnx", {"o": rows})
    labels = OnnxDetector(name="d", weights=path, names="coco91").load().labels
    assert (len(labels), len(set(labels)), labels[0]) == (90, 90, "person")
