"""How much a detector costs beside its network: decoding, preprocessing, the rest of `predict`.

    python -m tests.benchmarks.detect [--pictures N] [--json FILE]

Networks have random weights and a realistic size; pictures are JPEG files of 640 x 480 on disk.
`bare` is onnxruntime alone, in the same session, on tensors that were made beforehand. The table
has medians of the calling thread's processor time (each detector runs on it alone, so this is
all of it), which other work on the machine disturbs less than the clock. The last line is by the
clock, the best of several rounds that take turns, with the ratio of processor time beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from quorate import pictures
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.workers import processors
from tests.benchmarks import networks

BUILDERS = {"yolo": networks.yolo, "detr": networks.detr}


def make_pictures(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """JPEG files of 640 x 480 as a camera writes them: smooth, with edges and some noise."""
    random = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        small = random.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC))
        noisy = pixels + random.normal(0, 4, pixels.shape)
        for _ in range(12):
            x, y = random.integers(0, 600), random.integers(0, 440)
            noisy[y : y + random.integers(8, 90), x : x + random.integers(8, 90)] = random.integers(
                0, 256, 3
            )
        paths.append(folder / f"{number:05d}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def make_detectors(folder: Path) -> dict[str, TensorPredictor]:
    """One predictor of each kind of network, as a spec would describe it."""
    return {
        name: OnnxDetector(name=name, weights=str(build(folder / f"{name}.onnx"))).load()
        for name, build in BUILDERS.items()
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of this thread's processor time, and the result."""
    start = time.thread_time()
    result = call()
    return 1e3 * (time.thread_time() - start), result


def measure(predictor: TensorPredictor, paths: Sequence[Path]) -> dict[str, float]:
    """Median milliseconds of each part, and what share of the whole the network has."""
    parts: dict[str, list[float]] = {k: [] for k in ("decode", "preprocess", "bare", "predict")}
    outputs = list(predictor.layout.outputs)
    boxes = 0
    for path in paths:
        data = path.read_bytes()
        decode, picture = timed(lambda d=data, p=path: pictures.decode(d, name=p.name))
        places = [predictor.place(picture.shape[:2])]
        preprocess, feed = timed(lambda p=picture, q=places: predictor.tensors([p], q))
        fresh = {name: value.copy() for name, value in feed.items()}
        bare, _ = timed(lambda f=fresh: predictor.network.session.run(outputs, f))
        predict, [found] = timed(lambda p=picture: predictor.predict([p]))
        boxes += len(found.score)
        for name, value in zip(parts, (decode, preprocess, bare, predict), strict=True):
            parts[name].append(value)
    result = {f"{name}_ms": median(values[1:] or values) for name, values in parts.items()}
    result["bare_over_predict"] = result["bare_ms"] / result["predict_ms"]
    result["boxes"] = boxes / len(paths)
    return result


def rates(
    predictors: Sequence[TensorPredictor], paths: Sequence[Path], workers: int, rounds: int
) -> dict[str, float]:
    """Pictures a second in a pool of threads: decoding once and predicting, against bare runs."""
    shown = [pictures.decode(path.read_bytes(), name=path.name) for path in paths]
    feeds = [
        [
            {n: v.copy() for n, v in p.tensors([picture], [p.place(picture.shape[:2])]).items()}
            for p in predictors
        ]
        for picture in shown[:4]
    ]

    def bare(number: int) -> None:
        for predictor, feed in zip(predictors, feeds[number % len(feeds)], strict=True):
            predictor.network.session.run(list(predictor.layout.outputs), feed)

    def whole(number: int) -> None:
        picture = pictures.decode(paths[number].read_bytes(), name=paths[number].name)
        for predictor in predictors:
            predictor.predict([picture])

    best = {"bare": 0.0, "whole": 0.0}
    processor = {"bare": 0.0, "whole": 0.0}
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(rounds):
            for name, work in (("bare", bare), ("whole", whole)):
                clock, used = time.perf_counter(), time.process_time()
                list(pool.map(work, range(len(paths))))
                best[name] = max(best[name], len(paths) / (time.perf_counter() - clock))
                processor[name] += time.process_time() - used
    return {
        "bare_pictures_a_second": best["bare"],
        "pictures_a_second": best["whole"],
        "ratio": best["whole"] / best["bare"],
        "processor_ratio": processor["bare"] / processor["whole"],
        "workers": workers,
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder), options.pictures)
        predictors = make_detectors(Path(folder))
        result: dict[str, Any] = {n: measure(p, paths) for n, p in predictors.items()}
        result["threads"] = rates(list(predictors.values()), paths, processors(), options.rounds)
    print(f"{'':8}{'decode':>10}{'preprocess':>12}{'bare':>10}{'predict':>10}{'bare/predict':>14}")
    for name in predictors:
        row = result[name]
        print(
            f"{name:8}{row['decode_ms']:7.2f} ms{row['preprocess_ms']:9.2f} ms"
            f"{row['bare_ms']:7.1f} ms{row['predict_ms']:7.1f} ms{row['bare_over_predict']:14.3f}"
        )
    threads = result["threads"]
    print(
        f"decode once and predict with both, {threads['workers']} threads: "
        f"{threads['pictures_a_second']:.1f} pictures/s, bare runs "
        f"{threads['bare_pictures_a_second']:.1f}, ratio {threads['ratio']:.3f}, "
        f"of processor time {threads['processor_ratio']:.3f}"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
