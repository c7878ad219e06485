"""Starts the servers of .venv-remote (`make test-remote`), each in a process of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.waiting import PATIENCE

HERE = Path(__file__).parent
PYTHON = Path(__file__).parents[3] / ".venv-remote/bin/python"


class Server(NamedTuple):
    """A server that is ready, over either way."""

    name: str
    http: str
    rpc: str


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running(name, models, folder):
    """`kserve`, `mlserver` or `triton` with every ONNX file of the folder `models`.

    What it writes, it writes into `folder`. Skips where the environment is not there.
    """
    if not PYTHON.exists():
        pytest.skip("needs .venv-remote: make test-remote")
    http, rpc, metrics = free_ports(3)
    command, more = COMMANDS[name](Path(models), folder, str(http), str(rpc), str(metrics))
    health = f"http://127.0.0.1:{http}/v2/health/ready"
    with serving(command, health, folder, more):
        # gRPC begins a moment later than HTTP: the first request waits, that is what retries do.
        yield Server(name, f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{rpc}")


@contextlib.contextmanager
def serving(command, health, folder, more):
    """A server's process, from when it is healthy until the end; its log is in the folder."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_ready(health, process, folder)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):  # workers that outlive their server
            os.killpg(process.pid, signal.SIGKILL)


def kserve(models, folder, http, rpc, metrics):
    """The command, and what its environment has beside ours."""
    return [PYTHON, HERE / "kserve_server.py", models, http, rpc], {}


def mlserver(models, folder, http, rpc, metrics):
    for path in models.glob("*.onnx"):
        (folder / path.stem).mkdir()
        about = {
            "name": path.stem,
            "implementation": "mlserver_runtime.OnnxRuntime",
            "parameters": {"uri": str(path), "version": "v1"},
        }
        (folder / path.stem / "model-settings.json").write_text(json.dumps(about))
    return [PYTHON.with_name("mlserver"), "start", folder], {
        "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": str(64 << 20),  # a picture is 5 MB; 4 by default
        "PYTHONPATH": str(HERE),
        "MLSERVER_HTTP_PORT": http,
        "MLSERVER_GRPC_PORT": rpc,
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_PARALLEL_WORKERS": "0",
    }


def triton(models, folder, http, rpc, metrics):
    """The server of the wheel nvidia-pytriton, with its backend for the Python that runs here."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = PYTHON.parents[1] / f"lib/python{version}/site-packages"
    server = packages / "pytriton/tritonserver"
    if not server.exists():
        pytest.skip("PyPI has Triton for Linux alone")
    for path in models.glob("*.onnx"):
        model = folder / "models" / path.stem / "1"
        model.mkdir(parents=True)
        shutil.copy(path, model / "model.onnx")
        shutil.copy(HERE / "triton_model.py", model / "model.py")
        (model.parent / "config.pbtxt").write_text('backend: "python"\n')  # not ONNX's, by the name
    backend = folder / "backends/python"
    backend.mkdir(parents=True)
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    for path in (*(server / "backends/python").iterdir(), stub):
        (backend / path.name).symlink_to(path)
    command = [server / "bin/tritonserver", "--allow-metrics=false"]
    command += ["--model-repository", folder / "models"]
    command += ["--backend-directory", folder / "backends"]
    command += ["--http-address=127.0.0.1", f"--http-port={http}"]
    command += ["--grpc-address=127.0.0.1", f"--grpc-port={rpc}"]
    libraries = sysconfig.get_config_var("LIBDIR")
    return command, {"PYTHONPATH": str(packages), "LD_LIBRARY_PATH": libraries}


COMMANDS = {"kserve": kserve, "mlserver": mlserver, "triton": triton}


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
