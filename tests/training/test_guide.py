"""The guide says what is so: its specs are read, its commands parsed, its files written."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quorate.cli import parser
from quorate.spec.training import Split, Training
from quorate.training import split, truth
from quorate.training.whole import train
from quorate.training.work import TrainingWork
from tests.training.pictures import squares, trainer

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides/training.md").read_text()
LOOPS = ("nothing", "single", "quorum, not learning", "quorum")


def test_its_specs_are_read(tmp_path):
    whole, part = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "training.yaml").write_text(whole)
    training = Training.from_yaml(tmp_path / "training.yaml")
    assert [one.name for one in training.trainers] == ["detr", "rcnn"]
    assert Split(**yaml.safe_load(part)["split"]).test == 0.1


@pytest.mark.parametrize("file", ["training.yaml", "torchvision.yaml"])
def test_its_examples_are_read_and_say_what_the_guide_says(file):
    example = Training.from_yaml(DOCS / "examples/parts" / file)
    [one] = example.trainers
    assert f"{800 // one.batch_size * one.epochs:,}" in PAGE  # steps
    assert example.compare.ensemble


def test_its_commands_are_there():
    lines = re.findall(r"^    (quorate train .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        parser("train").parse_args(shlex.split(line)[1:])


def test_its_numbers_are_the_programs():
    assert f"differ in at most {split.ALIKE} bits, or in {split.NEXT} for neighbours" in PAGE
    assert f"one\nof {split.DRAWS} in which" in PAGE
    assert split.SHARE == 0.2
    assert truth.LEAST_SIDE == 1.0


def test_its_files_are_written(tmp_path):
    training = Training(
        name="squares",
        data=str(squares(tmp_path / "data", 30)),
        trainers=[trainer("linear", epochs=4)],
        split={"validation": 0.2, "test": 0.2},
        compare={"samples": 20},
    )
    train(training, TrainingWork(tmp_path / "out"))
    table = PAGE[PAGE.index("| file in the folder |") :].partition("\n\n")[0]
    told = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    names = [name for cell in told for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) > 8
    for name in names:
        if name != "ensemble.yaml":  # there is no ensemble here
            assert (tmp_path / "out" / name.replace("NAME", "linear")).exists(), name


def test_its_figures_of_the_loop_are_those_that_were_measured():
    rows = json.loads((DOCS / "examples/parts/loop.json").read_text())
    assert len(rows) == 5
    for row in rows:
        learnt = row["ap"].get("learnt")
        cells = [str(row["round"]), str(row["labelled"]), *(f"{row[name]:.2f}" for name in LOOPS)]
        cells += ["–" if learnt is None else f"{learnt:.3f}", f"{row['ap']['quorum']:.3f}"]
        assert f"| {' | '.join(cells)} |" in PAGE
    told = re.search(
        r"it is ([\d.]+) from nothing, ([\d.]+) with.*?, ([\d.]+) with the demo's quorum and "
        r"([\d.]+) with",
        PAGE.replace("\n", " "),
    )
    means = [sum(row[name] for row in rows) / len(rows) for name in LOOPS]
    assert list(told.groups()) == [f"{mean:.2f}" for mean in means]


def test_its_picture_of_the_loop_is_drawn_from_the_figures():
    code = "import json, loop; print(loop.picture(json.load(open('loop.json'))), end='')"
    folder = DOCS / "examples/parts"
    drawn = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert drawn == (DOCS / "images/training-loop.svg").read_text()


def test_its_python_trains(tmp_path, monkeypatch, capsys):
    [snippet] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    squares(tmp_path / "data", 30)
    values = {"kind": "Training", "name": "squares", "data": "data", "compare": {"samples": 0},
              "trainers": [trainer("linear", epochs=4)]}  # fmt: skip
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "training.md", "exec"), {})
    best, ap = capsys.readouterr().out.split()
    assert best == "linear"
    assert 0 <= float(ap) <= 1
