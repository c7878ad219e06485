"""The same two classifiers behind this server, behind MLServer and behind LitServe.

    .venv-torch/bin/python -m tests.classifiers.exports FOLDER
    python -m tests.benchmarks.servers FOLDER [--pictures N] [--rounds N] [--beside]

All three with their default settings, but MLServer without its worker processes, in processes of
their own (MLServer and LitServe of .venv-remote, `make test-remote`), with the same files, over
HTTP. What runs in the other two is `others/decision.py`: onnxruntime's default sessions one after
the other, or with `--beside` side by side. `latency`: one client, the three in turns, picture by
picture, each after a pause in which the threads of the one before come to rest. `throughput`: four
clients, in turns, round by round.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.clock import clock
from tests.benchmarks.serving import PARTS, classification, written
from tests.cvat.servers import started
from tests.detectors.servers.real import PYTHON, free_ports, serving

OTHERS = Path(__file__).parent / "others"
CLIENTS = 4
REST = 0.05
"""Seconds in which threads that spin for more work give up."""
Ask = Callable[[bytes], int]


class Way:
    """How a server is asked about a file: its index of the likeliest label comes back."""

    def __init__(self, url: str, path: str, body: Callable[[bytes], tuple[bytes, dict[str, str]]]):
        self.url, self.path, self.body = url, path, body
        self.local = threading.local()

    def __call__(self, file: bytes) -> int:
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.url.split("//")[1], timeout=120)
        connection = self.local.connection
        data, headers = self.body(file)
        connection.request("POST", self.path, data, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        if "outputs" not in said:
            return int(said["index"])
        return next(one["data"][0] for one in said["outputs"] if one["name"] == "index")


def binary(file: bytes) -> tuple[bytes, dict[str, str]]:
    """A request of the protocol, with the file behind the JSON."""
    one = {"name": "image", "datatype": "BYTES", "shape": [1]}
    one["parameters"] = {"binary_data_size": 4 + len(file)}
    start = json.dumps({"inputs": [one]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(start))}
    return start + len(file).to_bytes(4, "little") + file, headers


def plain(file: bytes) -> tuple[bytes, dict[str, str]]:
    """Likewise with the file in the JSON, for a server without the binary form."""
    one = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "data": [base64.b64encode(file).decode()],
    }
    one["parameters"] = {"content_type": "base64"}
    return json.dumps({"inputs": [one]}).encode(), {"Content-Type": "application/json"}


def upload(file: bytes) -> tuple[bytes, dict[str, str]]:
    """A form with the file."""
    start = b'--x\r\nContent-Disposition: form-data; name="request"; filename="it.jpg"\r\n\r\n'
    return start + file + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def running(
    command: Sequence[str], health: str, folder: Path, beside: bool
) -> AbstractContextManager[None]:
    """A server of .venv-remote, until the end."""
    more = {"PYTHONPATH": str(OTHERS), **({"BESIDE": "1"} if beside else {})}
    return serving(command, health, folder, more)


@contextlib.contextmanager
def mlserver(networks: Path, folder: Path, beside: bool) -> Iterator[Way]:
    """MLServer with the ensemble."""
    rest, rpc, metrics = free_ports(3)
    about = {
        "name": "ensemble",
        "implementation": "mlserver_model.Ensemble",
        "parameters": {"uri": str(networks)},
    }
    # Its worker processes do not start with the uvloop of today; without them it is the faster.
    settings = {"parallel_workers": 0}
    settings |= {"http_port": rest, "grpc_port": rpc, "metrics_port": metrics}
    (folder / "model-settings.json").write_text(json.dumps(about))
    (folder / "settings.json").write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{rest}"
    command = [str(PYTHON.with_name("mlserver")), "start", "."]
    with running(command, f"{url}/v2/models/ensemble/ready", folder, beside):
        yield Way(url, "/v2/models/ensemble/infer", plain)


@contextlib.contextmanager
def litserve(networks: Path, folder: Path, beside: bool) -> Iterator[Way]:
    """LitServe with the ensemble."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [str(PYTHON), str(OTHERS / "litserve_server.py"), str(networks), str(port)]
    with running(command, f"{url}/health", folder, beside):
        yield Way(url, "/predict", upload)


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", type=Path)
    parser.add_argument("--pictures", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--beside", action="store_true")
    arguments = parser.parse_args()
    networks = arguments.networks.absolute()
    paths = sorted((PARTS / "images").glob("bench-*/*.*"))[: arguments.pictures]
    files = [path.read_bytes() for path in paths]
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        spec = written(folder, classification(networks))
        ours = stack.enter_context(started(str(spec)))
        ways = {"quorate": Way(ours.url, "/v2/models/networks/infer", binary)}
        for start in (mlserver, litserve):
            place = folder / start.__name__
            place.mkdir()
            ways[start.__name__] = stack.enter_context(start(networks, place, arguments.beside))
        for file in files:
            assert len({way(file) for way in ways.values()}) == 1, "they decide alike"
        latency(ways, files, arguments.rounds)
        throughput(ways, files, arguments.rounds)


def latency(ways: dict[str, Way], files: Sequence[bytes], rounds: int) -> None:
    """Of one client."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for file in files:
            for name, way in ways.items():
                time.sleep(REST)
                seconds[name].append(clock(partial(way, file)))
    found = {name: np.percentile(times, [50, 99]) for name, times in seconds.items()}
    for name, (half, last) in found.items():
        ratios = found["quorate"] / (half, last)
        print(
            f"latency  {name} {1000 * half:.1f} ms (p99 {1000 * last:.1f})   quorate's is "
            f"{ratios[0]:.2f} of it (p99 {ratios[1]:.2f})",
            flush=True,
        )


def throughput(ways: dict[str, Way], files: Sequence[bytes], rounds: int) -> None:
    """Pictures a second of some clients at once."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(REST)
            # New clients each time: a server ends connections that are not used for seconds.
            with ThreadPoolExecutor(CLIENTS) as clients:
                seconds[name].append(clock(lambda way=way: [*clients.map(way, files)]))
    rates = {name: len(files) / np.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"throughput  {name} {rate:.1f}/s   quorate's is {rates['quorate'] / rate:.2f} of it")


if __name__ == "__main__":
    main()
