"""The groups of nodes that a cluster has, and on which of them a spec's pools can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from quorate.errors import did_you_mean
from quorate.spec import Ensemble, Pool, Toleration

Json = Mapping[str, Any]

GPU = "nvidia.com/gpu"
# The labels by which providers name a node's group; the first that a node has counts.
GROUPS = (
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "karpenter.sh/nodepool",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "doks.digitalocean.com/node-pool",
    "k8s.scaleway.com/pool-name",
    "node.cluster.x-k8s.io/pool",
)
ACCELERATORS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "kubernetes.azure.com/accelerator",
    "accelerator",
)
INSTANCES = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
SPOT = {
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
# Prefixes of labels that differ between nodes of one group, or that no spec would select by.
_NOISE = (
    "kubernetes.io/",
    "k8s.io/",
    "cloud.google.com/",
    "eks.amazonaws.com/",
    "eksctl.io/",
    "karpenter.sh/",
    "karpenter.k8s.aws/",
    "kubernetes.azure.com/",
    "nvidia.com/",
)


class Taint(NamedTuple):
    """A taint of a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        """As kubectl writes it."""
        return f"{self.key}{'=' * bool(self.value)}{self.value}:{self.effect}"


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of the same provider's group, accelerator, size, labels and taints.

    labels              all that its nodes have in common
    gpus, cpu, memory   allocatable on one node; cpu in processors, memory in bytes
    """

    name: str
    nodes: int
    ready: int
    gpus: int
    cpu: Decimal
    memory: Decimal
    taints: tuple[Taint, ...]
    labels: Mapping[str, str]


def node_groups(nodes: Iterable[Json]) -> list[NodeGroup]:
    """The nodes of a cluster in groups, those with the most GPUs first, then by name."""
    alike: dict[tuple[Any, ...], list[Json]] = {}
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        own = tuple(_own(labels).items())
        room = node["status"].get("allocatable") or {}
        key = (_first(labels, GROUPS), _first(labels, ACCELERATORS), room.get(GPU, "0"),
               _first(labels, INSTANCES), own, _taints(node))  # fmt: skip
        alike.setdefault(key, []).append(node)
    groups = [_group(members) for members in alike.values()]
    return sorted(groups, key=lambda group: (-group.gpus, group.name))


def misfit(pool: Pool, group: NodeGroup) -> str | None:
    """Why no pod of a spec's pool can run on a group's nodes; None where it can."""
    for key, value in pool.node_selector.items():
        if "{{" in value:  # a parameter, which a run is given
            continue
        if key not in group.labels:
            near = did_you_mean(key, group.labels)
            return f"no label {key}" + (f", {near}" if near else "")
        if group.labels[key] != value:
            return f"{key} is '{group.labels[key]}', not '{value}'"
    for taint in group.taints:
        tolerated = any(_tolerates(one, taint) for one in pool.tolerations)
        # GKE itself adds the toleration of this taint to a pod that asks for a GPU.
        by_gke = taint.key == GPU and pool.gpus > 0 and GROUPS[0] in group.labels
        if not (tolerated or by_gke or taint.effect == "PreferNoSchedule"):
            return f"the taint {taint} is not tolerated"
    if pool.gpus > group.gpus:
        return f"{group.gpus} GPUs a node, {pool.gpus} asked for"
    if pool.cpu is not None and quantity(pool.cpu) > group.cpu:
        return f"{group.cpu:f} processors a node, {pool.cpu} asked for"
    if pool.memory is not None and quantity(pool.memory) > group.memory:
        return f"{human(group.memory)} memory a node, {pool.memory} asked for"
    return None if group.ready else "none of its nodes is ready"


def fitting(ensemble: Ensemble, groups: Sequence[NodeGroup]) -> dict[str, list[str]]:
    """For each pool of a spec the names of the groups that its pods can run on."""
    return {
        name: [group.name for group in groups if misfit(pool, group) is None]
        for name, pool in ensemble.pools.items()
    }


def nearest(pool: Pool, groups: Sequence[NodeGroup]) -> str:
    """Why a pool fits no group: the reason of the group that comes closest."""
    if not groups:
        return "the cluster has no nodes"

    def agreed(group: NodeGroup) -> int:
        same = sum(group.labels.get(k) == v for k, v in pool.node_selector.items())
        misspelt = "did you mean" in (misfit(pool, group) or "")
        return 10 * same + 5 * misspelt + (group.gpus >= pool.gpus)

    best = max(groups, key=agreed)
    return f"{best.name}: {misfit(pool, best)}"


def row(group: NodeGroup) -> dict[str, Any]:
    """A group as a row of a table; of labels those that a spec may select by."""
    labels = group.labels
    spot = any(labels.get(key) == value for key, value in SPOT.items())
    return {
        "pool": group.name,
        "nodes": f"{group.ready}/{group.nodes}" if group.ready < group.nodes else str(group.nodes),
        "accelerator": _first(labels, ACCELERATORS) or ("GPU" if group.gpus else None),
        "gpus": group.gpus,
        "cpu": f"{group.cpu:f}",
        "memory": human(group.memory),
        "instance": _first(labels, INSTANCES) or None,
        "spot": "yes" if spot else "no",
        "taints": ", ".join(map(str, group.taints)) or None,
        "labels": ", ".join(f"{k}={v}" for k, v in _own(labels).items()) or None,
    }


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity ("500m", "8Gi") as a number."""
    from kubernetes.utils.quantity import parse_quantity

    found: Decimal = parse_quantity(text)  # type: ignore[no-untyped-call]
    return found.normalize()


def human(size: Decimal) -> str:
    """Bytes as 23Gi or 500Mi, rounded down."""
    return f"{int(size / 1024**3)}Gi" if size >= 1024**3 else f"{int(size / 1024**2)}Mi"


def _group(members: Sequence[Json]) -> NodeGroup:
    first, *others = (node["metadata"].get("labels") or {} for node in members)
    labels = {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
    room = [node["status"].get("allocatable") or {} for node in members]
    own = next((f"{key}={value}" for key, value in _own(labels).items()), "")
    return NodeGroup(
        name=_first(labels, GROUPS) or own or str(members[0]["metadata"]["name"]),
        nodes=len(members),
        ready=sum(_ready(node) for node in members),
        gpus=min(int(one.get(GPU, 0)) for one in room),
        cpu=min(quantity(one.get("cpu", "0")) for one in room),
        memory=min(quantity(one.get("memory", "0")) for one in room),
        taints=_taints(members[0]),
        labels=labels,
    )


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a spec may select by, without the provider's own, sorted."""
    known = {*GROUPS, *ACCELERATORS, *INSTANCES, *SPOT}
    own = {k for k in labels.keys() - known if not f"{k.partition('/')[0]}/".endswith(_NOISE)}
    return {key: labels[key] for key in sorted(own)}


def _first(labels: Mapping[str, str], keys: Iterable[str]) -> str:
    return next((labels[key] for key in keys if labels.get(key)), "")


def _taints(node: Json) -> tuple[Taint, ...]:
    """The lasting taints; those of a node's present state make it count as not ready."""
    return tuple(
        Taint(str(one["key"]), str(one.get("value") or ""), str(one["effect"]))
        for one in node["spec"].get("taints") or ()
        if not str(one["key"]).startswith("node.kubernetes.io/")
    )


def _ready(node: Json) -> bool:
    said = {one["type"]: one["status"] for one in node["status"].get("conditions") or ()}
    return said.get("Ready") == "True" and not node["spec"].get("unschedulable")


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    return (
        toleration.key in (None, taint.key)
        and toleration.effect in (None, taint.effect)
        and (toleration.operator == "Exists" or (toleration.value or "") == taint.value)
    )
