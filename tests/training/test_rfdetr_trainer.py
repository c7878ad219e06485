"""The trainer of RF-DETR keeps the contract; what it leaves is read as its library reads it.

In an environment of its own (`make test-trainers`), with nothing of ours in it.
"""

import json
import os
import pickle
import signal
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from quorate.cli import main
from quorate.training.contract import check, detector_of, truth_of
from tests.training import pictures
from tests.training.programs import Program, change, events
from tests.training.toys import NAMES, data_folder
from tests.waiting import until

# Threads of torch that wait for one another take the processors of other tests.
THEIRS = Program("rfdetr", 1800, {"OMP_NUM_THREADS": "1"})
SMALL = {"resolution": 64, "num_queries": 40, "group_detr": 1, "lr": 3e-4, "lr_encoder": 3e-4,
         "multi_scale": False, "num_workers": 0, "checkpoint_seconds": 0.0}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not THEIRS.python.exists(), reason="needs .venv-rfdetr: make test-trainers"),
]


def asked(code, *arguments):
    """What a program in the trainer's environment prints, as JSON."""
    said = subprocess.run(
        [THEIRS.python, "-c", code, *arguments], check=True, capture_output=True, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    return json.loads(said.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rfdetr")
    settings = SMALL | {"num_workers": 1}
    data = data_folder(folder / "data", train=16, validation=4, epochs=3, hyperparameters=settings)
    status, said = THEIRS.trained(data, folder / "out")
    assert status == 0, said
    return folder


def test_it_learns(learnt):
    said = events(learnt / "out")
    assert [one["step"] for one in said] == sorted({one["step"] for one in said})
    assert (said[-1]["step"], said[-1]["steps"], said[-1]["epoch"]) == (12, 12, 3)
    ends = [one for one in said if one.get("losses")]
    assert [one["step"] for one in ends] == [4, 8, 12]
    assert all(set(one["losses"]) == {"labels", "boxes", "giou"} for one in ends)
    assert all(0 <= one["map"] <= 1 for one in ends)
    # It begins with nothing: in so few steps it finds where boxes are, not yet what they are.
    assert ends[-1]["losses"]["boxes"] < ends[0]["losses"]["boxes"] * 0.95
    assert said[-1]["learning_rate"] < SMALL["lr"] / 10


def test_it_keeps_the_contract(learnt):
    assert check(learnt / "out", learnt / "data", name="rfdetr") == []
    versions = json.loads((learnt / "out/versions.json").read_text())
    assert {"rfdetr", "torch", "onnx", "python"} <= versions.keys()


def everything(out):
    """What it left, with the boxes of low scores too: so early there are no others."""
    return detector_of(out, name="rfdetr").model_copy(update={"min_score": 0.001}).load()


PREDICT = """
import json, sys
from rfdetr import RFDETR
detector = RFDETR.from_checkpoint(sys.argv[1])
found = [detector.predict(one, threshold=0.0) for one in sys.argv[2:]]
print(json.dumps([[one.xyxy.tolist(), one.confidence.tolist(), one.class_id.tolist(),
                   one.data["class_name"].tolist()] for one in found]))
"""


def test_what_it_exports_finds_what_the_library_finds(learnt, tmp_path):
    pictures, files = [], []
    for image in truth_of(learnt / "data", "validation").images:
        with Image.open(learnt / "data/images" / image.file_name) as picture:
            pictures += [picture.convert("RGB"), picture.convert("RGB").crop((0, 0, 64, 64))]
    for i, picture in enumerate(pictures):
        files.append(str(tmp_path / f"{i}.png"))
        picture.save(files[-1])
    theirs = asked(PREDICT, str(learnt / "out/model/model.ckpt"), *files)
    predictor = everything(learnt / "out")
    for picture, (boxes, scores, labels, names) in zip(pictures, theirs, strict=True):
        (mine,) = predictor.predict([np.asarray(picture)])
        boxes, scores, labels = map(np.array, (boxes, scores, labels))
        # One of no size, on the picture's edge, is no box; the last label is none.
        sound = ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) > 0.1) & (labels < len(NAMES))
        assert sound.sum() > 20
        far = []
        for i in np.flatnonzero(sound)[:20]:
            assert names[i] == NAMES[labels[i]]
            same = mine.label == labels[i]
            away = np.abs(mine.xyxy[same] - boxes[i]) / np.array(picture.size * 2)
            away = np.column_stack([away, np.abs(mine.score[same] - scores[i])]).max(axis=1)
            far.append(away.min())
        # Resized pictures of ours have whole grey levels, the library's have fractions: so places
        # that rank alike may change their queries, and with them their scores.
        near, most = (1e-5, 1.0) if picture.size == (64, 64) else (1e-3, 0.8)
        assert np.quantile(far, most) < near, (picture.size, far)


def test_its_predictions_are_those_of_what_it_exports(learnt):
    predictor = everything(learnt / "out")
    predictions = json.loads((learnt / "out/predictions.json").read_text())
    for image in truth_of(learnt / "data", "validation").images:
        with Image.open(learnt / "data/images" / image.file_name) as picture:
            (mine,) = predictor.predict([np.asarray(picture.convert("RGB"))])
        theirs = [one for one in predictions if one["image_id"] == image.id]
        assert theirs == sorted(theirs, key=lambda one: -one["score"])
        far = []
        for one in theirs[:10]:
            x, y, width, height = one["bbox"]
            same = mine.label == one["category_id"] - 1
            away = np.abs(mine.xyxy[same] - [x, y, x + width, y + height]).max(axis=1)
            away = np.maximum(away / 100, np.abs(mine.score[same] - one["score"]))
            far.append(away.min())
        assert np.quantile(far, 0.8) < 1e-3, far


WEIGHTS = """
import json, sys, torch
one, other = (torch.load(place, weights_only=True)["state_dict"] for place in sys.argv[1:])
assert one.keys() == other.keys()
pairs = [(one[key].double(), other[key].double()) for key in one if one[key].numel()]
far = max(float((mine - theirs).abs().max()) for mine, theirs in pairs)
print(json.dumps([far, len(one)]))
"""


def test_killed_and_run_again_it_ends_where_it_would_have(learnt, tmp_path):
    """Told to end within an epoch, killed after the next one's begin, and run to its end."""
    for sign, step, status in ((signal.SIGTERM, 1, 143), (signal.SIGKILL, 5, -9)):
        process = THEIRS.started(learnt / "data", tmp_path)
        until(lambda step=step: steps(tmp_path)[-1] >= step)
        process.send_signal(sign)
        process.communicate(timeout=300)
        assert process.returncode == status
        assert (tmp_path / "checkpoint/state.ckpt").exists()
    status, said = THEIRS.trained(learnt / "data", tmp_path)
    assert status == 0, said
    assert "going on after step" in said
    places = [str(folder / "model/model.ckpt") for folder in (learnt / "out", tmp_path)]
    far, count = asked(WEIGHTS, *places)
    assert far <= 1e-6
    assert count > 300
    assert steps(tmp_path)[1:] == sorted(set(steps(tmp_path)[1:]))
    assert [one["step"] for one in events(tmp_path) if "map" in one] == [4, 8, 12]


def steps(out):
    """0, and the steps that are told of in whole lines."""
    path = out / "progress.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [0, *(json.loads(one)["step"] for one in lines if one.endswith("}"))]


LEGACY = """
import argparse, json, sys, torch
held = torch.load(sys.argv[1], weights_only=True)
weights = {key.removeprefix("model."): value for key, value in held["state_dict"].items()
           if key.startswith("model.")}
torch.save({"model": weights, "args": argparse.Namespace(num_classes=2)}, sys.argv[2])
print("null")
"""


APART = """
import json, sys, torch
one, other = (torch.load(file, weights_only=True)["state_dict"] for file in sys.argv[1:])
same = [name for name, of in one.items() if of.is_floating_point() and of.ndim > 1
        and of.shape == other[name].shape]
print(json.dumps([(one[name] - other[name]).abs().mean().item() for name in same]))
"""


MAINS = """
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
import trainer
found = []
for data in sys.argv[2:]:
    sys.argv[1:] = ["--data", data, "--out", data + "-out"]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = trainer.main()
    found.append([status, said.getvalue()])
print(json.dumps(found))
"""


def test_it_begins_with_a_checkpoint(learnt, tmp_path):
    own, users = (
        data_folder(tmp_path / name, train=2, validation=1, hyperparameters=SMALL)
        for name in ("own", "users")
    )
    file = learnt / "out/model/model.ckpt"
    (own / "labels.txt").write_text("disc\nplate\nring\n")
    (own / "begin").mkdir()
    os.link(file, own / "begin/model.ckpt")
    change(own, checkpoint="begin", seed=7)
    asked(LEGACY, str(file), str(users / "rf-detr-nano.pth"))
    change(users, checkpoint="rf-detr-nano.pth", seed=7)
    found = asked(MAINS, str(THEIRS.trainer.parent), str(own), str(users))
    for (status, said), data, count in zip(found, (own, users), (3, 2), strict=True):
        assert status == 0, said
        assert "begins with nothing" not in said
        out = data.with_name(f"{data.name}-out")
        # One step from the checkpoint's weights; those drawn by another seed are a hundred away.
        apart = asked(APART, str(out / "model/model.ckpt"), str(file))
        assert len(apart) > 100
        assert max(apart) < 2 * SMALL["lr"]
        assert len(json.loads((out / "detector.json").read_text())["names"]) == count
        detector_of(out, name="again").load()


class Touch:
    """What a pickle runs that is read without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_bad_input_is_one_sentence(tmp_path):
    def boxes(data, change):
        coco = json.loads((data / "train.json").read_text())
        change(coco)
        (data / "train.json").write_text(json.dumps(coco))

    def grown(coco):
        coco["images"][0]["width"] += 1

    def fourth(coco):
        coco["annotations"][0]["category_id"] = 4

    def hyper(**more):
        return lambda data: change(data, hyperparameters=SMALL | more)

    def pickled(data):
        (data / "bad.pth").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
        change(data, checkpoint="bad.pth")

    cases = [
        (hyper(lrr=1), "There is no hyperparameter 'lrr': there are checkpoint_seconds"),
        (hyper(model="2xlarge"), "model is one of nano, small, medium, base, large"),
        (hyper(model="base"), "The model base needs a checkpoint"),
        (hyper(resolution=100), "resolution is a multiple of 32 for nano"),
        (hyper(lr="fast"), "The hyperparameter lr is 'fast': Input should be a valid number"),
        (hyper(lr=-1), "lr is a number above 0"),
        (lambda data: change(data, epochs=0), "epochs and batch_size are at least 1"),
        (lambda data: change(data, checkpoint="labels.txt"), "is no checkpoint of RF-DETR"),
        (pickled, "is no checkpoint of RF-DETR"),
        (lambda data: change(data, checkpoint="none.pth"), "none.pth is no checkpoint"),
        (lambda data: boxes(data, lambda coco: coco.update(annotations=[])), "nothing to learn"),
        (lambda data: boxes(data, grown), "001.png is 128 x 96, and is listed as 129 x 96"),
        (lambda data: boxes(data, fourth), "train.json: category 4 is not in labels.txt"),
        (lambda data: (data / "images/002.png").write_bytes(b"?"), "002.png cannot be read"),
        (hyper(lr=1e30, lr_encoder=1e30), "is no number; the last checkpoint is kept. A lower lr"),
    ]
    folders = []
    for i, (spoil, _) in enumerate(cases):
        data = data_folder(tmp_path / f"{i}", train=9, validation=1, hyperparameters=SMALL)
        folders.append(data)
        spoil(data)
    found = asked(MAINS, str(THEIRS.trainer.parent), *map(str, folders))
    for (_, sentence), (status, said) in zip(cases, found, strict=True):
        assert status == 2
        assert sentence in said.splitlines()[-1]
    assert not (tmp_path / "touched").exists()
    assert not list(tmp_path.glob("*-out/detector.json"))


def test_it_is_compared_beside_another_trainer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures.squares(tmp_path / "data", 20)
    mine = {
        "name": "rfdetr", "kind": "container", "command": [str(THEIRS.python), str(THEIRS.trainer)],
        "epochs": 1, "batch_size": 4, "hyperparameters": SMALL, "env": {"OMP_NUM_THREADS": "1"},
    }  # fmt: skip
    values = {
        "kind": "Training", "name": "squares", "data": "data", "compare": {"samples": 20},
        "trainers": [pictures.trainer(), mine],
    }  # fmt: skip
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", "training.yaml", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in judged["trainers"]] == ["linear", "rfdetr"]
    assert all(one.get("failed") is None for one in judged["trainers"])
