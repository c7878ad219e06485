from decimal import Decimal

import pytest

from quorate.argo.cluster.pools import fitting, misfit, nearest, node_groups, quantity, row
from quorate.spec import EnsembleSpec, Pool


def node(name, labels=None, *, gpus=0, cpu="4", memory="16Gi", taints=(), ready=True):
    """A node as the API gives it: only what is read."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": list(taints)},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
L4 = {
    "cloud.google.com/gke-nodepool": "l4-spot",
    "cloud.google.com/gke-accelerator": "nvidia-l4",
    "cloud.google.com/gke-spot": "true",
    "node.kubernetes.io/instance-type": "g2-standard-8",
}
NODES = [
    node("a1", {"cloud.google.com/gke-nodepool": "default", "disk": "ssd"}),
    node("a2", {"cloud.google.com/gke-nodepool": "default", "disk": "ssd"}, ready=False),
    node("g1", L4, gpus=1, taints=[GPU_TAINT]),
    node("g2", L4, gpus=1, taints=[GPU_TAINT]),
]


def test_nodes_that_are_alike_are_one_pool():
    gpu, default = node_groups(NODES)
    assert row(gpu) == {
        "pool": "l4-spot",
        "nodes": "2",
        "accelerator": "nvidia-l4",
        "gpus": 1,
        "cpu": "4",
        "memory": "16Gi",
        "instance": "g2-standard-8",
        "spot": "yes",
        "taints": "nvidia.com/gpu=present:NoSchedule",
        "labels": None,
    }
    assert (default.name, default.nodes, default.ready) == ("default", 2, 1)
    assert row(default)["labels"] == "disk=ssd"


@pytest.mark.parametrize(
    ("labels", "name", "accelerator"),
    [
        ({"eks.amazonaws.com/nodegroup": "big", "k8s.amazonaws.com/accelerator": "a10g"},
         "big", "a10g"),
        ({"kubernetes.azure.com/agentpool": "nc6"}, "nc6", "GPU"),
        ({"karpenter.sh/nodepool": "np", "nvidia.com/gpu.product": "H100"}, "np", "H100"),
        ({"pool.cluster.local/gpu": "true"}, "pool.cluster.local/gpu=true", "GPU"),
        ({}, "n", "GPU"),
    ],
)  # fmt: skip
def test_pools_of_the_providers(labels, name, accelerator):
    (group,) = node_groups([node("n", labels, gpus=1)])
    assert (group.name, row(group)["accelerator"]) == (name, accelerator)


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        ({}, "the taint nvidia.com/gpu=present:NoSchedule is not tolerated"),
        ({"gpus": 1}, None),
        ({"node_selector": {"disk": "hdd"}}, "no label disk"),
        ({"node_selector": {"disk": "{{workflow.parameters.disk}}"}, "gpus": 1}, None),
        ({"node_selector": {"cloud.google.com/gke-nodepool": "l4"}},
         "cloud.google.com/gke-nodepool is 'l4-spot', not 'l4'"),
        ({"tolerations": [{"operator": "Exists"}], "gpus": 4}, "1 GPUs a node, 4 asked for"),
        ({"tolerations": [{"operator": "Exists"}], "cpu": "6"}, "4 processors a node, 6 asked for"),
        ({"tolerations": [{"operator": "Exists"}], "memory": "64Gi"},
         "16Gi memory a node, 64Gi asked for"),
        ({"tolerations": [{"key": "nvidia.com/gpu", "value": "absent"}]},
         "the taint nvidia.com/gpu=present:NoSchedule is not tolerated"),
        ({"tolerations": [{"key": "nvidia.com/gpu", "value": "present"}], "gpus": 1}, None),
        ({"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists",
                           "effect": "NoSchedule"}], "cpu": "3500m", "memory": "16Gi"}, None),
    ],
)  # fmt: skip
def test_why_a_pool_does_not_fit(pool, why):
    gpu, _ = node_groups(NODES)
    assert misfit(Pool.model_validate(pool), gpu) == why


def test_a_specs_pools_and_what_they_fit():
    groups = node_groups(NODES)
    spec = EnsembleSpec.model_validate(
        {
            "name": "x",
            "detectors": [{"name": "a", "kind": "onnx", "weights": "a"}],
            "pools": {
                "cpu": {"cpu": "2"},
                "gpu": {"gpus": 1},
                "typo": {"node_selector": {"dsk": "ssd"}},
            },
        }
    )
    assert fitting(spec, groups) == {"cpu": ["default"], "gpu": ["l4-spot"], "typo": []}
    assert nearest(spec.pools["typo"], groups).endswith("no label dsk, did you mean 'disk'?")
    assert nearest(spec.pools["typo"], []) == "the cluster has no nodes"


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("500m", Decimal("0.5")), ("8Gi", 8 << 30), ("15k", 15_000), ("1.5Ti", 3 << 39)],
)  # fmt: skip
def test_quantities(text, value):
    assert quantity(text) == value
