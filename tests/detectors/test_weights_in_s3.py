"""Weights in S3 give the boxes of the same weights on disk, for every kind that has any."""

import importlib.util

import numpy as np
import pytest

from quorate.detectors.darknet import DarknetDetector
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.torch.torchvision import TorchvisionDetector
from quorate.detectors.torch.transformers import TransformersDetector
from quorate.errors import DetectorError
from tests.detectors import darknet_files as darknet
from tests.detectors import models
from tests.detectors.servers.bucket import bucket

RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 80), (33, 97))]


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return [pytest.mark.torch, pytest.mark.skipif(missing, reason=f"{package} not installed")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bucket/deep").mkdir(parents=True)
    return tmp_path / "bucket/deep"


@pytest.fixture
def stored(folder, monkeypatch):
    """What `folder` is called in S3."""
    with bucket(folder.parent, monkeypatch) as root:
        yield f"{root}/deep"


def onnx(folder, root):
    models.echo(folder / "m.onnx")
    return OnnxDetector(name="d", weights=f"{root}/m.onnx")


def of_darknet(folder, root):
    darknet.write(folder, darknet.V3_TINY)
    files = {"cfg": f"{root}/m.cfg", "weights": f"{root}/m.weights", "names": f"{root}/m.names"}
    return DarknetDetector(name="d", min_score=0.0, **files)


def torchvision(folder, root, file="w.safetensors"):
    import torch

    from tests.detectors.test_torchvision import NAMES, SMALL, build, save

    model = build(SMALL)
    if file.endswith(".safetensors"):
        save(model, folder / file)
    else:
        torch.save({"model": model.state_dict()}, folder / file)
    about = {"architecture": SMALL, "names": NAMES, "min_score": 0.01, "device": "cpu"}
    return TorchvisionDetector(name="d", weights=f"{root}/{file}", **about)


def torchvision_pickle(folder, root):
    return torchvision(folder, root, "w.pth")


def transformers(folder, root):
    from tests.detectors.test_transformers import save

    save("rt_detr", folder / "rtdetr")
    about = {"min_score": 0.0, "device": "cpu"}
    return TransformersDetector(name="d", weights=f"{root}/rtdetr", **about)


KINDS = [
    onnx,
    of_darknet,
    pytest.param(torchvision, marks=needs("torchvision")),
    pytest.param(torchvision_pickle, marks=needs("torchvision")),
    pytest.param(transformers, marks=needs("transformers")),
]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_s3_give_the_boxes_of_those_on_disk(kind, folder, stored):
    there = kind(folder, stored).load()
    here = kind(folder, str(folder)).load()
    assert there.labels == here.labels
    found = 0
    for ours, theirs in zip(there.predict(PICTURES), here.predict(PICTURES), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
        found += len(ours.score)
    assert found > 0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_there(kind, folder, stored):
    detector = kind(folder, stored)
    wrong = {name: getattr(detector, name) for name in type(detector).model_fields} | {
        "weights": f"{stored}/nowhere/w.bin"
    }
    with pytest.raises(DetectorError, match="nowhere"):
        type(detector)(**wrong).load()


def test_a_server_that_is_away_is_worth_another_try(monkeypatch, folder, stored):
    from quorate.errors import StorageError
    from quorate.storage import s3

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.client.cache_clear()
    with pytest.raises(StorageError):
        onnx(folder, stored).load()
