"""Every architecture that is trained: its ONNX finds in any picture what its own kind finds."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from quorate.spec.architectures import TORCHVISION
from quorate.spec.detector import DetectorField
from tests.training.pictures import NAMES
from tests.training.torch_models import CONFIGS, detr, ssd

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("transformers") is None,
        reason="torch and transformers not installed",
    ),
    # What torch, transformers and the exporter say of their own inner workings.
    pytest.mark.filterwarnings("ignore"),
]
PARTS = Path(__file__).parents[2] / "docs/examples/parts/images"
QUICK = ("fasterrcnn_mobilenet_v3_large_320_fpn", "deformable_detr open")
"""Those that are exported in seconds, or that need the most care; the others are slow."""


def transformers_trainer(name):
    """A tiny one by its `architecture`; 'open' are pictures of any size."""
    architecture, _, open_ = name.partition(" ")
    return detr(architecture=architecture, image_size=(64, 128) if open_ else 64)


def torchvision_trainer(architecture):
    """One that sees small pictures."""
    size = {} if architecture.startswith("ssd") else {"image_size": (128, 224)}
    return ssd(architecture=architecture, **size)


TRAINERS = {
    **dict.fromkeys(CONFIGS, transformers_trainer),
    **{f"{name} open": transformers_trainer for name in CONFIGS if name.endswith("detr")},
    **dict.fromkeys(TORCHVISION, torchvision_trainer),
}
del TRAINERS["rt_detr open"]
EACH = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(TRAINERS)
]


def learner_of(trainer, seed=0):
    """A learner with weights of chance in all its layers, so that no two queries are the same."""
    import torch

    from quorate.training.torch.detr import DetrLearner
    from quorate.training.torch.torchvision import TorchvisionLearner

    kind = DetrLearner if trainer.kind == "transformers" else TorchvisionLearner
    learner = kind(trainer, NAMES, None)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            if trainer.kind == "transformers":
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
            elif parameter.ndim > 1:
                parameter *= 1 + 0.3 * torch.randn(parameter.shape, generator=draw)
    return learner


def pictures():
    """Landscape, portrait, odd sides, very small, grey, and a strip."""
    names = ("bench-card/0001.jpg", "bench-card/0007.jpg", "bench-cloth")
    shown = [np.array(Image.open(PARTS / name).convert("RGB")) for name in names[:2]]
    shown.append(np.array(Image.open(next((PARTS / names[2]).glob("*.jpg"))).convert("RGB")))
    return [
        *shown,
        shown[0][:201, :333],
        shown[1][:31, :47],
        np.repeat(shown[2][:150, :101, :1], 3, axis=2),
        shown[0][:24, :300],
    ]


def load(entry, folder):
    adapter = TypeAdapter(DetectorField)
    return adapter.validate_python(entry, context={"folder": folder}).load()


@pytest.mark.parametrize("name", EACH)
def test_the_onnx_of_every_architecture_finds_what_its_own_kind_finds(tmp_path, name):
    trainer = TRAINERS[name](name)
    learner = learner_of(trainer)
    state = {key: item.clone() for key, item in learner.model.state_dict().items()}
    learner.save(learner.finished(state), tmp_path / "model")
    fields = learner.export(learner.finished(state), tmp_path / "model.onnx")
    entry = {"name": "x", "kind": "onnx", "weights": "model.onnx", "names": list(NAMES), **fields}
    own = {"name": "x", "kind": trainer.kind, "weights": "model"}
    if trainer.kind == "torchvision":
        own |= {"architecture": name, "weights": "model/model.safetensors"}
        own["image_size"] = trainer.image_size
    floor = {"min_score": max(learner.floor, 0.02)}
    exported, original = load(entry | floor, tmp_path), load(own | floor, tmp_path)
    shown = pictures()
    twins = of = 0
    for one, other, picture in zip(
        original.predict(shown), exported.predict(shown), shown, strict=True
    ):
        side = max(picture.shape[:2])
        found = [_twin(one, row, other, side) for row in np.flatnonzero(one.score > 0.03)]
        twins, of = twins + sum(found), of + len(found)
        assert (one.masks is None) == (other.masks is None)
        assert abs(len(one.score) - len(other.score)) <= 3
    # Each prepares pictures by itself, a grey level apart, and boxes of chance score the same.
    assert of > 20
    assert twins >= 0.97 * of, (twins, of)


def _twin(one, row, other, side):
    """Whether a box of one is among the other's: label, sides, score."""
    near = (other.label == one.label[row]) & (np.abs(other.score - one.score[row]) <= 5e-3)
    apart = np.abs(other.xyxy[near] - one.xyxy[row]).max(axis=1, initial=0.0) / side
    return bool((apart <= 1e-3).any())
