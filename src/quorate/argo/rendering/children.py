"""Child workflows, for more shards than one workflow's status can hold.

A child runs the template `shards` of the same WorkflowTemplate, for a range of the shards. It
belongs to the run: it is deleted with it, and it notifies nobody.

One workflow is one object in Kubernetes, with an entry in its status for every node. etcd takes
about 1.5 MB; Argo compresses a status over 1 MiB, and fails the workflow where that is not enough.
We stay below that without compression, because the UI and the controller read and write the whole
status each time a pod changes.
"""

from __future__ import annotations

from typing import Any

import yaml
from hera.workflows import DAG, Parameter, Resource, Suspend, Task
from hera.workflows import models as m

from quorate.argo.names import PARENT, QUIET
from quorate.argo.rendering import exits, pods
from quorate.argo.rendering.files import RUN
from quorate.spec import Ensemble

SHARDS = "{{inputs.parameters.shards}}"
MEASURE = "{{inputs.parameters.measure}}"
AT_ONCE = 4
"""How many children run at the same time: while one ends, others keep the pools busy."""
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


def templates(ensemble: Ensemble, most: int) -> list[Any]:
    """The DAG of the children, the template that creates one, and their exit handler."""
    shards = "asInt(inputs.parameters.shards)"
    # Expressions have no integer division: the children before the last are full.
    count = f"{{{{=int(ceil({shards} / {most}.0))}}}}"
    start = f"asInt(inputs.parameters.child) * {most}"
    dag = DAG(
        name="children",
        inputs=[Parameter(name=name) for name in ("run", "shards", "measure")],
        parallelism=AT_ONCE,
        tasks=[
            Task(
                name="child",
                template="child",
                arguments={
                    "run": RUN,
                    "shards": SHARDS,
                    "measure": MEASURE,
                    "child": "{{item}}",
                },
                with_sequence=m.Sequence(count=m.IntOrString(root=count), format="%05d"),
            )
        ],
    )
    account = ensemble.workflow.children_service_account
    one = Resource(
        name="child",
        inputs=[Parameter(name=name) for name in ("run", "shards", "measure", "child")],
        action="apply",
        manifest=_manifest(ensemble, start, f"min({most}, {shards} - {start})"),
        set_owner_reference=True,
        success_condition="status.phase == Succeeded",
        failure_condition="status.phase in (Failed, Error)",
        # Argo's own container, the executor, creates the child.
        service_account_name=account,
        executor=m.ExecutorConfig(service_account_name=account),
        retry_strategy=pods.retries(ensemble.workflow) if ensemble.workflow.retries else None,
    )
    pods.of_executor(ensemble.workflow, one)
    return [dag, one, Suspend(name=QUIET, duration="0")]


def _manifest(ensemble: Ensemble, start: str, count: str) -> str:
    parallelism = ensemble.workflow.parallelism
    values = {
        "run": RUN,
        "start": f"{{{{={start}}}}}",
        "count": f"{{{{={count}}}}}",
        "fuse": "true",
        "measure": MEASURE,
        **{name: f"{{{{workflow.parameters.{name}}}}}"
           for name in ("cvat-annotation-path", *ensemble.workflow.parameters)},
    }  # fmt: skip
    spec: dict[str, Any] = {
        "workflowTemplateRef": {"name": ensemble.name},
        "entrypoint": "shards",
        "onExit": QUIET,
        "arguments": {"parameters": [{"name": k, "value": v} for k, v in values.items()]},
    }
    if exits.hooks(ensemble):
        spec["hooks"] = {"started": {"expression": "false", "template": QUIET}}
    if parallelism:
        spec["parallelism"] = -(-parallelism // AT_ONCE)
    child = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": "{{workflow.name}}-{{inputs.parameters.child}}",
            "labels": {PARENT: "{{workflow.name}}"},
        },
        "spec": spec,
    }
    return yaml.safe_dump(child, sort_keys=False, width=1000)
