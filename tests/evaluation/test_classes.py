"""Figures of labels of whole pictures: by hand, in parts, and from the command line."""

import json

import numpy as np
import pytest

from quorate.classifications import Classifications
from quorate.cli import main
from quorate.errors import FormatError
from quorate.evaluation.classes import (
    ClassMetrics,
    disagreement,
    evaluate_classes,
    truth_from_csv,
)
from quorate.fusion.classes import fuse
from quorate.labels import Labels

LABELS = Labels(tuple("abcdefg"), tuple(range(1, 8)))


def one_hot(*places, of=7):
    return np.eye(of, dtype=np.float32)[list(places)]


def test_accuracy_top_five_and_confusion_by_hand():
    falling = np.linspace(0.4, 0.01, 7, dtype=np.float32)
    rows = np.stack([falling, falling, falling, falling[::-1], np.zeros(7, np.float32)])
    table = Classifications.of("m", range(5), rows, LABELS)
    truth = {0: 0, 1: 4, 2: 5, 3: 6, 4: 1}
    found = evaluate_classes(table, truth)
    assert found.pictures == 5
    assert found.accuracy == pytest.approx(2 / 5)  # pictures 0 and 3
    assert found.top(5) == pytest.approx(3 / 5)  # and 1, whose true label is the fifth
    assert found.confusion[4, 0] == found.confusion[5, 0] == 1
    assert found.confusion[1, 7] == 1  # all 0: it got no label
    assert found.recall[0] == 1
    assert found.precision[0] == pytest.approx(1 / 3)
    assert np.isnan(found.recall[2])
    assert found.to_dict()["labels"]["c"] == {"pictures": 0, "precision": None, "recall": None}
    assert evaluate_classes(table, {}).accuracy is None


def test_parts_add_up_to_the_whole_and_members_are_measured_alone():
    rng = np.random.default_rng(1)
    rows = rng.random((40, 7), np.float32) / 7
    other = Classifications.of("n", range(30), rng.random((30, 7), np.float32) / 7, LABELS)
    table = fuse(Classifications.join([Classifications.of("m", range(40), rows, LABELS), other]))
    truth = dict(enumerate(rng.integers(7, size=40).tolist()))
    for member in (None, "m", "n"):
        whole = evaluate_classes(table, truth, member=member)
        parts = [
            evaluate_classes(table.take(slice(i, i + 7)), truth, member=member)
            for i in range(0, 40, 7)
        ]
        total = sum(parts, ClassMetrics.nothing(LABELS))
        assert (total.confusion == whole.confusion).all()
        assert (total.within == whole.within).all()
        assert whole.pictures == (30 if member == "n" else 40)


def test_disagreement_is_the_mean_distance_of_all_pairs():
    rows = [one_hot(0, 0, 0), one_hot(0, 1, 0), one_hot(0, 1, 1)]
    tables = [Classifications.of(n, range(3), r, LABELS) for n, r in zip("xyz", rows, strict=True)]
    found = disagreement(Classifications.join(tables))
    assert found == pytest.approx([0, 2 / 3, 2 / 3])
    assert disagreement(tables[0]).tolist() == [0, 0, 0]
    halves = Classifications.of("h", [0], [[0.5, 0.5, 0, 0, 0, 0, 0]], LABELS)
    joined = Classifications.join([tables[0].take(slice(1)), halves])
    assert disagreement(joined) == pytest.approx([0.5])


def test_a_table_of_true_labels():
    text = "\ufefffile_name,label,more\nx/1.jpg,a,\n2.jpg,g,1\n".encode()
    assert truth_from_csv(text, "t.csv", LABELS) == {"x/1.jpg": 0, "2.jpg": 6}
    with pytest.raises(FormatError, match=r"t\.csv:2: 'z' is none of a, b"):
        truth_from_csv(b"file_name,label\n1.jpg,z\n", "t.csv", LABELS)
    with pytest.raises(FormatError, match="no columns"):
        truth_from_csv(b"name;label\n1.jpg;a\n", "t.csv", LABELS)


@pytest.fixture
def files(tmp_path):
    """The shards of a run: two files, of which the ids of the pictures are no matter."""
    rows = one_hot(0, 1, 2, 2)
    names = {0: "a/0.jpg", 1: "b/1.jpg", 2: "c/2.jpg", 3: "a/3.jpg"}
    table = Classifications.of("m", range(4), rows, LABELS)
    found = []
    for i, part in enumerate((table.take(slice(0, 3)), table.take(slice(3, 4)))):
        found.append(str(tmp_path / f"{i}.parquet"))
        part.to_parquet(found[-1], pictures=names)
    (tmp_path / "truth.csv").write_text(
        "file_name,label\n" + "".join(f"{name},{name[0]}\n" for name in names.values())
    )
    return found


def test_evaluate_takes_the_parts_of_a_result(files, tmp_path, capsys):
    truth = str(tmp_path / "truth.csv")
    assert main(["evaluate", *files, "--truth", truth, "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["pictures"], said["accuracy"]) == (4, 0.75)
    assert main(["evaluate", *files, "--truth", truth, "--per-category"]) == 0
    assert "precision" in capsys.readouterr().out
    assert main(["evaluate", files[0], files[0], "--truth", truth]) == 2
    assert "stands in two of the files" in capsys.readouterr().err
    (tmp_path / "other.csv").write_text("file_name,label\nnobody.jpg,a\n")
    assert main(["evaluate", *files, "--truth", str(tmp_path / "other.csv")]) == 2
    assert "tells the true label of none" in capsys.readouterr().err


def test_boxes_and_labels_do_not_mix(files, tmp_path, capsys):
    from quorate.detections import Detections

    boxes = tmp_path / "boxes.parquet"
    Detections.empty(["a"]).to_parquet(boxes)
    truth = str(tmp_path / "truth.csv")
    assert main(["evaluate", files[0], str(boxes), "--truth", truth]) == 2
    assert "some of labels" in capsys.readouterr().err
