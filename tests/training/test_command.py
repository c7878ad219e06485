"""`quorate train` as a user calls it."""

import json

import pytest
import yaml

from quorate.cli import main
from tests.training.pictures import squares, trainer


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    squares(tmp_path / "data", 40)
    values = {
        "kind": "Training", "name": "squares", "data": "data", "compare": {"samples": 50},
        "trainers": [trainer(epochs=10), trainer("bad", hyperparameters={"fail": "no luck"})],
    }  # fmt: skip
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "training.yaml"


def test_a_training_from_the_command_line(spec, capsys):
    assert main(["train", "training.yaml"]) == 0
    out, err = capsys.readouterr()
    assert "8 pictures held out (validation); the best is linear" in out
    assert "warning: bad ended with status 1: no luck" in err
    assert "wrote out/training/report.html" in err
    assert "linear: epoch 10, step 40 of 40, loss" in err
    assert main(["train", "training.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == "linear"


def test_a_plan_trains_nothing(spec, capsys, tmp_path):
    assert main(["train", "training.yaml", "--plan"]) == 0
    out = capsys.readouterr().out
    assert "40 labelled pictures, 40 boxes of 2 labels; about 32 pictures" in out
    assert not (tmp_path / "out").exists()
    assert main(["train", "training.yaml", "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["steps"][0]["steps"] == 40


def test_a_checkpoint_that_is_not_there_is_refused_first(spec, capsys, tmp_path):
    values = yaml.safe_load(spec.read_text())
    (tmp_path / "weights.npz").touch()
    values["trainers"][0]["checkpoint"] = "weigths.npz"
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml", "--plan"]) == 2
    assert "did you mean 'weights.npz'?" in capsys.readouterr().err


def test_a_spec_of_another_kind_is_told(spec, capsys):
    assert main(["run", "training.yaml"]) == 2
    assert "describes a Training" in capsys.readouterr().err
