"""How much a darknet detector costs beside the bare networks, onnxruntime's and OpenCV's.

    python -m tests.benchmarks.darknet [--pictures N] [--rounds N] [--json FILE]

The network is YOLOv3-tiny of full size, 416 x 416 and 80 categories, with random weights; pictures
are 640 x 480. `onnxruntime` is the converted file alone and `OpenCV` its reader of darknet's files,
both in a loop over tensors that were made beforehand; `predict` begins with the decoded picture.
Milliseconds of one thread's processor time, the least of several rounds that take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from quorate import pictures
from tests.benchmarks.detect import make_pictures
from tests.benchmarks.networks import NAMES
from tests.detectors import darknet_files as darknet
from tests.detectors.darknet_files import ANCHORS, conv, net, section, yolo

HEAD = conv(255, size=1, activation="linear", normalised=0)
POOL = section("maxpool", size=2, stride=2)
YOLOV3_TINY = (
    net(416, 416)
    + "".join(conv(16 << stage) + POOL for stage in range(5))
    + conv(512)
    + section("maxpool", size=2, stride=1)
    + conv(1024)
    + conv(256, size=1)
    + conv(512)
    + HEAD
    + yolo(ANCHORS, "3,4,5", classes=80)
    + section("route", layers=-4)
    + conv(128, size=1)
    + section("upsample", stride=2)
    + section("route", layers="-1,8")
    + conv(256)
    + HEAD
    + yolo(ANCHORS, "0,1,2", classes=80)
)


def measure(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Milliseconds a picture of each way."""
    os.environ["QUORATE_CACHE"] = str(folder)
    cv2.setNumThreads(1)
    files = darknet.write(folder, YOLOV3_TINY, names="\n".join(NAMES))
    predictor = files.detector(min_score=0.3).load()
    theirs = cv2.dnn.readNetFromDarknet(str(files.cfg), str(files.weights))
    last = theirs.getUnconnectedOutLayersNames()
    paths = make_pictures(folder, count)
    shown = [pictures.decode(path.read_bytes(), name=path.name) for path in paths]
    tensors = [
        predictor.tensors([p], [predictor.place(p.shape[:2])])["images"].copy() for p in shown
    ]

    def opencv() -> None:
        for tensor in tensors:
            theirs.setInput(tensor)
            theirs.forward(last)

    calls: dict[str, Callable[[], Any]] = {
        "onnxruntime": lambda: [
            predictor.network.session.run(None, {"images": t}) for t in tensors
        ],
        "OpenCV": opencv,
        "predict": lambda: [predictor.predict([p]) for p in shown],
    }
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if turn:  # the first warms up
                best[name] = min(best[name], 1e3 * (time.thread_time() - start) / count)
    return best


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        best = measure(Path(folder), arguments.pictures, arguments.rounds)
    print("  ".join(f"{name} {spent:.1f} ms" for name, spent in best.items()))
    for name in ("onnxruntime", "OpenCV"):
        print(f"{name} / predict {best[name] / best['predict']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(best, indent=2))


if __name__ == "__main__":
    main()
