"""What the way to a model takes: an identity network behind this server and behind KServe's.

    python -m tests.benchmarks.overhead [--requests N]

Both serve the same ONNX file over HTTP, each in a process of its own, and are asked in turns, so
that both meet the same machine. KServe's server is that of .venv-remote (`make test-remote`).
`processor` is the time of the server's own process, which neighbours on the machine change little.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from onnx import TensorProto, helper, save

from tests.cvat.servers import started
from tests.detectors.servers.real import running

SHAPES = {"small": [1, 10], "large": [1, 3, 224, 224]}
LENGTH = "Inference-Header-Content-Length"


def identity(path: Path, shape: list[int]) -> None:
    """A network whose output is its input."""
    image, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out")
    )
    node = helper.make_node("Identity", ["image"], ["out"])
    graph = helper.make_graph([node], "identity", [image], [out])
    path.parent.mkdir(parents=True, exist_ok=True)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def body(name: str, *, binary: bool) -> tuple[bytes, dict[str, str]]:
    """A request, and its headers."""
    array = np.random.default_rng(1).random(SHAPES[name], dtype=np.float32)
    one = {"name": "image", "datatype": "FP32", "shape": SHAPES[name]}
    if not binary:
        return json.dumps(
            {"id": "1", "inputs": [one | {"data": array.ravel().tolist()}]}
        ).encode(), {"Content-Type": "application/json"}
    said = one | {"parameters": {"binary_data_size": array.nbytes}}
    wanted = [{"name": "out", "parameters": {"binary_data": True}}]
    start = json.dumps({"id": "1", "inputs": [said], "outputs": wanted}).encode()
    return start + array.tobytes(), {
        LENGTH: str(len(start)),
        "Content-Type": "application/octet-stream",
    }


def processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def with_port(port: str) -> int:
    """The process of KServe's server at a port."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if port.encode() in words and any(b"kserve_server" in word for word in words):
            return int(path.parent.name)
    raise AssertionError(port)


def main() -> None:
    """Measure, and print a line for each kind of request."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=400)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "kserve").mkdir()
        for name, shape in SHAPES.items():
            identity(folder / f"onnx/{name}.onnx", shape)
            identity(folder / f"ovms/{name}/1/model.onnx", shape)
        models = [{"config": {"name": n, "base_path": str(folder / "ovms" / n)}} for n in SHAPES]
        config = folder / "config.json"
        config.write_text(json.dumps({"model_config_list": models}))
        with (
            started(str(config)) as ours,
            running("kserve", folder / "onnx", folder / "kserve") as theirs,
        ):
            urls = {"ours": ours.url, "kserve": theirs.http}
            pids = {"ours": ours.process.pid, "kserve": with_port(theirs.http.rpartition(":")[2])}
            ways = {n: http.client.HTTPConnection(u.split("//")[1]) for n, u in urls.items()}
            for name, binary in (("small", False), ("small", True), ("large", True)):
                measure(name, ways, pids, binary=binary, count=count)


def measure(name, ways, pids, *, binary: bool, count: int) -> None:
    """Ask both in turns, and print what each took."""
    data, headers = body(name, binary=binary)
    seconds: dict[str, list[float]] = {server: [] for server in ways}
    before = {server: processor(pid) for server, pid in pids.items()}
    for _ in range(count):
        for server, connection in ways.items():
            start = time.perf_counter()
            connection.request("POST", f"/v2/models/{name}/infer", data, headers)
            answer = connection.getresponse()
            answer.read()
            seconds[server].append(time.perf_counter() - start)
            assert answer.status == 200, server
    half = {server: 1000 * median(times) for server, times in seconds.items()}
    spent = {s: 1000 * (processor(pid) - before[s]) / count for s, pid in pids.items()}
    print(
        f"{name}, {'binary' if binary else 'JSON'}: median ours {half['ours']:.2f} ms, kserve "
        f"{half['kserve']:.2f} ms, ratio {half['ours'] / half['kserve']:.2f}; processor ours "
        f"{spent['ours']:.2f} ms, kserve {spent['kserve']:.2f} ms, ratio "
        f"{spent['ours'] / spent['kserve']:.2f}"
    )


if __name__ == "__main__":
    main()
