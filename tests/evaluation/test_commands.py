"""What `quorate evaluate` and `compare` print."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from quorate.cli import main
from quorate.columns import positions_in
from quorate.dataset import Image
from quorate.formats import write
from quorate.formats.coco.results_writing import write_results
from quorate.labels import Labels
from tests.evaluation.made import random_case


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
    assert re.split(r"  +", head) == [
        *("result", "AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
        *("AR1", "AR10", "AR100", "AR small", "AR medium", "AR large"),
    ]
    assert [row.split()[0] for row in rows] == ["one", "two"]


@pytest.mark.parametrize(("columns", "tables"), [("80", 2), ("160", 1)])
def test_no_figure_is_cut_off_in_a_narrow_terminal(files, capsys, monkeypatch, columns, tables):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["evaluate", *files]) == 0
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in said
    assert said.count("result") == tables
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
