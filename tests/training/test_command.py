"""`quorate train` as a user calls it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from quorate.cli import main
from quorate.training.contract import detector_of, events
from quorate.training.work import TrainingWork
from tests.notifications.receivers import web
from tests.training.pictures import TRAINER, ended, instances, squares, trainer
from tests.waiting import until


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    squares(tmp_path / "data", 40)
    values = {
        "kind": "Training", "name": "squares", "data": "data", "publish": "store",
        "compare": {"samples": 50},
        "trainers": [trainer(epochs=10), trainer("bad", hyperparameters={"fail": "no luck"})],
    }  # fmt: skip
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "training.yaml"


def test_a_training_from_the_command_line(spec, capsys):
    assert main(["train", "training.yaml"]) == 0
    out, err = capsys.readouterr()
    [published] = [line.split()[1] for line in err.splitlines() if line.startswith("published")]
    assert detector_of(Path(published), name="best").load().labels == ("red", "green")
    latest = json.loads((Path(published).parent / "latest.json").read_text())
    assert latest["trainer"] == "linear"
    assert Path(published).name == latest["run"]
    assert "8 pictures held out (validation); the best is linear" in out
    begun = err.index("32 pictures to learn from, 8 to validate")
    assert begun < err.index("linear: epoch")
    assert "warning: bad ended with status 1: no luck" in err
    assert "wrote out/training/report.html" in err
    assert "linear: epoch 10, step 40 of 40, loss" in err
    assert main(["train", "training.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == "linear"


def test_a_store_that_cannot_be_written_is_told_before_anything_learns(spec, capsys):
    Path("store").write_text("a file where the store should be")
    assert main(["train", "training.yaml"]) == 2
    assert "store" in capsys.readouterr().err
    assert not Path("out/training/trainers").exists()
    Path("store").unlink()
    Path("store").mkdir()
    assert main(["train", "training.yaml"]) == 0
    [run] = [one for one in Path("store").iterdir() if one.name != "latest.json"]
    assert (run / "detector.json").is_file()


def test_each_trainer_is_told_of_once_with_its_metrics(spec, capsys):
    values = yaml.safe_load(spec.read_text())
    blind = """
        import json, runpy, sys
        runpy.run_path(sys.argv.pop(1), run_name="__main__")
        told = {"kind": "container", "command": ["sh", "-c", "echo no eyes >&2; exit 1"]}
        open(sys.argv[-1] + "/detector.json", "w").write(json.dumps(told))
    """
    command = [sys.executable, "-c", textwrap.dedent(blind), str(TRAINER)]
    values["trainers"].append(trainer("blind", command=command, epochs=1))
    with web() as server:
        values["notify"] = [{"kind": "webhook", "url": server.url, "when": ["trained", "degraded"]}]
        spec.write_text(yaml.safe_dump(values))
        assert main(["train", "training.yaml"]) == 0
        said = capsys.readouterr().err
        assert "blind: its detector fails on the pictures held out: " in said
        assert "no eyes" in said
        log = Path("out/training/trainers/blind/log.txt")
        before = log.stat().st_mtime_ns
        assert main(["train", "training.yaml", "--json"]) == 0
        assert log.stat().st_mtime_ns == before, "it is the detector that is looked at again"
    results = json.loads(capsys.readouterr().out)
    told = [json.loads(body) for _, _, body in server.came]
    assert [one["type"] for one in told] == ["run.trained", "run.degraded", "run.degraded"]
    assert told[0]["data"]["trainer"] == "linear"
    [mine] = told[0]["data"]["counts"]["trainers"]
    assert mine["ap"] == results["trainers"][0]["ap"] > 0
    assert told[0]["data"]["run"] == str(Path("out/training").absolute())


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_its_trainers_are_refused_first(spec, capsys, tmp_path):
    values = yaml.safe_load(spec.read_text())
    values["trainers"].append({"name": "detr", "kind": "transformers", "architecture": "detr"})
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml"]) == 2
    said = capsys.readouterr().err
    assert "Training detr needs a package that is not installed" in said
    assert "pip install 'quorate[torch]'" in said
    assert not (tmp_path / "out/training/data").exists()


def test_settings_of_the_command_line_go_before_those_of_the_spec(spec, capsys, tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/weights.npz").touch()
    words = ["-p", "epochs=3", "-p", "linear.batch_size=16", "-p", "checkpoint=begun"]
    assert main(["train", "training.yaml", "--plan", "--json", *words]) == 0
    first, second = json.loads(capsys.readouterr().out)["steps"]
    assert (first["epochs"], first["batch_size"], first["steps"]) == (3, 16, 6)
    assert (second["epochs"], second["batch_size"]) == (3, 8)
    assert first["begins"].startswith(f"from {tmp_path}/begun")
    left = tmp_path / "before/trainers/linear/out/model"  # by an earlier training
    left.mkdir(parents=True)
    (left / "weights.npz").touch()
    words = ["-p", "checkpoint=before/trainers", "-p", "epochs=1"]
    values = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump(values | {"trainers": values["trainers"][:1]}))
    assert main(["train", "training.yaml", "--plan", "--json", *words]) == 0
    [first] = json.loads(capsys.readouterr().out)["steps"]
    assert first["begins"] == f"from {left}/"
    for word, said in (
        ("epochs=0", "epochs: expected 1 or more, not 0"),
        ("liner.epochs=1", "did you mean 'linear'?"),
        ("checkpoint=begin", "did you mean 'begun'?"),
        ("epochs", "-p epochs: expected NAME=VALUE."),
    ):
        assert main(["train", "training.yaml", "--plan", "-p", word]) == 2
        assert said in capsys.readouterr().err


def test_a_training_whose_trainers_all_fail_ends_with_what_to_do(spec, capsys):
    values = yaml.safe_load(spec.read_text())
    values["trainers"] = [trainer("bad", hyperparameters={"fail": "no luck"})]
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml"]) == 1
    err = capsys.readouterr().err
    assert "No trainer came to its end: bad ended with status 1: no luck" in err
    assert "hint: what it printed is in out/training/trainers/bad/log.txt" in err


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
    for words in (["--plan"], ["-o", "out"]):
        assert main(["train", "training.yaml", *words]) == 2
        assert "did you mean 'weights.npz'?" in capsys.readouterr().err
    assert not (tmp_path / "out/prepared.json").exists()


def test_a_name_of_the_hugging_face_hub_is_told_how_to_be_fetched(spec, capsys):
    values = yaml.safe_load(spec.read_text())
    values["trainers"] = [
        {"name": "detr", "kind": "transformers", "checkpoint": "facebook/detr-resnet-50"}
    ]
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml", "--plan"]) == 2
    said = "`hf download facebook/detr-resnet-50 --local-dir detr-resnet-50`"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "meant"),
    [("lr0", "learning_rate"), ("weights", "checkpoint"), ("optim", "optimiser"),
     ("num_train_epochs", "epochs"), ("fp16", "precision"), ("imgsz", "image_size")],
)  # fmt: skip
def test_the_keys_of_other_libraries_are_understood(spec, capsys, key, meant):
    values = yaml.safe_load(spec.read_text())
    architecture = "fasterrcnn_resnet50_fpn"
    values["trainers"] = [
        {"name": "rcnn", "kind": "torchvision", "architecture": architecture, key: 1}
    ]
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml", "--plan"]) == 2
    assert f"trainers[0].{key}: there is no such key, did you mean '{meant}'?" in (
        capsys.readouterr().err
    )


def test_a_spec_of_another_kind_is_told(spec, capsys):
    assert main(["run", "training.yaml"]) == 2
    assert "describes a Training" in capsys.readouterr().err


def test_a_plan_draws_the_schedules_of_torchs_trainers(spec, capsys, tmp_path):
    values = yaml.safe_load(spec.read_text())
    values["trainers"] = [
        {"name": "detr", "kind": "transformers", "architecture": "detr", "epochs": 20,
         "backbone_learning_rate": 1e-5, "schedule": {"method": "cosine", "cooldown": 5}},
        {"name": "rcnn", "kind": "torchvision", "architecture": "fasterrcnn_resnet50_fpn",
         "epochs": 12, "schedule": {"method": "step", "at": [8, 11]}},
    ]  # fmt: skip
    spec.write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml", "--plan", "-o", "out"]) == 0
    _, err = capsys.readouterr()
    assert "detr: the weights of all steps from epoch 15 on are averaged." in err
    assert "schedules.svg" in err
    svg = ElementTree.parse(tmp_path / "out/schedules.svg").getroot()
    titles = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["detr", "detr, backbone", "rcnn"]
    rcnn = list(svg.iter("{http://www.w3.org/2000/svg}polyline"))[-1]
    heights = [float(pair.split(",")[1]) for pair in rcnn.get("points").split()]
    ends = [float(pair.split(",")[0]) for pair in rcnn.get("points").split()]
    assert len(heights) == 12 * 8  # of 32 pictures in steps of 4
    assert ends == sorted(ends)
    assert heights[50] < heights[70] < heights[-1]  # further down each time


def test_the_schema_of_a_training_takes_its_specs(spec, capsys):
    jsonschema = pytest.importorskip("jsonschema")
    assert main(["schema", "--kind", "Training"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(yaml.safe_load(spec.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "Training", "name": "x", "trainers": []}, schema)


def test_a_command_that_is_ended_ends_its_trainer_and_goes_on(spec, tmp_path):
    values = yaml.safe_load(spec.read_text())
    values["trainers"] = [trainer(epochs=10, hyperparameters={"pause": 0.2})]
    values["compare"] = {"samples": 0}
    spec.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "quorate", "train", "training.yaml", "-o", "out"]
    out = tmp_path / "out/trainers/linear/out"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: len(events(out)) > 8 and (out / "checkpoint/weights.npz").exists())
        process.terminate()
        _, said = process.communicate()
    assert process.returncode == 143
    assert "the same command goes on from here" in said
    reached = len(events(out))
    assert reached < 40
    time.sleep(0.5)
    assert len(events(out)) == reached  # nobody writes any more
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert "goes on from step" in (out.parent / "log.txt").read_text()
    assert [one.step for one in events(out) if one.map is None] == list(range(1, 41))


def test_a_trainer_that_outlives_a_killed_command_is_waited_for(spec, tmp_path):
    values = yaml.safe_load(spec.read_text())
    values["trainers"] = [trainer(epochs=10, hyperparameters={"pause": 3})]
    spec.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "quorate", "train", "training.yaml", "-o", "out"]
    own = TrainingWork(tmp_path / "out").trainer("linear")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(events(own.out)) > 2)
        process.kill()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "is in use" in again.stderr, again.stderr
    left = int(again.stderr.split("is in use by process ")[1].split(",")[0])
    assert "trainers/linear: is in use" in again.stderr
    assert "a trainer that a killed run has left" in again.stderr
    os.kill(left, signal.SIGKILL)
    until(lambda: ended(left))
    values["trainers"] = [trainer(epochs=1)]
    spec.write_text(yaml.safe_dump(values))
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_a_plan_counts_by_the_subsets_of_the_data(spec, capsys, tmp_path):
    coco = instances(tmp_path / "data")
    for name, part in (("val", coco["images"][:10]), ("learn", coco["images"][10:])):
        ids = {image["id"] for image in part}
        own = [one for one in coco["annotations"] if one["image_id"] in ids]
        file = tmp_path / f"data/annotations/instances_{name}.json"
        file.write_text(json.dumps(coco | {"images": part, "annotations": own}))
    (tmp_path / "data/annotations/instances_default.json").unlink()
    assert main(["train", "training.yaml", "--plan"]) == 0
    assert "about 30 pictures to learn from" in capsys.readouterr().out
    values = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump(values | {"split": {"validation": "vall"}}))
    assert main(["train", "training.yaml", "--plan"]) == 2
    assert "split: no subset is called 'vall'" in capsys.readouterr().err
