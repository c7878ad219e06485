"""Frames a second through the dialog of a real CVAT, beside a function that answers at once.

    CVAT_URL=… CVAT_USERNAME=… CVAT_PASSWORD=… python -m tests.benchmarks.cvat_dialog --port N
        [--rounds N]

The server must look for its functions at port N of this machine (`CVAT_NUCLIO_PORT`). A task of the
demo's 60 pictures is annotated by a function that finds nothing and does not look, which is CVAT's
own limit; by `quorate serve` with detectors that take no time to speak of; and with the demo's
ensemble. They take turns, each in a process of its own that knows no frame; medians count. `alone`
is the demo's ensemble in this process, frame after frame.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from quorate.cvat.client import Client
from quorate.ensemble import DetectionEnsemble
from tests.benchmarks.serve import PARTS
from tests.cvat.puppets import install
from tests.cvat.real import Real, zipped
from tests.cvat.servers import ROOT
from tests.waiting import until

WORDS = ("bolt", "nut", "washer", "screw")
FAST = """\
kind: DetectionEnsemble
name: fast
labels: [red, green]
detectors:
  - {name: a, kind: puppet}
  - {name: b, kind: puppet}
"""


@contextmanager
def at_once(port: int) -> Iterator[str]:
    """A Nuclio dashboard with a function that finds nothing; its name."""
    spec = json.dumps([{"id": 1, "name": "bolt", "type": "rectangle"}])
    notes = {"name": "nothing", "type": "detector", "spec": spec}
    function = {
        "metadata": {"name": "nothing", "annotations": notes},
        "spec": {"description": ""},
        "status": {"state": "ready", "httpPort": port},
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _go(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            one = self.path.rstrip("/").endswith("nothing")
            told = function if one else {"nothing": function}
            data = json.dumps([] if self.command == "POST" else told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _go  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "nothing"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(spec: Path, name: str, port: int, plugins: Path) -> Iterator[str]:
    """`quorate serve` with one model; its name."""
    command = [sys.executable, "-m", "quorate", "serve", "--cvat", str(spec), "--port", str(port)]
    path = {"PYTHONPATH": f"{plugins}{os.pathsep}{ROOT}"}
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, env=os.environ | path, stderr=log)
        try:
            until(lambda: b"model for CVAT" in Path(log.name).read_bytes())
            yield name
        finally:
            process.terminate()
            process.wait(60)


def rate(real: Real, task: int, function: str, frames: int) -> float:
    """Frames a second of one run."""
    mapping = {"bolt": {"name": "bolt"}} if function == "nothing" else None
    if function == "fast":
        mapping = {"red": {"name": "bolt"}, "green": {"name": "nut"}}
    body = {"function": function, "task": task, "cleanup": True}
    if mapping:
        body["mapping"] = mapping
    number = real.send("POST", "lambda/requests", body=body)["id"]
    start = time.perf_counter()
    while (told := real.get(f"lambda/requests/{number}"))["status"] in ("queued", "started"):
        if told["status"] == "queued":
            start = time.perf_counter()
        time.sleep(0.05)
    assert told["status"] == "finished", told
    return frames / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not os.environ.get("CVAT_URL"):
        sys.exit("no CVAT: set CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD")
    real = Real(Client.connect())
    rates: dict[str, list[float]] = {"at once": [], "fast": [], "demo": [], "alone": []}
    files = sorted((PARTS / "images").glob("bench-*/*.*"))
    try:
        task = real.task(WORDS, files=[zipped(PARTS / "images")])
        with tempfile.TemporaryDirectory() as folder:
            plugins = Path(folder)
            install(plugins)
            (plugins / "fast.yaml").write_text(FAST)
            loaded = DetectionEnsemble.from_yaml(PARTS / "spec.yaml").load()
            for _ in range(arguments.rounds):
                with at_once(arguments.port) as name:
                    rates["at once"].append(rate(real, task, name, len(files)))
                with served(plugins / "fast.yaml", "fast", arguments.port, plugins) as name:
                    rates["fast"].append(rate(real, task, name, len(files)))
                with served(PARTS / "spec.yaml", "parts", arguments.port, plugins) as name:
                    rates["demo"].append(rate(real, task, name, len(files)))
                start = time.perf_counter()
                for file in files:
                    loaded.look(file.read_bytes())
                rates["alone"].append(len(files) / (time.perf_counter() - start))
                print({way: round(found[-1], 1) for way, found in rates.items()}, flush=True)
    finally:
        real.close()
    found = {way: median(told) for way, told in rates.items()}
    print(
        "  ".join(f"{way} {value:.1f}/s" for way, value in found.items())
        + f"   fast, of at once: {found['fast'] / found['at once']:.2f}"
    )


if __name__ == "__main__":
    main()
