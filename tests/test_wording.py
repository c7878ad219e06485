"""What bare files mean by their numbers, as a user says it."""

import json

import numpy as np
import pytest

from quorate.cli import main
from quorate.errors import InputError, LabelError
from quorate.formats.detections.reading import DetectionFile, read_detections
from quorate.labels import Labels
from quorate.offline import fuse_files
from quorate.spec import Affirmative
from quorate.wording import Wording, wordings
from tests.test_offline import results

BOX, NEAR, FAR = (10, 10, 20, 20), (11, 10, 20, 20), (100, 100, 30, 30)
NOTHING = Labels((), ())


def bare(tmp_path, *categories) -> DetectionFile:
    rows = [(1, category, (10 * i, 10, 20, 20), 0.9) for i, category in enumerate(categories)]
    return read_detections(results(tmp_path / "bare.json", rows))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("n.txt", "bird\nfish\n"),
        ("n.names", "bird\nfish"),
        ("n.yaml", "names: [bird, fish]"),
        ("n.yml", "names:\n  0: bird\n  1: fish"),
        ("n.json", '{"categories": [{"id": 1, "name": "fish"}, {"id": 0, "name": "bird"}]}'),
        ("spec.yaml", "detectors:\n- {name: d, kind: onnx, names: [bird, fisch],"
                      " labels: {fisch: fish}}"),
        ("specs.yaml", "detectors:\n- {name: d, kind: onnx, names: other.txt}"),
    ],
)  # fmt: skip
def test_every_kind_of_list_gives_the_same(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    (tmp_path / "other.txt").write_text("bird\nfish\n")
    one = Wording.of(str(tmp_path / file), "d").put_on(bare(tmp_path, 0, 1), NOTHING, "bare.json")
    assert one.labels.names == ("bird", "fish")


def test_an_empty_line_among_names_is_refused_since_it_would_move_all_numbers(tmp_path):
    (tmp_path / "names.txt").write_text("bird\n\nfish\n")
    with pytest.raises(LabelError, match=r"names\.txt:2: the line is empty"):
        Wording.of(str(tmp_path / "names.txt"), "d")


def test_pairs_and_python_mappings():
    assert Wording.of("1:bird, 2:fish", "d").words == {"1": "bird", "2": "fish"}
    assert Wording.of({1: "bird"}, "d").words == {"1": "bird"}
    for wrong in ("1:", "1:bird,,2:fish", "bird,fish"):
        with pytest.raises(LabelError, match="neither pairs"):
            Wording.of(wrong, "d")


def test_known_vocabularies(tmp_path):
    for told in ("coco", "0:coco"):
        assert Wording.of(told, "d").put_on(bare(tmp_path, 0, 2), NOTHING, "b").labels.names == (
            "person",
            "car",
        )
    assert Wording.of("coco91", "d").put_on(bare(tmp_path, 1, 18), NOTHING, "b").labels.names == (
        "person",
        "dog",
    )
    with pytest.raises(LabelError, match="neither pairs"):
        Wording.of("cocoo", "d")


def test_the_first_number_of_a_list_is_found_or_asked_for(tmp_path):
    names = Wording.of(["bird", "fish", "dog"], "d")
    told = {first: names.put_on(bare(tmp_path, *first), NOTHING, "b").labels.names
            for first in [(0, 1), (1, 3)]}  # fmt: skip
    assert told == {(0, 1): ("bird", "fish"), (1, 3): ("bird", "dog")}
    with pytest.raises(LabelError, match="number 0 or 1"):
        names.put_on(bare(tmp_path, 1, 2), NOTHING, "b")
    (tmp_path / "n.txt").write_text("bird\nfish\ndog")
    asked = Wording.of(f"0:{tmp_path}/n.txt", "d")
    assert asked.put_on(bare(tmp_path, 1, 2), NOTHING, "b").labels.names == ("fish", "dog")


def test_what_has_no_label_is_left_out_and_counted(tmp_path):
    ours = Labels(("Fish", "cow"), (7, 9))
    one = Wording.of({1: "bird", 2: "fish"}, "d")
    named = Wording(one.words, origin="names.txt")
    done = named.put_on(bare(tmp_path, 1, 2, 2, 5), ours, "b.json")
    assert done.detections.category_id.tolist() == [7, 7]
    assert "reads 2 as 'fish' (names.txt)" in done.notes[0]
    assert "2 boxes are left out, of no label: 'bird' (1), '5' (1)" in done.notes[1]
    with pytest.raises(LabelError, match="'bird' is not in the vocabulary"):
        one.put_on(bare(tmp_path, 2), ours, "b.json")  # a word typed by hand is checked
    with pytest.raises(LabelError, match="none of its categories"):
        named.put_on(bare(tmp_path, 1), ours, "b.json")


def test_a_mapping_names_one_file():
    files = ["runs/yolo.json", "runs/detr.json"]
    for key in ("runs/yolo.json", "yolo.json", "yolo"):
        assert list(wordings({key: {1: "bird"}}, files, ["yolo", "detr"])) == ["runs/yolo.json"]
    with pytest.raises(InputError, match="no file is called so"):
        wordings({"yolov8": {1: "bird"}}, files, ["yolo", "detr"])


def numbered(path, number):
    """Twelve boxes of three labels in two pictures."""
    rows = [
        (1 + i // 6, number(i % 3), (50 * i, 10, 40, 30), 0.9)
        for i in range(12)
    ]  # fmt: skip
    return results(path, rows)


def test_bare_files_whose_numbers_differ_are_not_mixed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    numbered(tmp_path / "a.json", lambda label: label)
    numbered(tmp_path / "b.json", lambda label: label + 1)
    assert main(["fuse", "a.json", "b.json", "-o", "out.json"]) == 2
    said = capsys.readouterr().err
    assert "a.json and b.json: their labels do not fit each other. Of 12 boxes" in said
    assert "--labels b.json=names.txt" in said
    labels = ["--labels", "; a.json=0:cat,1:dog,2:cow; b.json=1:cat,2:dog,3:cow;"]
    assert main(["fuse", "a.json", "b.json", "-o", "out.json", "--json", *labels]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["votes"] == {"2": 12}
    assert any("reads 0 as 'cat', 1 as 'dog', 2 as 'cow'" in note for note in done["notes"])


def test_few_boxes_that_count_from_0_and_from_1_are_told(tmp_path):
    files = [results(tmp_path / "a.json", [(1, 0, BOX, 0.9), (1, 2, FAR, 0.9)]),
             results(tmp_path / "b.json", [(1, 1, BOX, 0.9), (1, 3, FAR, 0.9)])]  # fmt: skip
    assert any("from 0 and from 1" in note for note in fuse_files(files, Affirmative()).notes)


def test_words_and_numbers_are_not_mixed(tmp_path):
    boxes = read_detections(numbered(tmp_path / "a.json", lambda label: label)).detections
    labels = Labels(("cat", "dog", "cow"), (0, 1, 2))
    boxes.to_parquet(tmp_path / "p.parquet", labels=labels)
    files = [tmp_path / "p.parquet", tmp_path / "a.json"]
    with pytest.raises(InputError, match="has numbers for its categories"):
        fuse_files(files, Affirmative())
    done = fuse_files(files, Affirmative(), labels={"a": ["cat", "dog", "cow"]})
    assert done.fused.votes.tolist() == [2] * 12
    assert done.dataset.labels == labels


def test_yolo_text_is_read_by_names(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("1 0.5 0.5 0.2 0.2 0.9\n")
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({
        "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 5, "name": "fish"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [40, 40, 20, 20]}],
    }))  # fmt: skip
    out = tmp_path / "m.json"
    command = ["evaluate", str(tmp_path / "labels"), "--truth", str(truth), "-o", str(out)]
    assert main([*command, "--labels", "labels=0:bird,1:fish"]) == 2
    names = tmp_path / "names.yaml"
    names.write_text("names: {0: bird, 1: fish}")
    assert main([*command, "--labels", f"labels={names}"]) == 0
    assert np.isclose(json.loads(out.read_text())[0]["ap50"], 1)
