"""What all pods have in common: images, places to write, rights, tries, pools.

Every container runs as a plain user, without capabilities, on a root that cannot be written; the
emptyDir at /scratch, and one at /tmp for images that are not ours, are all it can write to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hera.workflows import (
    Artifact,
    ConfigMapEnvFrom,
    Container,
    Env,
    Parameter,
    Resources,
    RetryStrategy,
    SecretEnvFrom,
)
from hera.workflows.models import (
    Backoff,
    Capabilities,
    ImagePullPolicy,
    IntOrString,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    Toleration,
    UserContainer,
    VolumeMount,
)

from quorate.argo.names import CONFIG, SECRET
from quorate.argo.rendering import paths
from quorate.argo.rendering.hera_extensions import Newer
from quorate.detectors.torch.spec import TorchDetector
from quorate.spec import Detector, EnsembleSpec, Pool, WorkflowSettings

USER = 65532
"""The user of our images; any other would do as well."""

POD_SECURITY = PodSecurityContext(
    run_as_non_root=True,
    run_as_user=USER,
    run_as_group=USER,
    fs_group=USER,
    seccomp_profile=SeccompProfile(type="RuntimeDefault"),
)
SECURITY = SecurityContext(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=Capabilities(drop=["ALL"]),
)
MOUNTS = [
    VolumeMount(name="scratch", mount_path=paths.SCRATCH),
    VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108  an emptyDir of the pod's own
]

Place = tuple[str | None, Pool | None]
"""The name of a pool and the pool; of no pool, any node will do."""

# What S3 says to Argo's own containers that it will say again: a key or a bucket that is not
# there, keys that are refused.
FOR_GOOD = (
    "(?i)NoSuchKey|key does not exist|no such key|bucket does not exist|access denied"
    "|access key id|request signature|token .*expired"
)
# What another try may help: storage that did not answer (75), a node or an executor that went
# away, memory that ran out beside others.
WORTH_A_RETRY = (
    "asInt(lastRetry.exitCode) == 75"
    f" || (lastRetry.status == 'Error' && not (lastRetry.message matches '{FOR_GOOD}'))"
    " || lastRetry.message matches"
    " 'pod deleted|OOMKilled|[Ee]vict|[Pp]reempt|low on resource|[Nn]ode .*shut'"
)
LIGHT = ("100m", "256Mi")
"""Processors and memory that a step asks for which sees no picture's pixels …"""
HEAVY = ("500m", "1Gi")
"""… and one that runs a network, unless its pool says more."""
WORTH_ANOTHER_POOL = ("-1", "75", "137", "143")
"""Exit codes: the pod never ran or is gone; storage; killed; told to end."""


def store() -> list[ConfigMapEnvFrom | SecretEnvFrom]:
    """The environment that says which store there is; without a Secret, the pod's identity."""
    return [
        ConfigMapEnvFrom(name=CONFIG, optional=True),
        SecretEnvFrom(name=SECRET, optional=True),
    ]


def image(ensemble: EnsembleSpec, detector: Detector | None = None) -> str:
    """Which image runs a step: the detector's own; with GPUs or torch `cuda`; else `cpu`."""
    images = ensemble.workflow.images
    if detector is None:
        return images.cpu
    if detector.image:
        return detector.image
    pool = pool_of(ensemble, detector)
    accelerated = any(one.gpus for _, one in chain(ensemble, pool))
    return images.cuda if accelerated or isinstance(detector, TorchDetector) else images.cpu


def pool_of(ensemble: EnsembleSpec, detector: Detector | None = None) -> str | None:
    """The name of the pool that a detector, or another step, runs on; None for any node."""
    return (detector.pool if detector else None) or ensemble.workflow.pool


def chain(ensemble: EnsembleSpec, pool: str | None) -> list[tuple[str, Pool]]:
    """A pool and its fallbacks, in the order of the tries."""
    found = []
    while pool is not None:
        found.append((pool, ensemble.pools[pool]))
        pool = ensemble.pools[pool].fallback
    return found


def tries(ensemble: EnsembleSpec, detector: Detector) -> list[Place]:
    """Where a detector is tried, one after the other; one place where Argo itself tries again.

    Argo looks at `pendingTimeout` only where it does not retry, so a pool that is waited for has
    a second try of its own where there is no other pool.
    """
    pools: list[Place] = [*chain(ensemble, pool_of(ensemble, detector))]
    if len(pools) == 1 and pools[0][1] and pools[0][1].pending_timeout:
        return pools * 2
    return pools or [(None, None)]


def retries(settings: WorkflowSettings) -> RetryStrategy:
    """Further tries by Argo itself; see WORTH_A_RETRY."""
    return RetryStrategy(
        limit=settings.retries,
        retry_policy="Always",
        expression=WORTH_A_RETRY,
        backoff=Backoff(duration="10s", factor=IntOrString(root=2), cap="5m"),
    )


def placed(pool: Pool, least: tuple[str, str]) -> dict[str, Any]:
    """The arguments of a Container that put it on a pool's nodes.

    What the pool does not say of processors and memory is the `least` that the step asks for: a
    pod that asked for nothing would be put on a node however many are there already.
    """
    cpu, memory = least
    return {
        "node_selector": dict(pool.node_selector) or None,
        "tolerations": [Toleration(**one.model_dump(exclude_none=True)) for one in pool.tolerations]
        or None,
        "resources": Resources(
            cpu_request=pool.cpu or cpu,
            memory_request=pool.memory or memory,
            memory_limit=pool.memory,
            gpus=pool.gpus or None,
        ),
    }


def container(
    settings: WorkflowSettings,
    name: str,
    command: Sequence[str],
    *,
    image: str,
    pool: Pool | None,
    inputs: Sequence[Parameter | Artifact] = (),
    outputs: Sequence[Parameter | Artifact] = (),
    env: Mapping[str, str] | None = None,
    ours: bool = True,
    retried: bool = True,
    least: tuple[str, str] = LIGHT,
    **more: Any,
) -> Container:
    """A template of one container; one that is not `ours` is not told of the store."""
    return Newer(
        name=name,
        image=image,
        image_pull_policy=ImagePullPolicy(settings.image_pull_policy),
        command=list(command) or None,
        inputs=list(inputs) or None,
        outputs=list(outputs) or None,
        env=[Env(name=key, value=value) for key, value in (env or {}).items()] or None,
        env_from=store() if ours else None,
        security_context=SECURITY,
        volume_mounts=MOUNTS,
        retry_strategy=retries(settings) if retried and settings.retries else None,
        **placed(pool or Pool(), least),
        **more,
    )


def beside(settings: WorkflowSettings, name: str, command: Sequence[str]) -> UserContainer:
    """A container of ours that runs before a template's own."""
    return UserContainer(
        name=name,
        image=settings.images.cpu,
        image_pull_policy=settings.image_pull_policy,
        command=list(command),
        env_from=[one.build() for one in store()],
        security_context=SECURITY,
        volume_mounts=MOUNTS,
    )
