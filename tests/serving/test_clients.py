"""Clients that no one here wrote: tritonclient and KServe's."""

import json
import subprocess

import numpy as np
import pytest

from tests.detectors.servers.real import PYTHON
from tests.serving.conftest import PICTURES
from tests.serving.test_rest import check

WORDS = ("labels", "voters")


def asked(client: str, url: str) -> dict:
    """What a client of .venv-remote says."""
    if not PYTHON.exists():
        pytest.skip("needs .venv-remote: make test-remote")
    script = __file__.replace("test_clients", "clients")
    command = [PYTHON, script, client, url, *PICTURES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def found(said: dict) -> dict:
    kinds = {"boxes": "<f4", "scores": "<f4", "yolo.boxes": "<f4"}
    return {
        name: value if name in WORDS else np.array(value, kinds.get(name, "<i4"))
        for name, value in said["outputs"].items()
    }


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_tritons_client(parts, here, way):
    loaded, answers = here
    said = asked(f"triton_{way}", parts.url if way == "http" else parts.rpc)
    assert said["live"] is said["ready"] is said["model ready"] is True
    assert said["server"]["name"] == "quorate"
    names = ["parts", "parts.yolo", "parts.detr", "parts.frcnn"]
    if way == "http":
        assert said["model"]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        assert said["answer"]["parameters"] == {"degraded": False, "voted": "yolo,detr,frcnn"}
        assert [one["name"] for one in said["index"]] == names
    else:
        assert said["model"]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": ["-1"]}]
        assert said["answer"]["parameters"]["voted"] == {"string_param": "yolo,detr,frcnn"}
        assert [one["name"] for one in said["index"]["models"]] == names
    assert said["answer"]["id"] == "mine"
    register, status, nobody, ready = said["refused"]
    # Triton's client makes a plain no of HTTP's 404.
    assert "division by zero" in ready if way == "http" else "No model is called" in ready
    assert "Shared memory is not offered" in register
    assert "Shared memory is not offered" in status
    assert "No model is called 'nobody'" in nobody
    check(found(said), answers, loaded)
    own = np.concatenate([one.own["yolo"].xyxy for one in answers])
    assert found(said)["yolo.boxes"].tobytes() == own.tobytes()


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_tritons_asynchronous_client(parts, here, way):
    loaded, answers = here
    said = asked(f"triton_{way}_async", parts.url if way == "http" else parts.rpc)
    assert said["live"] is said["ready"] is said["model ready"] is True
    check(found(said), answers, loaded)


def test_tritons_streams_are_refused_with_a_sentence(parts):
    said = asked("triton_stream", parts.rpc)
    assert said["live"] is True
    stream, *others = said["said"]
    assert "StatusCode.UNIMPLEMENTED" in stream
    assert "Streams are not offered; ask with ModelInfer" in stream
    assert all("UNIMPLEMENTED" in one and "not offered" in one for one in others), others


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_kserves_client(parts, here, way):
    loaded, answers = here
    said = asked(f"kserve_{way}", parts.url if way == "http" else parts.rpc)
    assert said["live"] is said["ready"] is said["model ready"] is True
    check(found(said), answers, loaded)
