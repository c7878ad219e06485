"""Names that templates, the chart, and those who look at runs agree on."""

from collections.abc import Mapping
from typing import Any

ENSEMBLE = "quorate/ensemble"
"""The label of every workflow of a rendered template."""
PARENT = "quorate/parent"
"""The label of a child workflow: the run that it belongs to."""
DEGRADED = "quorate/degraded"
"""The label of a run that ended well without one of its detectors."""
SHARD = "shard"
"""The template, and the task, of one shard."""
CHILDREN = "children"
"""The template that makes a run's children."""
CHILD = "child"
"""The template, and the task, that creates a child; the child's name ends in its number."""
KEEP = "keep"
"""The template, and the step, that makes the children's WorkflowTemplate."""
SHARDS = "shards"
"""The template of a range of shards: what a child runs."""
TRAINER = "trainer-"
"""How the template, and the step, of one trainer begins; the trainer's name follows."""
RESULTS = "results"
"""The output artifact of publish, and its folder."""
CONFIG, SECRET = "quorate", "quorate-s3"
"""Where pods find the store that steps read themselves: ConfigMap and Secret of the chart."""
SEMAPHORES = "quorate-pools"
"""The ConfigMap with each pool's `parallelism`."""
CVAT = "quorate/cvat"
"""The annotation of a workflow that was started for a task of CVAT: which, and of which server."""
FORM = "quorate/form"
"""The annotation of a template: what the companion's form asks of its parameters."""
DIGEST = "quorate/template-digest"
"""The annotation of a workflow that says with which state of its template it started."""
APPLIED = "quorate/applied-generation"
"""The annotation of a template: the generation that `submit` left."""

FIELDS = (
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "hostAliases",
    "initContainers",
    "nodeSelector",
    "priorityClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
    "volumes",
)
"""What a template says of its pod in fields of its own; its `sidecars` are further containers."""
NAME_FORMAT = "workflows.argoproj.io/pod-name-format"


def pod_name(workflow: Mapping[str, Any], node: str, key: str, template: str | None) -> str:
    """The name of the pod of a node, given by its name and id, as the controller makes it."""
    metadata = workflow["metadata"]
    name = str(metadata["name"])
    if (metadata.get("annotations") or {}).get(NAME_FORMAT, "v2") == "v1":
        return key
    if node == name:
        return name
    prefix = f"{name}-{template}" if template else name
    return f"{prefix[:242]}-{key.rpartition('-')[2]}"
