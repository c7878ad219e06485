"""The templates of one detector at work on one shard: where its files come from, and its tries.

A detector on a pool without `fallback` and `pending_timeout` is one container, and Argo itself
tries again. Otherwise it is a small DAG with a container for each try, because Argo ignores
`pendingTimeout` where it retries: first its pool, then the fallback, or the same pool again where
there is none. The semaphore then belongs to the DAG: the time that a pod waits for a semaphore
counts as pending.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hera.workflows import DAG, Artifact, Container, Env, Parameter, Task
from hera.workflows import models as m
from hera.workflows.models import ConfigMapKeySelector, SemaphoreRef, Synchronization

from quorate.argo.names import SEMAPHORES
from quorate.argo.rendering import files, overlay, pods
from quorate.argo.rendering.files import IMAGES, OF_SHARD, RUN, SHARD, WORK
from quorate.argo.rendering.pods import Place
from quorate.detectors.container import ContainerDetector
from quorate.errors import SpecError
from quorate.spec import Ensemble, Pool
from quorate.spec.member import Member
from quorate.spec.text import seconds

INPUTS = ("run", "shard")
PASSED: Any = {key: f"{{{{inputs.parameters.{key}}}}}" for key in INPUTS}
ANOTHER = ", ".join(f"'{code}'" for code in pods.WORTH_ANOTHER_POOL)


def templates(ensemble: Ensemble, detector: Member) -> list[Container | DAG]:
    """The template `detect-NAME`, and those of its tries where it has several."""
    one = partial(_try, ensemble, detector)
    return tried("detect", detector.name, pods.tries(ensemble, detector), one, PASSED)


def tried(
    what: str,
    who: str,
    places: Sequence[Place],
    one: Callable[[str, Place, Synchronization | None, bool], Container],
    passed: Mapping[str, str],
) -> list[Container | DAG]:
    """The template WHAT-WHO, and those of its tries where there are several places.

    `one` makes a container of a template's name, its place, its semaphore, and whether it is the
    last. `passed` are the inputs that all have, each by the parameter that it is passed on as.
    """
    name, first, limit = f"{what}-{who}", places[0], semaphore(places[0])
    if len(places) == 1:
        return [one(name, first, limit, True)]
    # The number comes first, because a detector may be called `yolo-1`.
    names = [f"try-{number}-{who}" for number in range(1, len(places) + 1)]
    tasks: list[Any] = []
    tries = []
    for at, (name_of_try, place) in enumerate(zip(names, places, strict=True)):
        task = Task(name=name_of_try, template=name_of_try, arguments=dict(passed) or None)
        if at > 0:
            # A try that is left out has the result of the one before: the DAG fails as that did.
            task.dependencies = [names[at - 1]]
            before = f"tasks['{names[at - 1]}']"
            failed = f"{before}.status in ['Failed', 'Error']"
            task.when = f"{{{{={failed} && ({before}.exitCode ?? '-1') in [{ANOTHER}]}}}}"
        if name_of_try != names[-1]:
            task.continue_on = m.ContinueOn(failed=True, error=True)
        tasks.append(task)
        own = semaphore(place) if place != first else None
        tries.append(one(name_of_try, place, own, name_of_try == names[-1]))
    inputs = [Parameter(name=key) for key in passed]
    # All tries are ends of the DAG, so that what comes after it comes after each of them: when the
    # run is stopped, the later ones do not exist, and a retry finds what to take away by the first.
    target = " ".join(names)
    dag = DAG(name=name, inputs=inputs or None, tasks=tasks, target=target, synchronization=limit)
    return [dag, *tries]


def semaphore(place: Place) -> Synchronization | None:
    """The semaphore of a pool whose `parallelism` is limited."""
    name, pool = place
    if pool is None or pool.parallelism is None:
        return None
    selector = ConfigMapKeySelector(name=SEMAPHORES, key=name)
    return Synchronization(semaphores=[SemaphoreRef(config_map_key_ref=selector)])


def _try(
    ensemble: Ensemble,
    detector: Member,
    name: str,
    place: Place,
    synchronization: Synchronization | None,
    last: bool,
) -> Container:
    at, pool = place
    pending = pool.pending_timeout if pool else None
    inputs: list[Parameter | Artifact] = [Parameter(name=key) for key in INPUTS]
    inputs += [*files.of_shard(), *files.weights(ensemble, detector).values()]
    ours = not isinstance(detector, ContainerDetector)
    if isinstance(detector, ContainerDetector):
        what = _theirs(ensemble, detector)
        inputs += [files.git(ensemble.workflow.git)] if ensemble.workflow.git else []
    else:
        command = pods.command("detect", "--shard", SHARD, "--detector", detector.name)
        command += ["--checkpoint", f"{RUN}/checkpoints/{SHARD}/{detector.name}"]
        what = {"command": [*command, *workers(pool)]}
    image, retried = pods.image(ensemble, detector), last and not pending
    left = f"work/{OF_SHARD}/detections/{detector.name}/"
    return pods.container(
        ensemble.workflow,
        name,
        run=pods.Run(image, (pool,), overlay.HEAVY, ours, retried),
        inputs=inputs,
        outputs=[files.left("detections", left, optional=True)],
        labels={"quorate/detector": detector.name} | ({"quorate/pool": at} if at else {}),
        active_deadline_seconds=seconds(detector.timeout) if detector.timeout else None,
        pending_timeout=pending,
        synchronization=synchronization,
        **what,
    )


def workers(pool: Pool | None) -> list[str]:
    """The option that says how many threads look at pictures; none where the container's does."""
    if pool is None or not pool.cpu:
        return []
    # A pod sees all processors of its node, not only those it requested.
    asked = float(pool.cpu[:-1]) / 1000 if pool.cpu.endswith("m") else float(pool.cpu)
    return ["--workers", str(math.ceil(asked))]


def refuse_without_image(name: str, image: str | None, noun: str) -> None:
    """SpecError for a detector or a trainer of another's that is a command alone."""
    if not image:
        raise SpecError(
            f"{name}: a command alone runs on this machine; a cluster needs an image.",
            hint=f"add `image: NAME` to the {noun}",
        )


def _theirs(ensemble: Ensemble, detector: ContainerDetector) -> dict[str, Any]:
    """What is special about a container that is not ours: ours, before it, fetches the pictures."""
    refuse_without_image(detector.name, detector.image, "detector")
    env = pods.NAMELESS | detector.env
    env |= {
        "QUORATE_IMAGES_JSON": f"{WORK}/{OF_SHARD}/images.json",
        "QUORATE_IMAGES": IMAGES,
        "QUORATE_OUTPUT": f"{WORK}/{OF_SHARD}/detections/{detector.name}",
    }
    for one in list(files.weights(ensemble, detector).values())[:1]:
        env["QUORATE_WEIGHTS"] = str(one.path)
    if ensemble.workflow.git:
        env["QUORATE_CODE"] = files.GIT
    stage = pods.command("stage", "--shard", SHARD, "--to", IMAGES)
    return {
        "command": detector.command,
        "args": list(detector.args) or None,
        "env": [Env(name=name, value=value) for name, value in env.items()],
        "init_containers": [pods.beside(ensemble.workflow, "stage", stage)],
    }
