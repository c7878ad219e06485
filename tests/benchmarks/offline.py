"""Fusing files: `quorate fuse` against json and ensemble-boxes, and how cold it starts.

    python -m tests.benchmarks.offline [--boxes N] [--peer-boxes N] [--json FILE]
    python -m tests.benchmarks.offline --large 2000000000

Five COCO-results files, 100 boxes a picture and detector. The peer is what people write: json,
a loop over pictures that normalises and calls ensemble-boxes' weighted_boxes_fusion, json. Both
keep to one processor and start from a new process, so imports and loading count on both sides.

The peer would take minutes. It goes picture by picture, so what it takes for a tenth of the
pictures, less its start, is a tenth; `--peer-boxes` as many as `--boxes` measures all.

`--large` measures something else alone: a results list of so many bytes fused with a small one, its
time and its peak of memory. It needs two and a half times the bytes on disk.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILES = 5
BOXES = 100
PEER = """
import json, sys
from collections import defaultdict
from ensemble_boxes import weighted_boxes_fusion
W, H = 640, 480
pictures = defaultdict(lambda: [([], [], []) for _ in sys.argv[2:]])
for model, path in enumerate(sys.argv[2:]):
    for d in json.load(open(path)):
        x, y, w, h = d["bbox"]
        boxes, scores, labels = pictures[d["image_id"]][model]
        boxes.append([x / W, y / H, (x + w) / W, (y + h) / H])
        scores.append(d["score"])
        labels.append(d["category_id"])
fused = []
for image_id, models in pictures.items():
    boxes, scores, labels = weighted_boxes_fusion(*map(list, zip(*models)), iou_thr=0.55)
    for (x1, y1, x2, y2), score, label in zip(boxes, scores, labels):
        fused.append({"image_id": image_id, "category_id": int(label), "score": float(score),
                      "bbox": [x1 * W, y1 * H, (x2 - x1) * W, (y2 - y1) * H]})
json.dump(fused, open(sys.argv[1], "w"))
"""

FLOOR = """
import numpy, numba
@numba.njit(cache=True)
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result
total(numpy.ones(3))
"""


def make_files(folder: Path, boxes: int) -> list[str]:
    """Five files of so many boxes; each detector sees the same objects, moved a little."""
    random = np.random.default_rng(0)
    pictures = max(1, boxes // BOXES)
    n = pictures * BOXES
    image = np.repeat(np.arange(1, pictures + 1), BOXES)
    size = np.exp(random.uniform(np.log(8), np.log(160), (n, 2)))
    corner = random.uniform(0, 1, (n, 2)) * (np.array([640, 480]) - size)
    category = random.integers(1, 25, n)
    paths = []
    for model in range(FILES):
        moved = corner + random.normal(0, 0.03, (n, 2)) * size
        bbox = np.hstack([moved.clip(0), size]).round(2)
        score = random.uniform(0.001, 1, n).round(5)
        rows = [
            {"image_id": i, "category_id": c, "bbox": b, "score": s}
            for i, c, b, s in zip(
                image.tolist(), category.tolist(), bbox.tolist(), score.tolist(), strict=True
            )
        ]
        paths.append(str(folder / f"model{model}.json"))
        Path(paths[-1]).write_text(json.dumps(rows))
    return paths


def make_large(path: Path, size: int) -> int:
    """A results list of about `size` bytes; how many boxes that is."""
    random = np.random.default_rng(0)
    pictures = 2000
    n = pictures * BOXES
    boxes = written = 0
    with path.open("w") as file:
        while written < size:
            image = np.repeat(np.arange(pictures) + 1 + boxes // BOXES, BOXES)
            extent = np.exp(random.uniform(np.log(8), np.log(160), (n, 2)))
            corner = random.uniform(0, 1, (n, 2)) * (np.array([640, 480]) - extent)
            rows = zip(
                image.tolist(),
                random.integers(1, 81, n).tolist(),
                np.hstack([corner, extent]).round(2).tolist(),
                random.uniform(0.001, 1, n).round(5).tolist(),
                strict=True,
            )
            text = ", ".join(
                f'{{"image_id": {i}, "category_id": {c}, "bbox": {b}, "score": {s}}}'
                for i, c, b, s in rows
            )
            written += file.write(f"{', ' if boxes else '['}{text}")
            boxes += n
        file.write("]")
    return boxes


def measure_large(folder: Path, size: int) -> None:
    """Fuse a file of `size` bytes with a small one, and print what that took."""
    small = make_files(folder, 1000)[0]
    large = folder / "large.json"
    boxes = make_large(large, size)
    command = [sys.executable, "-m", "quorate", "fuse", str(large), small]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "-o", str(folder / "fused.json")])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    print(
        f"{large.stat().st_size / 1e9:.1f} GB of JSON, {boxes:,} boxes, fused with a small file: "
        f"{time.perf_counter() - started:.0f} s ({usage.ru_utime:.0f} s of one processor, and "
        f"{usage.ru_stime:.0f} s of the kernel); at most {usage.ru_maxrss / 1e6:.1f} GB of memory, "
        f"{usage.ru_maxrss * 1024 / boxes:.0f} bytes a box"
    )


def took(command: Sequence[str]) -> float:
    """Processor seconds of a whole process on one processor; a busy machine does not blur them."""
    one = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    processor = min(os.sched_getaffinity(0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | one,
        preexec_fn=lambda: os.sched_setaffinity(0, {processor}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=500_000, help="in each file")
    parser.add_argument("--peer-boxes", type=int, default=50_000, help="in each file of the peer's")
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    parser.add_argument("--large", type=int, metavar="BYTES", help="measure one large file alone")
    options = parser.parse_args()
    if options.large:
        with tempfile.TemporaryDirectory() as name:
            measure_large(Path(name), options.large)
        return
    quorate = [sys.executable, "-m", "quorate", "fuse"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = make_files(_made(folder / "small"), 1000)
        out = str(folder / "fused.json")
        took([*quorate, *small, "-o", out])  # compiles, where nothing is cached yet
        (folder / "floor.py").write_text(FLOOR)
        starts = (
            [*quorate, *small[:2], "-o", out],
            [sys.executable, str(folder / "floor.py")],
            [sys.executable, "-c", "import numpy, numba"],
        )
        # In turns, so that a busy minute falls on all of them.
        rounds = [[took(command) for command in starts] for _ in range(8)]
        cold, floor, imports = map(min, zip(*rounds, strict=True))
        peer = [sys.executable, "-c", PEER, str(folder / "peer.json")]
        sample = min(options.peer_boxes, options.boxes)
        part = make_files(_made(folder / "part"), sample)
        one = make_files(_made(folder / "one"), BOXES)
        took([*quorate, *part, "-o", out])
        start = min(took([*peer, *one]) for _ in range(2))
        measured = took([*peer, *part])
        theirs, same = (len(json.loads(Path(p).read_text())) for p in (peer[-1], out))
        if theirs != same:
            raise SystemExit(f"{same} fused boxes, but {theirs} of the peer")
        scaled = start + (measured - start) * options.boxes / sample
        files = make_files(_made(folder / "large"), options.boxes)
        ours = min(took([*quorate, *files, "-o", out]) for _ in range(3))
        fused = len(json.loads(Path(out).read_text()))
    told = "" if sample == options.boxes else f" (from {measured:.1f} s for {sample:,} a file)"
    result: dict[str, Any] = {
        "boxes_a_file": options.boxes,
        "quorate_seconds": ours,
        "peer_seconds": scaled,
        "peer_boxes_a_file": sample,
        "peer_measured_seconds": measured,
        "peer_start_seconds": start,
        "ratio": scaled / ours,
        "cold_seconds": cold,
        "import_seconds": imports,
        "cold_ratio": cold / imports,
        "floor_seconds": floor,
        "floor_ratio": floor / imports,
    }
    print(
        f"{FILES} files of {options.boxes:,} boxes to {fused:,} fused, one processor: "
        f"quorate fuse {ours:.2f} s, json + ensemble-boxes {scaled:.1f} s{told}, "
        f"{result['ratio']:.1f}x (at least 20x)\n"
        f"quorate fuse on two small files: {cold:.2f} s, import numpy, numba: {imports:.2f} s, "
        f"{result['cold_ratio']:.2f}x (under 1.5x); numba with one cached function of three lines: "
        f"{result['floor_ratio']:.2f}x"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
