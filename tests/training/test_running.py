"""Trainers as processes: somebody else's, killed and resumed, failing, breaking the contract."""

import json
import math

import numpy as np
import pytest

from quorate.errors import SpecError
from quorate.spec.training import Training
from quorate.training.contract import Event, detector_of, events
from quorate.training.data import prepare
from quorate.training.running import run
from quorate.training.work import TrainingWork
from tests.training.pictures import ended, spoilt, squares, trainer
from tests.waiting import until


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("squares") / "data", 60)


def ran(tmp_path, data, *trainers, **how):
    training = Training(name="squares", data=str(data), trainers=trainers)
    work = TrainingWork(tmp_path)
    prepare(training, work)
    return work, tuple(run(one, work, **how) for one in training.trainers)


def test_a_trainer_learns_and_its_detector_is_read(tmp_path, data):
    told, bars = [], []
    work, [done] = ran(
        tmp_path,
        data,
        trainer(epochs=20),
        told=lambda name, event: told.append(event),
        progress=lambda task, at, of: bars.append((task, at, of)),
    )
    assert done.failed is None, done.failed
    own = work.trainer("linear")
    said = events(own.out)
    assert said == told
    assert [event.step for event in said if event.map is None] == list(range(1, 121))
    assert bars[-1] == ("linear", 120, 120)
    losses = [event.loss for event in said if event.loss is not None]
    assert losses[-1] < losses[0] / 5
    detector = detector_of(own.out, name="newcomer")
    assert detector.name == "newcomer"
    assert detector.load().labels == ("red", "green")
    settings = json.loads((own.data / "trainer.json").read_text())
    assert (settings["epochs"], settings["checkpoint"]) == (20, None)
    assert "command" not in settings


def test_one_that_fails_costs_only_itself(tmp_path, data):
    bad = trainer("bad", hyperparameters={"fail": "the learning rate is no number"})
    gone = {"name": "gone", "kind": "container", "command": ["/no/such/program"]}
    _, (first, second, third) = ran(tmp_path, data, bad, gone, trainer(epochs=2))
    assert first.failed.reason == "bad ended with status 1: the learning rate is no number"
    assert "log.txt" in first.failed.hint
    assert "/no/such/program cannot be run" in second.failed.reason
    assert third.failed is None


def test_a_killed_one_goes_on_to_the_same_weights(tmp_path, data, monkeypatch):
    entry = trainer(epochs=10)
    _, [_] = ran(tmp_path / "whole", data, entry)
    monkeypatch.setenv("DIE_AT", "31")
    work, [killed] = ran(tmp_path / "killed", data, entry)
    assert "signal 9" in killed.failed.reason
    work, [again] = ran(tmp_path / "killed", data, entry)
    assert again.failed is None
    own = work.trainer("linear")
    assert "goes on from step 28" in own.log.read_text()
    there = np.load(own.out / "weights.npy")
    np.testing.assert_array_equal(
        there, np.load(tmp_path / "whole/trainers/linear/out/weights.npy")
    )
    steps = [event.step for event in events(own.out) if event.map is None]
    assert steps == list(range(1, 61))  # those that were done twice stand once


def test_what_is_done_is_left_alone_and_what_changed_begins_anew(tmp_path, data):
    work, [done] = ran(tmp_path, data, trainer(epochs=4))
    log = work.trainer("linear").log
    before = log.stat().st_mtime_ns
    assert ran(tmp_path, data, trainer(epochs=4))[1] == (done,)
    assert log.stat().st_mtime_ns == before
    ran(tmp_path, data, trainer(epochs=6))
    assert "goes on" not in log.read_text()
    ran(tmp_path, data, trainer(epochs=8), resume=True)
    assert "goes on from step 35" in log.read_text()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            [{"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5}],
            "in the data set",
        ),
        ({"no": "list"}, "predictions.json"),
    ],
)
def test_a_broken_contract_is_told(tmp_path, data, spoil, said):
    work, [done] = ran(tmp_path, data, trainer(epochs=1, hyperparameters={"spoil": spoil}))
    assert said in done.failed.reason
    assert not work.trainer("linear").trained.exists()


def test_one_that_leaves_nothing_is_told(tmp_path, data):
    idle = {"name": "idle", "kind": "container", "command": ["true"]}
    _, [done] = ran(tmp_path, data, idle)
    assert done.failed.reason == "idle ended well, but left no detector.json."


def test_one_that_takes_too_long_is_ended(tmp_path, data):
    slow = {"name": "slow", "kind": "container", "command": ["sh", "-c", "sleep 60"],
            "timeout": "1s"}  # fmt: skip
    _, [done] = ran(tmp_path, data, slow)
    assert done.failed.reason == "slow: it took longer than 1s."


def test_a_detector_may_not_lead_outside_its_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "model.onnx").touch()
    entry = {"kind": "onnx", "weights": "../model.onnx"}
    (tmp_path / "out/detector.json").write_text(json.dumps(entry))
    with pytest.raises(Exception, match="not below the folder"):
        detector_of(tmp_path / "out", name="x")
    # A folder that is copied elsewhere has other names above it.
    (tmp_path / "out/model.onnx").touch()
    for weights in ("../out/model.onnx", str(tmp_path / "out/model.onnx")):
        (tmp_path / "out/detector.json").write_text(
            json.dumps({"kind": "onnx", "weights": weights})
        )
        with pytest.raises(Exception, match="not below the folder"):
            detector_of(tmp_path / "out", name="x")


def test_lines_that_are_no_events_are_passed_over(tmp_path):
    lines = ['{"epoch": 1, "step": 1, "steps": 2, "loss": NaN}', "{", '{"epoch": -1}',
             '{"epoch": 1, "step": 2, "steps": 2, "loss": 1.5, "map": 2.0}',
             '{"epoch": 1, "step": 2, "steps": 2, "map": 0.5}', '{"epoch": 2']  # fmt: skip
    (tmp_path / "progress.jsonl").write_text("\n".join(lines))
    found = events(tmp_path)
    assert math.isnan(found[0].loss)
    assert found[1:] == [Event(1, 2, 2, map=0.5)]


def test_a_loss_that_is_no_number_and_lines_that_are_no_events_are_told(tmp_path, data):
    line = '{"epoch": 9, "step": 90, "steps": 90, "loss": Infinity, "note": "a NaN"}'
    odd = spoilt("odd", f"printf '%s\\nno event\\n' '{line}' >> progress.jsonl", epochs=1)
    work, [done] = ran(tmp_path, data, odd)
    assert events(work.trainer("odd").out)[-1].note == "a NaN"
    assert done.notes == (
        "odd: 1 lines of progress.jsonl are no events.",
        "odd: its loss was no finite number at some steps.",
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("mv model.onnx ../m; ln -s ../m model.onnx", "out of the folder"),
        ("ln -s /etc/passwd notes.txt", "notes.txt: is a link that leads out of the folder"),
        ("rm model.onnx; ln -s model.onnx model.onnx", "model.onnx: is a link that leads out"),
        ("rm progress.jsonl; mkfifo progress.jsonl", "left no progress.jsonl"),
        ("rm progress.jsonl; mkdir progress.jsonl", "left no progress.jsonl"),
        (r"sed -i 's/model.onnx/a\\u0000b/' detector.json", "is not below the folder"),
        ("sed -i 's/red/rot/;s/green/gruen/' detector.json", "No label of detector 'odd'"),
    ],
)
def test_what_one_leaves_costs_itself_alone(tmp_path, data, spoil, said):
    _, (odd, other) = ran(tmp_path, data, spoilt("odd", spoil, epochs=1), trainer(epochs=1))
    assert said in odd.failed.reason
    assert other.failed is None


def test_one_that_writes_into_its_pictures_spoils_no_other(tmp_path, data):
    spoil = 'for one in "$QUORATE_DATA"/images/*; do echo spoilt > "$one"; done'
    work, _ = ran(tmp_path, data, spoilt("odd", spoil, epochs=1), trainer(epochs=1))
    for folder in (work.data, work.trainer("linear").data):
        assert not [one for one in folder.glob("images/*") if one.read_bytes() == b"spoilt\n"]


def test_what_one_started_ends_with_it(tmp_path, data):
    spoil = "{ sleep 60 & } && echo $! > pid"
    work, [done] = ran(tmp_path, data, spoilt("odd", spoil, epochs=1))
    assert done.failed is None
    pid = int((work.trainer("odd").out / "pid").read_text())
    until(lambda: ended(pid))


def test_two_trainers_of_one_name_are_refused():
    with pytest.raises(SpecError, match="two trainers are called 'linear'"):
        Training(name="squares", trainers=[trainer(), trainer()])


def test_a_training_is_no_ensemble(tmp_path):
    from quorate.spec import EnsembleSpec

    spec = tmp_path / "training.yaml"
    spec.write_text(Training(name="squares", data="x", trainers=[trainer()]).to_yaml())
    assert Training.from_yaml(spec).data == str(tmp_path / "x")
    with pytest.raises(SpecError, match="describes a Training"):
        EnsembleSpec.from_yaml(spec)
