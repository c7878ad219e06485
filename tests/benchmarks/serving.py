"""An ensemble behind the server, beside its slowest member and beside bare onnxruntime.

    python -m tests.benchmarks.serving [--pictures N] [--rounds N]

Two of the demo's detectors stand behind `quorate serve` in a process of its own, asked over gRPC.
`latency`: one client; the ensemble, and its slowest member as a model of its own, take turns
picture by picture, so that both meet the same machine. `throughput`: as many clients as keep it
busy, beside onnxruntime's sessions in this process with tensors that were made beforehand, in a
thread for each processor; the two take turns, round by round. The servers' work has decoding and
fusion in it, the bare loop has not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import yaml

from quorate.ensemble import DetectionEnsemble
from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.open_inference.tensors import packed
from quorate.workers import processors
from tests.benchmarks.chain import _bare, _feeds
from tests.benchmarks.clock import clock
from tests.cvat.servers import ROOT, started

PARTS = ROOT / "docs/examples/parts"
MEMBERS = ("yolo", "detr")


def spec(folder: Path) -> Path:
    """The demo's spec with two of its detectors."""
    said = yaml.safe_load((PARTS / "spec.yaml").read_text())
    said |= {"detectors": [one for one in said["detectors"] if one["name"] in MEMBERS]}
    for one in said["detectors"]:
        one["weights"] = str(PARTS / one["weights"])
    said.pop("data", None)
    (folder / "spec.yaml").write_text(yaml.safe_dump(said))
    return folder / "spec.yaml"


def asking(channel: grpc.Channel) -> Callable[[str, bytes], None]:
    """What asks a model about a file."""
    ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")

    def infer(model: str, file: bytes) -> None:
        message = MESSAGES["ModelInferRequest"](
            model_name=model,
            inputs=[{"name": "image", "datatype": "BYTES", "shape": [1]}],
            raw_input_contents=[packed([file])],
        )
        ask(message.SerializeToString())

    return infer


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    paths = sorted((PARTS / "images").glob("bench-*/*.*"))[: arguments.pictures]
    files = [path.read_bytes() for path in paths]
    with tempfile.TemporaryDirectory() as name:
        about = spec(Path(name))
        ensemble = DetectionEnsemble.from_yaml(about)
        predictors = [one.load() for one in ensemble.detectors]
        feeds = [_feeds(predictor, paths[:4]) for predictor in predictors]
        target = ""
        with started(str(about)) as server:
            target = server.rpc.removeprefix("grpc://")
            with grpc.insecure_channel(target) as channel:
                infer = asking(channel)
                latency(infer, ensemble.name, files, arguments.rounds)
                throughput(infer, ensemble.name, files, arguments.rounds, predictors, feeds)


def latency(
    infer: Callable[[str, bytes], None], name: str, files: list[bytes], rounds: int
) -> None:
    """The ensemble's, and its slowest member's."""
    models = [name, *(f"{name}.{member}" for member in MEMBERS)]
    seconds: dict[str, list[float]] = {model: [] for model in models}
    for _ in range(rounds):
        for file in files:
            for model in models:
                seconds[model].append(clock(partial(infer, model, file)))
    found = {model: np.percentile(times, [50, 99]) for model, times in seconds.items()}
    slowest = max(models[1:], key=lambda model: found[model][0])
    whole, part = found[name], found[slowest]
    print(
        f"latency  ensemble {1000 * whole[0]:.1f} ms (p99 {1000 * whole[1]:.1f})  {slowest} "
        f"{1000 * part[0]:.1f} ms (p99 {1000 * part[1]:.1f})   ratio {whole[0] / part[0]:.2f} "
        f"(p99 {whole[1] / part[1]:.2f})"
    )


def throughput(infer, name, files, rounds, predictors, feeds) -> None:
    """Pictures a second, served and bare."""
    count = len(files)
    served, bare = [], []
    with ThreadPoolExecutor(2 * processors()) as clients, ThreadPoolExecutor(processors()) as pool:
        for _ in range(rounds):
            served.append(clock(lambda: [*clients.map(partial(infer, name), files)]))
            bare.append(clock(lambda: [*pool.map(partial(_bare, predictors, feeds), range(count))]))
    ours, theirs = count / np.median(served), count / np.median(bare)
    print(f"throughput  served {ours:.1f}/s  bare {theirs:.1f}/s   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
