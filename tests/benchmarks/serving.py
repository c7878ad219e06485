"""An ensemble behind the server, beside its slowest member and beside bare onnxruntime.

    python -m tests.benchmarks.serving [--networks FOLDER] [--pictures N] [--rounds N]

Two of the demo's detectors, or the classifiers of `tests.classifiers.exports` in a folder, stand
behind `quorate serve` in a process of its own, asked over gRPC. `latency`: one client; the
ensemble, and each member alone with the processors that the other leaves it, take turns picture by
picture, so that all meet the same machine. `bare`: likewise of bare sessions in this process, the
networks side by side and the slowest alone, a thread each: what the machine itself makes of it.
`throughput`: as many clients as keep the server busy, beside bare sessions with tensors that were
made beforehand, in a thread for each processor; the two take turns, round by round. The server's
work has decoding and fusion in it, the bare loop has not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import yaml

from quorate.ensemble import read_ensemble
from quorate.open_inference.messages import MESSAGES, SERVICE
from quorate.open_inference.tensors import packed
from quorate.workers import processors
from tests.benchmarks.chain import _feeds
from tests.benchmarks.clock import clock
from tests.cvat.servers import ROOT, started

PARTS = ROOT / "docs/examples/parts"
MEMBERS = ("yolo", "detr")
Infer = Callable[[str, bytes], None]
Times = dict[str, list[float]]


def detection() -> dict[str, Any]:
    """The demo's spec with two of its detectors."""
    said = yaml.safe_load((PARTS / "spec.yaml").read_text())
    said |= {"detectors": [one for one in said["detectors"] if one["name"] in MEMBERS]}
    for one in said["detectors"]:
        one["weights"] = str(PARTS / one["weights"])
    said.pop("data", None)
    return said


def classification(networks: Path) -> dict[str, Any]:
    """The spec of all networks in a folder."""
    members = [
        {"name": path.stem, "kind": "onnx", "weights": str(path)}
        for path in sorted(networks.absolute().glob("*.onnx"))
    ]
    return {
        "kind": "ClassificationEnsemble",
        "name": "networks",
        "classifiers": members,
        "fusion": {"method": "sum"},
    }


def alone(said: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each member as an ensemble of its own, with its share of the processors."""
    field = "detectors" if "detectors" in said else "classifiers"
    share = max(1, processors() // len(said[field]))
    specs = [
        {**said, "name": f"alone-{one['name']}", field: [one | {"threads": share}]}
        for one in said[field]
    ]
    for one in specs:
        one.pop("quorum", None)
    return {one["name"]: one for one in specs}


def written(folder: Path, said: Mapping[str, Any]) -> Path:
    """The file of a spec."""
    path = folder / f"{said['name']}.yaml"
    path.write_text(yaml.safe_dump(dict(said)))
    return path


def asking(channel: grpc.Channel) -> Infer:
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


def bare_calls(spec: Path, paths: Sequence[Path]) -> list[Callable[[], object]]:
    """For each member, a run of its session with a tensor that was made beforehand."""
    calls: list[Callable[[], object]] = []
    for one in read_ensemble(spec).members:
        loaded = one.load()
        if hasattr(loaded, "layout"):
            outputs, feed = [*loaded.layout.outputs], _feeds(loaded, paths[:1])[0]
        else:
            room = loaded.feed.room(1, loaded.size)
            room[:] = np.random.default_rng(0).random(room.shape)
            outputs, feed = (
                [loaded.output],
                {k: v.copy() for k, v in loaded.feed.tensors(room).items()},
            )
        calls.append(partial(loaded.network.session.run, outputs, feed))
    return calls


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    paths = sorted((PARTS / "images").glob("bench-*/*.*"))[: arguments.pictures]
    files = [path.read_bytes() for path in paths]
    said = classification(arguments.networks) if arguments.networks else detection()
    with tempfile.TemporaryDirectory() as name:
        specs = [written(Path(name), one) for one in (said, *alone(said).values())]
        bare = bare_calls(specs[0], paths)
        with (
            started(*map(str, specs)) as server,
            grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel,
        ):
            infer = asking(channel)
            latency(infer, said["name"], [*alone(said)], files, bare, arguments.rounds)
            throughput(infer, said["name"], files, bare, arguments.rounds)


def latency(
    infer: Infer,
    name: str,
    members: Sequence[str],
    files: Sequence[bytes],
    bare: Sequence[Callable[[], object]],
    rounds: int,
) -> None:
    """The ensemble's, and its slowest member's; behind the server, and bare."""
    ways: dict[str, Callable[[bytes], object]] = {
        model: partial(infer, model) for model in (name, *members)
    }
    with ThreadPoolExecutor(len(bare)) as pool:
        ways["bare"] = lambda _: [one.result() for one in [pool.submit(call) for call in bare]]
        ways |= {
            f"bare-{member}": lambda _, call=call: call()
            for member, call in zip(members, bare, strict=True)
        }
        seconds: Times = {way: [] for way in ways}
        for _ in range(rounds):
            for file in files:
                for way, call in ways.items():
                    seconds[way].append(clock(partial(call, file)))
    compared("latency", seconds, name, members)
    compared("bare", seconds, "bare", [f"bare-{member}" for member in members])


def compared(what: str, seconds: Times, whole: str, parts: Sequence[str]) -> None:
    """Print the figures of an ensemble beside those of its slowest part.

    The quickest tell what nobody else on the machine disturbed.
    """
    found = {way: np.percentile(times, [50, 99, 0]) for way, times in seconds.items()}
    slowest = max(parts, key=lambda part: found[part][0])
    told = "  ".join(
        "{} {:.1f} ms (p99 {:.1f}, quickest {:.1f})".format(way, *1000 * found[way])
        for way in (whole, slowest)
    )
    half, last, first = found[whole] / found[slowest]
    print(f"{what}  {told}   ratio {half:.2f} (p99 {last:.2f}, quickest {first:.2f})", flush=True)


def throughput(
    infer: Infer,
    name: str,
    files: Sequence[bytes],
    bare: Sequence[Callable[[], object]],
    rounds: int,
) -> None:
    """Pictures a second, served and bare."""
    count = len(files)
    served, alone = [], []
    with ThreadPoolExecutor(2 * processors()) as clients, ThreadPoolExecutor(processors()) as pool:
        for _ in range(rounds):
            served.append(clock(lambda: [*clients.map(partial(infer, name), files)]))
            alone.append(clock(lambda: [*pool.map(lambda _: [call() for call in bare], files)]))
    ours, theirs = count / np.median(served), count / np.median(alone)
    print(f"throughput  served {ours:.1f}/s  bare {theirs:.1f}/s   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
