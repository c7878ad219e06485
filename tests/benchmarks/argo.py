"""The DAG on Argo Workflows: makespan against critical path, and a pod against this machine.

    python -m tests.benchmarks.argo [--runs N] [--json FILE]

Needs what the tests of tests/cluster need (tests/cluster/conftest.py). The critical path is the
sum, over the longest chain of pods, of the time for which their main containers ran; what the
makespan has beyond it is Argo's and Kubernetes' own. The rest is told apart by the times that the
API server keeps, which are whole seconds, so that only means over several runs say anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from tests.cluster.conftest import IMAGE, Kubectl
from tests.cluster.runs import PARTS, Bucket, Runs, quorate

PHASES = {
    "start": "scheduled, volumes and network made, to the first container",
    "fetch": "init container: artifacts in",
    "begin": "from there to the main container",
    "main": "the step itself",
    "leave": "wait container: artifacts out, result told",
    "next": "until the controller has made the next pod, or ended the run",
}


def seconds(text: str) -> float:
    """A time of the API server's, in seconds."""
    return datetime.fromisoformat(text).timestamp()


def phases(pod: dict[str, Any]) -> dict[str, float]:
    """When each part of a pod's life began or ended, in seconds."""
    status = pod["status"]
    ran = {
        one["name"]: one["state"]["terminated"]
        for one in [*status["initContainerStatuses"], *status["containerStatuses"]]
    }
    return {
        "made": seconds(pod["metadata"]["creationTimestamp"]),
        "init": seconds(ran["init"]["startedAt"]),
        "fetched": seconds(ran["init"]["finishedAt"]),
        "main": seconds(ran["main"]["startedAt"]),
        "done": seconds(ran["main"]["finishedAt"]),
        "left": seconds(ran["wait"]["finishedAt"]),
    }


def pods_of(runs: Runs, name: str, word: str) -> list[dict[str, float]]:
    """The phases of a finished run's pods of one kind of step."""
    selector = f"--selector=workflows.argoproj.io/workflow={name}"
    listed = json.loads(runs.kubectl("get", "pods", selector, "--output=json"))["items"]
    return [phases(pod) for pod in listed if f"-{word}-" in pod["metadata"]["name"]]


def chain_of(runs: Runs, name: str) -> dict[str, Any]:
    """The makespan of a finished run, and the phases of the pods on its longest chain."""
    workflow = runs.kubectl.get("workflow", name)
    slowest = max(pods_of(runs, name, "detect"), key=lambda times: times["left"])
    first, last = (pods_of(runs, name, word) for word in ("prepare", "publish"))
    chain = [*first, slowest, *pods_of(runs, name, "fuse"), *last]
    began, ended = (seconds(workflow["status"][key]) for key in ("startedAt", "finishedAt"))
    totals = dict.fromkeys(PHASES, 0.0)
    totals["next"] += chain[0]["made"] - began
    for position, times in enumerate(chain):
        totals["start"] += times["init"] - times["made"]
        totals["fetch"] += times["fetched"] - times["init"]
        totals["begin"] += times["main"] - times["fetched"]
        totals["main"] += times["done"] - times["main"]
        totals["leave"] += times["left"] - times["done"]
        if position + 1 < len(chain):
            totals["next"] += chain[position + 1]["made"] - times["left"]
    totals["next"] += ended - chain[-1]["left"]
    return {"makespan": ended - began, "steps": len(chain), **totals}


def dag(runs: Runs, count: int) -> dict[str, float]:
    """Means over several runs of the demo's three detectors in one shard."""
    template = runs.template(runs.spec("bench-dag"))
    found = []
    for _ in range(count):
        name = runs.create(template)
        workflow = runs.wait(name, seconds=900)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        found.append(chain_of(runs, name))
        print(json.dumps(found[-1]), file=sys.stderr)
    return {key: mean(one[key] for one in found) for key in found[0]}


def one_detector(runs: Runs, folder: Path) -> dict[str, float]:
    """Pictures a second of detect steps, one after the other, in pods and here, all from S3."""
    shards, copies = 2, 26
    for copy in range(shards * copies):
        for path in (PARTS / "images").rglob("*.jpg"):
            key = f"{runs.prefix}/many/{copy}-{path.parent.name}-{path.name}"
            runs.bucket.put(key, path.read_bytes())
    where = f"s3://{runs.bucket.name}/{runs.prefix}/many/"
    path = runs.spec("bench-one", data=where, workflow={"parallelism": 1})
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["detectors"] = [one for one in spec["detectors"] if one["name"] == "frcnn"]
    spec["fusion"] = "consensus"
    spec["quorum"] = 1
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    name = runs.create(runs.template(path))
    workflow = runs.wait(name, seconds=900)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    prefix = f"{runs.kubectl.namespace}/quorate/{name}/work/shards"
    left = [
        json.loads(runs.bucket.get(f"{prefix}/{shard:05d}/detections/frcnn/manifest.json"))
        for shard in range(shards)
    ]
    ran = [times["done"] - times["main"] for times in pods_of(runs, name, "detect")]
    worked = sum(one["seconds"] for one in left)
    work = folder / "work"
    quorate("step", "prepare", path, "--work", work)
    quorate("step", "detect", path, "--work", work, "--shard", 0, "--detector", "frcnn")
    here = json.loads((work / "shards/00000/detections/frcnn/manifest.json").read_text())
    return {
        "pictures": left[0]["images"],
        "pod": sum(one["images"] for one in left) / worked,
        "here": here["images"] / here["seconds"],
        "start": (sum(ran) - worked) / shards,
        "share": (sum(ran) - worked) / sum(ran),
    }


def fastest(call: Callable[[], object], rounds: int = 5) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


RENDER = """
import sys, time
from quorate.ensemble import DetectionEnsemble
import hera.workflows, quorate.argo.rendering.template
ensemble = DetectionEnsemble.from_yaml(sys.argv[1])
began = time.perf_counter()
ensemble.workflow_template().to_yaml()
print(time.perf_counter() - began)
"""


def rendering(spec: Path) -> dict[str, float]:
    """Seconds to render a template, and to import hera and nothing else."""

    def python(script: str, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True
        ).stdout

    bare = fastest(lambda: python("pass"))
    hera = fastest(lambda: python("import hera.workflows"))
    return {
        "render": min(float(python(RENDER, str(spec))) for _ in range(5)),
        "import_hera": hera - bare,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    namespace = os.environ.get("CLUSTER_NAMESPACE", "argo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bucket = Bucket(os.environ["S3_BUCKET"])
        runs = Runs(Kubectl(namespace), bucket, IMAGE, f"quorate-bench/{os.getpid()}", folder)
        for part in ("images", "models"):
            bucket.put_folder(PARTS / part, f"{runs.prefix}/{part}")
        try:
            drawn = rendering(runs.spec("bench-render"))
            whole = dag(runs, arguments.runs)
            one = one_detector(runs, folder)
        finally:
            runs.clear()
    if arguments.json:
        arguments.json.write_text(json.dumps({"render": drawn, "dag": whole, "one": one}, indent=1))
    print(
        f"rendering a template        {drawn['render'] / drawn['import_hera']:.2f} of import hera"
    )
    print(f"makespan                    {whole['makespan']:.1f} s, mean of {arguments.runs} runs")
    print(f"its critical path           {whole['main']:.1f} s, {whole['steps']:.0f} pods")
    overhead = (whole["makespan"] - whole["main"]) / whole["steps"]
    print(f"overhead                    {overhead:.1f} s a step, of which")
    for phase, what in PHASES.items():
        if phase != "main":
            print(f"  {whole[phase] / whole['steps']:4.1f} s  {what}")
    print(f"detect in a pod             {one['pod'] / one['here']:.2f} of the rate here")
    print(
        f"start and loading           {one['start']:.1f} s, {one['share']:.2f} of a shard of "
        f"{one['pictures']} pictures"
    )


if __name__ == "__main__":
    main()
