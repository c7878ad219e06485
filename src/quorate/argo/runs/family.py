"""A run and its children as one: what they are, told to stop, told to go on.

The children of a run (`rendering/children.py`) bear its name as a label, and their names end in
their numbers.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.rest import ConflictError
from quorate.argo.cluster.retry import checked
from quorate.argo.names import PARENT, SHARDS
from quorate.argo.runs.tree import ENDED, children
from quorate.errors import InputError

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

PHASE = "workflows.argoproj.io/phase"
COMPLETED = "workflows.argoproj.io/completed"
"""Labels that Argo keeps on a workflow."""
LAST = 30.0
"""Seconds in which pods that are told to end may still create a child."""
AGAIN = 3
"""How often a retry is asked for again where the workflow changed meanwhile."""
NOT_KEPT = ("workflowTemplateRef", "shutdown", "suspend", "onExit", "hooks")
"""What a workflow's stored spec says of the workflow alone: its run tells, not its children."""


def names(cluster: Cluster, run: str, labels: str = "") -> list[str]:
    """The names of a run's children, in their order; with `labels` only those that have them."""
    selector = ",".join(one for one in (f"{PARENT}={run}", labels) if one)
    return sorted(one["name"] for one in _metadata(cluster, selector))


def phases(cluster: Cluster) -> dict[str, Counter[str]]:
    """How many children each run has of each phase, Pending where no controller has seen one."""
    found: dict[str, Counter[str]] = {}
    for one in _metadata(cluster, PARENT):
        labels = one["labels"]
        found.setdefault(labels[PARENT], Counter())[labels.get(PHASE, "Pending")] += 1
    return found


def at_work(cluster: Cluster, workflow: Json) -> dict[str, Json]:
    """The children of a run that have not succeeded, by name; those that are gone are left out."""
    found = {}
    for child, phase in children(workflow).items():
        if phase not in ("Succeeded", "Skipped", "Omitted"):
            with suppress(InputError):
                found[child] = cluster.workflow(child)
    return found


def stop(cluster: Cluster, name: str, *, now: bool = False) -> list[str]:
    """Stop a run and its children; their names, the run's first, without those that had ended.

    InputError where all have ended.
    """
    told: list[str] = []
    ended: InputError | None = None
    try:
        cluster.stop(name, now=now)
        told.append(name)
    except InputError as error:
        ended = error
        cluster.workflow(name)  # where it does not exist, that is the error
    until = time.monotonic() + LAST
    while True:
        # The run goes first, and makes no more children once it has come to rest.
        resting = all(phase in ENDED for phase in children(cluster.workflow(name)).values())
        for child in names(cluster, name, f"{COMPLETED}!=true"):
            if child not in told:
                with suppress(InputError):
                    cluster.stop(child, now=now)
                    told.append(child)
        if resting or time.monotonic() > until:
            break
        time.sleep(1)
    if ended and not told:
        raise ended
    return told


def retry(cluster: Cluster, name: str) -> list[str]:
    """Let a run that failed go on; the names of what runs again, its failed children first.

    InputError where it has not failed.
    """
    checked(cluster.workflow(name))
    failed = names(cluster, name, f"{PHASE} in (Failed,Error)")
    for one in (*failed, name):
        _retry(cluster, one)
    return [*failed, name]


def _retry(cluster: Cluster, name: str) -> None:
    # The controller marks a workflow once more a moment after it has ended.
    for _ in range(AGAIN):
        with suppress(ConflictError):
            return cluster.retry(checked(cluster.workflow(name)))
        time.sleep(1)
    return cluster.retry(checked(cluster.workflow(name)))


def keep(namespace: str, run: str, at_once: int) -> bool:
    """Make the WorkflowTemplate of a run's children: what the run began with, by the run's name.

    Each of the children that run `at_once` may have its share of the run's pods. This is asked in
    a pod of the run, and the template goes with the run. False where it is there already: then it
    stays as it is. Raises what `Kube` raises, InputError where another's is there.
    """
    kube = Kube.of_own_pod(namespace, "`get` on workflows, `create` and `get` on workflowtemplates")
    workflow = kube.workflow(run)
    spec = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec") or workflow["spec"]
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "name": run,
        "uid": workflow["metadata"]["uid"],
    }
    spec = {key: value for key, value in spec.items() if key not in NOT_KEPT}
    spec["entrypoint"] = SHARDS
    if spec.get("parallelism"):
        spec["parallelism"] = max(1, spec["parallelism"] // at_once)
    template = {
        "metadata": {"name": run, "labels": {PARENT: run}, "ownerReferences": [owner]},
        "spec": spec,
    }
    try:
        there = kube.template(run)
    except InputError:
        kube.add("workflow-templates", template)
        return True
    owners = there["metadata"].get("ownerReferences") or ()
    if owner["uid"] not in {one["uid"] for one in owners}:
        raise InputError(
            f"There is a WorkflowTemplate {run} already, which is not this run's.",
            hint="delete it, and submit the run again",
        )
    return False


def _metadata(cluster: Cluster, selector: str) -> list[Json]:
    found = [one["metadata"] for one in cluster.labelled(selector)]
    return [one for one in found if one["labels"].get(PARENT)]
