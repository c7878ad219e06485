"""What every WorkflowTemplate of ours has besides its templates, and its parameters.

Argo's form asks for the parameters in their order, each name as it stands, an enum as a list to
choose from and a description as a tooltip; a bridge to CVAT fills them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hera.workflows import Parameter, WorkflowTemplate
from hera.workflows import models as m
from hera.workflows.volume import EmptyDirVolume

from quorate._version import __version__
from quorate.argo.names import ENSEMBLE, FORM
from quorate.argo.rendering import one_pod, pods
from quorate.errors import SpecError, did_you_mean
from quorate.spec import ClassificationSpec, Ensemble, WorkflowSettings
from quorate.spec.text import seconds

GIVEN = "{{workflow.parameters.%s}}"
"""What a run was given for a parameter."""
NAME_LIMIT = 63
"""The most characters of a workflow's name, which is the value of a label."""
LARGEST_SPEC = 100_000
"""The most characters of a spec in a template: the status of each run repeats it."""
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
    form: Mapping[str, Mapping[str, str]] | None = None,
    **more: Any,
) -> Template:
    """The WorkflowTemplate; `more` is passed to Hera's.

    `labels` are the template's own, in addition to those that its workflows have too. `form` is
    what the companion's form is told of parameters, beside what the spec says of those it adds.
    """
    common = {
        "app.kubernetes.io/name": "quorate",
        "app.kubernetes.io/part-of": "quorate",
        "app.kubernetes.io/version": __version__,
        ENSEMBLE: name,
    }
    repository, _, key = (settings.artifact_repository or "").partition("/")
    forms = {key: dict(one) for key, one in (form or {}).items()}
    forms |= {key: one.form for key, one in settings.parameters.items() if one.form}
    reference = m.ArtifactRepositoryRef(config_map=repository, key=key or None)
    secrets = [m.LocalObjectReference(name=secret) for secret in settings.image_pull_secrets]
    return Template(
        name=name,
        namespace=settings.namespace,
        labels={**common, **(labels or {})},
        annotations={
            "workflows.argoproj.io/title": title,
            "workflows.argoproj.io/description": description,
            **({FORM: yaml.safe_dump(forms, sort_keys=False, allow_unicode=True)} if forms else {}),
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


def too_long(name: str, added: int, adds: str) -> None:
    """SpecError where a workflow's name would be too long, of which `adds` says what is added."""
    longest = NAME_LIMIT - added
    if len(name) > longest:
        raise SpecError(
            f"The name '{name}' has {len(name)} characters; with what {adds}, a workflow's name "
            f"would have more than {NAME_LIMIT}.",
            hint=f"choose one of at most {longest} characters",
        )


def spec_text(text: str, name: str) -> str:
    """A spec as the steps read it; SpecError where it cannot be part of a template."""
    if "{{" in text:
        raise SpecError(
            f"The spec of '{name}' contains {{{{, which Argo would take for its own.",
            hint="remove the braces; values for a run come in as parameters",
        )
    if len(text) > LARGEST_SPEC:
        raise SpecError(
            f"The spec of '{name}' has {len(text)} characters; a template carries at most "
            f"{LARGEST_SPEC}.",
            hint="keep it in a repository and name that: `workflow: {git: {repo: …, path: …}}`",
        )
    return text


def check_parameters(name: str, parameters: Sequence[Parameter], text: str) -> None:
    """SpecError where a template asks for a parameter that no run of it has."""
    known = [str(one.name) for one in parameters]
    for one in known:
        if known.count(one) > 1:
            said = f"The spec of '{name}' adds the parameter '{one}', which every run has."
            raise SpecError(said, hint="give it another name")
    for one in re.findall(r"\{\{=?[^}]*?workflow\.parameters\.([-\w]+)", text):
        if one not in known:
            raise SpecError(
                f"The spec of '{name}' uses the parameter '{one}', which its runs do not have.",
                hint=did_you_mean(one, known) or f"add `workflow: {{parameters: {{{one}: …}}}}`",
            )


def pictures(data: str | None, description: str) -> Parameter:
    """What a run is about; its default is the spec's own where pods can read that."""
    found = Parameter(name="cvat-annotation-path", description=description)
    if data and data.startswith("s3://"):
        found.value = data  # given None, Hera would write the word null
    return found


def output_path() -> Parameter:
    """Where results go."""
    return Parameter(
        name="cvat-output-path",
        value="quorate",
        description="The folder of the cluster's bucket that results are put in, below the "
        "namespace: NAMESPACE/THIS/NAME OF THE RUN/results/.",
    )


def dump_format(known: Sequence[str]) -> Parameter:
    """What CVAT hands over, by its own names; the steps find out what it is."""
    return Parameter(
        name="dump-format",
        value=known[0],
        enum=list(known),
        description="The format that CVAT exports the task in, with its pictures. Data that "
        "is there already may be of any of these.",
    )


def parameters(ensemble: Ensemble) -> list[Parameter]:
    """What a run of an ensemble can be given, each with a default where there can be one."""
    own, size = ensemble.rule.method, ensemble.workflow.shard_size
    methods = METHODS
    which = (
        "Which boxes count: those of any detector (affirmative), of more than half (consensus), "
        "of all (unanimous), or weighted boxes fusion (wbf)."
    )
    if isinstance(ensemble, ClassificationSpec):
        methods = ("sum", "majority", "product", "max")
        which = (
            "Which label wins: that of the largest sum of probabilities (sum) or product "
            "(product), of most classifiers (majority), or of the surest one (max)."
        )
    return [
        pictures(
            ensemble.data,
            "The pictures: a folder of pictures, a COCO or CVAT data set, or a ZIP archive; "
            "s3://BUCKET/KEY, or a key in the cluster's own bucket.",
        ),
        output_path(),
        dump_format(DUMPS),
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
    most = one_pod.pictures(ensemble)
    if most is None:
        return []
    return [
        Parameter(
            name="one-pod",
            value=str(most),
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
