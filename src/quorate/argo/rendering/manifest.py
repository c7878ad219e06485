"""What every WorkflowTemplate of ours has besides its templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hera.workflows import models as m
from hera.workflows.volume import EmptyDirVolume

from quorate._version import __version__
from quorate.argo.names import ENSEMBLE
from quorate.argo.rendering import pods
from quorate.argo.rendering.hera_extensions import Template
from quorate.spec import WorkflowSettings
from quorate.spec.workflow import seconds


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
        security_context=pods.POD_SECURITY,
        image_pull_secrets=secrets or None,
        volumes=[EmptyDirVolume(name="scratch"), EmptyDirVolume(name="tmp")],
        artifact_repository_ref=m.ArtifactRepositoryRef(config_map=repository, key=key or None)
        if repository
        else None,
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
