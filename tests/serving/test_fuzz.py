"""Whatever is sent, the server answers, or refuses in a sentence; and it goes on."""

import base64
import json
import random
import socket

import grpc
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.open_inference.messages import MESSAGES, SERVICE
from tests.serving.puppets import Puppets, told
from tests.serving.test_rest import LENGTH

CLEAN = {200, 400, 404, 405, 413, 431, 501}
CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}
FUZZ = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

words = st.sampled_from(
    ["image", "BYTES", "UINT8", "FP32", "boxes", "a.boxes", "voters", "layout", "NHWC", "NCHW",
     "timeout", "binary_data_size", "binary_data", "binary_data_output", "shared_memory_region",
     "b64", "data", "top_k", "", "\0", "é" * 90, "../../etc/passwd"]
) | st.text(max_size=8)  # fmt: skip
sizes = st.integers(-3, 70) | st.sampled_from([2**31, 2**63 - 1, -(2**63)])
plain = st.none() | st.booleans() | sizes | st.floats() | words
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def puppets(tmp_path_factory, plugins):
    return Puppets(tmp_path_factory.mktemp("fuzz"), plugins)


@pytest.fixture(scope="module")
def server(puppets):
    with puppets.start() as server:
        yield server
        assert told(puppets.ask(server))["votes"] == [3, 3]
        assert "Traceback" not in server.log
        assert "fault" not in server.log


def tensors(picture: bytes) -> st.SearchStrategy:
    """What may pass for an input: right, or wrong in a part."""
    text = base64.b64encode(picture).decode()
    data = st.just([text]) | st.just([[*picture]]) | st.lists(sizes, max_size=60) | anything
    shape = st.just([1]) | st.lists(sizes, max_size=5) | st.sampled_from(
        [[1, 4, 5, 3], [1, 3, 4, 5], [1, 3, 1, 3], [2, 2, 5, 3]]
    ) | anything  # fmt: skip
    return st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("image") | words | anything,
            "datatype": st.sampled_from(["BYTES", "UINT8"]) | words | anything,
            "shape": shape,
            "data": data,
            "parameters": st.dictionaries(words, anything, max_size=3) | anything,
        },
    )


def bodies(picture: bytes) -> st.SearchStrategy:
    return anything | st.fixed_dictionaries(
        {"inputs": st.lists(tensors(picture), max_size=2) | anything},
        optional={
            "outputs": st.lists(
                st.fixed_dictionaries({"name": words}, optional={"parameters": anything}),
                max_size=3,
            ) | anything,
            "parameters": st.dictionaries(words, anything, max_size=3) | anything,
            "id": words | anything,
        },
    )  # fmt: skip


def check(answer: requests.Response) -> None:
    assert answer.status_code in CLEAN, (answer.status_code, answer.text)
    if answer.status_code != 200:
        said = answer.json()["error"]
        assert said[-1] in ".?", said
        assert len(said) < 1000


def raw(server, data: bytes) -> bytes:
    """All that a server answers to bytes after which nothing more comes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@FUZZ
@given(drawn=st.data())
def test_json(server, puppets, drawn):
    body = json.dumps(drawn.draw(bodies(puppets.picture)))
    check(requests.post(f"{server.url}/v2/models/spots/infer", data=body.encode()))


@FUZZ
@given(drawn=st.data())
def test_the_binary_form(server, puppets, drawn):
    size = drawn.draw(sizes | st.just(len(puppets.picture) + 4))
    one = drawn.draw(tensors(puppets.picture)) | {"parameters": {"binary_data_size": size}}
    start = json.dumps({"inputs": [one], "outputs": []}).encode()
    behind = len(puppets.picture).to_bytes(4, "little") + puppets.picture
    behind = drawn.draw(st.just(behind) | st.binary(max_size=90) | st.just(b""))
    length = drawn.draw(st.just(len(start)) | sizes)
    headers = {LENGTH: str(length)}
    url = f"{server.url}/v2/models/spots/infer"
    check(requests.post(url, data=start + behind, headers=headers))


@FUZZ
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 30), cut=st.integers(0, 400))
def test_damaged_pictures(server, puppets, seed, flips, cut):
    generator, data = random.Random(seed), bytearray(puppets.picture)
    for _ in range(flips):
        data[generator.randrange(len(data))] = generator.randrange(256)
    text = base64.b64encode(bytes(data[: len(data) - min(cut, len(data) - 1)])).decode()
    given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    check(requests.post(f"{server.url}/v2/models/spots/infer", json={"inputs": [given]}))


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    path=st.lists(st.sampled_from(
        ["v2", "models", "spots", "infer", "ready", "versions", "1", "%00", "..", "repository",
         "index", "load", "health", "metrics", "systemsharedmemory", "%2f", "*", "a" * 3000, ""]
    ), max_size=6),
)  # fmt: skip
def test_paths(server, method, path):
    answer = raw(
        server,
        f"{method} /{'/'.join(path)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
    )
    assert int(answer.split()[1]) in CLEAN | {307, 403}, answer


@FUZZ
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_http(server, data):
    answer = raw(server, data + b"\r\n\r\n")
    assert not answer or answer.startswith(b"HTTP/1.1 ")


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
        yield channel


def called(channel, method: str, data: bytes) -> None:
    call = channel.unary_unary(f"/{SERVICE}/{method}").future(data, timeout=120)
    assert call.code().name in CODES, (call.code(), call.details())
    assert call.code() == grpc.StatusCode.OK or call.details()


@FUZZ
@given(
    method=st.sampled_from(["ModelInfer", "ModelMetadata", "ModelReady", "RepositoryIndex",
                            "ServerReady", "ModelStreamInfer", "CudaSharedMemoryStatus"]),
    data=st.binary(max_size=120),
)  # fmt: skip
def test_bytes_over_grpc(channel, method, data):
    called(channel, method, data)


numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 40)
contents = st.fixed_dictionaries(
    {},
    optional={
        "bytes_contents": st.lists(st.binary(max_size=30), max_size=3),
        "uint_contents": st.lists(st.integers(0, 2**32 - 1), max_size=60),
        "int_contents": st.lists(st.integers(-5, 5), max_size=5),
        "fp32_contents": st.lists(st.floats(width=32), max_size=5),
    },
)
parameters = st.dictionaries(
    words.filter(lambda word: word.isascii()),
    st.sampled_from(["bool_param", "int64_param", "string_param"]).flatmap(
        lambda kind: st.fixed_dictionaries(
            {kind: {"bool_param": st.booleans(), "int64_param": numbers}.get(kind, st.just("NHWC"))}
        )
    ),
    max_size=3,
)


@FUZZ
@given(drawn=st.data())
def test_messages_over_grpc(channel, puppets, drawn):
    picture = len(puppets.picture).to_bytes(4, "little") + puppets.picture
    tensor = st.fixed_dictionaries(
        {"name": st.sampled_from(["image", "x"]),
         "datatype": st.sampled_from(["BYTES", "UINT8", "FP32", ""]),
         "shape": st.sampled_from([[1], [1, 4, 5, 3], [1, 3, 4, 5]])
         | st.lists(numbers, max_size=5),
         "parameters": parameters},
        optional={"contents": contents},
    )  # fmt: skip
    message = MESSAGES["ModelInferRequest"](
        model_name=drawn.draw(st.sampled_from(["spots", "spots.a", "spots.", "x"])),
        model_version=drawn.draw(st.sampled_from(["", "1", "2"])),
        inputs=drawn.draw(st.lists(tensor, max_size=2)),
        outputs=drawn.draw(st.lists(st.fixed_dictionaries({"name": st.just("boxes")}), max_size=2)),
        raw_input_contents=drawn.draw(
            st.lists(st.just(picture) | st.binary(max_size=70), max_size=2)
        ),
        parameters=drawn.draw(parameters),
    )
    called(channel, "ModelInfer", message.SerializeToString())
