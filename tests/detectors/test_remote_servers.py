"""`kind: remote` against KServe, MLServer and Triton themselves: the boxes of `kind: onnx` here."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto

from quorate.detectors.conformance import assert_conforms
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.remote import RemoteDetector
from quorate.errors import DetectorError, ServerError
from tests.detectors import darknet_files as darknet
from tests.detectors import models
from tests.detectors.servers.real import free_ports, running

NAMES = ("a", "b", "c")
WAYS = ("http", "bytes", "rpc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ONNX files: the head of a YOLOv3, random; two that follow the picture, one in halves."""
    folder = tmp_path_factory.mktemp("models")
    models.echo(folder / "echo.onnx")
    models.echo(folder / "half.onnx", image_kind=TensorProto.FLOAT16)
    models.bright_box(folder / "lamp.onnx")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUORATE_CACHE", str(cache))
        darknet.write(cache, darknet.CFGS["v3"]).detector().load()
    [made] = cache.rglob("*.onnx")
    made.rename(folder / "yolov3.onnx")
    return folder


@pytest.fixture(scope="module", params=["kserve", "mlserver", "triton"])
def server(request, folder, tmp_path_factory):
    with running(request.param, folder, tmp_path_factory.mktemp(request.param)) as server:
        yield server


def remote(server, model, way="http", **options):
    if way == "bytes" and server.name == "mlserver":
        pytest.skip("MLServer takes JSON alone over HTTP")
    return RemoteDetector(
        name="d",
        model=model,
        names=NAMES,
        url=server.rpc if way == "rpc" else server.http,
        binary={"bytes": True, "http": False, "rpc": "auto"}[way],
        **options,
    )


def local(folder, model, **options):
    return OnnxDetector(name="d", weights=str(folder / f"{model}.onnx"), names=NAMES, **options)


def noise(*sizes):
    random = np.random.default_rng(1)
    low = random.integers(0, 200, len(sizes))
    return [
        random.integers(start, 256, (*size, 3)).astype(np.uint8)
        for start, size in zip(low, sizes, strict=True)
    ]


ODD = [(37, 53), (64, 64), (1, 1), (201, 33), (64, 64)]
YOLO = {"layout": "yolov5", "min_score": 0.01, "resize": "stretch"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "options"),
    [("yolov3", YOLO), ("echo", {}), ("half", {}), ("lamp", {"resize": "none"})],
)
def test_the_boxes_are_those_of_the_same_file_here(server, folder, model, options, way):
    if model == "half" and way == "http" and server.name != "mlserver":
        pytest.skip("no JSON for half precision; see below")
    shown = noise(*ODD)
    here = local(folder, model, **options).load().predict(shown)
    there = remote(server, model, way, **options).load().predict(shown)
    assert sum(len(boxes.score) for boxes in here) >= len(shown)
    for ours, theirs in zip(there, here, strict=True):
        assert ours.label.tolist() == theirs.label.tolist()
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-4)
        np.testing.assert_allclose(ours.score, theirs.score, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_gives_what_one_by_one_gives(server, way):
    predictor = remote(server, "echo", way, batch=3, concurrency=2).load()
    assert predictor.batch == 3
    assert_conforms(predictor)
    shown = noise(*[(40, 52)] * 7)
    together = predictor.predict(shown)
    alone = [predictor.predict([picture])[0] for picture in shown]
    assert all(
        np.array_equal(np.column_stack(a), np.column_stack(b))
        for a, b in zip(together, alone, strict=True)
    )
    assert len({boxes.score.tobytes() for boxes in together}) > 2
    with ThreadPoolExecutor(6) as pool:
        at_once = list(pool.map(lambda picture: predictor.predict([picture])[0], shown * 3))
    assert all(np.array_equal(a.score, b.score) for a, b in zip(at_once, alone * 3, strict=True))


@pytest.mark.parametrize("way", ["http", "rpc"])
def test_a_model_that_is_not_there(server, way):
    with pytest.raises(DetectorError) as caught:
        remote(server, "lmap", way).load()
    assert "lmap at " in caught.value.message
    if way == "rpc" and server.name == "kserve":  # KServe lists its models over HTTP alone
        assert "does not exist" in caught.value.message
    else:
        assert "has no such model" in caught.value.message
        assert caught.value.hint == "did you mean 'lamp'?"


def test_a_version(server):
    if server.name == "kserve":
        with pytest.raises(DetectorError, match="ersion"):
            remote(server, "lamp", version="v1").load()  # KServe's own server knows none
        return
    known, unknown = ("v1", "v9") if server.name == "mlserver" else ("1", "9")
    for way in ("http", "rpc"):
        assert remote(server, "lamp", way, version=known).load().labels == NAMES
        with pytest.raises(DetectorError, match=unknown):
            remote(server, "lamp", way, version=unknown).load()


def test_tensors_that_the_server_does_not_describe(server):
    if server.name != "kserve":
        pytest.skip("KServe's default")
    for way in ("http", "rpc"):
        with pytest.raises(DetectorError, match="metadata of the model names no inputs") as caught:
            remote(server, "undescribed", way).load()
        assert "get_input_types" in caught.value.hint


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c", "d")])
def test_a_wrong_number_of_names(server, names):
    described = remote(server, "yolov3", **YOLO).model_copy(update={"names": names})
    with pytest.raises(DetectorError, match="names") as caught:
        described.load()
    assert "3" in caught.value.message + (caught.value.hint or "")


def test_a_refused_request_says_why(server):
    """JSON has no half precision, say KServe and Triton; MLServer takes any number."""
    if server.name == "mlserver":
        pytest.skip("MLServer takes any number")
    with pytest.raises(DetectorError, match="FP16 data via JSON is not supported"):
        remote(server, "half").load().predict(noise((9, 9)))


@pytest.mark.parametrize("way", WAYS)
def test_more_at_once_than_the_server_takes_is_refused(server, way):
    if server.name != "triton":
        pytest.skip("Triton alone has a largest batch")
    predictor = remote(server, "echo", way, batch=8).load()
    assert len(predictor.predict(noise(*[(40, 52)] * 4))) == 4
    with pytest.raises(DetectorError, match="batch-size must be <= 4"):
        predictor.predict(noise(*[(40, 52)] * 5))


@pytest.mark.parametrize("way", ["http", "rpc"])
def test_the_wrong_port(server, way):
    url = (
        server.rpc.replace("grpc:", "http:")
        if way == "http"
        else server.http.replace("http:", "grpc:")
    )
    spec = RemoteDetector(name="d", url=url, model="lamp", names=NAMES, retries=0)
    with pytest.raises(ServerError):
        spec.load()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there_is_worth_another_try(scheme):
    [port] = free_ports(1)
    spec = RemoteDetector(
        name="d", url=f"{scheme}://127.0.0.1:{port}", model="lamp", names=NAMES, retries=1
    )
    with pytest.raises(
        ServerError, match=r"lamp at .* no answer, 2 times: .*[Cc]onnection refused"
    ) as caught:
        spec.load()
    assert caught.value.exit_code == 75
