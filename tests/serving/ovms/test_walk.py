"""A configuration of OpenVINO Model Server as it stands: asked over HTTP and gRPC."""

import json

import numpy as np
import onnxruntime
import pytest
import requests

from tests.cvat.servers import started
from tests.serving.ovms.networks import SIZE, classifier, elementwise, walk, write
from tests.serving.ovms.published import problems
from tests.waiting import until

PIPELINE = "image_classification_pipeline"
RANDOM = np.random.default_rng(3)
IMAGES = [RANDOM.uniform(0, 255, (1, 3, SIZE, SIZE)).astype("f4") for _ in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder):
    file = walk(folder)
    assert problems(json.loads(file.read_text())) == []
    with started(str(file)) as server:
        yield server


def asked(server, model, image, name, headers=None):
    """The outputs of a model for one picture, by name."""
    said = {
        "inputs": [
            {
                "name": name,
                "datatype": "FP32",
                "shape": [*image.shape],
                "data": image.reshape(-1).tolist(),
            }
        ],
    }
    url = f"{server.url}/v2/models/{model}/infer"
    answer = requests.post(url, json=said, headers=headers)
    assert answer.status_code == 200, answer.text
    kinds = {"FP32": "f4", "INT32": "i4"}
    return {
        one["name"]: np.array(one["data"], kinds[one["datatype"]]).reshape(one["shape"])
        for one in answer.json()["outputs"]
    }


def here(folder, model, image):
    session = onnxruntime.InferenceSession(folder / model / "1/model.onnx")
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def test_the_sum_decides(server, folder):
    for image in IMAGES:
        both = [here(folder, model, image) for model in ("googlenet-v2", "resnet-50")]
        found = asked(server, PIPELINE, image, "image")
        assert found.keys() == {"label"}
        assert found["label"].dtype == np.int32
        assert found["label"].tolist() == [int(sum(both).argmax())]


def test_a_model_is_asked_by_itself(server, folder):
    for model, name in (("googlenet-v2", "input"), ("resnet-50", "map/TensorArrayStack")):
        [probabilities] = asked(server, model, IMAGES[0], name).values()
        np.testing.assert_allclose(probabilities, here(folder, model, IMAGES[0]), atol=1e-6)


def test_metadata_are_those_of_the_pipeline(server):
    about = requests.get(f"{server.url}/v2/models/{PIPELINE}").json()
    assert about["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [1, 3, SIZE, SIZE]},
    ]
    assert about["outputs"] == [{"name": "label", "datatype": "INT32", "shape": [1]}]
    # Pipelines have no versions: any is taken.
    assert requests.get(f"{server.url}/v2/models/{PIPELINE}/versions/7/ready").status_code == 200
    assert requests.get(f"{server.url}/v2/models/argmax/versions/7/ready").status_code == 404
    listed = requests.get(f"{server.url}/v2/models").json()["models"]
    assert listed == ["googlenet-v2", "resnet-50", "argmax", PIPELINE]


@pytest.mark.parametrize("data", [7, {"b64": "YQ=="}, "YQ==", True])
def test_what_is_no_list_of_numbers_is_refused(server, data):
    said = {"name": "image", "datatype": "FP32", "shape": [*IMAGES[0].shape], "data": data}
    answer = requests.post(f"{server.url}/v2/models/{PIPELINE}/infer", json={"inputs": [said]})
    assert (answer.status_code, "holds no list" in answer.text) == (400, True), answer.text


def test_over_grpc_it_says_the_same(server):
    import grpc

    from quorate.open_inference.messages import MESSAGES, SERVICE

    with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=MESSAGES["ModelInferRequest"].SerializeToString,
            response_deserializer=MESSAGES["ModelInferResponse"].FromString,
        )
        request = MESSAGES["ModelInferRequest"](
            model_name=PIPELINE,
            inputs=[{"name": "image", "datatype": "FP32", "shape": IMAGES[0].shape}],
            raw_input_contents=[IMAGES[0].tobytes()],
        )
        answer = call(request, timeout=60)
    [label] = answer.raw_output_contents
    [same] = asked(server, PIPELINE, IMAGES[0], "image").values()
    assert np.frombuffer(label, "<i4").tolist() == same.tolist()


def test_the_log_tells_when_each_node_began(server):
    ids = [f"walk-{number}" for number in range(len(IMAGES))]
    for one, image in zip(ids, IMAGES, strict=True):
        asked(server, PIPELINE, image, "image", headers={"X-Request-Id": one})
    server.says(*(f'"{one}"' for one in ids))
    lines = [line for line in server.lines if '"walk-' in line]
    assert [json.loads(line)["request"] for line in lines] == ids
    for line in lines:
        nodes = json.loads(line)["members"]
        assert nodes.keys() == {"googlenet_node", "resnet_node", "argmax_node"}
        last = nodes.pop("argmax_node")
        # To a tenth of a millisecond, each rounded by itself.
        for one in nodes.values():
            assert last["began"] + 0.21 >= one["began"] + one["milliseconds"]
    found = requests.get(f"{server.url}/metrics").text
    node = f'quorate_member_seconds_count{{ensemble="{PIPELINE}",member="argmax_node"}}'
    assert int(float(found.partition(node)[2].split()[0])) >= len(IMAGES)


@pytest.mark.parametrize(("changes", "words"), [
    ({"name": "picture"}, "takes 'image' FP32 [1, 3, 224, 224]"),
    ({"datatype": "UINT8"}, "'image' is FP32 [1, 3, 224, 224], not UINT8"),
    ({"shape": [1, 224, 224, 3]}, "not FP32 [1, 224, 224, 3]"),
    ({"shape": [4611686018427387904] * 4}, "not FP32"),
    ({"shape": [1, 3, 224]}, "not FP32 [1, 3, 224]"),
    ({"data": [1.0]}, "'image' is not FP32 [1, 3, 224, 224]"),
    ({"data": None}, "where numbers belong"),
    ({"parameters": {"shared_memory_region": "a"}}, "Shared memory is not offered"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(server, changes, words):
    given = {
        "name": "image",
        "datatype": "FP32",
        "shape": [1, 3, SIZE, SIZE],
        "data": [0.0],
        **changes,
    }
    answer = requests.post(f"{server.url}/v2/models/{PIPELINE}/infer", json={"inputs": [given]})
    assert answer.status_code in (400, 501)
    assert words in answer.json()["error"]


def test_a_new_version_is_served_without_a_restart(server, folder):
    """It comes last: the answers are others afterwards."""
    names = ("input", "InceptionV2/Predictions/Softmax")
    classifier(folder / "googlenet-v2", 9, version=2, names=names)
    about = f"{server.url}/v2/models/googlenet-v2"
    until(lambda: requests.get(about).json().get("versions") == ["2"])
    [probabilities] = asked(server, "googlenet-v2", IMAGES[0], "input").values()
    session = onnxruntime.InferenceSession(folder / "googlenet-v2/2/model.onnx")
    np.testing.assert_allclose(probabilities, session.run(None, {"input": IMAGES[0]})[0], atol=1e-6)


def test_numbers_that_json_does_not_have_are_told_and_not_made_null(tmp_path):
    elementwise(tmp_path / "div", "Div", [1, 2], by=0.0)
    with started(str(write(tmp_path / "config.json", {"div": "div"}))) as server:
        given = {"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [1, 0]}
        url = f"{server.url}/v2/models/div/infer"
        answer = requests.post(url, json={"inputs": [given]})
        assert answer.status_code == 400
        assert "'output' has numbers that are NaN or infinite" in answer.json()["error"]
        said = {"inputs": [given], "parameters": {"binary_data_output": True}}
        answer = requests.post(url, json=said)
        length = int(answer.headers["Inference-Header-Content-Length"])
        found = np.frombuffer(answer.content[length:], "<f4")
        assert np.isinf(found[0])
        assert np.isnan(found[1])
