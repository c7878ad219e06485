"""The Open Inference Protocol over HTTP: a real server, asked in every way a tensor can be sent."""

import base64
import http.client
import json

import numpy as np
import pytest
import requests

from quorate import pictures
from quorate._version import __version__
from quorate.open_inference.tensors import elements, packed
from tests.serving.conftest import PICTURES

LENGTH = "Inference-Header-Content-Length"
FILES = [one.read_bytes() for one in PICTURES]
DETECTORS = ("yolo", "detr", "frcnn")
NUMBERS = {"boxes": "<f4", "scores": "<f4", "categories": "<i4", "votes": "<i4", "counts": "<i4"}


def infer(server, body, model="parts", **more):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return requests.post(f"{server.url}/v2/models/{model}/infer", data=body, **more)


def image(shape, datatype="BYTES", **more):
    return {"name": "image", "shape": [*shape], "datatype": datatype, **more}


def behind(data, shape, datatype="BYTES", **more):
    """A body of the binary extension, and its header."""
    given = image(shape, datatype, parameters={"binary_data_size": len(data)})
    start = json.dumps({"inputs": [given], **more}).encode()
    return {"body": start + data, "headers": {LENGTH: str(len(start))}}


def outputs(answer) -> dict:
    """The outputs of an answer by name: arrays, and lists of texts."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    said, rest = json.loads(answer.content[:length]), answer.content[length:]
    found = {}
    for one in said["outputs"]:
        column = one["name"].rpartition(".")[2]
        if (size := one.get("parameters", {}).get("binary_data_size")) is not None:
            data, rest = rest[:size], rest[size:]
            if one["datatype"] == "BYTES":
                value = [text.decode() for text in elements("it", one["shape"], data)]
            else:
                value = np.frombuffer(data, NUMBERS[column]).reshape(one["shape"])
        else:
            value = one["data"]
            if one["datatype"] != "BYTES":
                value = np.array(value, NUMBERS[column]).reshape(one["shape"])
        found[one["name"]] = value
    assert not rest
    return found


def check(found, answers, loaded, prefix=""):
    """Outputs are, to the last bit, those of the ensemble here (or of a detector of it)."""
    boxes = [one.own[prefix.rstrip(".")] if prefix else one.boxes for one in answers]
    assert found[f"{prefix}counts"].tolist() == [len(one) for one in boxes]
    assert sum(map(len, boxes)) > 5
    columns = {"boxes": "xyxy", "scores": "score", "categories": "category_id"}
    for name, column in columns.items() | ({} if prefix else {"votes": "votes"}).items():
        expected = np.concatenate([getattr(one, column) for one in boxes])
        value = found[prefix + name]
        assert value.shape == expected.shape
        assert value.tobytes() == expected.astype(NUMBERS[name]).tobytes(), name
    words = [loaded.labels.name_of(i) for one in boxes for i in one.category_id.tolist()]
    assert found[f"{prefix}labels"] == words


def test_the_server_and_its_models_say_what_they_are(parts):
    get = lambda path: requests.get(f"{parts.url}/v2{path}")  # noqa: E731
    assert get("").json() == {
        "name": "quorate",
        "version": __version__,
        "extensions": ["binary_tensor_data", "parameters", "model_repository"],
    }
    assert get("/health/live").json() == {"live": True}
    assert get("/health/ready").json() == {"ready": True}
    names = ["parts", *(f"parts.{name}" for name in DETECTORS)]
    assert get("/models").json() == {"models": names}
    for name in names:
        assert get(f"/models/{name}/ready").json() == {"name": name, "ready": True}
        said = get(f"/models/{name}").json()
        assert said == get(f"/models/{name}/versions/1").json()
        assert (said["name"], said["versions"], said["platform"]) == (name, ["1"], "quorate")
        assert said["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        own = ["boxes", "scores", "categories", "labels", "counts"]
        more = ["votes", "voters", *(f"{d}.{one}" for d in DETECTORS for one in own)]
        assert [one["name"] for one in said["outputs"]] == own + (more if name == "parts" else [])
        assert said["outputs"][0] == {"name": "boxes", "datatype": "FP32", "shape": [-1, 4]}


@pytest.mark.parametrize(("path", "status"), [
    ("/v2/models/nobody", 404), ("/v2/models/nobody/ready", 404), ("/v2/models/parts.nobody", 404),
    ("/v2/models/parts/versions/2", 404), ("/v2/models/parts/infer", 405), ("/nowhere", 404),
    ("/v2/systemsharedmemory/status", 501), ("/v2/cudasharedmemory/region/a/status", 501),
])  # fmt: skip
def test_what_is_not_there_is_told_in_a_sentence(parts, path, status):
    answer = requests.get(parts.url + path)
    assert answer.status_code == status
    assert answer.json()["error"].endswith((".", "?"))


def as_base64(data):
    return base64.b64encode(data).decode()


WAYS = {
    "base64": lambda files: {"data": [as_base64(one) for one in files]},
    "b64 of TensorFlow Serving": lambda files: {"data": [{"b64": as_base64(f)} for f in files]},
    "numbers": lambda files: {"data": [[*one] for one in files]},
}


@pytest.mark.parametrize("way", WAYS)
def test_files_in_json_have_the_boxes_of_the_ensemble_here(parts, here, way):
    loaded, answers = here
    answer = infer(parts, {"inputs": [image([3], **WAYS[way](FILES))], "id": "mine"})
    check(outputs(answer), answers, loaded)
    said = answer.json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("parts", "1", "mine")
    assert said["parameters"] == {"degraded": False, "voted": "yolo,detr,frcnn"}
    assert outputs(answer)["voters"] == ["yolo,detr,frcnn"] * 3


def test_one_file_as_numbers_without_nesting(parts, here):
    loaded, answers = here
    answer = infer(parts, {"inputs": [image([1], data=[*FILES[0]])]})
    check(outputs(answer), answers[:1], loaded)


@pytest.mark.parametrize("binary", [True, False])
def test_files_behind_the_json(parts, here, binary):
    loaded, answers = here
    given = behind(packed(FILES), [3], parameters={"binary_data_output": binary})
    answer = infer(parts, given["body"], headers=given["headers"])
    assert (LENGTH in answer.headers) is binary
    check(outputs(answer), answers, loaded)


def pixels():
    """A corner of each picture, all of one size."""
    decoded = [pictures.decode(one, name="it") for one in FILES]
    height, width, _ = np.min([one.shape for one in decoded], axis=0)
    return np.stack([one[:height, :width] for one in decoded])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("binary", [True, False])
def test_pixels(parts, here, layout, binary):
    loaded, _ = here
    array = pixels()[: 3 if binary else 1]
    answers = loaded.answers([*array])
    if layout == "NCHW":
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if binary:
        given = behind(array.tobytes(), array.shape, "UINT8")
        answer = infer(parts, given["body"], headers=given["headers"])
    else:
        answer = infer(parts, {"inputs": [image(array.shape, "UINT8", data=array.tolist())]})
    check(outputs(answer), answers, loaded)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_own_boxes(parts, here, name):
    loaded, answers = here
    data = {"data": [as_base64(one) for one in FILES]}
    alone = outputs(infer(parts, {"inputs": [image([3], **data)]}, f"parts.{name}"))
    check({f"{name}.{key}": value for key, value in alone.items()}, answers, loaded, f"{name}.")
    wanted = ["counts", f"{name}.scores", *(f"{name}.{key}" for key in alone)]
    body = {"inputs": [image([3], **data)], "outputs": [{"name": one} for one in wanted]}
    found = outputs(infer(parts, body))
    assert [*found] == [*dict.fromkeys(wanted)]
    check(found, answers, loaded, f"{name}.")


def test_each_output_is_bytes_where_that_is_asked_for(parts, here):
    loaded, answers = here
    names = [*NUMBERS, "labels", "voters"]
    wanted = [{"name": one, "parameters": {"binary_data": one in ("boxes", "labels")}}
              for one in names]  # fmt: skip
    data = {"data": [as_base64(one) for one in FILES]}
    answer = infer(parts, {"inputs": [image([3], **data)], "outputs": wanted})
    assert LENGTH in answer.headers
    check(outputs(answer), answers, loaded)


PIXEL = {"data": [1, 2, 3]}
ONE = image([1, 1, 1, 3], "UINT8", **PIXEL)
BAD = {
    "no JSON": b"nonsense",
    "no inputs": {},
    "no tensor": {"inputs": []},
    "another tensor": {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]},
    "two tensors": {"inputs": [image([1], data=["a"])] * 2},
    "another datatype": {"inputs": [image([1, 1, 1, 3], "FP32", data=[1, 2, 3])]},
    "no picture": {"inputs": [image([0], data=[])]},
    "no base64": {"inputs": [image([1], data=["%%%"])]},
    "no numbers": {"inputs": [image([1], data=[[1, 300]])]},
    "a number": {"inputs": [image([1], data=[7])]},
    "a number for pixels": {"inputs": [image([1, 1, 1, 3], "UINT8", data=7)]},
    "no data": {"inputs": [image([1])]},
    "text": {"inputs": [image([1], data="aGVsbG8=")]},
    "fewer than the shape": {"inputs": [image([2], data=[as_base64(FILES[0])])]},
    "many": {"inputs": [image([33], data=[as_base64(FILES[0])] * 33)]},
    "very many": {"inputs": [image([1 << 60], data=[])]},
    "below none": {"inputs": [image([-1], data=[])]},
    "no file of a picture": {"inputs": [image([1], data=[as_base64(b"GIF87a nothing")])]},
    "cut short": {"inputs": [image([1], data=[as_base64(FILES[0][:2000])])]},
    "a path": {"inputs": [image([1], data=["/etc/passwd"])]},
    "three sizes": {"inputs": [image([1, 1, 3], "UINT8", **PIXEL)]},
    "two channels": {"inputs": [image([1, 1, 2, 2], "UINT8", data=[1, 2, 3, 4])]},
    "no height": {"inputs": [image([1, 0, 5, 3], "UINT8", data=[])]},
    "either layout": {"inputs": [image([1, 3, 1, 3], "UINT8", data=[1] * 9)]},
    "no such layout": {"inputs": [ONE], "parameters": {"layout": "x"}},
    "not that layout": {"inputs": [ONE | {"parameters": {"layout": "NCHW"}}]},
    "too few pixels": {"inputs": [image([1, 1, 2, 3], "UINT8", **PIXEL)]},
    "no whole numbers": {"inputs": [image([1, 1, 1, 3], "UINT8", data=[1.5, 2, 3])]},
    "numbers too large": {"inputs": [image([1, 1, 1, 3], "UINT8", data=[1, 2, 256])]},
    "texts for numbers": {"inputs": [image([1, 1, 1, 3], "UINT8", data=["1", "2", "3"])]},
    "another output": {"inputs": [image([1], data=["a"])], "outputs": [{"name": "x"}]},
    "a negative timeout": {"inputs": [image([1], data=["a"])], "parameters": {"timeout": -1}},
    "nothing behind": {"inputs": [image([1], parameters={"binary_data_size": 9})]},
    "nested": b'{"inputs":' + b"[" * 100_000,
    "nested data": b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":'
                   + b"[" * 900 + b"]" * 900 + b"}]}",
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_tensor_is_refused_with_a_sentence(parts, what):
    answer = infer(parts, BAD[what])
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].endswith(".")
    assert len(answer.content) < 2000
    assert "Traceback" not in parts.log


def test_an_either_way_shape_is_taken_with_its_layout(parts):
    for layout in ("NHWC", "NCHW"):
        given = image([1, 3, 1, 3], "UINT8", data=[1] * 9, parameters={"layout": layout})
        found = outputs(infer(parts, {"inputs": [given]}))
        assert found["boxes"].shape == (found["counts"][0], 4)


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "3", b"\xb2", "1" * 5000])
def test_a_length_of_the_json_that_does_not_fit(parts, length):
    given = behind(packed(FILES), [3])
    answer = infer(parts, given["body"], headers={LENGTH: length})
    assert answer.status_code == 400
    assert "Traceback" not in parts.log


def test_a_length_of_the_json_that_is_told_twice(parts):
    given = behind(packed(FILES[:1]), [1])
    [(name, length)] = given["headers"].items()
    host, port = parts.url.removeprefix("http://").split(":")
    client = http.client.HTTPConnection(host, int(port))
    client.putrequest("POST", "/v2/models/parts/infer")
    for value in (length, "2"):
        client.putheader(name, value)
    client.putheader("Content-Length", str(len(given["body"])))
    client.endheaders(given["body"])
    answer = client.getresponse()
    assert (answer.status, b"'%b, 2'" % length.encode() in answer.read()) == (400, True)
    client.close()


def test_a_timeout_beyond_all_numbers_is_the_servers_own(parts, here):
    answers = here[1]
    given = image([1], data=[as_base64(FILES[0])])
    answer = infer(parts, {"inputs": [given], "parameters": {"timeout": 10**400}})
    assert outputs(answer)["counts"].tolist() == [len(answers[0].boxes)]


def test_a_damaged_picture_is_named_by_its_place_in_the_request(parts):
    data = [as_base64(one) for one in (*FILES[:2], FILES[2][:-2000])]
    answer = infer(parts, {"inputs": [image([3], data=data)]})
    assert answer.status_code == 400
    assert answer.json()["error"].lower().startswith("picture 2: ")


@pytest.mark.parametrize("data", [packed(FILES)[:-1], packed(FILES) + b"\0\0\0\0", b"\xff" * 12])
def test_elements_that_do_not_fit(parts, data):
    given = behind(data, [3])
    answer = infer(parts, given["body"], headers=given["headers"])
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    ("name", "words"),
    [("shared_memory_region", "Shared memory is not"), ("classification", "`top_labels`")],
)
def test_what_outputs_cannot_be_is_refused(parts, name, words):
    wanted = {"name": "scores", "parameters": {name: 2}}
    given = image([1], data=[as_base64(FILES[0])])
    answer = infer(parts, {"inputs": [given], "outputs": [wanted]})
    assert (answer.status_code, words in answer.json()["error"]) == (501, True)


def test_shared_memory_is_refused_in_a_request(parts):
    given = image([1], parameters={"shared_memory_region": "a", "shared_memory_byte_size": 9})
    answer = infer(parts, {"inputs": [given]})
    assert answer.status_code == 501
    assert "Shared memory is not offered" in answer.json()["error"]
