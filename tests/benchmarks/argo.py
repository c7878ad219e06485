"""A run on Argo Workflows beside the same DAG with commands that do nothing, and in one pod.

    python -m tests.benchmarks.argo [--rounds N] [--more] [--json FILE]

Needs what the tests of tests/cluster need (tests/cluster/conftest.py). The demo's three detectors
see its 60 pictures, in turn as a DAG, as the same DAG and artifacts with a stub for each command,
and in one pod; medians. `main` is the time for which the main containers on the longest chain of
pods ran; what the makespan has beyond it is Argo's and Kubernetes' own. It is told apart by the
times that the API server keeps, which are whole seconds.

--more  how fast a template is rendered, and a detector in a pod beside this machine
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
from statistics import median
from typing import Any

import yaml

from tests.benchmarks import skipped
from tests.cluster.conftest import IMAGE, Kubectl, images_of_nodes
from tests.cluster.runs import PARTS, Bucket, Runs, quorate

NEEDED = ("KUBECONFIG", "AWS_ENDPOINT_URL", "S3_BUCKET")
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
    slowest = sorted(pods_of(runs, name, "detect"), key=lambda times: times["left"])[-1:]
    first, last = (pods_of(runs, name, word) for word in ("prepare", "publish"))
    chain = [*first, *slowest, *pods_of(runs, name, "fuse"), *last]
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


def stubs(written: dict[str, int]) -> Callable[[dict[str, Any]], None]:
    """Changes templates so that each command only leaves files as long as those of a real run.

    `written` has the length of each, by its name below the run's prefix.
    """

    def left(*below: str) -> str:
        lines = [
            f"mkdir -p /scratch/{Path(name).parent}; head -c {size} /dev/zero > /scratch/{name}"
            for name, size in written.items()
            if name.startswith(below)
        ]
        return "; ".join(lines)

    def change(templates: dict[str, Any]) -> None:
        shard = "work/shards/00000/"
        said = "; ".join(f"printf {value} > /scratch/{name}" for name, value in OUTPUTS.items())
        does = {"prepare": f"{said}; {left('work/spec', 'work/plan', f'{shard}images.json')}"}
        does["publish"] = f"{said}; {left('results/')}"
        for name, template in templates.items():
            detector = name.removeprefix("detect-")
            script = does.get(name, left(f"{shard}detections/{detector}/"))
            if name in does or detector != name:
                template["container"]["command"] = ["sh", "-c", script]

    return change


OUTPUTS = {"shards": 1, "fuse": "false", "measure": "false", "degraded": "false"}
WAYS = ("the DAG", "stubs", "one pod")


def makespans(runs: Runs, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over several rounds of the demo, in each of the three ways, one after the other."""
    dag = runs.template(runs.spec("bench-dag"))
    alone = runs.template(runs.spec("bench-alone", workflow={"one_pod": 60}))
    name = finished(runs, dag)  # and all caches are warm
    prefix = f"{runs.kubectl.namespace}/quorate/{name}/"
    lengths = {key: len(data) for key, data in runs.bucket.folder(prefix).items()}
    template = dict(zip(WAYS, (dag, "", alone), strict=True))
    template["stubs"] = runs.template(runs.spec("bench-stubs"), stubs(lengths))
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            found[way].append(chain_of(runs, finished(runs, template[way])))
            print(f"round {number + 1}, {way}: {found[way][-1]}", file=sys.stderr)
    return {
        way: {key: median(one[key] for one in ran) for key in ran[0]} for way, ran in found.items()
    }


def finished(runs: Runs, template: str) -> str:
    """The name of a run of a template that has succeeded."""
    name = runs.create(template)
    workflow = runs.wait(name, seconds=900)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    return name


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if missing := [name for name in NEEDED if name not in os.environ]:
        sys.exit(skipped(f"needs a cluster and a store: {', '.join(missing)} not set"))
    drawn = one = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kubectl = Kubectl(os.environ.get("CLUSTER_NAMESPACE", "argo"))
        bucket = Bucket(os.environ["S3_BUCKET"])
        runs = Runs(kubectl, bucket, IMAGE, f"quorate-bench/{os.getpid()}", folder)
        if IMAGE not in images_of_nodes(kubectl):
            sys.exit(skipped(f"no node has the image {IMAGE} (QUORATE_TEST_IMAGE)"))
        for part in ("images", "models"):
            bucket.put_folder(PARTS / part, f"{runs.prefix}/{part}")
        try:
            found = makespans(runs, arguments.rounds)
            if arguments.more:
                drawn = rendering(runs.spec("bench-render"))
                one = one_detector(runs, folder)
        finally:
            runs.clear()
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"runs": found, "render": drawn, "one": one}, indent=1)
        )
    least = found["stubs"]["makespan"]
    for way, spent in found.items():
        aim = " (at most 1.20)" if way == "one pod" else ""  # which is what the demo takes
        print(
            f"{way:8} {spent['makespan']:5.1f} s, {spent['makespan'] / least:.2f} of the stubs"
            f"{aim}; pods in a row: {spent['steps']:.0f}, main {spent['main']:.1f} s"
        )
    print("beside the main containers, of each of the DAG's steps in a row:")
    for phase, what in PHASES.items():
        if phase != "main":
            print(f"  {found['the DAG'][phase] / found['the DAG']['steps']:4.1f} s  {what}")
    if drawn and one:
        print(f"rendering a template: {drawn['render'] / drawn['import_hera']:.2f} of import hera")
        print(f"detect in a pod: {one['pod'] / one['here']:.2f} of the rate here")
        print(
            f"start and loading: {one['start']:.1f} s, {one['share']:.2f} of a shard of "
            f"{one['pictures']} pictures"
        )


if __name__ == "__main__":
    main()
