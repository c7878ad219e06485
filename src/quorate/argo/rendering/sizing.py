"""How many shards one workflow can hold; child workflows share the rest.

A workflow is one object in Kubernetes, with an entry in its status for every node. etcd takes
about 1.5 MB; Argo compresses a status over 1 MiB, and fails the workflow where that is not enough.
We stay below that without compression, because the UI and the controller read and write the whole
status each time a pod changes.
"""

from __future__ import annotations

STATUS_BYTES = 1 << 20
"""The largest status that Argo does not compress (its MAX_WORKFLOW_SIZE)."""
NODE_BYTES = 1700
"""Bytes in a status of a pod's node, or of the retries around it: both repeat the inputs."""
GROUP_BYTES = 900
"""Bytes of a DAG's node. All three are somewhat more than was measured (tests/cluster)."""
TEMPLATES = 2
"""How often a status holds the template: whole as the run began, and part by part."""


def shard_bytes(detectors: int, tries: int = 1) -> int:
    """The bytes of one shard in a status: its DAG, every try of each detector, its fusion.

    A try that Argo itself repeats is counted as a group and one pod; further pods use the reserve
    that `shards_per_workflow` leaves.
    """
    return GROUP_BYTES + (detectors * tries + 1) * 2 * NODE_BYTES


def shards_per_workflow(detectors: int, template_bytes: int, tries: int = 1) -> int:
    """The most shards of one workflow: they fill three quarters of the room beside its template."""
    left = STATUS_BYTES - TEMPLATES * template_bytes
    return max(1, left * 3 // 4 // shard_bytes(detectors, tries))
