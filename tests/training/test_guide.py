"""The guide says what is so: its specs are read, its commands parsed, its files written."""

import re
import shlex
from pathlib import Path

import yaml

from quorate.cli import parser
from quorate.spec.training import Split, Training
from quorate.training import split, truth
from quorate.training.whole import train
from quorate.training.work import TrainingWork
from tests.training.pictures import squares, trainer

PAGE = (Path(__file__).parents[2] / "docs/guides/training.md").read_text()


def test_its_specs_are_read(tmp_path):
    whole, part = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "training.yaml").write_text(whole)
    training = Training.from_yaml(tmp_path / "training.yaml")
    assert [one.name for one in training.trainers] == ["detr", "rcnn"]
    assert Split(**yaml.safe_load(part)["split"]).test == 0.1


def test_its_commands_are_there():
    lines = re.findall(r"^    (quorate train .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
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
    table = PAGE[PAGE.index("| file in the folder |") :]
    told = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    names = [name for cell in told for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) > 8
    for name in names:
        if name != "ensemble.yaml":  # there is no ensemble here
            assert (tmp_path / "out" / name.replace("NAME", "linear")).exists(), name
