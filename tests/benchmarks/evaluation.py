"""How fast evaluation is: COCO's numbers against pycocotools, agreement, and the bootstrap.

    python tests/benchmarks/evaluation.py [--pictures 3000] [--json FILE]

The ratio is from one run on one machine: the same columns go in, the same twelve numbers come
out, and everything between counts, so also the building of what each evaluator wants.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.evaluation.agreement import agreement
from quorate.evaluation.coco import evaluate
from quorate.evaluation.compare import compare
from quorate.labels import Labels

CATEGORIES = 80
OBJECTS = 7


def made(pictures: int, boxes: int, detectors: int = 1) -> tuple[Dataset, Detections]:
    """Pictures with 7 objects and, from every detector, `boxes` boxes: 60 % near an object."""
    random = np.random.default_rng(0)
    image = np.repeat(np.arange(1, pictures + 1), OBJECTS)
    size = np.exp(random.uniform(np.log(8), np.log(300), (len(image), 2)))
    corner = random.uniform(0, 400, (len(image), 2))
    truth = np.hstack([corner, corner + size])
    category = random.integers(1, CATEGORIES + 1, len(image))
    dataset = Dataset(
        root="",
        images=tuple(Image(id=i, file_name=f"{i}.jpg") for i in range(1, pictures + 1)),
        labels=Labels.from_names(f"label {i}" for i in range(CATEGORIES)),
        annotations=Annotations.build(
            image_id=image,
            category_id=category,
            xyxy=truth,
            area=size.prod(1) * 0.7,
            iscrowd=random.random(len(image)) < 0.01,
        ),
    )
    n = pictures * boxes * detectors
    of = np.repeat(np.arange(pictures), boxes * detectors)
    row = of * OBJECTS + random.integers(0, OBJECTS, n)
    near = random.random(n) < 0.6
    spread = np.where(near, 0.08, 1.0)[:, None] * np.tile(size[row], 2)
    xyxy = truth[row] + random.normal(0, 1, (n, 4)) * spread
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
    return dataset, Detections.build(
        image_id=of + 1,
        category_id=np.where(near, category[row], random.integers(1, CATEGORIES + 1, n)),
        xyxy=xyxy,
        score=random.random(n) * np.where(near, 1.0, 0.6),
        detector=np.tile(np.repeat(np.arange(detectors), boxes), pictures),
        detectors=[f"d{i}" for i in range(detectors)],
    )


def best(work: Callable[[], Any], times: int) -> tuple[float, float, Any]:
    """The least wall time and the least processor time of several tries, and the last result."""
    walls, cores, result = [], [], None
    for _ in range(times):
        wall, core = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return min(walls), min(cores), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    dataset, found = made(asked.pictures, asked.boxes)
    rows: list[dict[str, Any]] = []

    def tell(name: str, wall: float, core: float, **more: Any) -> None:
        rows.append({"name": name, "seconds": wall, "processor_seconds": core, **more})

    wall, core, ours = best(lambda: evaluate(found, dataset), 5)
    slow_wall, slow_core, reference = best(
        lambda: evaluate(found, dataset, backend="pycocotools"), 1
    )
    if ours.statistics() != reference.statistics():
        raise SystemExit("the twelve numbers differ from those of pycocotools")
    tell("COCO evaluation, pycocotools", slow_wall, slow_core, boxes=len(found))
    tell(
        "COCO evaluation, quorate",
        wall,
        core,
        boxes=len(found),
        ratio=slow_wall / wall,
        processor_ratio=slow_core / core,
        at_least=40,
    )

    samples = 100
    compare({"a": found}, dataset, samples=1)  # compiles
    base, _, _ = best(lambda: compare({"a": found}, dataset, samples=0), 2)
    wall, core, _ = best(lambda: compare({"a": found}, dataset, samples=samples), 1)
    draws = {"draws_per_second": samples / max(wall - base, 1e-9)}
    tell(f"bootstrap, {samples} draws", wall, core, boxes=len(found), **draws)

    dataset, several = made(asked.pictures, 67, detectors=5)
    agreement(several, dataset, min_score=0.0)  # compiles
    wall, core, _ = best(lambda: agreement(several, dataset, min_score=0.0), 2)
    tell("agreement of 5 detectors", wall, core, boxes=len(several))

    table = Table(title=f"Evaluation, {asked.pictures} pictures, {CATEGORIES} categories")
    for head in ("", "boxes", "wall s", "processor s", "ratio"):
        table.add_column(head, justify="left" if not head else "right")
    for row in rows:
        ratio = f"{row['ratio']:.0f}× (≥ {row['at_least']}×)" if "ratio" in row else ""
        table.add_row(
            row["name"],
            f"{row['boxes']:,}",
            f"{row['seconds']:.2f}",
            f"{row['processor_seconds']:.2f}",
            ratio,
        )
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
