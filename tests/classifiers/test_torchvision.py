"""GoogLeNet and ResNet-50 as torchvision has them: its own preprocessing, its own probabilities."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quorate import OnnxClassifier

pytestmark = pytest.mark.torch

PICTURE = Path(__file__).parents[2] / "docs/examples/parts/images/bench-mat/0008.jpg"


@pytest.mark.parametrize("name", ["googlenet", "resnet50"])
def test_the_probabilities_are_those_of_torchvision(tmp_path, name):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    presets = pytest.importorskip("torchvision.transforms._presets")
    torch.manual_seed(0)
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    network = getattr(models, name)(weights=None, **options).eval()
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter warns of itself
        torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), path, dynamo=False)
    loaded = OnnxClassifier(name="c", weights=str(path)).load()
    assert loaded.told["input"] == "NCHW float, 224x224, crop of 0.875, averaged when shrunk"
    assert len(loaded.labels) == 1000
    picture = Image.open(PICTURE).convert("RGB")
    with torch.no_grad():
        shown = presets.ImageClassification(crop_size=224)(picture)[None]
        theirs = torch.softmax(network(shown), 1)[0].numpy()
    [ours] = loaded.predict([np.asarray(picture)])
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours.argmax() == theirs.argmax()
