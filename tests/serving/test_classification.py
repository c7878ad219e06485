"""Classification ensembles behind the server: label, probability, argmax, the likeliest labels."""

import base64
import io

import numpy as np
import pytest
import requests
import yaml
from PIL import Image

from quorate.ensemble import read_ensemble
from quorate.open_inference.tensors import packed
from tests.classifiers.models import colours, plain
from tests.cvat.servers import started
from tests.serving.test_rest import LENGTH, behind, image

LABELS = ("red", "green", "blue")
LEVELS = [(200, 100, 50), (10, 220, 30), (90, 90, 120)]


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A spec of two classifiers that see colours, the second with a liking for blue."""
    folder = tmp_path_factory.mktemp("colour")
    colours(folder / "one.onnx")
    colours(folder / "two.onnx", bias=(0.0, 0.0, 3.0), end="none")
    members = [
        {"name": name, "kind": "onnx", "weights": f"{name}.onnx", "scale": 1 / 255}
        for name in ("one", "two")
    ]
    about = {"kind": "ClassificationEnsemble", "name": "colour", "classifiers": members}
    (folder / "spec.yaml").write_text(yaml.safe_dump(about | {"quorum": 1}))
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def server(colour):
    with started(str(colour)) as server:
        yield server


@pytest.fixture(scope="module")
def here(colour):
    with read_ensemble(colour).load() as loaded:
        yield [loaded.look(plain(*levels)) for levels in LEVELS]


def files() -> list[bytes]:
    found = []
    for levels in LEVELS:
        buffer = io.BytesIO()
        Image.fromarray(plain(*levels)).save(buffer, "png")
        found.append(buffer.getvalue())
    return found


def asked(server, model="colour", names=(), **parameters):
    data = [base64.b64encode(one).decode() for one in files()]
    body = {"inputs": [image([3], data=data)], "outputs": [{"name": name} for name in names]}
    body |= {"parameters": parameters} if parameters else {}
    answer = requests.post(f"{server.url}/v2/models/{model}/infer", json=body)
    if answer.status_code != 200:
        return answer
    said = answer.json()
    return {one["name"]: np.reshape(one["data"], one["shape"]) for one in said["outputs"]} | {
        "said": said["parameters"]
    }


def test_what_is_decided_is_what_the_ensemble_here_decides(server, here):
    found = asked(server)
    assert [*found] == ["label", "probability", "index", "categories", "votes", "voters", "said"]
    assert found["label"].tolist() == [one.label for one in here]
    assert found["index"].tolist() == [one.index for one in here]
    assert found["probability"].tolist() == [one.probability for one in here]
    assert found["categories"].tolist() == [one.category_id for one in here]
    assert found["votes"].tolist() == [one.votes for one in here]
    assert found["voters"].tolist() == ["one,two"] * 3
    assert found["said"] == {"degraded": False, "voted": "one,two"}
    assert len({*found["label"]}) > 1


def test_pixels_in_the_binary_form(server, here):
    array = np.stack([plain(*levels) for levels in LEVELS])
    given = behind(array.tobytes(), array.shape, "UINT8", outputs=[{"name": "probabilities"}],
                   parameters={"binary_data_output": True})  # fmt: skip
    answer = requests.post(
        f"{server.url}/v2/models/colour/infer", data=given["body"], headers=given["headers"]
    )
    raw = answer.content[int(answer.headers[LENGTH]) :]
    assert raw == np.stack([one.probabilities for one in here]).tobytes()


def test_the_likeliest_labels_and_each_classifier(server, here):
    names = ["top_labels", "top_probabilities", "top_indices", "two.probabilities", "one.label"]
    found = asked(server, names=names, top_k=2)
    top = [one.top(2) for one in here]
    assert found["top_labels"].tolist() == [[choice.label for choice in one] for one in top]
    assert found["top_indices"].tolist() == [[choice.index for choice in one] for one in top]
    expected = [[choice.probability for choice in one] for one in top]
    assert found["top_probabilities"].tolist() == expected
    assert found["two.probabilities"].tolist() == [one.of("two").tolist() for one in here]
    assert found["one.label"].tolist() == [one.top_of("one", 1)[0].label for one in here]
    alone = asked(server, "colour.two")
    assert [*alone] == ["label", "probability", "index", "categories", "said"]
    assert alone["label"].tolist() == [one.top_of("two", 1)[0].label for one in here]
    assert asked(server, names=["top_labels"])["top_labels"].shape == (3, 3)


@pytest.mark.parametrize("top", [0, 4, "2", True])
def test_no_number_of_labels(server, top):
    answer = asked(server, names=["top_labels"], top_k=top)
    assert (answer.status_code, "`top_k` is a number from 1 to 3" in answer.text) == (400, True)


def test_the_metadata_tell_how_many_labels_there_are(server):
    said = requests.get(f"{server.url}/v2/models/colour").json()
    shapes = {one["name"]: (one["datatype"], one["shape"]) for one in said["outputs"]}
    assert shapes["label"] == ("BYTES", [-1])
    assert shapes["index"] == ("INT32", [-1])
    assert shapes["probabilities"] == shapes["two.probabilities"] == ("FP32", [-1, 3])
    assert "votes" not in [
        one["name"] for one in requests.get(f"{server.url}/v2/models/colour.one").json()["outputs"]
    ]


def test_files_in_the_binary_form_over_and_over_are_the_same(server):
    given = behind(packed(files()), [3])
    answers = {
        requests.post(
            f"{server.url}/v2/models/colour/infer", data=given["body"], headers=given["headers"]
        ).content
        for _ in range(5)
    }
    assert len(answers) == 1
