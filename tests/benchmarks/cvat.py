"""Publishing boxes into a task of a real CVAT, beside the bare requests of the same bodies.

    CVAT_URL=… CVAT_USERNAME=… CVAT_PASSWORD=… python -m tests.benchmarks.cvat
        [--pictures N] [--boxes N] [--job N]

Two tasks of the same pictures are made, in a project, so that their labels are the same. Each
request that `publish` sends to the first goes to the second as well, as it is and without any code
of ours around it: they take turns at going first, so what else the machine does falls on both. Then
the same is published again, which changes nothing, beside bare requests for what is in the jobs;
and it is undone.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from quorate.annotations import Annotations
from quorate.cvat.client import Client
from quorate.cvat.publishing.journal import Journal, run_name
from quorate.cvat.publishing.publish import publish, undo
from quorate.cvat.publishing.shapes import shapes
from quorate.cvat.publishing.tracks import joined
from quorate.cvat.task import Place, Task, tasks
from quorate.labels import Labels
from tests.cvat.real import Real, labels

WORDS = ("car", "person", "sign")
SIDE = 64


@dataclass
class Beside(Client):
    """A client each of whose changes is made in another task too, by a bare request.

    seconds  that the bare requests took
    """

    twins: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    turns: int = 0

    def send(self, method: str, path: str, body: Any, kind: Any, **query: Any) -> Any:
        def bare() -> None:
            start = time.perf_counter()
            data = msgspec.json.encode(body)
            asked = f"{self.server}/api/{self.twins[path]}?action={query['action']}"
            headers = {**self.headers, "Content-Type": "application/json"}
            answer = self._pool.request(method, asked, body=data, headers=headers, timeout=900)
            assert answer.status == 200, answer.data[:300]
            self.seconds += time.perf_counter() - start

        self.turns += 1
        if not self.twins or self.turns % 2:
            made = super().send(method, path, body, kind, **query)
        if self.twins:
            bare()
            if not self.turns % 2:
                made = super().send(method, path, body, kind, **query)
        return made


def pictures(count: int) -> tuple[str, bytes]:
    """Small pictures in a ZIP."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(count):
            file = io.BytesIO()
            Image.new("RGB", (SIDE, SIDE), (number % 256, 90, 90)).save(file, "png")
            archive.writestr(f"{number:06d}.png", file.getvalue())
    return "pictures.zip", packed.getvalue()


def boxes(count: int, frames: int) -> Annotations:
    """Boxes with votes and scores, the same number on each picture."""
    generator = np.random.default_rng(1)
    corners = generator.uniform(0, SIDE, (count, 2, 2))
    return Annotations.build(
        image_id=np.arange(count) % frames,
        category_id=generator.integers(1, len(WORDS) + 1, count),
        xyxy=np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        attributes={
            "votes": generator.integers(2, 5, count),
            "score": generator.uniform(0.3, 1, count).astype(np.float32),
        },
    )


@contextmanager
def clock(name: str, client: Beside) -> Iterator[dict[str, float]]:
    """Seconds that are told to be ours, and those of the bare requests within."""
    start, before = time.perf_counter(), client.seconds
    found: dict[str, float] = {}
    yield found
    bare = client.seconds - before
    ours = time.perf_counter() - start - bare
    found |= {"ours": ours, "bare": bare}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ratio = f"   ours / bare {ours / bare:5.2f}" if bare else ""
    shown = f"   bare {bare:7.1f} s" if bare else ""
    print(f"{name:28}{ours:7.1f} s{shown}{ratio}   peak {peak:,.0f} MiB", flush=True)


def measure(real: Real, first: Task, second: Task, count: int) -> None:
    """Publish, publish again, undo."""
    client = Beside(real.client.server, real.client.headers)
    client.twins = {
        f"jobs/{a.id}/annotations": f"jobs/{b.id}/annotations"
        for a, b in zip(first.jobs, second.jobs, strict=True)
    }
    journal = Journal(run_name("bench"), "bench", client.server, first.id)
    found = boxes(count, len(first.frames))
    frames = {number: number for number in range(len(first.frames))}
    start = time.perf_counter()
    words = Labels.from_names(WORDS)
    made = shapes(found, words, first.labels, frames, run=journal.run)
    wanted = joined(made, first, tracks=False)
    print(f"{'boxes to shapes':28}{time.perf_counter() - start:7.1f} s")
    with clock(f"publish {count:,} boxes", client):
        done = publish(client, first, wanted, journal)
    assert done.created == count
    client.twins = {}
    start = time.perf_counter()
    for job in first.jobs:
        real.raw("GET", f"jobs/{job.id}/annotations")
    bare = time.perf_counter() - start
    with clock("the same again", client) as again:
        done = publish(client, first, wanted, Journal(run_name("bench"), "bench", client.server, 0))
    assert (done.created, done.there) == (0, count)
    print(f"{'':28}bare requests for what is there: {bare:.1f} s; ratio {again['ours'] / bare:.2f}")
    with clock("undo", client):
        done = undo(client, journal, first.jobs, first.labels)
    assert done.removed == count


def main() -> None:
    """Make the tasks, measure, and delete them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=100_000)
    parser.add_argument("--job", type=int, default=250, help="pictures in a job")
    arguments = parser.parse_args()
    if not os.environ.get("CVAT_URL"):
        sys.exit("no CVAT: set CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD")
    real = Real(Client.connect())
    try:
        packed = pictures(arguments.pictures)
        project = real.made("projects", name="quorate bench", labels=labels(WORDS))
        whole = {"files": [packed], "segment_size": arguments.job, "project_id": project}
        made = [real.task(**whole) for _ in range(2)]
        first, second = (next(tasks(real.client, Place("task", number))) for number in made)
        with tempfile.TemporaryDirectory() as state:
            os.environ["XDG_STATE_HOME"] = str(Path(state))
            measure(real, first, second, arguments.boxes)
    finally:
        real.close()


if __name__ == "__main__":
    main()
