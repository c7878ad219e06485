"""The templates of one detector at work on one shard: where its files come from, and its tries.

A detector on a pool without `fallback` and `pending_timeout` is one container, and Argo itself
tries again. Otherwise it is a small DAG with a container for each try, because Argo ignores
`pendingTimeout` where it retries: first its pool, then the fallback, or the same pool again where
there is none. The semaphore then belongs to the DAG: the time that a pod waits for a semaphore
counts as pending.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from hera.workflows import DAG, Artifact, Container, Env, Parameter, Task
from hera.workflows.models import ConfigMapKeySelector, SemaphoreRef, Synchronization

from quorate.argo.names import SEMAPHORES
from quorate.argo.rendering import artifacts, paths, pods
from quorate.argo.rendering.paths import RUN, SHARD
from quorate.argo.rendering.pods import Place
from quorate.argo.rendering.weights import weights
from quorate.detectors.container import ContainerDetector
from quorate.errors import SpecError
from quorate.spec import Detector, EnsembleSpec, Pool
from quorate.spec.workflow import seconds

INPUTS = ("run", "shard")
PASSED: Any = {key: f"{{{{inputs.parameters.{key}}}}}" for key in INPUTS}
ANOTHER = ", ".join(f"'{code}'" for code in pods.WORTH_ANOTHER_POOL)


def templates(ensemble: EnsembleSpec, detector: Detector) -> list[Container | DAG]:
    """The template `detect-NAME`, and those of its tries where it has several."""
    name = f"detect-{detector.name}"
    places = pods.tries(ensemble, detector)
    first = places[0]
    if len(places) == 1:
        return [_try(ensemble, detector, name, first, semaphore(first))]
    names = [_named(detector, number) for number in range(1, len(places) + 1)]
    tasks: list[Any] = [Task(name=names[0], template=names[0], arguments=PASSED)]
    for before, one in pairwise(names):
        # A try that is left out has the result of the one before: the DAG fails as that one did.
        another = f"{{{{=(tasks['{before}'].exitCode ?? '-1') in [{ANOTHER}]}}}}"
        depends = f"{before}.Failed || {before}.Errored"
        tasks.append(Task(name=one, template=one, arguments=PASSED, depends=depends, when=another))
    tries = [
        _try(
            ensemble,
            detector,
            one,
            place,
            semaphore(place) if place != first else None,
            last=one == names[-1],
        )
        for one, place in zip(names, places, strict=True)
    ]
    inputs = [Parameter(name=key) for key in INPUTS]
    return [DAG(name=name, inputs=inputs, tasks=tasks, synchronization=semaphore(first)), *tries]


def pending(place: Place) -> str | None:
    """How long a pod may wait for a node of the pool."""
    return place[1].pending_timeout if place[1] else None


def semaphore(place: Place) -> Synchronization | None:
    """The semaphore of a pool whose `parallelism` is limited."""
    name, pool = place
    if pool is None or pool.parallelism is None:
        return None
    selector = ConfigMapKeySelector(name=SEMAPHORES, key=name)
    return Synchronization(semaphores=[SemaphoreRef(config_map_key_ref=selector)])


def _named(detector: Detector, number: int) -> str:
    """A try's name. The number comes first, because a detector may be called `yolo-1`."""
    return f"try-{number}-{detector.name}"


def _try(
    ensemble: EnsembleSpec,
    detector: Detector,
    name: str,
    place: Place,
    synchronization: Synchronization | None,
    *,
    last: bool = True,
) -> Container:
    inputs: list[Parameter | Artifact] = [Parameter(name=key) for key in INPUTS]
    inputs += [
        artifacts.work("spec", "spec.yaml"),
        artifacts.work("plan", "plan.json"),
        artifacts.work("images", paths.of_shard("images.json")),
        *(
            artifacts.weights(one.name, one.key, one.path)
            for one in weights(ensemble, detector).values()
        ),
    ]
    labels = {"quorate/detector": detector.name} | ({"quorate/pool": place[0]} if place[0] else {})
    left = artifacts.left("detections", f"work/{paths.detections(detector.name)}", optional=True)
    ours = not isinstance(detector, ContainerDetector)
    if isinstance(detector, ContainerDetector):
        what = _theirs(ensemble, detector)
        inputs += [artifacts.git(ensemble.workflow.git)] if ensemble.workflow.git else []
    else:
        what = {"command": _ours(detector, place[1])}
    retried = last and not pending(place)
    return pods.container(
        ensemble.workflow,
        name,
        run=pods.Run(pods.image(ensemble, detector), place[1], pods.HEAVY, ours, retried),
        inputs=inputs,
        outputs=[left],
        labels=labels,
        active_deadline_seconds=seconds(detector.timeout) if detector.timeout else None,
        pending_timeout=pending(place),
        synchronization=synchronization,
        **what,
    )


def _ours(detector: Detector, pool: Pool | None) -> list[str]:
    command = ["quorate", "step", "detect", paths.RESOLVED, "--work", paths.WORK]
    command += ["--shard", SHARD, "--detector", detector.name]
    command += ["--checkpoint", f"{RUN}/checkpoints/{SHARD}/{detector.name}"]
    if pool and pool.cpu:
        # A pod sees all processors of its node, not only those it requested.
        asked = float(pool.cpu[:-1]) / 1000 if pool.cpu.endswith("m") else float(pool.cpu)
        command += ["--workers", str(math.ceil(asked))]
    return command


def _theirs(ensemble: EnsembleSpec, detector: ContainerDetector) -> dict[str, Any]:
    """What is special about a container that is not ours: ours, before it, fetches the pictures."""
    if not detector.image:
        raise SpecError(
            f"{detector.name}: a command alone runs on this machine; a cluster needs an image.",
            hint="add `image: NAME` to the detector",
        )
    shard = f"{paths.WORK}/shards/{SHARD}"
    env = {
        "QUORATE_IMAGES_JSON": f"{shard}/images.json",
        "QUORATE_IMAGES": paths.IMAGES,
        "QUORATE_OUTPUT": f"{shard}/detections/{detector.name}",
    }
    files = [one.path for one in weights(ensemble, detector).values()]
    if files:
        env["QUORATE_WEIGHTS"] = files[0]
    if ensemble.workflow.git:
        env["QUORATE_CODE"] = paths.GIT
    stage = ["quorate", "step", "stage", paths.RESOLVED, "--work", paths.WORK, "--shard", SHARD]
    return {
        "command": detector.command,
        "args": list(detector.args) or None,
        "env": [Env(name=name, value=value) for name, value in {**detector.env, **env}.items()],
        "init_containers": [
            pods.beside(ensemble.workflow, "stage", [*stage, "--to", paths.IMAGES])
        ],
    }
