"""Classifiers on KServe, MLServer and Triton: the probabilities of the same file here."""

import numpy as np
import pytest

from quorate import ClassificationEnsemble, OnnxClassifier
from quorate.classifiers.remote import RemoteClassifier
from quorate.errors import DetectorError, SpecError
from tests.classifiers.models import COLOURS, colours
from tests.detectors.servers.real import running

PLAIN = {"scale": 1 / 255, "names": COLOURS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    colours(folder / "softmax.onnx")
    colours(folder / "logits.onnx", end="none", order="nhwc")
    return folder


@pytest.fixture(scope="module", params=["kserve", "mlserver", "triton"])
def server(request, folder, tmp_path_factory):
    with running(request.param, folder, tmp_path_factory.mktemp(request.param)) as server:
        yield server


def pictures():
    random = np.random.default_rng(2)
    return [random.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((40, 60), (9, 200), (1, 1))]


@pytest.mark.parametrize("way", ["http", "rpc"])
@pytest.mark.parametrize("model", ["softmax", "logits"])
def test_the_probabilities_are_those_of_the_same_file_here(server, folder, model, way):
    here = OnnxClassifier(name="c", weights=str(folder / f"{model}.onnx"), **PLAIN).load()
    url = server.rpc if way == "rpc" else server.http
    there = RemoteClassifier(name="c", url=url, model=model, **PLAIN).load()
    assert there.activation == here.activation == {"softmax": "none", "logits": "softmax"}[model]
    assert there.feed.order == here.feed.order
    assert (there.predict(pictures()) == here.predict(pictures())).all()


def test_an_ensemble_of_both_and_a_server_that_is_away(server, folder):
    here = OnnxClassifier(name="here", weights=str(folder / "softmax.onnx"), **PLAIN)
    there = RemoteClassifier(name="there", url=server.http, model="logits", **PLAIN)
    spec = ClassificationEnsemble(name="both", classifiers=(here, there))
    with spec.load() as loaded:
        said = loaded.look(pictures()[0])
    assert said.members == ("here", "there")
    with pytest.raises(DetectorError, match=r"no such model|refuses"):
        RemoteClassifier(name="c", url=server.http, model="nobody", retries=0, **PLAIN).load()


def test_a_password_in_an_address_is_refused_as_for_detectors():
    with pytest.raises(SpecError, match="holds a password"):
        RemoteClassifier(name="c", url="http://me:secret@there", model="m")
