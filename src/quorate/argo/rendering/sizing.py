"""How many shards one workflow may hold, and how many child workflows share the rest.

A workflow is one object in Kubernetes, its status with an entry for every node included, and etcd
takes no more than about 1.5 MB; Argo compresses a status over 1 MiB, and fails the workflow where
that does not help. We stay below that without compression: the UI and the controller read and
write the whole of it each time a pod changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.steps.sharding import shard_size

STATUS_BYTES = 1 << 20
"""What Argo keeps uncompressed (its MAX_WORKFLOW_SIZE)."""
NODE_BYTES = 1700
"""Bytes of a pod's node in a status, or of the retries around it: both tell inputs and outputs."""
GROUP_BYTES = 900
"""Bytes of a DAG's node. All three as measured, and somewhat more (tests/cluster)."""
TEMPLATES = 2
"""How often a status holds the template: as it was when the run began, and part by part."""


@dataclass(frozen=True)
class Scale:
    """How a run is cut.

    size      pictures of a shard
    shards    shards of the run
    children  workflows they run in: 1 is the run's own, more are its children
    nodes     nodes of the largest of these workflows
    bytes     what its status takes
    """

    size: int
    shards: int
    children: int
    nodes: int
    bytes: int


def shard_bytes(detectors: int, tries: int = 1) -> int:
    """What one shard takes in a status: its DAG; of each detector every try; its fusion.

    A try that Argo itself repeats is a group and a pod; each further pod that is needed comes
    out of the reserve that `shards_per_workflow` leaves.
    """
    return GROUP_BYTES + (detectors * tries + 1) * 2 * NODE_BYTES


def shards_per_workflow(detectors: int, template_bytes: int, tries: int = 1) -> int:
    """The most shards of one workflow: three quarters of what is left beside its template."""
    left = STATUS_BYTES - TEMPLATES * template_bytes
    return max(1, left * 3 // 4 // shard_bytes(detectors, tries))


def scale(images: int, detectors: int, template_bytes: int, tries: int = 1) -> Scale:
    """How a run of so many pictures and detectors is cut where nothing else is asked for."""
    size = shard_size(images)
    shards = -(-images // size)
    most = shards_per_workflow(detectors, template_bytes, tries)
    held = min(most, shards)
    return Scale(
        size=size,
        shards=shards,
        children=-(-shards // most),
        nodes=held * (1 + detectors * 2 * tries + 2),
        bytes=TEMPLATES * template_bytes + held * shard_bytes(detectors, tries),
    )
