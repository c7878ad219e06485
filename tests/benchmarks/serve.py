"""Frames a second through CVAT's dialog, beside the ensemble's own rate and the way's.

    python -m tests.benchmarks.serve [--frames N] [--rounds N]

`quorate serve` has the demo's ensemble in a process of its own, and is asked as CVAT asks: one
frame after the other, each over a connection of its own, base64 in JSON. `at once` is the same
server asked about frames that it remembers: the way without detectors. `alone` is `look` in this
process. `served` cannot be faster than either. The three take turns frame by frame, and the median
counts; every round shows frames that were not seen before.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median

from quorate.ensemble import DetectionEnsemble
from tests.benchmarks.clock import clock
from tests.cvat.lambda_manager import Label, Lambda, Task
from tests.cvat.servers import ROOT, serving

PARTS = ROOT / "docs/examples/parts"


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    files = sorted((PARTS / "images").glob("bench-*/*.*"))[: arguments.frames]
    labels = [Label(name) for name in ("bolt", "nut", "washer", "screw")]
    seconds: dict[str, list[float]] = {"at once": [], "alone": [], "served": []}
    spec = DetectionEnsemble.from_yaml(PARTS / "spec.yaml")
    with spec.load() as loaded, serving(PARTS / "spec.yaml") as server:
        cvat = Lambda(server.url)
        model = cvat.get("parts")
        for number in range(arguments.rounds):
            # What follows a JPEG's end changes no pixel, yet it is another file.
            frames = [file.read_bytes() + bytes([number]) for file in files]
            task = Task(frames, labels)
            for i, frame in enumerate(frames):
                asked = partial(cvat.frame, task, model, i)
                seconds["alone"].append(clock(partial(loaded.look, frame)))
                seconds["served"].append(clock(asked))
                seconds["at once"].append(clock(asked))
    rates = {way: 1 / median(times) for way, times in seconds.items()}
    limit = min(rates["at once"], rates["alone"])
    print(
        "  ".join(f"{way} {found:.1f}/s" for way, found in rates.items())
        + f"   served, of the slower of both: {rates['served'] / limit:.2f}"
    )


if __name__ == "__main__":
    main()
