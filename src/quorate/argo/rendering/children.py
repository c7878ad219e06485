"""Child workflows, for more shards than one workflow's status can hold.

A child runs the template `shards` for a range of the shards. It belongs to the run: it is deleted
with it, and it notifies nobody. Its WorkflowTemplate is a copy, made by `keep`, of what the run
began with, so that a template that changes meanwhile does not change half of a run. All that is
special about a child is said there: where Argo's `templateReferencing` is Strict, a workflow may
say no more than its arguments.

All children are of one size and run a few at a time, and each gets its share of the pods that may
run at once: so they end together, and no share is left unused while others go on.

One workflow is one object in Kubernetes, with an entry in its status for every node. etcd takes
about 1.5 MB; Argo compresses a status over 1 MiB, and fails the workflow where that is not enough.
We stay below that without compression, because the UI and the controller read and write the whole
status each time a pod changes.
"""

from __future__ import annotations

from typing import Any

import yaml
from hera.workflows import DAG, Container, Parameter, Resource, Task
from hera.workflows import models as m

from quorate.argo.names import CHILD, CHILDREN, KEEP, PARENT
from quorate.argo.rendering import pods
from quorate.argo.rendering.files import RUN
from quorate.spec import Ensemble

GIVEN = "{{inputs.parameters.shards}}"
MEASURE = "{{inputs.parameters.measure}}"
AT_ONCE = 4
"""The most children at the same time: while one begins, others keep the pools busy."""
IDLE = 0.1
"""The most of a run's pods that a division among children may leave unused."""
STATUS_BYTES = 1 << 20
"""The largest status that Argo does not compress (its MAX_WORKFLOW_SIZE)."""
NODE_BYTES = 1700
"""Bytes in a status of a pod's node, or of the retries around it: both repeat the inputs."""
GROUP_BYTES = 900
"""Bytes of a DAG's node. All three are somewhat more than was measured (tests/cluster)."""
TEMPLATES = 2
"""How often a status holds the template: whole as the run began, and part by part."""


def most(ensemble: Ensemble, template_bytes: int) -> int:
    """The most shards of one workflow, whose template weighs so much."""
    tries = max(len(pods.tries(ensemble, detector)) for detector in ensemble.members)
    return shards_per_workflow(len(ensemble.members), template_bytes, tries)


def shard_bytes(detectors: int, tries: int = 1) -> int:
    """The bytes of one shard in a status: its DAG, measuring, every try of each detector, fusion.

    A try that Argo itself repeats is counted as a group and one pod; further pods use the reserve
    that `shards_per_workflow` leaves.
    """
    return GROUP_BYTES + (detectors * tries + 2) * 2 * NODE_BYTES


def shards_per_workflow(detectors: int, template_bytes: int, tries: int = 1) -> int:
    """The most shards of one workflow: they fill three quarters of the room beside its template."""
    left = STATUS_BYTES - TEMPLATES * template_bytes
    return max(1, left * 3 // 4 // shard_bytes(detectors, tries))


def at_once(parallelism: int | None) -> int:
    """How many children share a run's pods: the most of which each gets a whole number of them."""
    if parallelism is None:
        return AT_ONCE
    used = {n: parallelism // n * n for n in range(1, AT_ONCE + 1)}
    return max(n for n, pods in used.items() if pods >= (1 - IDLE) * parallelism)


def templates(ensemble: Ensemble, most: int) -> list[Any]:
    """The DAG of the children, and its two tasks."""
    few = at_once(ensemble.workflow.parallelism)
    shards, count, child = (
        f"asInt(inputs.parameters.{name})" for name in ("shards", "count", "child")
    )
    # As many children as run at once, or twice, or …; expressions have no integer division.
    wanted = f"{{{{=min({shards}, {few} * int(ceil({shards} / {few * most}.0)))}}}}"
    start, end = (f"int(({child} + {more}) * {shards} / {count})" for more in (0, 1))
    dag = DAG(
        name=CHILDREN,
        inputs=[Parameter(name=name) for name in ("run", "shards", "measure")],
        parallelism=few,
        tasks=[
            Task(name=KEEP, template=KEEP),
            Task(
                name=CHILD,
                template=CHILD,
                depends=KEEP,
                arguments={
                    "run": RUN,
                    "shards": GIVEN,
                    "measure": MEASURE,
                    "count": wanted,
                    "child": "{{item}}",
                },
                with_sequence=m.Sequence(count=m.IntOrString(root=wanted), format="%05d"),
            ),
        ],
    )
    account = ensemble.workflow.children_service_account
    one = Resource(
        name=CHILD,
        inputs=[Parameter(name=name) for name in ("run", "shards", "measure", "count", "child")],
        action="apply",
        manifest=_manifest(start, f"{end} - {start}"),
        set_owner_reference=True,
        success_condition="status.phase == Succeeded",
        failure_condition="status.phase in (Failed, Error)",
        # Argo's own container, the executor, creates the child.
        service_account_name=account,
        executor=m.ExecutorConfig(service_account_name=account),
        retry_strategy=pods.retries(ensemble.workflow) if ensemble.workflow.retries else None,
    )
    pods.of_executor(ensemble.workflow, one)
    return [dag, _keep(ensemble, few), one]


def _keep(ensemble: Ensemble, few: int) -> Container:
    """The step that makes the WorkflowTemplate of the children, of which so many run at once."""
    return pods.container(
        ensemble.workflow,
        KEEP,
        ["quorate", "step", KEEP, *pods.OF_WORKFLOW, "--at-once", f"{few}"],
        pods.step(ensemble, "fuse"),
        service_account_name=ensemble.workflow.children_service_account,
        automount_service_account_token=True,
    )  # fmt: skip


def _manifest(start: str, count: str) -> str:
    values = {
        "run": RUN,
        "start": f"{{{{={start}}}}}",
        "count": f"{{{{={count}}}}}",
        "fuse": "true",
        "measure": MEASURE,
    }
    child = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": "{{workflow.name}}-{{inputs.parameters.child}}",
            "labels": {PARENT: "{{workflow.name}}"},
        },
        "spec": {
            "workflowTemplateRef": {"name": "{{workflow.name}}"},
            "arguments": {"parameters": [{"name": k, "value": v} for k, v in values.items()]},
        },
    }
    return yaml.safe_dump(child, sort_keys=False, width=1000)
