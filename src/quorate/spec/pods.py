"""What a spec says of the pods on a cluster: the pools they run on, and each step's own.

The fields that everybody needs have short names. Any other field of Kubernetes stands in `pod` or
`container`, in its own words, and is merged into what the renderer makes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from quorate.spec.base import SpecModel
from quorate.spec.kubernetes import MainContainer, Pod
from quorate.spec.text import Duration, LabelName, LabelValue, Name, Quantity, Templated


class Toleration(SpecModel):
    """A taint of nodes that pods of a pool put up with, in Kubernetes' own words."""

    key: LabelName | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("with operator Exists a toleration has no value")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("a toleration needs a key, or operator Exists")
        return self


class Sized(SpecModel):
    """How much a container gets, and any other field of it."""

    cpu: Quantity | None = Field(None, description="Processors: 4, or 500m.", examples=["2"])
    memory: Quantity | None = Field(None, description="Memory: 8Gi.", examples=["8Gi"])
    container: MainContainer = Field(
        default_factory=dict,
        description="Any field of a Kubernetes container.",
        examples=[{"env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}],
    )


class Beside(Sized):
    """A container that runs in the pod of another step."""

    image: str | None = Field(None, min_length=1, description="Its image; default: ours.")


class Step(Beside):
    """One of the steps that show no picture to a detector."""

    pool: Name | None = Field(None, description="Where it runs; default: `workflow.pool`.")
    pod: Pod = Field(
        default_factory=dict,
        description="Any field of a Kubernetes pod.",
        examples=[{"priorityClassName": "batch"}],
    )


class Steps(SpecModel):
    """What is special about a step."""

    prepare: Step = Field(
        Step(), description="Lists the pictures, cuts them into shards, and measures these."
    )
    fuse: Step = Field(Step(), description="Fuses the boxes of a shard.")
    publish: Step = Field(Step(), description="Writes what the quorum decided.")
    exit: Step = Field(Step(), description="Tells how the run ended.")
    stage: Beside = Field(
        Beside(), description="Fetches the pictures, before a container that is not ours."
    )
    executor: Sized = Field(Sized(), description="Argo's own containers, in every pod.")


class Pool(Sized):
    """A set of nodes that detectors run on."""

    node_selector: dict[LabelName, Templated] = Field(
        default_factory=dict,
        description="Labels that its nodes bear.",
        examples=[{"nvidia.com/gpu.present": "true"}],
    )
    tolerations: tuple[Toleration, ...] = Field(
        (),
        description="Taints that its nodes may have.",
        examples=[[{"key": "nvidia.com/gpu", "operator": "Exists"}]],
    )
    gpus: int = Field(0, ge=0, le=64, description="nvidia.com/gpu of each pod.")
    pod: Pod = Field(
        default_factory=dict,
        description="Any field of a Kubernetes pod.",
        examples=[{"priorityClassName": "batch"}],
    )
    parallelism: int | None = Field(
        None, ge=1, description="Most shards at once on it, over all workflows of the namespace."
    )
    fallback: Name | None = Field(
        None, description="The pool of the next try, when a pod was evicted or never scheduled."
    )
    pending_timeout: Duration | None = Field(
        None, description="How long a pod may wait for a node: 10m."
    )

    @property
    def accelerated(self) -> bool:
        """Whether its pods ask for a GPU of NVIDIA's, or a part of one (MIG)."""
        limits = (self.container.get("resources") or {}).get("limits") or {}
        return self.gpus > 0 or any(name.startswith("nvidia.com/") for name in limits)
