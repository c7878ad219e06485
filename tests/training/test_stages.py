"""The stages of a training as pods run them: one command each, over one folder and an S3 store."""

import json
import subprocess

import pytest
import yaml

from quorate.cli import main
from quorate.storage import exists, open_tree, read_bytes, write_bytes
from tests.notifications.receivers import web
from tests.training.pictures import squares, trainer

ENDED = {"a": "Succeeded", "b": "Succeeded", "c": "Failed"}
SPEC = {"kind": "Training", "name": "squares", "split": {"validation": 0.3, "seed": 1}}


@pytest.fixture
def spec(tmp_path):
    def write(*trainers, **more):
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(SPEC | {"trainers": list(trainers)} | more))
        return str(path)

    return write


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(squares(tmp_path_factory.mktemp("squares") / "data", 40))


def step(*words):
    return main(["step", *map(str, words)])


def run_trainer(work, name):
    """What Argo does between `give` and `evaluate`."""
    own = work / "trainers" / name
    script = trainer()["command"]
    environment = {"QUORATE_DATA": str(own / "data"), "QUORATE_OUT": str(own / "out")}
    given = ["--data", str(own / "data"), "--out", str(own / "out")]
    return subprocess.run([*script, *given], env=environment, capture_output=True, text=True)


def test_the_whole_of_it(tmp_path, data, spec, s3_prefix, capsys):
    work, out = tmp_path / "work", tmp_path / "results"
    with web() as server:
        hook = {"kind": "webhook", "url": server.url, "when": ["trained"]}
        path = spec(trainer("a"), trainer("b"), trainer("c"), notify=[hook])
        given = ["--work", work]
        asked = ["--epochs", "4", "--hyperparameters", "learning_rate=0.05\nb.coarse: true"]
        assert step("split", path, *given, "--data", data, *asked, "--classes", "3") == 0
        said = capsys.readouterr()
        assert said.out == "28 pictures to learn from, 12 to validate\n"
        assert "3 classes were told of, and the data has 2: red, green" in said.err
        resolved = work / "training.yaml"
        for name in ("a", "b"):
            kept = f"{s3_prefix}/checkpoints/{name}"
            more = ["--trainer", name, "--checkpoints", kept]
            assert step("give", resolved, *given, *more) == 0
            settings = json.loads((work / "trainers" / name / "data/trainer.json").read_text())
            coarse = {"coarse": True} if name == "b" else {}
            assert settings["hyperparameters"] == {"learning_rate": 0.05} | coarse
            assert settings["epochs"] == 4
            assert run_trainer(work, name).returncode == 0
            write_bytes(f"{kept}/current.json", b"{}")
            assert step("evaluate", resolved, *given, *more, "--workflow", "squares-1") == 0
            assert not exists(f"{kept}/current.json")
    told = [json.loads(body)["data"] for _, _, body in server.came]
    assert [one["event"] for one in told] == ["trained", "trained"]
    assert [one["trainer"] for one in told] == ["a", "b"]
    assert {one["run"] for one in told} == {"squares-1"}
    assert 0.05 < told[0]["counts"]["trainers"][0]["ap"] <= 1
    capsys.readouterr()
    statuses = [f"--status={name}={how}" for name, how in ENDED.items()]
    degraded = tmp_path / "degraded"
    options = ["--out", out, "--degraded", degraded]
    assert step("compare", resolved, *given, *options, *statuses) == 0
    assert "c: it did not say why it failed (its task: Failed)" in capsys.readouterr().err
    assert degraded.read_text() == "true"
    results = json.loads((out / "results.json").read_text())
    assert [one["name"] for one in results["trainers"]] == ["a", "b", "c"]
    best = results["best"]
    assert (out / "report.html").exists()
    assert (out / "curves.csv").exists()
    store = f"{s3_prefix}/models"
    assert step("release", out, "--to", store, "--run", "squares-1") == 0
    assert capsys.readouterr().out == f"{store}/squares-1/\n"
    latest = json.loads(read_bytes(f"{store}/latest.json"))
    assert (latest["run"], latest["trainer"]) == ("squares-1", best)
    with open_tree(f"{store}/squares-1/") as tree:
        names = set(tree.names())
    assert {"detector.json", "model.onnx", "README.md", "versions.json"} <= names
    assert not any(name.startswith("checkpoint/") for name in names)
    again = ["--work", tmp_path / "other", "--data", f"{data}/images", "--out", tmp_path / "found"]
    assert step("predict", path, *again, "--detector", f"{store}/squares-1") == 0
    summary = json.loads((tmp_path / "found/summary.json").read_text())
    assert summary["images"] == 40
    assert summary["published"] >= 36


def test_a_trained_detector_looks_once_at_what_is_held_out(tmp_path, data, spec, capsys):
    work, out = tmp_path / "work", tmp_path / "out"
    given = ["--work", work]
    assert step("split", spec(trainer("a")), *given, "--data", data) == 0
    resolved = work / "training.yaml"
    assert step("give", resolved, *given, "--trainer", "a") == 0
    assert run_trainer(work, "a").returncode == 0
    assert step("evaluate", resolved, *given, "--trainer", "a") == 0
    told = capsys.readouterr().out
    (work / "trainers/a/out/model.onnx").write_bytes(b"cannot look any more")
    assert step("compare", resolved, *given, "--out", out, "--status", "a=Succeeded") == 0
    [row] = json.loads((out / "results.json").read_text())["trainers"]
    assert f"a is trained: AP {row['ap']:.3f}, AP50 {row['ap50']:.3f} on 12 pictures" in told


def test_a_trainer_that_breaks_the_contract_is_told(tmp_path, data, spec, capsys):
    work = tmp_path / "work"
    path = spec(trainer("a", epochs=1, hyperparameters={"spoil": "nothing"}))
    assert step("split", path, "--work", work, "--data", data) == 0
    resolved = work / "training.yaml"
    assert step("give", resolved, "--work", work, "--trainer", "a") == 0
    assert run_trainer(work, "a").returncode == 0
    assert step("evaluate", resolved, "--work", work, "--trainer", "a") == 1
    said = capsys.readouterr().err
    failed = json.loads((work / "trainers/a/failed.json").read_text())
    assert failed["reason"] in said
    out = ["--out", tmp_path / "out", "--status", "a=Failed"]
    assert step("compare", resolved, "--work", work, *out) != 0
    assert failed["reason"] in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_told_before_anything_starts(
    tmp_path, spec, s3_prefix, capsys
):
    place = f"{s3_prefix}/nothing/"
    words = ["--work", tmp_path / "work", "--data", tmp_path / "no data", "--checkpoint", place]
    assert step("split", spec(trainer("a")), *words) == 2
    assert f"a: the checkpoint {place}: no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").glob("data"))


def test_a_checkpoint_with_folders_named_as_trainers_gives_each_its_own(
    tmp_path, data, spec, s3_prefix
):
    for name in ("a", "b"):
        write_bytes(f"{s3_prefix}/run/{name}/model/weights.bin", name.encode())
        write_bytes(f"{s3_prefix}/run/{name}/detector.json", b"{}")
    work = tmp_path / "work"
    words = ["--work", work, "--data", data, "--checkpoint", f"{s3_prefix}/run"]
    assert step("split", spec(trainer("a"), trainer("b")), *words) == 0
    for name in ("a", "b"):
        assert step("give", work / "training.yaml", "--work", work, "--trainer", name) == 0
        folder = work / "trainers" / name / "data"
        settings = json.loads((folder / "trainer.json").read_text())
        assert (folder / settings["checkpoint"]).read_text() == name


def test_inference_needs_a_detector(tmp_path, data, spec, capsys):
    words = ["--work", tmp_path / "work", "--data", data, "--out", tmp_path / "out"]
    assert step("predict", spec(trainer("a")), *words, "--detector", "") == 2
    assert "cvat-finetune-checkpoint" in capsys.readouterr().err
    assert step("predict", spec(trainer("a")), *words, "--detector", data) == 2
    assert "has no detector.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("learning_rate", "hyperparameters"),
        ("z.learning_rate: 1", "no trainer is called 'z'"),
        ("image: other", "'image' is for the spec to say"),
        ("checkpoint: s3://x/y", "a checkpoint is a parameter of its own"),
        ("a: *x", "hyperparameters"),
        ("epochs: many", "epochs"),
    ],
)
def test_hyperparameters_that_nobody_knows_are_refused(
    tmp_path, data, spec, capsys, lines, sentence
):
    words = ["--work", tmp_path / "work", "--data", data, "--hyperparameters", lines]
    assert step("split", spec(trainer("a")), *words) == 2
    assert sentence in capsys.readouterr().err
