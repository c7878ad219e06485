"""The templates of one detector at work on one shard: where its files come from, and its tries.

A detector on a pool without `fallback` and `pending_timeout` is one container, which Argo tries
again itself. Otherwise it is a small DAG of a container for each try, since Argo looks at
`pendingTimeout` only where it does not retry: on its pool, then on the fallback, on the same pool
again where there is none. The semaphore then belongs to the DAG, for the time that a pod waits for
a semaphore would count as pending.
"""

from __future__ import annotations

import math
from typing import Any

from hera.workflows import DAG, Artifact, Container, Parameter, Task
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


def templates(ensemble: EnsembleSpec, detector: Detector) -> list[Container | DAG]:
    """The template `detect-NAME`, and those of its tries where it has several."""
    name = f"detect-{detector.name}"
    pools = pods.tries(ensemble, detector)
    first = pools[0]
    if len(pools) == 1:
        return [_try(ensemble, detector, name, first, semaphore=semaphore(first), last=True)]
    tries = [
        _try(
            ensemble,
            detector,
            _named(detector, number),
            place,
            semaphore=semaphore(place) if place != first else None,
            last=number == len(pools),
        )
        for number, place in enumerate(pools, start=1)
    ]
    tasks: list[Any] = [
        Task(
            name=_named(detector, number),
            template=_named(detector, number),
            arguments=PASSED,
            depends=_went_wrong(detector, number - 1) if number > 1 else None,
            # Left out, a try takes the result of the one before: the DAG fails as that did.
            when=_worth_another(detector, number - 1) if number > 1 else None,
        )
        for number in range(1, len(tries) + 1)
    ]
    inputs = [Parameter(name=key) for key in INPUTS]
    return [DAG(name=name, inputs=inputs, tasks=tasks, synchronization=semaphore(first)), *tries]


def pending(place: Place) -> str | None:
    """How long a pod may wait for a node of a pool."""
    return place[1].pending_timeout if place[1] else None


def semaphore(place: Place) -> Synchronization | None:
    """What counts the shards at work on a pool, where there is a most."""
    name, pool = place
    if pool is None or pool.parallelism is None:
        return None
    selector = ConfigMapKeySelector(name=SEMAPHORES, key=name)
    return Synchronization(semaphores=[SemaphoreRef(config_map_key_ref=selector)])


def _named(detector: Detector, number: int) -> str:
    """A try's name. Its number stands first: a detector may well be called `yolo-1`."""
    return f"try-{number}-{detector.name}"


def _went_wrong(detector: Detector, number: int) -> str:
    name = _named(detector, number)
    return f"{name}.Failed || {name}.Errored"


def _worth_another(detector: Detector, number: int) -> str:
    codes = ", ".join(f"'{code}'" for code in pods.WORTH_ANOTHER_POOL)
    return f"{{{{=(tasks['{_named(detector, number)}'].exitCode ?? '-1') in [{codes}]}}}}"


def _try(
    ensemble: EnsembleSpec,
    detector: Detector,
    name: str,
    place: Place,
    *,
    semaphore: Synchronization | None,
    last: bool,
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
    if isinstance(detector, ContainerDetector):
        what = _theirs(ensemble, detector)
        git = ensemble.workflow.git
        inputs += [artifacts.git(git)] if git else []
    else:
        what = _ours(detector, place[1])
    return pods.container(
        ensemble.workflow,
        name,
        inputs=inputs,
        outputs=[left],
        image=pods.image(ensemble, detector),
        pool=place[1],
        least=pods.HEAVY,
        retried=last and not pending(place),
        labels=labels,
        active_deadline_seconds=seconds(detector.timeout) if detector.timeout else None,
        pending_timeout=pending(place),
        synchronization=semaphore,
        **what,
    )


def _ours(detector: Detector, pool: Pool | None) -> dict[str, Any]:
    command = ["quorate", "step", "detect", paths.RESOLVED, "--work", paths.WORK]
    command += ["--shard", SHARD, "--detector", detector.name]
    command += ["--checkpoint", f"{RUN}/checkpoints/{SHARD}/{detector.name}"]
    if pool and pool.cpu:
        # A pod sees all processors of its node, not those it asked for.
        asked = float(pool.cpu[:-1]) / 1000 if pool.cpu.endswith("m") else float(pool.cpu)
        command += ["--workers", str(math.ceil(asked))]
    return {"command": command}


def _theirs(ensemble: EnsembleSpec, detector: ContainerDetector) -> dict[str, Any]:
    """A container that is not ours; before it one of ours fetches the shard's pictures."""
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
        "ours": False,
        "command": detector.command,
        "args": list(detector.args) or None,
        "env": {**detector.env, **env},
        "init_containers": [
            pods.beside(ensemble.workflow, "stage", [*stage, "--to", paths.IMAGES])
        ],
    }
