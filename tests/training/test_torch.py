"""Torch's trainers: from a data folder to a checked detector, killed and not, with bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from quorate.errors import BusyError, DetectorError, InputError, StorageError
from tests.training.pictures import NAMES, squares
from tests.training.torch_models import CONFIGS, NEEDS_TORCH, detr, given, ssd

pytestmark = [pytest.mark.torch, *NEEDS_TORCH]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("labelled") / "in", 20)


def trained(tmp_path, labelled, trainer, **options):
    """What `quorate step train` does, in this process: (result, out, what was said)."""
    from quorate.training.torch.train import train

    said = []
    data = given(tmp_path / "work", labelled, trainer)
    out = tmp_path / "out"
    return train(data, out, warn=said.append, **options), out, said


@pytest.fixture
def learning_alone(monkeypatch):
    """Without the export and its check, which take longest and which other tests are about."""
    from quorate.training.torch import train as module

    monkeypatch.setattr(module, "_finished", lambda *arguments: (0.0, ""))


def events(out):
    """The whole lines of progress.jsonl, which may still grow."""
    try:
        text = (out / "progress.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def weights(out):
    from safetensors.numpy import load_file

    return load_file(out / "model/model.safetensors")


def command(data, out, *more):
    return [sys.executable, "-m", "quorate", "step", "train", "--data", data, "--out", out, *more]


@pytest.mark.parametrize("make", [detr, ssd])
def test_a_detector_is_left_as_the_contract_has_it(tmp_path, labelled, make):
    from quorate.training import contract

    result, out, said = trained(tmp_path, labelled, make(checkpoint_every="1s"))
    data = tmp_path / "work/trainers" / make().name / "data"
    assert contract.check(out, data, name=make().name) is not None
    detector = contract.detector_of(out, name="new")
    assert detector.kind == "onnx"
    truth = contract.truth_of(data, "validation")
    predictor = detector.load()
    assert predictor.labels == NAMES
    assert len(contract.predictions_of(out, truth))
    assert any(sentence.startswith("The ONNX file ") for sentence in said)
    agreed = json.loads((out / "export.json").read_text())
    assert agreed["apart"] <= 1e-3
    assert abs(agreed["map_export"] - agreed["map_original"]) <= 1e-3
    assert result.steps == 8
    versions = contract.versions_of(out)
    assert {"torch", "quorate", "python"} <= versions.keys()
    told = events(out)
    assert [e["map"] for e in told if "map" in e][-1] == pytest.approx(result.map, abs=1e-3)
    assert told[-1]["step"] == told[-1]["steps"] == 8


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(tmp_path, labelled):
    """Killed for real, at a step that chance chooses, as often as it takes to get through."""
    trainer = detr(checkpoint_every="1s", epochs=4, augment=("hflip", "crop", "colour"))
    data = given(tmp_path / "work", labelled, trainer)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = json.loads((data / "trainer.json").read_text())
    settings["schedule"] = {"method": "cosine", "cooldown": 1.5}
    # Every step is kept, so that a kill at any of them finds a checkpoint.
    settings["checkpoint_every"] = "1s"
    (data / "trainer.json").write_text(json.dumps(settings))
    subprocess.run(command(data, whole), check=True, env=environment, capture_output=True)
    draw = np.random.default_rng()
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(
            command(data, parts), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        at = int(draw.integers(1, 14))
        while process.poll() is None:
            done = [e["step"] for e in events(parts)]
            if done and done[-1] >= at and (parts / "checkpoint/state.json").exists():
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.02)
        process.communicate()
        if killed == 2:
            break
    assert killed
    subprocess.run(command(data, parts), check=True, env=environment, capture_output=True)
    one, other = weights(whole), weights(parts)
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-6, err_msg=key)

    from quorate.training.contract import events as read_events

    first, second = (
        [(e.step, e.loss, e.map) for e in read_events(folder)] for folder in (whole, parts)
    )
    assert first == second  # the same curve


def test_asked_to_stop_it_keeps_a_checkpoint_and_goes_on(tmp_path, labelled):
    data = given(tmp_path / "work", labelled, detr(epochs=4, checkpoint_every="1h"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(data, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not events(out) and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    said = process.communicate()[1]
    if process.returncode == 0:
        pytest.skip("it was through before it was asked")
    assert process.returncode == 75
    assert re.search(r"asked to stop after \d+ of 16 steps", said)
    place = json.loads((out / "checkpoint/state.json").read_text())["place"]
    assert 0 < place["step"] < 16


def test_another_machine_goes_on_from_where_the_checkpoint_is_kept(
    tmp_path, labelled, learning_alone
):
    kept = str(tmp_path / "kept")
    stops = iter([False, False, False, True])
    result = None
    data = given(tmp_path / "work", labelled, detr(checkpoint_every="1s"))
    with pytest.MonkeyPatch.context() as patch:
        from quorate.training.torch import train as module

        patch.setattr(module, "_asked_to_stop", lambda: _Stopping(stops))
        with pytest.raises(BusyError, match="asked to stop after 4 of 8 steps"):
            module.train(data, tmp_path / "first", checkpoint=kept)
    assert (tmp_path / "kept/current.json").exists()
    from quorate.training.torch.train import train

    result = train(data, tmp_path / "second", checkpoint=kept)
    assert result.steps == 8
    assert [e["step"] for e in events(tmp_path / "second") if "loss" in e] == list(range(1, 9))
    assert not (tmp_path / "kept/current.json").exists()  # cleared away when it is done


class _Stopping:
    """In the place of the signal's handler: asked after so many steps."""

    def __init__(self, stops):
        self._stops = stops

    def __enter__(self):
        return lambda: next(self._stops)

    def __exit__(self, *error):
        return None


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_good_checkpoint(tmp_path, labelled):
    trainer = detr(learning_rate=10.0, backbone_learning_rate=10.0, optimiser="sgd", clip=1e9,
                   schedule={"method": "constant", "warmup": 1.5}, epochs=6,
                   checkpoint_every="1s")  # fmt: skip
    with pytest.raises(DetectorError) as told:
        trained(tmp_path, labelled, trainer)
    assert re.search(r"( is (nan|inf)|NaN or infinite) at step \d+", told.value.message)
    assert "lower `learning_rate`" in told.value.hint
    if "no checkpoint" not in told.value.message:
        from safetensors.numpy import load_file

        state = json.loads((tmp_path / "out/checkpoint/state.json").read_text())
        assert f"step {state['place']['step']} is kept" in told.value.message
        kept = load_file(tmp_path / f"out/checkpoint/{state['slot']}/model.safetensors")
        assert all(np.isfinite(value).all() for value in kept.values())


def test_out_of_memory_means_smaller_parts_of_a_step_and_a_sentence(
    tmp_path, labelled, learning_alone
):
    """Memory is taken away for real, as an allocator that refuses more than two pictures."""
    from quorate.training.torch import loop

    backward = loop.Run._backward

    def scarce(self, inputs, weight):
        if len(inputs["labels"]) > 2:
            import torch

            torch.empty(1 << 60, dtype=torch.uint8)  # what torch says when there is none
        return backward(self, inputs, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_backward", scarce)
        result, out, said = trained(tmp_path, labelled, detr(epochs=1))
    assert result.steps == 4
    [note] = [sentence for sentence in said if sentence.startswith("Out of memory")]
    assert "4 pictures are computed 2 at a time from now on" in note
    assert [e["batch_size"] for e in events(out) if e.get("batch_size")] == [2]


def test_parts_of_a_step_have_the_gradient_of_the_whole(tmp_path, labelled):
    """In torchvision's SSD the parts' losses are means, so their weighted sum is the whole's."""
    import torch

    from quorate.training import contract
    from quorate.training.torch.samples import Samples
    from quorate.training.torch.torchvision import TorchvisionLearner

    data = given(tmp_path / "work", labelled, ssd())
    learner = TorchvisionLearner(ssd(), NAMES, None)
    samples = Samples.of(contract.truth_of(data, "train"))
    inputs = learner.inputs([samples.sample(i) for i in range(2)])
    loss = learner.loss(learner.model.train(), inputs)
    assert torch.isfinite(loss.total)
    assert set(loss.parts) == {"bbox_regression", "classification"}


def test_it_stops_early_where_nothing_becomes_better(tmp_path, labelled, learning_alone):
    trainer = detr(epochs=8, patience=2, learning_rate=1e-9)
    result, _out, said = trained(tmp_path, labelled, trainer)
    assert result.steps < 32
    assert any(s.startswith("No better mAP in 2 validations") for s in said)


def test_a_full_disk_costs_the_new_checkpoint_and_not_the_old_one(small_disk, tmp_path, labelled):
    from quorate.training.torch.train import train

    data = given(tmp_path / "work", labelled, detr(checkpoint_every="1s"))
    with pytest.raises(StorageError, match="no space left"):
        train(data, small_disk / "out")


def test_a_damaged_checkpoint_is_told(tmp_path, labelled, learning_alone):
    _, out, _ = trained(tmp_path, labelled, detr(epochs=1))
    state = json.loads((out / "checkpoint/state.json").read_text())
    file = out / f"checkpoint/{state['slot']}/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    from quorate.training.torch.train import train

    with pytest.raises(InputError, match="the checkpoint is damaged"):
        train(tmp_path / "work/trainers/detr/data", out)


def test_tensorboard_reads_the_curve(tmp_path, labelled, learning_alone):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    _, out, _ = trained(tmp_path, labelled, detr())
    board = event_accumulator.EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    told = [e for e in events(out) if "loss" in e]
    found = board.Scalars("train/loss")
    assert [one.step for one in found] == [e["step"] for e in told]
    assert [one.value for one in found] == pytest.approx([e["loss"] for e in told], rel=1e-5)
    assert "validation/map" in board.Tags()["scalars"]


def test_half_precision_is_refused_on_a_cpu(tmp_path, labelled):
    with pytest.raises(DetectorError, match="`precision: float16` needs a GPU"):
        trained(tmp_path, labelled, detr(precision="float16"))


def test_mixed_precision_learns_on_a_cpu(tmp_path, labelled, learning_alone):
    result, out, _ = trained(tmp_path, labelled, detr(precision="bfloat16", epochs=1))
    assert result.steps == 4
    assert all(np.isfinite(e["loss"]) for e in events(out) if "loss" in e)


def test_two_processes_share_every_step(tmp_path, labelled):
    """Each sees half of a step's pictures; the first writes, and both hold the same weights."""
    data = given(tmp_path / "work", labelled, detr(processes=2, epochs=1))
    out = tmp_path / "out"
    done = subprocess.run(command(data, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mAP") == 1
    assert [e["step"] for e in events(out) if "loss" in e][-1] == 4
    assert (out / "detector.json").exists()


def test_what_fails_in_one_of_two_processes_is_told_last(tmp_path, labelled):
    trainer = detr(processes=2, config=CONFIGS["rt_detr"] | {"d_modle": 3})
    data = given(tmp_path / "work", labelled, trainer)
    done = subprocess.run(
        command(data, tmp_path / "out"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "has no 'd_modle'" in done.stderr
    assert "Traceback" not in done.stderr


def chance(data):
    """The AP of boxes of the right size at places of chance, the right label on half of them."""
    from quorate.detections import Detections
    from quorate.evaluation.coco import evaluate
    from quorate.training import contract

    truth = contract.truth_of(data, "validation")
    draw = np.random.default_rng(0)
    images = np.repeat([image.id for image in truth.images], 8)
    corner = draw.uniform(0, 40, (len(images), 2))
    guessed = Detections.build(
        image_id=images,
        category_id=draw.integers(1, 3, len(images)),
        xyxy=np.concatenate([corner, corner + 24], axis=1),
        score=draw.uniform(size=len(images)),
        detectors=("chance",),
    )
    return evaluate(guessed, truth).ap


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer",
    [
        detr(epochs=60, batch_size=8, evaluate_every=20, learning_rate=2e-3,
             schedule={"method": "cosine", "warmup": 2, "cooldown": 6}),
        ssd("rcnn", architecture="fasterrcnn_mobilenet_v3_large_320_fpn", image_size=128,
            epochs=25, batch_size=8, evaluate_every=25),
    ],
    ids=lambda one: one.name,
)  # fmt: skip
def test_it_learns_from_scratch_far_above_chance(tmp_path, trainer):
    labelled = squares(tmp_path / "in", 60)
    result, _, said = trained(tmp_path, labelled, trainer)
    guessed = chance(tmp_path / f"work/trainers/{trainer.name}/data")
    assert result.map > max(10 * guessed, 0.2), (result, guessed)
    assert any(sentence.startswith("The ONNX file finds the same") for sentence in said)


def test_a_name_that_a_library_has_not_is_told_before_anything_learns(tmp_path, labelled):
    from quorate.spec.training import Training
    from quorate.training.whole import train
    from quorate.training.work import TrainingWork

    first = ssd("first")
    for second, said in (
        (detr(config={"dmodel": 32}), "has no 'dmodel'"),
        (ssd(config={"nms_tresh": 0.5}), "takes no number 'nms_tresh'"),
    ):
        training = Training(name="toys", data=str(labelled), trainers=(first, second))
        with pytest.raises(InputError, match=said):
            train(training, TrainingWork(tmp_path / "out"))
        assert not (tmp_path / "out/data").exists()


def test_a_single_picture_left_at_an_epochs_end_is_told_as_that(tmp_path, labelled):
    """16 pictures are learnt from, in steps of 5: torch's batch norm refuses the last one."""
    with pytest.raises(DetectorError, match="has a single picture"):
        trained(tmp_path, labelled, ssd(epochs=1, batch_size=5))


def test_a_plan_is_all_that_is_said(tmp_path, labelled):
    """The settings of torchvision are looked at with torch, whose compiler may speak at the end."""
    values = ssd(config={"positive_fraction": 0.2}).model_dump(mode="json", exclude_unset=True)
    spec = {"kind": "Training", "name": "plan", "data": str(labelled),
            "trainers": [values | {"kind": "torchvision"}]}  # fmt: skip
    (tmp_path / "training.yaml").write_text(json.dumps(spec))
    asked = [sys.executable, "-m", "quorate", "train", "--plan", "training.yaml"]
    said = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "ssd" in said.stdout
    assert {line.split()[0] for line in said.stderr.splitlines()} <= {"note:", "wrote"}, said.stderr
