"""What all workflows of an ensemble share on a cluster.

None of it changes a box: the same ensemble gives the same bytes here and there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from quorate._version import __version__
from quorate.spec.base import SpecModel
from quorate.spec.kubernetes import Claim, MainContainer, Pod
from quorate.spec.pods import Step, Steps
from quorate.spec.text import (
    Bucket,
    ConfigMap,
    Duration,
    LabelName,
    LabelValue,
    Name,
    ParameterName,
    Word,
)
from quorate.spec.words import problem


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


Widget = Literal["text", "number", "textarea", "select", "nodepool", "checkbox"]
Visibility = Literal["public", "private", "internal"]


class ParameterField(SpecModel):
    """A further parameter of the workflow: what its form asks for.

    `title`, `type` and `visibility` are for the companion's form; Argo's own has none of them.
    """

    value: Word | None = Field(None, description="Its default; without one it must be given.")
    enum: tuple[Word, ...] = Field((), description="The values to choose from.")
    description: str = Field("", description="The form's tooltip.")
    title: str = Field("", description="What a person reads instead of its name.")
    type: Widget | None = Field(
        None, description="How it is asked for; default: a select where there is an enum."
    )
    visibility: Visibility = Field(
        "public", description="Only public ones are asked for; others have their default."
    )

    @property
    def form(self) -> dict[str, str]:
        """What the companion's form is told beside what Argo's is."""
        said = {"displayName": self.title, "type": self.type, "visibility": self.visibility}
        return {
            key: value
            for key, value in said.items()
            if value and (key, value) != ("visibility", "public")
        }

    @model_validator(mode="after")
    def _is_a_choice(self) -> ParameterField:
        if self.enum and self.value is not None and self.value not in self.enum:
            said = f"'{self.value}' is none of {', '.join(self.enum)}"
            raise problem("value", said, ("value",))
        return self


def _short(value: Any) -> Any:
    return value if isinstance(value, dict | ParameterField) else {"value": value}


ParameterOrDefault = Annotated[
    ParameterField,
    BeforeValidator(_short, json_schema_input_type=ParameterField | str | bool | int | float),
]
"""A parameter, or its default alone."""


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
    one_pod: int | None = Field(
        None,
        ge=0,
        description="Up to this many pictures one pod does the whole run; 0: never; default: 100, "
        "where one pool serves all.",
    )
    parallelism: int | None = Field(64, ge=1, description="Most pods of one workflow at once.")
    priority: int | None = Field(None, description="Higher goes first, where pools are full.")
    pod: Pod = Field(
        default_factory=dict,
        description="Any field of a Kubernetes pod, for all pods.",
        examples=[{"priorityClassName": "batch"}],
    )
    container: MainContainer = Field(
        default_factory=dict,
        description="Any field of a Kubernetes container, for the container of every step.",
        examples=[{"env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}],
    )
    steps: Steps = Field(
        Steps(),
        description="Image, size and pod of single steps.",
        examples=[{"publish": {"memory": "8Gi"}}],
    )
    volume_claim_templates: tuple[Claim, ...] = Field(
        (), description="Volumes that a run makes for itself, and that go with it."
    )
    parameters: dict[ParameterName, ParameterOrDefault] = Field(
        default_factory=dict,
        description="Further parameters of a run, for `{{workflow.parameters.…}}`.",
        examples=[{"sys-node-pool": "Standard_NC6"}],
    )
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

    @field_validator("pod")
    @classmethod
    def _accounts_stay(cls, pod: dict[str, Any]) -> dict[str, Any]:
        for key in ("serviceAccountName", "serviceAccount"):
            if key in pod:
                said = "write `workflow: {service_account: …}`; fuse and exit have their own"
                raise problem("account", said, (key,))
        return pod

    @property
    def pools(self) -> dict[str, str]:
        """The pools that single steps name, by step."""
        return {name: one.pool for name, one in self.steps if isinstance(one, Step) and one.pool}
