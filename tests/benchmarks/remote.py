"""How much a remote detector costs beside a bare client of the same server.

    python -m tests.benchmarks.remote [--pictures N] [--rounds N] [--json FILE]

Needs .venv-remote (`make test-remote`), whose KServe and whose Triton run a YOLO of random weights
on this machine, both in onnxruntime.
`bare` sends tensors that were made beforehand and takes the output's bytes, in a loop of a dozen
lines on urllib3 or grpcio; `predict` begins with the decoded picture, so it includes preprocessing
and what becomes of the boxes. One request at a time, by the clock; the best of several rounds that
take turns, for the server's share of a request varies more than ours.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import urllib3

from quorate import pictures
from quorate.detectors.remote import RemoteDetector
from quorate.open_inference.messages import MESSAGES, SERVICE
from tests.benchmarks import networks
from tests.benchmarks.detect import make_pictures
from tests.detectors.servers.real import running

SERVERS = ("kserve", "triton")
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def over_http(url: str, tensor: np.ndarray) -> np.ndarray:
    """The bytes of a tensor there, those of the output back."""
    about = {"name": "images", "shape": tensor.shape, "datatype": "FP32"}
    about["parameters"] = {"binary_data_size": tensor.nbytes}
    wanted = {"name": "output0", "parameters": {"binary_data": True}}
    head = json.dumps({"id": "1", "inputs": [about], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    headers["Content-Type"] = "application/octet-stream"
    answer = POOL.request("POST", url, body=head + tensor.tobytes(), headers=headers)
    start = int(answer.headers["Inference-Header-Content-Length"])
    return np.frombuffer(answer.data[start:], np.float32)


POOL = urllib3.PoolManager()


def bare_rpc(address: str) -> Callable[[np.ndarray], np.ndarray]:
    """Likewise over gRPC."""
    channel = grpc.insecure_channel(address.removeprefix("grpc://"), options=UNLIMITED)
    infer: Any = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=MESSAGES["ModelInferRequest"].SerializeToString,
        response_deserializer=MESSAGES["ModelInferResponse"].FromString,
    )

    def call(tensor: np.ndarray) -> np.ndarray:
        request = MESSAGES["ModelInferRequest"](
            model_name="yolo",
            inputs=[{"name": "images", "datatype": "FP32", "shape": tensor.shape}],
            outputs=[{"name": "output0"}],
            raw_input_contents=[tensor.tobytes()],
        )
        return np.frombuffer(infer(request).raw_output_contents[0], np.float32)

    return call


def clock(call: Callable[[Any], Any], items: list[Any]) -> float:
    """Calls a second."""
    start = time.perf_counter()
    for item in items:
        call(item)
    return len(items) / (time.perf_counter() - start)


def compared(url: str, shown: list[np.ndarray], rounds: int) -> dict[str, float]:
    """Pictures a second of the bare client and of `predict`, and their ratio."""
    predictor = RemoteDetector(
        name="yolo", url=url, model="yolo", names=networks.NAMES, binary=True
    ).load()
    tensors = [
        predictor.tensors([picture], [predictor.place(picture.shape[:2])])["images"].copy()
        for picture in shown
    ]
    if url.startswith("grpc"):
        bare = bare_rpc(url)
    else:
        bare = functools.partial(over_http, f"{url}/v2/models/yolo/infer")
    best = {"bare": 0.0, "predict": 0.0}
    for _ in range(rounds):
        best["bare"] = max(best["bare"], clock(bare, tensors))
        rate = clock(lambda picture: predictor.predict([picture]), shown)
        best["predict"] = max(best["predict"], rate)
    return best | {"ratio": best["predict"] / best["bare"]}


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for below in ("models", "pictures", *SERVERS):
            (folder / below).mkdir()
        networks.yolo(folder / "models/yolo.onnx")
        paths = make_pictures(folder / "pictures", arguments.pictures)
        shown = [pictures.decode(path.read_bytes(), name=path.name) for path in paths]
        for kind in SERVERS:
            with running(kind, folder / "models", folder / kind) as server:
                for way, url in (("HTTP, bytes", server.http), ("gRPC", server.rpc)):
                    results[f"{kind}, {way}"] = compared(url, shown, arguments.rounds)
    for way, row in results.items():
        print(
            f"{way:19} bare {row['bare']:6.2f}/s   predict {row['predict']:6.2f}/s   "
            f"ratio {row['ratio']:.2f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
