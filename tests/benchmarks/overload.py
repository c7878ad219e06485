"""`quorate serve` at twice what it can do, and killed under load.

    python -m tests.benchmarks.overload [--seconds N]

The demo's ensemble, asked over HTTP with files in an open loop at 0.5, 1 and 2 times the rate that
a closed loop of four clients reaches. Every request has to end with an answer or with 429. The
memory is the server's resident set, of the second quarter of the time at twice the rate and of the
last; `cpu s` is the server's processor time for each answer, refusals included. Then clients that
ask again (as `kind: remote` does) go through `kill -9` and a restart. Every answer is held against
that of the ensemble in this process, to the last bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from quorate.client.load import Latency, Load, asking, closed, opened
from quorate.client.model import Model
from quorate.ensemble import DetectionEnsemble
from tests.cvat.servers import ROOT, Server
from tests.detectors.servers.real import free_ports

PARTS = ROOT / "docs/examples/parts"
RETRIES = 12
COLUMNS = {"boxes": "xyxy", "scores": "score", "votes": "votes", "categories": "category_id"}
OUTPUTS = [*COLUMNS, "counts", "voters"]


@contextmanager
def serving(*words: str, plugins: Path | None = None) -> Iterator[Server]:
    """`quorate serve` with some words; killed in the end, however it is by then."""
    path = {"PYTHONPATH": f"{plugins}{os.pathsep}{ROOT}"} if plugins else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "quorate", "serve", *words],
        env=os.environ | path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@dataclass
class Memory:
    """MiB that a process holds, once a quarter of a second, while it is watched."""

    pid: int
    found: list[float] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        threading.Thread(target=self._watch).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()

    def _watch(self) -> None:
        while not self.end.wait(0.25):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            self.found.append(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20))

    def quarter(self, number: int) -> float:
        """The median of one quarter of the time, from 1 on."""
        size = len(self.found) // 4
        return median(self.found[(number - 1) * size : number * size])


class Check:
    """What the ensemble here says of each file, to be held against answers."""

    def __init__(self, files: list[bytes]) -> None:
        with DetectionEnsemble.from_yaml(PARTS / "spec.yaml").load() as loaded:
            self.here = [answer.boxes for answer in loaded.answers(files)]

    def wrong(self, load: Load) -> int:
        """How many answers differ from those here."""
        return sum(
            not all(
                np.array_equal(answer[name], getattr(here, column).astype(answer[name].dtype))
                for name, column in COLUMNS.items()
            )
            for number, answer in load.answers.items()
            for here in [self.here[number % len(self.here)]]
        )


def used(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(name: str, load: Load, wrong: int, seconds: float | None = None) -> str:
    """A line of the table; `seconds` of processor time are those of the server."""
    latency = Latency.of(load.seconds)
    assert latency is not None
    shed = load.refused.get("HTTP 429", 0)
    other = load.requests - len(load.seconds) - shed
    return (
        f"{name:<16}{load.requests:>9}{len(load.seconds):>9}{shed:>6}{other:>7}{wrong:>7}"
        f"{len(load.seconds) / load.elapsed:>10.2f}{latency.median / 1e3:>10.2f}"
        f"{latency.p99 / 1e3:>8.2f}{seconds / len(load.seconds) if seconds else 0:>7.2f}"
    )


def through_a_kill(address: list[str], files: list[bytes], requests: int) -> tuple[Load, float]:
    """A load of clients that ask again; the server is killed in its midst, and started again.

    The seconds are those from the kill to the first answer after it.
    """
    words = [*address, "--queue", "16"]
    with serving(*words) as server:
        model = Model.find(server.url, connection={"retries": RETRIES, "concurrency": 4})
        shown = [model.tensors(file, "a picture") for file in files]
        asked = 0
        lock, killed = threading.Lock(), threading.Event()
        ends: list[float] = []

        def ask(number: int) -> dict[str, np.ndarray]:
            nonlocal asked
            with lock:
                asked += 1
                if asked == requests // 3:
                    killed.set()
            answer = model.network.run(OUTPUTS, shown[number % len(shown)])
            ends.append(time.perf_counter())
            return answer

        load = Load()
        work = threading.Thread(
            target=lambda: load.__dict__.update(
                closed(ask, clients=4, seconds=0, most=requests, keep=True).__dict__
            )
        )
        work.start()
        killed.wait(300)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        at = time.perf_counter()
        with serving(*words):
            work.join()
    return load, min(end for end in ends if end > at) - at


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    paths = sorted((PARTS / "images").glob("bench-*/*.*"))[:12]
    files = [path.read_bytes() for path in paths]
    check = Check(files)
    heads = "requests answered   429  other  wrong answered/s  median s   p99 s  cpu s"
    print(f"{'':<17}{heads}")
    with serving(
        str(PARTS / "spec.yaml"), "--port", "0", "--grpc-port", "0", "--queue", "16"
    ) as at:
        model = Model.find(at.url, connection={"concurrency": 256})
        ask = asking(model.network.client, OUTPUTS, [model.tensors(f, "a picture") for f in files])
        closed(ask, clients=4, seconds=5)
        start = used(at.process.pid)
        load = closed(ask, clients=4, seconds=arguments.seconds / 3, keep=True)
        seconds = used(at.process.pid) - start
        print(told("four clients", load, check.wrong(load), seconds), flush=True)
        capacity = len(load.seconds) / load.elapsed
        for share in (0.5, 1.0, 2.0):
            start = used(at.process.pid)
            with Memory(at.process.pid) as memory:
                load = opened(ask, rate=share * capacity, seconds=arguments.seconds, keep=True)
            seconds = used(at.process.pid) - start
            print(told(f"{share:g} times that", load, check.wrong(load), seconds), flush=True)
        second, last = memory.quarter(2), memory.quarter(4)
    print(
        f"memory at twice the rate: {second:.0f} MiB, in the end {last:.0f} MiB, "
        f"{last / second:.3f} times as much"
    )
    port, rpc = map(str, free_ports(2))
    address = [str(PARTS / "spec.yaml"), "--port", port, "--grpc-port", rpc]
    load, away = through_a_kill(address, files, requests=60)
    print(told("kill -9", load, check.wrong(load)))
    print(f"the first answer after the kill came {away:.1f} s later, with the start of the server")


if __name__ == "__main__":
    main()
