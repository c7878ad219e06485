"""What `quorate evaluate` and `compare` print."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from quorate.cli import main
from quorate.columns import positions_in
from quorate.dataset import Image
from quorate.detections import Detections
from quorate.evaluation.coco import evaluate
from quorate.evaluation.doubts import doubts, no_better
from quorate.evaluation.effort import effort
from quorate.formats import write
from quorate.formats.coco.results_writing import write_results
from quorate.labels import Labels
from tests.evaluation.made import dataset, random_case


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth, found = random_case(3)
    write(truth, truth.annotations, tmp_path / "truth", format="cvat")
    for name, some in {"one": found, "two": found.take(found.score > 0.3)}.items():
        (tmp_path / name).mkdir()
        numbered = np.array([truth.labels.ids.index(i) + 1 for i in some.category_id], np.int32)
        write_results(replace(some, category_id=numbered), f"{name}/predictions.json")
    return ["one/predictions.json", "two/predictions.json", "--truth", "truth"]


def test_results_are_called_as_coco_and_their_folders_call_them(files, capsys):
    assert main(["evaluate", *files]) == 0
    _, head, *rows = capsys.readouterr().out.splitlines()
    rows, effort = rows[:2], rows[2:]
    assert re.split(r"  +", head) == [
        *("result", "AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
        *("AR1", "AR10", "AR100", "AR small", "AR medium", "AR large"),
    ]
    assert [row.split()[0] for row in rows] == ["one", "two"]
    assert re.split(r"  +", effort[1]) == [
        *("result", "add", "delete", "relabel", "move", "edits", "a picture", "least", "at score")
    ]
    assert [row.split()[0] for row in effort[2:]] == ["one", "two"]


@pytest.mark.parametrize(("columns", "tables"), [("80", 2), ("160", 1)])
def test_no_figure_is_cut_off_in_a_narrow_terminal(files, capsys, monkeypatch, columns, tables):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["evaluate", *files]) == 0
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in said
    assert said.count("result") == tables + 1  # and that of the effort
    assert said.count("AR100") == 1
    assert max(map(len, said.splitlines())) <= int(columns)


def test_one_result_cannot_be_compared(files, capsys):
    assert main(["compare", files[0], *files[2:]]) == 2
    assert "hint: name another" in capsys.readouterr().err


def test_without_draws_no_interval_is_spoken_of(files, capsys):
    assert main(["compare", *files, "--samples", "0"]) == 0
    assert "interval" not in capsys.readouterr().out
    assert main(["compare", *files, "--samples", "-1"]) == 2


def test_the_plot_gives_a_label_its_ap_and_then_the_difference(files, tmp_path):
    assert main(["compare", *files, "--samples", "10", "--plot", "c.svg"]) == 0
    said = re.findall(r">([^<>]+)</text>", (tmp_path / "c.svg").read_text())
    assert any(re.fullmatch(r"0\.\d{3} {2}[+−]0\.\d{3}", one) for one in said)
    assert not any(" to " in one for one in said)


def swapped(truth):
    """The same truth, its labels and its pictures numbered in the other order."""
    labels = Labels(truth.labels.names, truth.labels.ids[::-1])
    shapes = truth.annotations
    ids = np.array([image.id for image in truth.images])
    images = tuple(
        Image(id=int(i), file_name=image.file_name)
        for i, image in zip(ids[::-1], truth.images, strict=True)
    )
    moved = replace(
        shapes,
        category_id=np.array(labels.ids, np.int32)[truth.labels.positions(shapes.category_id)],
        image_id=ids[::-1][positions_in(ids, shapes.image_id)],
    )
    return replace(truth, images=images, labels=labels, annotations=moved)


def test_a_parquet_file_is_matched_by_its_words(tmp_path, capsys):
    truth, found = random_case(3)
    write(truth, truth.annotations, tmp_path / "truth.xml", format="cvat")
    other = swapped(truth)
    write(other, other.annotations, tmp_path / "other.xml", format="cvat")
    names = {image.id: image.file_name for image in truth.images}
    (tmp_path / "yolo").mkdir()
    file = tmp_path / "yolo/detections.parquet"
    found.to_parquet(file, labels=truth.labels, pictures=names)
    said = []
    for place in ("truth.xml", "other.xml"):
        assert main(["evaluate", str(file), "--truth", str(tmp_path / place)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].splitlines()[2].split()[0] == "yolo"
    assert float(said[0].splitlines()[2].split()[1]) > 0.1


def test_effort_as_json_per_label_and_per_picture(files, capsys):
    assert main(["evaluate", *files, "--json", "--min-score", "0.3"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one["effort"] == two["effort"]  # the second file has just the boxes from .3 on
    effort = one["effort"]
    assert effort["edits"] == sum(effort[kind] for kind in ("add", "delete", "relabel", "move"))
    assert effort["edits"] == sum(picture["edits"] for picture in effort["pictures"])
    assert effort["add"] == sum(label["add"] for label in effort["labels"])
    assert effort["best"]["edits"] <= effort["edits"]
    assert main(["evaluate", *files, "--per-category", "--per-picture"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"label +AP +AP50 +objects +boxes +add +delete +relabel +move", said)
    assert re.search(r"picture +edits +add +delete +relabel +move", said)


def bare(path, truth, found, number):
    """COCO results whose categories are numbered by the place of the label in the vocabulary."""
    numbers = [number(truth.labels.ids.index(i)) for i in found.category_id]
    write_results(replace(found, category_id=np.array(numbers, np.int32)), path)


def test_labels_in_another_order_are_doubted_and_a_mapping_says_what_they_mean(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    truth, found = random_case(3)
    write(truth, truth.annotations, "truth.xml", format="cvat")
    count = len(truth.labels)
    bare("good.json", truth, found, lambda place: place + 1)
    bare("turned.json", truth, found, lambda place: count - place)
    command = ["evaluate", "good.json", "turned.json", "--truth", "truth.xml"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "warning: turned: its boxes lie on objects of other labels: 'screw' on 'nut'" in said.err
    assert "good" not in said.err
    (tmp_path / "names.txt").write_text("\n".join(truth.labels.names[::-1]))
    assert main([*command, "--labels", "turned.json=1:names.txt"]) == 0
    done = capsys.readouterr()
    assert "note: turned.json: reads 1 as 'never', 2 as 'screw'" in done.err
    assert "warning" not in done.err
    good, turned = done.out.splitlines()[2:4]
    assert good.split()[1:] == turned.split()[1:]
    assert main(["compare", *command[1:], "--samples", "0", "--quiet"]) == 0
    assert "warning: turned:" in capsys.readouterr().err


def test_labels_one_lower_than_the_truths_are_told_and_numbered_anew(tmp_path, monkeypatch, capsys):
    """The first label has no box, so that no 0 gives it away."""
    monkeypatch.chdir(tmp_path)
    truth, found = random_case(3)
    found = found.take(found.category_id != truth.labels.ids[0])
    write(truth, truth.annotations, "truth.json", format="coco")
    bare("good.json", truth, found, lambda place: place + 1)
    bare("low.json", truth, found, lambda place: place)
    command = ["evaluate", "good.json", "low.json", "--truth", "truth.json"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "low: its boxes lie on objects of other labels" in said
    assert "seems to number the truth's labels from 0: say --labels FILE=0:NAMES" in said
    assert main([*command, "--labels", "low.json=0:truth.json"]) == 0
    done = capsys.readouterr()
    assert "warning" not in done.err
    good, low = done.out.splitlines()[2:4]
    assert good.split()[1:] == low.split()[1:]


def test_boxes_that_fit_nothing_are_explained():
    truth, found = random_case(3)
    far = replace(found, xyxy=found.xyxy + 5000)
    (said,) = doubts({"far": far}, truth)
    counted = {"far": effort(far, truth, min_score=0.25)}
    assert doubts({"far": far}, truth, efforts=counted) == [said]
    assert "none of its" in said
    assert "objects: " in said
    assert "pictures of another size?" in said
    assert doubts({"good": found}, truth) == []


def test_an_ensemble_no_better_than_its_best_member_is_told():
    truth, found = random_case(3)
    good, bad = evaluate(found, truth), evaluate(found.take(slice(0, 5)), truth)
    said = no_better({"a": good, "b": bad, "ensemble": bad}, "ensemble")
    assert "less than a alone" in said
    assert "quorate tune" in said
    assert no_better({"a": bad, "b": bad, "ensemble": good}, "ensemble") is None
    assert no_better({"a": good, "ensemble": bad}, "ensemble") is None


def test_a_single_box_of_another_label_explains_a_zero():
    truth = dataset([1], [1], [[0, 0, 100, 100]])
    found = Detections.build(
        image_id=[1], category_id=2, xyxy=[[0, 0, 100, 100]], score=0.9, detectors=["d"]
    )
    assert "'nut' on 'bolt' (1 of 1)" in doubts({"yolo": found}, truth)[0]
    truth = dataset([1, 1], [1, 2], [[0, 0, 100, 100], [200, 0, 300, 100]])
    right = Detections.build(
        image_id=[1], category_id=2, xyxy=[[200, 0, 300, 100]], score=0.9, detectors=["d"]
    )
    assert doubts({"yolo": Detections.concat([found, right])}, truth) == []
