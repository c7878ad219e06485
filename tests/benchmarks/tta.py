"""What views and tiles cost beside the network that sees them.

    python -m tests.benchmarks.tta [--pictures N] [--rounds N] [--json FILE]

The network has random weights and the size of YOLOv8n; pictures are 640 x 480. `one view` is
`predict` of the detector without views. Times are of the calling thread's processor time. The ratio
is that of k views in one `predict`, leading back and fusing included, to one view k times, right
before or after it; the median of all pictures and rounds, of which sets of few views have more. The
target is at most 1.05. Below, what each view by itself takes to make, the least of the rounds, in
percent of one view.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from quorate.detectors import Predictor
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.spec.tta import NUMBERS, View
from quorate.tta import augmented, see
from tests.benchmarks import networks
from tests.benchmarks.detect import make_pictures

SETS: dict[str, tuple[str, ...]] = {
    "flips": ("hflip", "vflip", "hvflip"),
    "flips and turns": ("hflip", "vflip", "rotate-90", "rotate-180", "rotate-270", "transpose"),
    "the usual": ("hflip", "scale-0.8", "gamma-1.5"),
    "geometric": ("hflip", "scale-0.8", "rotate-10", "shear-x-10", "translate", "crop", "elastic"),
    "colours": (
        "brightness",
        "contrast",
        "gamma",
        "saturation",
        "equalise",
        "grey",
        "channel-shift",
    ),
    "every kind": tuple(NUMBERS),
}


def spent(call: Callable[[], Any]) -> float:
    """Milliseconds of this thread's processor time."""
    start = time.thread_time()
    call()
    return 1e3 * (time.thread_time() - start)


def beside(
    views: int, several: Callable[[Any], Any], one: Callable[[Any], Any], shown: Sequence[Any]
) -> Iterator[tuple[float, float]]:
    """Milliseconds of several views of each picture, and the ratio to as many times one."""
    for number, picture in enumerate(shown):
        first = spent(lambda p=picture: several(p)) if number % 2 else 0.0
        alone = spent(lambda p=picture: [one(p) for _ in range(views)])
        together = first or spent(lambda p=picture: several(p))  # neither is always the first
        yield together, together / alone


def measure(folder: Path, pictures: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of one view, of each set of views, of tiles, and of making each view."""
    shown = [np.asarray(Image.open(path)) for path in make_pictures(folder, pictures)]
    large = np.asarray(Image.fromarray(shown[0]).resize((1600, 1120)))
    described = OnnxDetector(name="yolo", weights=str(networks.yolo(folder / "yolo.onnx")))
    plain = described.load()

    def of(**fields: Any) -> Predictor:
        return augmented(OnnxDetector(**described.model_dump() | fields), plain)

    rows = {name: (len(views) + 1, of(tta=views).predict, shown) for name, views in SETS.items()}
    tiled = of(tiles={"size": 640, "overlap": 0.2, "whole": False})
    rows["six tiles"] = 6, tiled.predict, [large] * pictures
    sets, one = {}, np.inf
    for name, (views, several, seen) in rows.items():
        samples = [
            sample
            for _ in range(rounds * max(1, 24 // views))
            for sample in beside(
                views, lambda p, s=several: s([p]), lambda _: plain.predict(shown[:1]), seen
            )
        ]
        ms, ratios = zip(*samples, strict=True)
        sets[name] = {"views": views, "ms": float(np.median(ms)), "ratio": float(np.median(ratios))}
        one = min(one, sets[name]["ms"] / sets[name]["ratio"] / views)
    making = {}
    for text in [*NUMBERS, "rotate-90"]:
        view = View.parse(text)
        see(shown[0], view)
        making[text] = min(spent(lambda v=view: see(shown[0], v)) for _ in range(rounds))
    return {"one_view_ms": one, "sets": sets, "making_ms": making}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.pictures, options.rounds)
    one = result["one_view_ms"]
    print(f"one view: {one:.1f} ms a picture")
    print(f"{'':18}{'views':>6}{'a picture':>13}{'beside k times one view':>26}")
    for name, row in result["sets"].items():
        print(f"{name:18}{row['views']:6}{row['ms']:10.1f} ms{row['ratio']:26.3f}")
    print("making a view, in percent of one view:")
    making = [f"{name} {100 * ms / one:.1f}" for name, ms in sorted(result["making_ms"].items())]
    for start in range(0, len(making), 4):
        print("  " + "".join(f"{text:24}" for text in making[start : start + 4]).rstrip())
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
