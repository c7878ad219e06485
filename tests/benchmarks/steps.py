"""Where the processor time of a step goes as a pod runs it: start, imports, S3, kernels, networks.

    python -m tests.benchmarks.steps [--rounds N] [--python PYTHON]

The demo's 60 pictures in one shard, read from an S3 server on this machine. Each step is a process
of its own, as in its pod; what it spends on each kind of work is measured by the clock of its
threads, so that what else the machine does matters little. `python` has the start of the
interpreter, `imports` the modules that are loaded, whoever asks for them; `other` is the step's own
work. Least of some rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests import s3_server
from tests.cluster.runs import PARTS, Bucket

PARTS_OF = ("python", "imports", "client", "requests", "kernels", "open", "network", "decode")
HEADS = ("python", "imports", "S3 client", "S3", "kernels", "open", "network", "decode", "other")

TRACED = """
import functools, importlib, importlib._bootstrap as bootstrap, json, os, sys, threading, time

begun = time.process_time()
spent, lock, local = {}, threading.Lock(), threading.local()


def timed(what, call):
    @functools.wraps(call)
    def wrapper(*given, **more):
        stack = local.__dict__.setdefault("stack", [])
        stack.append(0.0)
        start = time.thread_time()
        try:
            return call(*given, **more)
        finally:
            whole = time.thread_time() - start
            inner = stack.pop()
            if stack:
                stack[-1] += whole
            with lock:
                spent[what] = spent.get(what, 0.0) + whole - inner
    return wrapper


def patch(where, name, what):
    setattr(where, name, timed(what, getattr(where, name)))


OF_MODULES = {
    "quorate.storage.s3": lambda m: patch(m, "client", "client"),
    "botocore.client": lambda m: patch(m.BaseClient, "_make_api_call", "requests"),
    "quorate.compiled": lambda m: patch(m._Cache, "load_overload", "kernels"),
    "quorate.detectors.onnx.session": lambda m: (
        patch(m, "open_session", "open"), patch(m.OnnxNetwork, "run", "network")),
    "quorate.pictures": lambda m: patch(m, "decode", "decode"),
}
load = bootstrap._find_and_load


def find_and_load(name, import_):
    module = load(name, import_)
    if name in OF_MODULES:
        OF_MODULES.pop(name)(sys.modules[name])
    return module


bootstrap._find_and_load = timed("imports", find_and_load)
from quorate.cli import main

code = main(sys.argv[1:])
spent["python"] = begun
spent["total"] = time.process_time()
spent["modules"] = len(sys.modules)
with open(os.environ["SPENT"], "w") as file:
    json.dump(spent, file)
sys.stdout.flush()
os._exit(code)
"""


def step(python: str, folder: Path, name: str, *words: str) -> dict[str, float]:
    """The seconds that one step takes, by kind of work."""
    spent = folder / "spent.json"
    environment = os.environ | {"SPENT": str(spent), "PYTHONPATH": ""}
    command = [python, "-c", TRACED, "step", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(spent.read_text())


def measure(python: str, folder: Path, bucket: Bucket) -> dict[str, dict[str, float]]:
    """Every step once, the work folder begun anew."""
    spec = yaml.safe_load((PARTS / "spec.yaml").read_text(encoding="utf-8"))
    spec["data"] = f"s3://{bucket.name}/images/"
    for one in spec["detectors"]:
        one["weights"] = str(PARTS / one["weights"])
    given = folder / "spec.yaml"
    given.write_text(yaml.safe_dump(spec), encoding="utf-8")
    shutil.rmtree(folder / "work", ignore_errors=True)
    bucket.remove("checkpoints/")
    at = [str(folder / "work/spec.yaml"), "--work", str(folder / "work")]
    begin = [str(given), "--work"]
    found = {"prepare": step(python, folder, "prepare", *begin, str(folder / "work"))}
    for one in (detector["name"] for detector in spec["detectors"]):
        kept = f"s3://{bucket.name}/checkpoints/{one}"
        more = ["--shard", "0", "--detector", one, "--checkpoint", kept]
        found[f"detect {one}"] = step(python, folder, "detect", *at, *more)
    found["publish"] = step(python, folder, "publish", *at, "--out", str(folder / "out"))
    shutil.rmtree(folder / "alone", ignore_errors=True)
    more = ["--one-pod", "60", "--out", str(folder / "alone/out")]
    found["all in one"] = step(python, folder, "prepare", *begin, str(folder / "alone/work"), *more)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="that of an image, for example")
    arguments = parser.parse_args()
    process, used = s3_server.start()
    os.environ.update(used)
    try:
        bucket = Bucket(used["S3_BUCKET"])
        bucket.put_folder(PARTS / "images", "images")
        with tempfile.TemporaryDirectory() as name:
            rounds = [
                measure(arguments.python, Path(name), bucket) for _ in range(arguments.rounds)
            ]
    finally:
        process.stdin.close()
        process.wait()
    print(f"{'seconds of processor time':26}{'total':>8}" + "".join(f"{one:>10}" for one in HEADS))
    for one in rounds[0]:
        best = min((found[one] for found in rounds), key=lambda spent: spent["total"])
        parts = [best.get(part, 0.0) for part in PARTS_OF]
        parts.append(best["total"] - sum(parts))
        print(f"{one:26}{best['total']:8.2f}" + "".join(f"{part:10.2f}" for part in parts))


if __name__ == "__main__":
    main()
