"""Frames a second through CVAT's dialog, beside the ensemble's own rate and the way's.

    python -m tests.benchmarks.serve [--frames N] [--rounds N]

`quorate serve` has the demo's ensemble in a process of its own, and is asked as CVAT asks: one
frame after the other, each over a connection of its own, base64 in JSON. `at once` is the same
server asked about frames that it remembers: the way without detectors. `alone` is `look` in this
process, one frame after the other. `served` cannot be faster than either. The best of several
rounds that take turns; every round shows frames that were not seen before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from quorate.ensemble import DetectionEnsemble
from tests.cvat.lambda_manager import Label, Lambda, Task
from tests.cvat.servers import ROOT, serving

PARTS = ROOT / "docs/examples/parts"


def rate(call: Callable[[int], object], frames: int) -> float:
    """Frames a second."""
    start = time.perf_counter()
    for frame in range(frames):
        call(frame)
    return frames / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = sorted((PARTS / "images").glob("bench-*/*.*"))[: arguments.frames]
    labels = [Label(name) for name in ("bolt", "nut", "washer", "screw")]
    best = {"at once": 0.0, "alone": 0.0, "served": 0.0}
    spec = DetectionEnsemble.from_yaml(PARTS / "spec.yaml")
    with spec.load() as loaded, serving(PARTS / "spec.yaml") as server:
        cvat = Lambda(server.url)
        model = cvat.get("parts")
        for number in range(arguments.rounds):
            # What follows a JPEG's end changes no pixel, yet it is another file.
            frames = [file.read_bytes() + bytes([number]) for file in files]
            task = Task(frames, labels)
            ways: dict[str, Callable[[int], object]] = {
                "alone": lambda i, frames=frames: loaded.look(frames[i]),
                "served": lambda i, task=task: cvat.frame(task, model, i),
                "at once": lambda i, task=task: cvat.frame(task, model, i),
            }
            for way, call in ways.items():
                best[way] = max(best[way], rate(call, len(frames)))
    limit = min(best["at once"], best["alone"])
    print(
        "  ".join(f"{way} {found:.1f}/s" for way, found in best.items())
        + f"   served, of the slower of both: {best['served'] / limit:.2f}"
    )


if __name__ == "__main__":
    main()
