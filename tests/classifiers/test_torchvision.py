"""GoogLeNet and ResNet-50 as torchvision has them: its own preprocessing, its own probabilities."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quorate import OnnxClassifier
from tests.classifiers.exports import NETWORKS, exported

pytestmark = pytest.mark.torch

PICTURE = Path(__file__).parents[2] / "docs/examples/parts/images/bench-mat/0008.jpg"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_probabilities_are_those_of_torchvision(tmp_path, name):
    torch = pytest.importorskip("torch")
    presets = pytest.importorskip("torchvision.transforms._presets")
    path, network = exported(name, tmp_path)
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
