"""Large pools: time and memory of each step over very many pictures.

    python -m tests.benchmarks.pools make 1000000 FOLDER     a pool of tiny pictures
    python -m tests.benchmarks.pools run PLACE [--json FILE]     the steps over it

PLACE is such a folder, or the prefix in S3 that it lies at. Each step is the command that a pod
runs, in a process of its own. `prepare` and `publish` see all pictures. `measure`, `detect` and
`fuse` are run over the first shard, for they are the same for each; the other shards then get its
sizes and boxes, so that `publish` has something to publish. The detectors are three networks that
find five, five and four boxes in every picture, so that a fifth of the boxes has not every vote, in
all pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import yaml

from quorate.detections import Detections
from quorate.steps import Work
from quorate.steps.work import Manifest, read_json, write_json, write_table
from tests.detectors.models import constant

FOUND = {"yolo": 5, "detr": 5, "frcnn": 4}
SIDE = 64
FOLDER = 1000
"""Pictures of each folder of a pool."""


def picture() -> bytes:
    """A grey PNG of 64 x 64 pixels: 80 bytes or so."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * SIDE) * SIDE, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make(pictures: int, folder: Path) -> None:
    """A pool of equal pictures."""
    data = picture()
    for number in range(pictures):
        path = folder / f"{number // FOLDER:05d}" / f"{number:08d}.png"
        if number % FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def network(path: Path, boxes: int, shift: float) -> str:
    """A network that finds the same boxes in every picture."""
    rows = np.zeros((1, boxes, 6), np.float32)
    for number in range(boxes):
        rows[0, number] = (12 * number + shift, 4, 12 * number + 10 + shift, 44, 0.9, number % 2)
    return constant(str(path), {"output0": rows}, image=(1, 3, SIDE, SIDE), names=["car", "person"])


def spec(folder: Path, data: str) -> Path:
    """The ensemble."""
    detectors = [
        {"name": name, "kind": "onnx", "weights": network(folder / f"{name}.onnx", boxes, shift)}
        for (name, boxes), shift in zip(FOUND.items(), (0.0, 0.5, 1.0), strict=True)
    ]
    publish = {"formats": ["cvat", "coco"], "review": "disagreement"}
    told = {"kind": "DetectionEnsemble", "name": "pool", "data": data, "labels": ["car", "person"]}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(told | {"detectors": detectors, "publish": publish}))
    return path


def measured(step: str, *words: object) -> dict[str, float]:
    """Run one step: seconds, those of the processor, and the most memory in MB."""
    command = [sys.executable, "-m", "quorate", "step", step, *map(str, words), "--quiet"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    found = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu": round(used.ru_utime + used.ru_stime, 1),
        "mb": round(used.ru_maxrss / 1024),
    }
    print(json.dumps({"step": step, **found}), file=sys.stderr)
    return found


def spread(work: Work) -> None:
    """Give every shard the sizes and the boxes of the first."""
    first = work.images(0)
    size, ids = (first.images[0].width, first.images[0].height), [i.id for i in first.images]
    inside = ["fused", *(f"detections/{name}" for name in FOUND)]
    boxes = {
        name: Detections.from_parquet(work.shard(0) / name / "detections.parquet")
        for name in inside
    }
    manifests = {
        name: read_json(work.shard(0) / name / "manifest.json", Manifest) for name in inside
    }
    for shard in range(1, work.plan().shards):
        listed = work.listed(shard)
        images = tuple(
            msgspec.structs.replace(i, width=size[0], height=size[1]) for i in listed.images
        )
        contents = msgspec.structs.replace(listed, images=images)
        write_json(work.shard(shard) / "images.json", contents)
        new = np.array([image.id for image in images])
        for name in inside:
            mine = boxes[name].take(np.isin(boxes[name].image_id, ids[: len(new)]))
            found = replace(mine, image_id=new[np.searchsorted(ids, mine.image_id)])
            folder = work.shard(shard) / name
            write_table(folder / "detections.parquet", found, contents)
            told = {"images": len(new), "detections": len(found)}
            write_json(folder / "manifest.json", msgspec.structs.replace(manifests[name], **told))


def run(place: str, folder: Path) -> dict[str, dict[str, float]]:
    """Each step over a pool."""
    given, work, out = spec(folder, place), folder / "work", folder / "out"
    apart = ("--measure", folder / "measure")
    found = {"prepare": measured("prepare", given, "--work", work, *apart)}
    shard = ("--work", work, "--shard", 0)
    assert (folder / "measure").read_text() == "true", "a pool of more than 8,192 pictures, please"
    found["measure"] = measured("measure", given, *shard)
    for name in FOUND:
        found["detect"] = measured("detect", given, *shard, "--detector", name)
    found["fuse"] = measured("fuse", given, *shard)
    spread(Work(work))
    found["publish"] = measured("publish", given, "--work", work, "--out", out)
    summary = json.loads((out / "summary.json").read_text())
    about = {
        "pictures": summary["images"],
        "shards": Work(work).plan().shards,
        "boxes": sum(one["boxes"] for one in summary["detectors"]),
        "published": summary["published"],
        "work_mb": sum(p.stat().st_size for p in work.rglob("*") if p.is_file()) >> 20,
        "out_mb": sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) >> 20,
    }
    return {"about": about, **found}


def main() -> None:
    """Make a pool, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("pictures", type=int)
    making.add_argument("folder", type=Path)
    running = commands.add_parser("run")
    running.add_argument("place")
    running.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.pictures, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.place, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    print(" · ".join(f"{value:,} {name}" for name, value in found.pop("about").items()))
    for step, one in found.items():
        print(f"{step:8} {one['seconds']:8.1f} s {one['cpu']:8.1f} s of CPU {one['mb']:6.0f} MB")


if __name__ == "__main__":
    main()
