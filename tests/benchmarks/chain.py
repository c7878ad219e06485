"""The whole chain: `quorate run` against onnxruntime alone, its memory, and how `--help` starts.

    python -m tests.benchmarks.chain [--pictures N] [--json FILE]

`bare` feeds tensors that were made beforehand to the same onnxruntime sessions: once in a pool
of threads as Quorate does, once one after the other with onnxruntime's own threads; the better
of the two counts. `quorate run` reads and decodes JPEG files, prepares, detects, fuses, and
publishes CVAT and COCO files and the report. Each measure is the best of three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from quorate import pictures
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.ensemble import DetectionEnsemble
from quorate.workers import processors
from tests.benchmarks import networks
from tests.benchmarks.detect import make_pictures

ROUNDS = 3
Tensors = list[dict[str, np.ndarray]]


def best(call: Callable[[], Any]) -> float:
    """The shortest of several runs, in seconds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def throughput(folder: Path, count: int) -> dict[str, float]:
    """Pictures a second of `quorate run` and of bare sessions, with three detectors."""
    pool = folder / "pool"
    pool.mkdir()
    paths = make_pictures(pool, count)
    weights = {"yolo": networks.yolo, "detr": networks.detr}
    detectors = [
        OnnxDetector(name=name, weights=str(build(folder / f"{name}.onnx")), min_score=0.3)
        for name, build in weights.items()
    ]
    predictors = [detector.load() for detector in detectors]
    feeds = [_feeds(predictor, paths[:4]) for predictor in predictors]
    ensemble = DetectionEnsemble(name="bench", data=str(pool), detectors=tuple(detectors))
    run = best(lambda: ensemble.run(out=folder / "out", fresh=True))
    threaded = best(lambda: _bare_threads(predictors, feeds, count))
    wide = [d.model_copy(update={"threads": processors()}).load() for d in detectors]
    serial = best(lambda: _bare_serial(wide, feeds, count))
    bare = min(threaded, serial)
    return {
        "pictures": count,
        "run_pictures_a_second": count / run,
        "bare_threads_pictures_a_second": count / threaded,
        "bare_serial_pictures_a_second": count / serial,
        "ratio": bare / run,
    }


def _feeds(predictor: TensorPredictor, paths: Sequence[Path]) -> Tensors:
    shown = [pictures.decode(path.read_bytes(), name=path.name) for path in paths]
    return [
        {
            name: value.copy()
            for name, value in predictor.tensors([p], [predictor.place(p.shape[:2])]).items()
        }
        for p in shown
    ]


def _bare(predictors: Sequence[TensorPredictor], feeds: Sequence[Tensors], number: int) -> None:
    for predictor, tensors in zip(predictors, feeds, strict=True):
        predictor.network.session.run(
            list(predictor.layout.outputs), tensors[number % len(tensors)]
        )


def _bare_threads(
    predictors: Sequence[TensorPredictor], feeds: Sequence[Tensors], count: int
) -> None:
    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(lambda number: _bare(predictors, feeds, number), range(count)))


def _bare_serial(
    predictors: Sequence[TensorPredictor], feeds: Sequence[Tensors], count: int
) -> None:
    for number in range(count):
        _bare(predictors, feeds, number)


def memory(folder: Path, counts: Sequence[int]) -> dict[str, float]:
    """Peak megabytes of `quorate run` over a folder of so many pictures."""
    detector = Path(__file__).parents[2] / "docs/examples/parts/models/yolo.onnx"
    seen = make_pictures(_made(folder / "seen"), 20)
    peaks = {}
    for count in counts:
        pool = _made(folder / f"pool-{count}")
        for number in range(count):
            os.link(seen[number % len(seen)], pool / f"{number:06d}.jpg")
        spec = folder / f"{count}.yaml"
        spec.write_text(
            f"name: memory\ndata: {pool}\n"
            f"detectors: [{{name: one, kind: onnx, weights: {detector}}}]\n"
        )
        command = ["-m", "quorate", "run", str(spec), "-o", str(folder / f"out-{count}")]
        peaks[str(count)] = _peak_megabytes([sys.executable, *command])
    return peaks


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _peak_megabytes(command: Sequence[str]) -> float:
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss / 1024


def start() -> dict[str, float]:
    """Seconds that `quorate --help` takes, against importing numpy and onnxruntime."""

    def call(*arguments: str) -> float:
        seconds = []
        for _ in range(10):
            begun = time.perf_counter()
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - begun)
        return min(seconds)

    ours = call(str(Path(sys.executable).parent / "quorate"), "--help")
    imports = call(sys.executable, "-c", "import numpy, onnxruntime")
    return {"help_seconds": ours, "import_seconds": imports, "ratio": ours / imports}


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = {
            "start": start(),
            "throughput": throughput(Path(folder), options.pictures),
            "memory": memory(Path(folder), options.memory),
        }
    rates = result["throughput"]
    print(
        f"quorate run, 2 detectors, {rates['pictures']} pictures on disk: "
        f"{rates['run_pictures_a_second']:.2f} pictures/s\n"
        f"bare sessions in a pool of threads: {rates['bare_threads_pictures_a_second']:.2f}, "
        f"one after the other: {rates['bare_serial_pictures_a_second']:.2f}\n"
        f"ratio to the better one: {rates['ratio']:.3f} (at least 0.85)"
    )
    for count, peak in result["memory"].items():
        print(f"peak memory over {int(count):,} pictures: {peak:.0f} MB")
    print(
        f"quorate --help: {1e3 * result['start']['help_seconds']:.0f} ms, import numpy, "
        f"onnxruntime: {1e3 * result['start']['import_seconds']:.0f} ms, ratio "
        f"{result['start']['ratio']:.2f} (under 0.30)"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
