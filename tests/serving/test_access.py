"""Limits of what is read and kept, tokens, TLS: over both ways, on a real server."""

import socket
import subprocess
import zlib

import grpc
import pytest
import requests
from PIL import ExifTags, Image

from quorate.errors import InputError
from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.serving.access import read_tls, read_token
from tests.serving.puppets import told
from tests.serving.test_failures import request
from tests.serving.test_rest import as_base64
from tests.spots import draw


@pytest.fixture(scope="module")
def small(tmp_path_factory, plugins):
    """A server with small limits, and its puppets."""
    from tests.serving.puppets import Puppets

    puppets = Puppets(tmp_path_factory.mktemp("small"), plugins)
    options = ["--max-request", "1", "--max-pixels", "4000", "--max-pictures", "2"]
    with puppets.start(*options, "--memory", "2") as server:
        yield puppets, server


def raw(server, data: bytes) -> bytes:
    """What a server answers to bytes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(data)
        answer = connection.recv(65536)
        while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
            answer += connection.recv(65536)
        return answer


def head(*more: str, method="POST", path="/v2/models/spots/infer") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


def test_a_request_that_is_too_long_is_refused_before_it_is_read(small):
    _, server = small
    answer = raw(server, head("Content-Length: 1048577"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"more than 1,048,576 bytes is not read" in answer


def test_one_that_does_not_say_its_length_is_cut_off(small):
    _, server = small
    answer = requests.post(
        f"{server.url}/v2/models/spots/infer", data=(b"x" * 65536 for _ in range(100))
    )
    assert answer.status_code == 413


def test_requests_that_hold_all_the_memory_make_room_again(small):
    puppets, server = small
    host, port = server.url.removeprefix("http://").split(":")
    slow = []
    for _ in range(2):
        slow.append(socket.create_connection((host, int(port))))
        slow[-1].sendall(head("Content-Length: 1048576") + b"x")
    answer = None
    while answer is None or answer.status_code == 200:  # until both have been begun to be read
        answer = puppets.ask(server)
    assert (answer.status_code, "memory" in answer.json()["error"]) == (429, True)
    for one in slow:
        one.close()
    while (answer := puppets.ask(server)).status_code == 429:
        pass
    assert told(answer)["votes"] == [3, 3]


@pytest.mark.parametrize("lines", [
    [f"X-{i}: 1" for i in range(80)], ["X: " + "x" * 70_000], ["nonsense"],
    ["Content-Length: -1"],
])  # fmt: skip
def test_bad_headers_are_refused(small, lines):
    _, server = small
    status = raw(server, head(*lines)).split()[1]
    assert status in (b"400", b"431")
    assert told(small[0].ask(server))["votes"] == [3, 3]


def test_many_headers_are_refused_over_grpc(small):
    puppets, server = small
    with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            ask(request(puppets), metadata=[(f"x-{i}", "1") for i in range(70)])
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "headers are more than 64" in caught.value.details()


def test_a_packed_request_is_refused(small):
    puppets, server = small
    answer = puppets.ask(server, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, "packed" in answer.json()["error"]) == (400, True)


def test_a_picture_that_is_too_large_is_refused_by_its_header(small, tmp_path):
    puppets, server = small
    draw(tmp_path / "large.png", 1, width=200, height=100)
    for size in (None, (20_000, 20_000)):
        data = bytearray((tmp_path / "large.png").read_bytes())
        if size:  # a bomb: its header promises more than can be decoded
            data[16:24] = b"".join(side.to_bytes(4, "big") for side in size)
        before, puppets.picture = puppets.picture, bytes(data)
        try:
            answer = puppets.ask(server)
        finally:
            puppets.picture = before
        assert answer.status_code == 400
    pixels = {"name": "image", "shape": [1, 100, 200, 3], "datatype": "UINT8", "data": [0] * 60000}
    answer = puppets.ask(server, body={"inputs": [pixels]})
    assert (answer.status_code, "200 × 100 pixels" in answer.json()["error"]) == (400, True)


def test_a_large_picture_is_not_decoded_to_find_its_orientation(small, tmp_path):
    puppets, server = small
    draw(tmp_path / "large.png", 1, width=200, height=100)
    data = (tmp_path / "large.png").read_bytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    held = exif.tobytes()[6:]
    chunk = len(held).to_bytes(4, "big") + b"eXIf" + held
    chunk += zlib.crc32(chunk[4:]).to_bytes(4, "big")
    pixels, end = data.index(b"IDAT") + 4, data.rindex(b"IEND") - 4
    damaged = data[:pixels] + bytes(end - pixels - 4) + data[end - 4 : end]
    given = as_base64(damaged + chunk + data[end:])
    body = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [given]}]}
    answer = puppets.ask(server, body=body)
    assert answer.status_code == 400
    assert "200 × 100 pixels is too large" in answer.json()["error"]


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,"])
def test_many_small_values_are_held_to_the_memory_too(small, value):
    _, server = small
    start = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,1,3],"data":['
    body = start + value * (900_000 // len(value)) + b"1]}]}"
    answer = requests.post(f"{server.url}/v2/models/spots/infer", data=body)
    assert (answer.status_code, "in the binary form" in answer.text) == (413, True), answer.text


@pytest.mark.parametrize("what", ["uint", "uint64", "fp32", "bytes", "not packed", "inputs"])
def test_so_they_are_over_grpc(small, what):
    _, server = small
    image = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3]}
    given = {
        "uint": {"uint_contents": [1] * 60_000},
        "uint64": {"uint64_contents": [300] * 60_000},
        "fp32": {"fp32_contents": [1] * 60_000},
        "bytes": {"bytes_contents": [b""] * 20_000},
    }
    made = MESSAGES["ModelInferRequest"]
    if what in given:
        data = made(model_name="spots", inputs=[image | {"contents": given[what]}])
        data = data.SerializeToString()
    elif what == "inputs":
        data = made(model_name="spots", inputs=[{}] * 10_000).SerializeToString()
    else:
        contents = b"\x20\x01" * 20_000
        contents = b"\x2a" + varint(len(contents)) + contents
        data = made(model_name="spots").SerializeToString() + b"\x2a" + varint(len(contents))
        data += contents
    with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            ask(data)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "in the binary form" in caught.value.details()
    assert told(small[0].ask(server))["votes"] == [3, 3]


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def test_a_batch_that_is_too_large(small):
    puppets, server = small
    assert told(puppets.ask(server, body=puppets.body(2)))["counts"] == [2, 2]
    answer = puppets.ask(server, body=puppets.body(3))
    assert (answer.status_code, "more than 2" in answer.json()["error"]) == (400, True)


def test_nobody_is_sent_elsewhere(small):
    _, server = small
    for path in (
        "/v2/",
        "/v2/models/",
        "/v2/models/spots/",
        "/v2/models/spots/infer/",
        "/metrics/",
    ):
        headers = {"Host": "elsewhere.example"}
        answer = requests.get(server.url + path, headers=headers, allow_redirects=False)
        assert (answer.status_code, "location" in answer.headers) == (404, False), path
        assert f"There is nothing at {path};" in answer.json()["error"]


def test_no_path_of_a_client_is_opened(small):
    puppets, server = small
    for path in ("/v2/models/..%2f..%2fetc/infer", "/v2/../etc/passwd", "//etc/passwd"):
        assert requests.get(server.url + path).status_code in (404, 405)
    for value in (str(puppets.folder / "0.png"), "file:///etc/passwd", "s3://pool/a.png"):
        given = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [value]}
        assert puppets.ask(server, body={"inputs": [given]}).status_code == 400
        message = MESSAGES["ModelInferRequest"](
            model_name="spots",
            inputs=[{"name": "image", "datatype": "BYTES", "shape": [1],
                     "contents": {"bytes_contents": [value.encode()]}}],
        )  # fmt: skip
        with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{SERVICE}/ModelInfer")(message.SerializeToString())
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of `localhost` and its key, as files."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
               "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", "key.pem", "-out", "cert.pem"]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_a_token_and_tls(puppets, certificate, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    tls = ["--tls-cert", f"{certificate}/cert.pem", "--tls-key", f"{certificate}/key.pem"]
    with puppets.start("--token-file", str(tmp_path / "token"), *tls) as server:
        assert server.url.startswith("https://")
        assert server.rpc.startswith("grpcs://")
        known = {"verify": f"{certificate}/cert.pem"}
        right = {"Authorization": "Bearer open-sesame"}
        assert requests.get(f"{server.url}/v2/health/ready", **known).ok
        assert "spots" not in requests.get(server.url, **known).text  # the page, which asks for it
        for wrong in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "open-sesame"}):
            for path in ("/v2", "/v2/models", "/v2/models/spots", "/metrics", "/v2/health/live/"):
                answer = requests.get(server.url + path, headers=wrong, **known)
                assert answer.status_code == 401, path
            assert puppets.ask(server, headers=wrong, **known).status_code == 401
        assert told(puppets.ask(server, headers=right, **known))["votes"] == [3, 3]
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.url}/v2/health/ready")

        trusted = grpc.ssl_channel_credentials((certificate / "cert.pem").read_bytes())
        target = server.rpc.removeprefix("grpcs://")
        with grpc.secure_channel(target, trusted) as channel:
            ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            channel.unary_unary(f"/{SERVICE}/ServerReady")(b"")
            for borne in ([], [("authorization", "Bearer nonsense")]):
                with pytest.raises(grpc.RpcError) as caught:
                    ask(request(puppets), metadata=borne)
                assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert ask(request(puppets), metadata=[("authorization", "Bearer open-sesame")])


def test_files_that_hold_no_token_and_no_certificate(tmp_path, certificate):
    for text in ("", "two words", "é"):
        (tmp_path / "token").write_text(text)
        with pytest.raises(InputError, match="holds no token"):
            read_token(str(tmp_path / "token"))
    with pytest.raises(InputError, match="no token can be read"):
        read_token(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="no certificate"):
        read_tls(str(tmp_path / "token"), f"{certificate}/key.pem")


def test_a_key_that_does_not_fit_or_is_locked_is_told(tmp_path, certificate):
    signed, key = f"{certificate}/cert.pem", f"{certificate}/key.pem"
    other, locked = str(tmp_path / "other.pem"), str(tmp_path / "locked.pem")
    for words in (
        ["genpkey", "-algorithm", "RSA", "-out", other],
        ["rsa", "-aes256", "-passout", "pass:abcd", "-in", key, "-out", locked],
    ):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    for cert, own, words in (
        (signed, other, "the key is that of another certificate"),
        (key, signed, "one of them is not what it should be"),
        (signed, locked, "locked by a pass phrase"),
    ):
        with pytest.raises(InputError, match=words):
            read_tls(cert, own)
