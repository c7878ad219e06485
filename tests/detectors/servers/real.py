"""Starts the servers of .venv-remote (`make test-remote`), each in a process of its own."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
PYTHON = Path(__file__).parents[3] / ".venv-remote/bin/python"
PATIENCE = 120


class Server(NamedTuple):
    """A server that is ready, over either way, and what it takes over HTTP."""

    http: str
    rpc: str
    takes_bytes: bool


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running(name, models, folder):
    """KServe or MLServer with every ONNX file of the folder `models`; `folder` for what it writes.

    Skips where the environment is not there.
    """
    if not PYTHON.exists():
        pytest.skip("needs .venv-remote: make test-remote")
    http, rpc, metrics = free_ports(3)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    if name == "kserve":
        command = [PYTHON, HERE / "kserve_server.py", models, str(http), str(rpc)]
    else:
        for path in Path(models).glob("*.onnx"):
            (folder / path.stem).mkdir()
            about = {
                "name": path.stem,
                "implementation": "mlserver_runtime.OnnxRuntime",
                "parameters": {"uri": str(path), "version": "v1"},
            }
            (folder / path.stem / "model-settings.json").write_text(json.dumps(about))
        environment |= {
            "MLSERVER_HTTP_PORT": str(http),
            "MLSERVER_GRPC_PORT": str(rpc),
            "MLSERVER_METRICS_PORT": str(metrics),
            "MLSERVER_PARALLEL_WORKERS": "0",
        }
        command = [PYTHON.with_name("mlserver"), "start", folder]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{http}/v2/health/ready", process, folder)
        # gRPC begins a moment later than HTTP: the first request waits, that is what retries do.
        yield Server(f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{rpc}", name == "kserve")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(url, process, folder):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError((folder / "server.log").read_text()[-3000:])
