"""What every WorkflowTemplate of ours has besides its templates, and its parameters.

Argo's form asks for the parameters in their order, each name as it stands, an enum as a list to
choose from and a description as a tooltip; a bridge to CVAT fills them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from hera.workflows import Parameter, WorkflowTemplate
from hera.workflows import models as m
from hera.workflows.volume import EmptyDirVolume

from quorate._version import __version__
from quorate.argo.names import ENSEMBLE
from quorate.argo.rendering import one_pod, pods
from quorate.spec import ClassificationSpec, Ensemble, WorkflowSettings
from quorate.spec.text import seconds

GIVEN = "{{workflow.parameters.%s}}"
"""What a run was given for a parameter."""
METHODS = ("affirmative", "consensus", "unanimous", "wbf")
"""Methods that need nothing but their name; the spec's own joins them."""
DUMPS = (
    "CVAT for images 1.1",
    "COCO 1.0",
    "PASCAL VOC 1.1",
    "YOLO 1.1",
    "Ultralytics YOLO Detection 1.0",
)
"""CVAT's names of the formats that `prepare` reads; it finds out which it was given."""


@dataclass(kw_only=True)
class Template(WorkflowTemplate):
    """A WorkflowTemplate whose `to_dict` and `to_yaml` know fields of Argo 4.1, as `pods.Newer`."""

    kind: str | None = "WorkflowTemplate"  # Hera's default is the name of the class

    def to_dict(self) -> Any:
        """Plain values, as Kubernetes takes them."""
        found = super().to_dict()
        templates = {one["name"]: one for one in found["spec"]["templates"]}
        for one in self.templates:
            if isinstance(one, pods.Newer) and one.pending_timeout:
                templates[one.name]["pendingTimeout"] = one.pending_timeout
        return found

    def to_yaml(self, *args: Any, **kwargs: Any) -> str:
        """The manifest: block style, a text of several lines as one."""
        return yaml.dump(
            self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
        )


class _Dumper(yaml.SafeDumper):
    """YAML as a person writes it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def manifest(
    settings: WorkflowSettings,
    name: str,
    *,
    title: str,
    description: str,
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> Template:
    """The WorkflowTemplate; `more` is passed to Hera's.

    `labels` are the template's own, in addition to those that its workflows have too.
    """
    common = {
        "app.kubernetes.io/name": "quorate",
        "app.kubernetes.io/part-of": "quorate",
        "app.kubernetes.io/version": __version__,
        ENSEMBLE: name,
    }
    repository, _, key = (settings.artifact_repository or "").partition("/")
    reference = m.ArtifactRepositoryRef(config_map=repository, key=key or None)
    secrets = [m.LocalObjectReference(name=secret) for secret in settings.image_pull_secrets]
    return Template(
        name=name,
        namespace=settings.namespace,
        labels={**common, **(labels or {})},
        annotations={
            "workflows.argoproj.io/title": title,
            "workflows.argoproj.io/description": description,
        },
        workflow_metadata=m.WorkflowMetadata(labels=common | settings.labels),
        pod_metadata=m.Metadata(labels=common),
        service_account_name=settings.service_account,
        automount_service_account_token=False,
        executor=m.ExecutorConfig(service_account_name=settings.service_account),
        security_context=pods.POD_SECURITY.model_copy(deep=True),
        image_pull_secrets=secrets or None,
        volumes=[EmptyDirVolume(name="scratch"), EmptyDirVolume(name="tmp")],
        volume_claim_templates=[
            m.PersistentVolumeClaim.model_validate(one) for one in settings.volume_claim_templates
        ]
        or None,
        artifact_repository_ref=reference if repository else None,
        artifact_gc=m.WorkflowLevelArtifactGC(
            strategy="Never", service_account_name=settings.artifact_gc_service_account
        ),
        active_deadline_seconds=seconds(settings.deadline),
        ttl_strategy=m.TTLStrategy(seconds_after_completion=seconds(settings.ttl)),
        pod_gc=m.PodGC(strategy="OnPodSuccess", delete_delay_duration="300s"),
        parallelism=settings.parallelism,
        priority=settings.priority,
        **more,
    )


def output_path() -> Parameter:
    """Where results go."""
    return Parameter(
        name="cvat-output-path",
        value="quorate",
        description="The folder of the cluster's bucket that results are put in, below the "
        "namespace: NAMESPACE/THIS/NAME OF THE RUN/results/.",
    )


def parameters(ensemble: Ensemble) -> list[Parameter]:
    """What a run of an ensemble can be given, each with a default where there can be one."""
    own, size = ensemble.rule.method, ensemble.workflow.shard_size
    methods, which = (
        METHODS,
        (
            "Which boxes count: those of any detector (affirmative), of more than half "
            "(consensus), of all (unanimous), or weighted boxes fusion (wbf)."
        ),
    )
    if isinstance(ensemble, ClassificationSpec):
        methods, which = (
            ("sum", "majority", "product", "max"),
            (
                "Which label wins: that of the largest sum of probabilities (sum) or product "
                "(product), of most classifiers (majority), or of the surest one (max)."
            ),
        )
    pictures = Parameter(
        name="cvat-annotation-path",
        description="The pictures: a folder of pictures, a COCO or CVAT data set, or a ZIP "
        "archive; s3://BUCKET/KEY, or a key in the cluster's own bucket.",
    )
    if ensemble.data and ensemble.data.startswith("s3://"):
        pictures.value = ensemble.data  # given None, Hera would write the word null
    return [
        pictures,
        output_path(),
        Parameter(
            name="dump-format",
            value=DUMPS[0],
            enum=list(DUMPS),
            description="The format that CVAT exports the task in, with its pictures. Data that "
            "is there already may be of any of these.",
        ),
        Parameter(
            name="ensemble-option",
            value=own,
            enum=list(dict.fromkeys((*methods, own))),
            description=which,
        ),
        Parameter(
            name="shard-size",
            value="auto" if size is None else str(size),
            description="Pictures of each shard: the pictures that one pod of a detector looks "
            "at. auto chooses from their number.",
        ),
        *_one_pod(ensemble),
        *further(ensemble.workflow),
    ]


def _one_pod(ensemble: Ensemble) -> list[Parameter]:
    pictures = one_pod.pictures(ensemble)
    if pictures is None:
        return []
    return [
        Parameter(
            name="one-pod",
            value=str(pictures),
            description="Up to this many pictures one pod does the whole run, which is faster; 0 "
            "for a pod for each detector in any case.",
        )
    ]


def further(settings: WorkflowSettings) -> list[Parameter]:
    """The parameters that a spec adds."""
    found = []
    for name, one in settings.parameters.items():
        parameter = Parameter(name=name, enum=list(one.enum) or None)
        parameter.description = one.description or None
        if one.value is not None:
            parameter.value = one.value
        found.append(parameter)
    return found
