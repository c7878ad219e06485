"""Where an ensemble runs on a cluster: its pools of nodes, and what all its workflows share.

None of it changes a box: the same ensemble gives the same bytes here and there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from quorate._version import __version__
from quorate.spec.base import SpecModel
from quorate.spec.words import patterned, problem

_BUCKET = r"^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$"
_CONFIG_MAP = r"^[a-z0-9][-a-z0-9.]*(/[-A-Za-z0-9_.]+)?$"
# RFC 1123's label: it can name a folder, a task of a DAG and the value of a Kubernetes label.
_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_NAME = rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL}$"
_TIME = r"^([1-9]\d*h(\d+m)?(\d+s)?|[1-9]\d*m(\d+s)?|[1-9]\d*s)$"
_QUANTITY = r"^(\d*[1-9]\d*(\.\d+)?|0+\.\d*[1-9]\d*)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(duration: str) -> int:
    """How long `1h30m` is, in seconds."""
    found = _DURATION.fullmatch(duration)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return (hours * 60 + minutes) * 60 + rest


def _as_yaml_writes_it(value: Any) -> Any:
    """Kubernetes takes only text here; YAML reads `true` and `2` as other types."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Word = Annotated[str, BeforeValidator(_as_yaml_writes_it)]
Name = Annotated[str, patterned(_NAME, "at most 63 of a-z, 0-9 and -, the first and the last no -")]
Bucket = Annotated[str, patterned(_BUCKET, "a bucket's name: a-z, 0-9, - and .")]
ConfigMap = Annotated[str, patterned(_CONFIG_MAP, "CONFIGMAP or CONFIGMAP/KEY")]
Duration = Annotated[str, patterned(_TIME, "a duration such as 90s, 10m or 1h30m")]
Quantity = Annotated[Word, patterned(_QUANTITY, "a quantity such as 500m, 4 or 8Gi")]
_VALUE = "a label's value: at most 63 of letters, digits, -, _ and ."
LabelValue = Annotated[Word, patterned(rf"^({_LABEL})?$", _VALUE)]
_KEY = "a label's name such as gpu or nvidia.com/gpu.present"
LabelName = Annotated[str, patterned(_LABEL_NAME, _KEY)]


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


class Pool(SpecModel):
    """A set of nodes that detectors run on."""

    node_selector: dict[LabelName, LabelValue] = Field(
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
    cpu: Quantity | None = Field(None, description="Processors of each pod: 4, or 500m.")
    memory: Quantity | None = Field(None, description="Memory of each pod: 8Gi.")
    parallelism: int | None = Field(
        None, ge=1, description="Most shards at once on it, over all workflows of the namespace."
    )
    fallback: Name | None = Field(
        None, description="The pool of the next try, when a pod was evicted or never scheduled."
    )
    pending_timeout: Duration | None = Field(
        None, description="How long a pod may wait for a node: 10m."
    )


class Images(SpecModel):
    """The images that the steps run in."""

    cpu: str = Field(
        f"quorate-cpu:{__version__}", min_length=1, description="ONNX, and all other steps."
    )
    cuda: str = Field(
        f"quorate-cuda:{__version__}", min_length=1, description="Pools with GPUs, and torch."
    )


class Git(SpecModel):
    """A repository that pods get beside their other input."""

    repo: str = Field(
        min_length=1, description="URL to clone.", examples=["https://git.example/specs.git"]
    )
    revision: str = Field("HEAD", min_length=1, description="Branch, tag or commit.")
    path: str | None = Field(
        None, description="The spec file in it, read when a run starts; default: the spec rendered."
    )
    secret: Name | None = Field(None, description="A Secret with `username` and `password`.")

    @model_validator(mode="after")
    def _stays_inside(self) -> Git:
        parts = (self.path or "x").split("/")
        if ".." in parts or "" in parts:
            said = "it is relative to the repository and stays inside it"
            raise problem("path", said, ("path",))
        return self


class WorkflowSettings(SpecModel):
    """What the workflows of an ensemble share."""

    images: Images = Field(
        Images(), description="Other images than ours.", examples=[{"cpu": "quorate-cpu:1"}]
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Name, ...] = Field((), examples=[["registry"]])
    namespace: Name | None = Field(None, description="Default: the one it is created in.")
    bucket: Bucket | None = Field(
        None, description="The artifact repository's bucket; weights in it arrive as artifacts."
    )
    artifact_repository: ConfigMap | None = Field(
        None, description="CONFIGMAP or CONFIGMAP/KEY; default: the namespace's own."
    )
    service_account: Name = Field("quorate", description="Of the pods.")
    fuse_service_account: Name = Field(
        "quorate-fuse", description="Of fuse, which asks why a detector failed."
    )
    exit_service_account: Name = Field("quorate-exit", description="Of the exit handler.")
    children_service_account: Name = Field(
        "quorate-children", description="Of what creates child workflows."
    )
    artifact_gc_service_account: Name = Field(
        "quorate-artifact-gc", description="Of what removes a deleted workflow's work folder."
    )
    pool: Name | None = Field(
        None, description="Where prepare, fuse and publish run, and detectors that name no pool."
    )
    shard_size: int | None = Field(
        None, ge=1, description="Pictures a shard; default: chosen from their number."
    )
    parallelism: int | None = Field(64, ge=1, description="Most pods of one workflow at once.")
    priority: int | None = Field(None, description="Higher goes first, where pools are full.")
    restricted: bool = Field(
        True,
        description="Argo's own containers run without rights that they do not need; false for a "
        "controller with init-less pods.",
    )
    retries: int = Field(3, ge=0, le=20, description="Further tries of a pod that may succeed.")
    deadline: Duration = Field("168h", description="How long a run may take.")
    ttl: Duration = Field("168h", description="How long a finished workflow is kept.")
    labels: dict[LabelName, LabelValue] = Field(
        default_factory=dict,
        description="Further labels of its workflows.",
        examples=[{"team": "vision"}],
    )
    git: Git | None = Field(
        None,
        description="A repository that pods get.",
        examples=[{"repo": "https://git.example/specs.git"}],
    )
