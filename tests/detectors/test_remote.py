"""`kind: remote` against a server that misbehaves, and the words of its spec."""

import gzip
import json
import shutil
import ssl
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import ip_address
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from PIL import Image
from urllib3.exceptions import InsecureRequestWarning

from quorate.cli import main
from quorate.detectors.remote import RemoteDetector, rest, rpc
from quorate.errors import DetectorError, ServerError, SpecError
from quorate.http import retrying as again
from quorate.labels import Labels
from quorate.open_inference.messages import MESSAGES
from quorate.open_inference.tensors import from_bytes, from_list
from quorate.spec import EnsembleSpec
from quorate.spec.detector import detector_kinds
from quorate.steps import Voter
from tests.detectors.servers import faulty

PICTURE = np.full((8, 8, 3), 51, dtype=np.uint8)  # 51 of 255 is 0.2


@pytest.fixture
def web():
    with faulty.http_server() as told:
        yield told


@pytest.fixture
def wire():
    with faulty.rpc_server() as told:
        yield told


@pytest.fixture(params=["http", "grpc"])
def either(request):
    with faulty.http_server() if request.param == "http" else faulty.rpc_server() as told:
        yield told


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(again, "FIRST_WAIT", 0.01)


def spec(told, **options):
    # A layout that is said is not looked for in a picture, so loading makes no request of its own.
    given = {"model": "mean", "names": ("thing", "other"), "layout": "yolov10"}
    given |= {"retries": 2, "request_timeout": 60}
    return RemoteDetector(name="d", url=told.url, **given | options)


def score(predictor, picture=PICTURE):
    [boxes] = predictor.predict([picture])
    return boxes.score.tolist()


def hurried(told, seconds, **options):
    """A predictor that is loaded at leisure, and then waits so long for an answer."""
    predictor = spec(told, **options).load()
    client = predictor.network.client
    client.spec = client.spec.model_copy(update={"request_timeout": seconds})
    return predictor


def refuses(told, match, error=DetectorError, **options):
    """The error of one prediction, and that it was asked for once only."""
    predictor = spec(told, **options).load()
    with pytest.raises(error, match=match) as caught:
        score(predictor)
    return caught.value


def test_the_kind_is_found_by_entry_point_and_describing_it_loads_nothing_heavy():
    assert detector_kinds()["remote"].load() is RemoteDetector
    code = (
        "import sys; from quorate.detectors.remote import RemoteDetector;"
        "RemoteDetector(name='a', url='http://h', model='m');"
        "heavy = ('onnxruntime', 'numba', 'grpc', 'google.protobuf', 'urllib3', 'boto3');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_boxes_come_back_over_either(either):
    predictor = spec(either).load()
    [boxes] = predictor.predict([PICTURE])
    assert boxes.xyxy.tolist() == [[1, 2, 5, 6]]
    assert boxes.score.tolist() == pytest.approx([0.2])
    assert predictor.labels == ("thing", "other")
    assert either.requests == 1


# Bytes or JSON


@pytest.mark.parametrize(
    ("announced", "asked", "sent"),
    [
        (["binary_tensor_data"], "auto", "application/octet-stream"),
        (["something"], "auto", "application/json"),
        ([], True, "application/octet-stream"),
        (["binary_tensor_data"], False, "application/json"),
    ],
)
def test_tensors_go_as_the_server_announces_unless_the_spec_says(web, announced, asked, sent):
    web.extensions = announced
    assert score(spec(web, binary=asked).load()) == pytest.approx([0.2])
    [(path, kind, _)] = web.seen
    assert (path, kind) == ("/v2/models/mean/infer", sent)


def test_a_version_and_what_stands_before_v2_are_in_the_path(web):
    score(spec(web, version="3").load())
    assert web.seen[0][0] == "/v2/models/mean/versions/3/infer"
    with pytest.raises(DetectorError, match="refuses: HTTP 404, unknown model"):
        RemoteDetector(name="d", url=f"{web.url}/serving/", model="mean", names=("a",)).load()


# Busy, slow, gone: another try


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(web, code):
    web.next = [faulty.status(code), faulty.status(code, Retry_After="0")]
    assert score(spec(web).load()) == pytest.approx([0.2])
    assert web.requests == 3


@pytest.mark.parametrize("name", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_likewise_over_grpc(wire, name):
    wire.next = [faulty.code(name), faulty.code(name, grpc_retry_pushback_ms="1")]
    assert score(spec(wire).load()) == pytest.approx([0.2])
    assert wire.requests == 3


def test_it_waits_as_long_as_the_server_asks(web, wire, monkeypatch):
    for told, trick in (
        (web, faulty.status(429, Retry_After="1")),
        (wire, faulty.code("UNAVAILABLE", grpc_retry_pushback_ms="1000")),
    ):
        predictor = spec(told).load()
        told.next = [trick]
        waits = []
        monkeypatch.setattr(again, "time", SimpleNamespace(sleep=waits.append))
        score(predictor)
        assert waits == [1.0]
        assert told.requests == 2


def test_a_wait_that_is_too_long_is_left_to_who_runs_us(web):
    web.always = faulty.status(503, b'{"error": "loading"}', Retry_After="3600")
    error = refuses(web, "HTTP 503, loading. It asks to come back in 3600 s", ServerError)
    assert error.exit_code == 75
    assert web.requests == 1


def test_retry_after_is_seconds_or_a_date(monkeypatch):
    monkeypatch.setattr(again, "time", SimpleNamespace(time=lambda: 1e9))
    assert again.retry_after("2") == 2
    assert again.retry_after(formatdate(1e9 + 9, usegmt=True)) == 9
    assert again.retry_after(formatdate(1e9 - 9, usegmt=True)) == 0
    assert again.retry_after("soon") is again.retry_after(None) is None


def test_waits_grow_and_are_not_all_alike(monkeypatch):
    waits = []
    monkeypatch.setattr(again, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(again, "time", SimpleNamespace(sleep=waits.append))

    def busy():
        raise again.Busy("busy")

    for _ in range(20):
        with pytest.raises(ServerError, match="m: no answer, 7 times: busy"):
            again.retrying(busy, retries=6, origin="m")
    for position, most in enumerate((1, 2, 4, 8, 16, 30)):
        column = waits[position::6]
        assert max(column) <= most
        assert min(column) >= most / 2
        assert len(set(column)) > 1


def test_a_connection_that_is_cut_is_made_again(web):
    web.next = [faulty.cut]
    assert score(spec(web).load()) == pytest.approx([0.2])
    web.always = faulty.cut
    refuses(web, "no answer, 3 times", ServerError)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_server_that_takes_too_long(kind, web, wire):
    told = web if kind == "http" else wire
    told.always = faulty.never(told)
    predictor = hurried(told, 0.1, retries=1)
    with pytest.raises(ServerError, match="2 times: it took too long") as caught:
        score(predictor)
    assert "request_timeout" in caught.value.hint


@pytest.mark.parametrize("from_start", [True, False])
def test_the_time_limit_is_for_the_answer_and_not_for_each_byte(web, from_start):
    """A server that never stops sending would be waited for without end."""
    predictor = hurried(web, 0.3, retries=1)
    web.always = faulty.trickle(from_start)
    with pytest.raises(ServerError, match="2 times: it took too long"):
        score(predictor)


def test_a_model_that_is_not_ready_is_worth_another_try(either, monkeypatch):
    either.ready = False
    with pytest.raises(ServerError, match=r"no answer, 3 times: (the model is not ready|HTTP 503)"):
        spec(either).load()
    waits = []

    def ready(seconds):
        waits.append(seconds)
        either.ready = len(waits) == 3

    monkeypatch.setattr(again, "time", SimpleNamespace(sleep=ready))
    assert spec(either, retries=8).load().labels == ("thing", "other")


def test_no_more_requests_are_under_way_than_the_spec_allows(either):
    predictor = spec(either, concurrency=2).load()
    either.together, either.delay = 2, 0.03
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: score(predictor), range(24)))
    assert (either.requests, either.most) == (24, 2)


# Refused: no other try


@pytest.mark.parametrize("code", [400, 404, 405, 413, 422, 500, 501])
def test_what_will_not_succeed_is_asked_once(web, code):
    web.always = faulty.status(code, b'{"error": "input images is of another shape."}')
    refuses(web, f"HTTP {code}, input images is of another shape.$")
    assert web.requests == 1


@pytest.mark.parametrize("name", ["INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "NOT_FOUND"])
def test_likewise_over_grpc_once(wire, name):
    wire.always = faulty.code(name, "input images is of another shape")
    refuses(wire, f"{name}, input images is of another shape")
    assert wire.requests == 1


def test_a_redirect_is_not_followed(web):
    web.always = faulty.status(307, Location="http://elsewhere/")
    refuses(web, "leads elsewhere, to http://elsewhere/")


def test_redirects_without_end_are_not_followed_either(web):
    web.always = faulty.round_and_round
    refuses(web, "leads elsewhere, to /v2/models/mean/infer")
    assert web.requests == 1


def test_an_unknown_model_names_the_nearest(either):
    with pytest.raises(DetectorError, match=r"meen at .* no such model") as caught:
        spec(either, model="meen").load()
    assert caught.value.hint == "did you mean 'mean'?"
    with pytest.raises(DetectorError) as caught:
        spec(either, model="yolo").load()
    assert caught.value.hint == "it has mean, median"


# Tokens


def test_headers_are_taken_from_the_environment(either, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "Bearer secret-1\n")
    spec(either, headers={"Authorization": "MODEL_TOKEN"}).load()
    assert all(
        {k.lower(): v for k, v in seen.items()}["authorization"] == "Bearer secret-1"
        for seen in either.headers
    )


def test_a_refused_token_is_not_repeated(web, wire, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "secret-1")
    for told, trick in (
        (web, faulty.status(401, b"who are you")),
        (web, faulty.status(403)),
        (wire, faulty.code("UNAUTHENTICATED", "who are you")),
        (wire, faulty.code("PERMISSION_DENIED")),
    ):
        told.always, told.seen = trick, []
        error = refuses(told, "refuses access", headers={"Authorization": "MODEL_TOKEN"})
        assert told.requests == 1
        assert "secret-1" not in str(error)
        assert "headers" in error.hint


@pytest.mark.parametrize("value", [None, "", "two\nlines", "smörgås"])
def test_a_variable_that_holds_no_header(web, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("MODEL_TOKEN", raising=False)
    else:
        monkeypatch.setenv("MODEL_TOKEN", value)
    with pytest.raises(DetectorError, match="variable 'MODEL_TOKEN'") as caught:
        spec(web, headers={"Authorization": "MODEL_TOKEN"}).load()
    assert not value or value not in str(caught.value)


# Answers that make no sense


@pytest.mark.parametrize(
    ("trick", "says"),
    [
        (faulty.status(200, b"<html>Welcome to nginx!</html>"), "not the protocol's JSON.*nginx"),
        (faulty.status(200, b""), "not the protocol's JSON"),
        (faulty.status(200, b"[1, 2]"), "not the protocol's JSON"),
        (faulty.status(200, b'{"outputs": [{"name": "x", "data": [NaN]}]}'), "not the protocol's"),
        (faulty.status(200, b"\xff\xfe\x00"), "not the protocol's JSON"),
        (faulty.said(name="other", data=[0] * 6), "lacks 'output0'; it has other"),
        (faulty.status(200, b'{"outputs": []}'), "lacks 'output0'; it has no outputs"),
        (faulty.said(data=[0] * 5), r"'output0' is not FP32 \[1, 1, 6\]"),
        (faulty.said(data=[0, 0, 0, 0, None, 0]), "'output0' holds null"),
        (faulty.said(data=["a"] * 6), "'output0' is not FP32"),
        (faulty.said(data=[[1, 2, 3], [4]]), "'output0' is not FP32"),
        (faulty.said(), "'output0' holds no list"),
        (faulty.said(data=7), "'output0' holds no list"),
        (faulty.said(datatype="BYTES", data=["a"] * 6), "datatype BYTES"),
        (faulty.said(datatype="BF16", data=[0] * 6), "datatype BF16"),
        (faulty.said(shape=[1, 6], data=[0] * 6), r"shape \[1, 6\], where its metadata says"),
        (faulty.said(shape=[1, 1, 7], data=[0] * 7), r"shape \[1, 1, 7\], where"),
        (faulty.said(shape=[-1, 1, 6], data=[0] * 6), r"shape \[-1, 1, 6\]"),
        (faulty.said(parameters={"binary_data_size": 24}), "has 0 bytes, not 24"),
    ],
)
def test_an_answer_that_makes_no_sense(web, trick, says):
    web.always = trick
    refuses(web, says)
    assert web.requests == 1


def test_likewise_over_grpc_it_makes_no_sense(wire):
    answer = MESSAGES["ModelInferResponse"]
    about = {"name": "output0", "datatype": "FP32", "shape": [1, 1, 6]}
    nan = np.array([1, 2, 3, np.nan, 0.9, 0], np.float32).tobytes()
    for made, says in (
        (answer(), "lacks 'output0'"),
        (answer(outputs=[about]), r"'output0' is not FP32 \[1, 1, 6\]"),
        (answer(outputs=[about], raw_output_contents=[b"123"]), "has 3 bytes, not 24"),
        (answer(outputs=[{**about, "datatype": "BYTES"}]), "datatype BYTES"),
        (answer(outputs=[about], raw_output_contents=[nan]), "NaN or infinite"),
    ):
        wire.always = lambda context, made=made: made
        refuses(wire, says)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_packed_answer_is_unpacked_though_it_was_not_asked_for(web, encoding):
    data = [1, 2, 5, 6, 0.5, 0]
    plain = json.dumps(
        {"outputs": [{"name": "output0", "datatype": "FP32", "shape": [1, 1, 6], "data": data}]}
    ).encode()
    pack = zlib.compress if encoding == "deflate" else gzip.compress
    web.always = faulty.packed(pack(plain), encoding)
    assert score(spec(web).load()) == [0.5]


@pytest.mark.parametrize(
    ("data", "encoding", "says"),
    [
        (gzip.compress(bytes(9_000_000)), "gzip", "packed answer holds more than 8 MiB"),
        (gzip.compress(b"{}")[:-5], "gzip", "packed answer is cut short"),
        (b"{}", "gzip", "packed answer is damaged"),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip", "packed as 'gzip, gzip'"),
        (b"{}", "br", "packed as 'br', which was not asked for"),
    ],
    ids=["bomb", "cut", "plain", "twice", "brotli"],
)
def test_a_packed_answer_that_is_a_bomb_or_damaged(web, monkeypatch, data, encoding, says):
    monkeypatch.setattr(rest, "LARGEST_UNPACKED", 8 << 20)
    web.always = faulty.packed(data, encoding)
    refuses(web, says)
    assert web.requests == 1


def test_a_busy_server_may_pack_its_excuse_badly(web):
    web.next = [faulty.status(503, b"{}", Content_Encoding="gzip")]
    assert score(spec(web).load()) == pytest.approx([0.2])


def test_a_packed_answer_over_grpc_is_bounded_too(monkeypatch):
    limit = [(key, 8 << 20 if "receive" in key else value) for key, value in rpc.OPTIONS]
    monkeypatch.setattr(rpc, "OPTIONS", limit)
    with faulty.rpc_server(compression=grpc.Compression.Gzip) as told:
        assert score(spec(told).load()) == pytest.approx([0.2])
        about = {"name": "output0", "datatype": "UINT8", "shape": [1, 1, 64 << 20]}
        made = MESSAGES["ModelInferResponse"](
            outputs=[about], raw_output_contents=[bytes(64 << 20)]
        )
        told.always = lambda context: made
        refuses(told, "larger than max")


def test_an_answer_without_end_is_not_read(web, monkeypatch):
    monkeypatch.setattr(rest, "LARGEST", 2000)
    web.always = faulty.status(200, b" " * 5000)
    refuses(web, "answer is larger than")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"inputs": [], "outputs": [faulty.OUTPUT]}, "names no inputs"),
        ({"inputs": [faulty.INPUT], "outputs": []}, "names no outputs"),
        (
            {"inputs": [{**faulty.INPUT, "datatype": "BYTES"}], "outputs": [faulty.OUTPUT]},
            "no pict",
        ),
        ({"inputs": [{**faulty.INPUT, "shape": [-1, 10]}], "outputs": [faulty.OUTPUT]}, "rank 4"),
        ({"inputs": [faulty.INPUT], "outputs": [{**faulty.OUTPUT, "shape": [-1, 9]}]}, "layout"),
    ],
)
def test_metadata_that_makes_no_sense(either, metadata, says):
    either.metadata = metadata
    with pytest.raises(DetectorError, match=says):
        spec(either).load()


def test_labels_come_from_the_spec_alone(web):
    with pytest.raises(DetectorError, match="does not say what its labels") as caught:
        spec(web, names=()).load()
    assert "names: [" in caught.value.hint


def test_tensors_are_little_endian_and_row_major():
    data = bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 1])
    array = from_bytes("t", "INT16", [2, 3], data)
    assert array.tolist() == [[0, 1, 2], [3, 4, 256]]
    array[0, 0] = 7  # its own, not the answer's
    assert from_list("t", "BOOL", [2], [True, False]).tolist() == [True, False]
    assert from_list("t", "FP32", [0], []).shape == (0,)
    with pytest.raises(DetectorError, match="not INT8"):
        from_list("t", "INT8", [1], [300])


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(key, certificate) of 127.0.0.1, which nobody has signed but itself."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


@pytest.fixture(params=["https", "grpcs"])
def secure(request, certificate):
    key, signed = certificate
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed, key)
        server = faulty.http_server(context)
    else:
        server = faulty.rpc_server((key.read_bytes(), signed.read_bytes()))
    with server as told:
        yield told


def test_a_certificate_that_nobody_signed_is_refused_unless_it_is_named(secure, certificate):
    with pytest.raises(DetectorError, match="certificate is not trusted"):
        spec(secure).load()
    assert score(spec(secure, tls_ca=str(certificate[1])).load()) == pytest.approx([0.2])
    with pytest.raises(DetectorError, match=r"nowhere\.pem"):
        spec(secure, tls_ca="nowhere.pem").load()
    if secure.url.startswith("https"):
        with pytest.warns(InsecureRequestWarning):
            assert score(spec(secure, tls_verify=False).load()) == pytest.approx([0.2])


def test_an_expired_certificate_and_a_file_without_authorities_are_told(tmp_path, certificate):
    key = tmp_path / "key.pem"
    signed = tmp_path / "certificate.pem"
    expired(key, signed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    servers = (
        faulty.http_server(context),
        faulty.rpc_server((key.read_bytes(), signed.read_bytes())),
    )
    for server in servers:
        with server as told:
            with pytest.raises(DetectorError) as caught:
                spec(told, tls_ca=str(signed)).load()
            assert caught.value.message.endswith("not trusted: certificate has expired.")
            with pytest.raises(DetectorError, match="no authorities can be read"):
                spec(told, tls_ca=str(key)).load()


def expired(key, certificate):
    """Write a certificate of 127.0.0.1 that ended yesterday, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day = timedelta(days=1)
    built = (
        x509.CertificateBuilder(name, name, own.public_key(), 1)
        .not_valid_before(datetime.now(UTC) - 2 * day)
        .not_valid_after(datetime.now(UTC) - day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
    )
    pem = serialization.Encoding.PEM
    certificate.write_bytes(built.sign(own, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    key.write_bytes(own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def test_plain_text_where_tls_is_spoken_and_the_reverse_are_told(secure, either, certificate):
    way = secure.url.partition("://")[0]
    plain = secure.url.replace(f"{way}://", f"{way.removesuffix('s')}://")
    with pytest.raises(ServerError) as caught:
        spec(SimpleNamespace(url=plain), retries=0).load()
    assert caught.value.hint == f"is it up? Where it speaks TLS, the URL begins with {way}://"
    way, _, at = either.url.partition("://")
    with pytest.raises(DetectorError, match="speaks no TLS") as caught:
        spec(SimpleNamespace(url=f"{way}s://{at}")).load()
    assert f"begins with {way}://" in caught.value.message


# The spec


def ensemble(tmp_path, **detector):
    words = {"name": "d", "kind": "remote", "url": "http://models:8000", "model": "m", **detector}
    lines = "".join(f"  {key}: {value}\n" for key, value in words.items())
    path = tmp_path / "spec.yaml"
    path.write_text(f"kind: DetectionEnsemble\nname: e\ndetectors:\n-{lines[1:]}")
    return EnsembleSpec.from_yaml(path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"url": "models:8000"}, "must begin with one of http://"),
        ({"url": "ftp://models"}, "must begin with one of http://"),
        ({"url": "http://"}, "must begin with one of http://"),
        ({"url": "http://me:secret-1@models"}, "holds a password"),
        ({"url": "http://models?token=secret-1"}, r"after '\?'"),
        ({"url": "grpc://models/path"}, "gRPC has no place for"),
        ({"url": "grpcs://models", "tls_verify": "false"}, "not to be had with gRPC"),
        ({"headers": "{Authorization: Bearer secret-1}"}, "name of an environment variable"),
        ({"headers": "{Authorization: eyJhbGci.secret-1}"}, "name of an environment variable"),
        ({"headers": "{'a b': TOKEN}"}, "'a b' is no header"),
        ({"model": "''"}, "expected some text"),
        ({"concurrency": 0}, "expected more than 0"),
        ({"timeout_s": 3}, "timeout_s: there is no such key"),
    ],
)
def test_a_spec_that_is_wrong_says_where_and_repeats_no_secret(tmp_path, words, says):
    with pytest.raises(SpecError, match=says) as caught:
        ensemble(tmp_path, **words)
    assert "spec.yaml:" in str(caught.value)
    assert "secret-1" not in str(caught.value)


def test_a_spec_that_is_right(tmp_path):
    [found] = ensemble(
        tmp_path,
        url="https://gateway/serving/street",
        headers="{Authorization: MODEL_TOKEN}",
        tls_ca="ca.pem",
        names="[car, person]",
    ).detectors
    assert isinstance(found, RemoteDetector)
    assert found.tls_ca == str(tmp_path / "ca.pem")
    assert found.origin == "m at https://gateway/serving/street"
    assert found.files == ()


def test_a_finished_step_is_recognised_though_tokens_and_patience_change(web, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "secret-1")
    labels = Labels.from_names(["thing", "other"])

    def seen(**options):
        return Voter.load(spec(web, **options), labels).fingerprint

    assert (
        seen()
        == seen(retries=9, concurrency=1, request_timeout=9)
        == seen(headers={"Authorization": "MODEL_TOKEN"})
    )
    assert len({seen(), seen(version="3"), seen(min_score=0.5), seen(batch=4)}) == 4


def test_a_server_that_goes_away_ends_the_run_and_the_same_command_goes_on(web, tmp_path, capsys):
    (tmp_path / "pool").mkdir()
    for number in range(3):
        Image.fromarray(PICTURE + number).save(tmp_path / f"pool/{number}.png")
    (tmp_path / "spec.yaml").write_text(
        "kind: DetectionEnsemble\nname: e\ndata: pool/\ndetectors:\n"
        f"  - {{name: d, kind: remote, url: '{web.url}', model: mean, names: [thing],"
        " retries: 1}\n"
        "publish: {formats: [coco], min_score: 0.1}\n"
    )
    command = ["run", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "out"), "--workers", "1"]
    web.next = [None, faulty.status(503), faulty.status(503)]
    assert main(command) == 75
    assert "mean at http://127.0.0.1" in capsys.readouterr().err
    assert main(command) == 0
    written = json.loads((tmp_path / "out/coco/annotations/instances_default.json").read_text())
    assert len(written["annotations"]) == 3
