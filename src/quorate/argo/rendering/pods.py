"""What all pods have in common: images, writable folders, rights, tries, pools.

Every container runs as a plain user, without capabilities, on a read-only root. It can write only
to two emptyDirs: /scratch, and /tmp for images that are not ours. So a pod is admitted where the
pod security standard "restricted" is enforced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hera.workflows import (
    Artifact,
    ConfigMapEnvFrom,
    Container,
    Parameter,
    Resource,
    RetryStrategy,
    SecretEnvFrom,
)
from hera.workflows import models as m

from quorate.argo.names import CONFIG, SECRET
from quorate.argo.rendering import overlay
from quorate.argo.rendering.files import RESOLVED, SCRATCH, WORK
from quorate.argo.rendering.overlay import Layer, Size, laid, sized
from quorate.detectors.torch.spec import TorchDetector
from quorate.spec import Ensemble, Pool, Step, WorkflowSettings
from quorate.spec.kubernetes import CONTAINER
from quorate.spec.member import Member
from quorate.spec.pods import Sized
from quorate.spec.trainer import Trainer
from quorate.spec.training import Training

USER = 65532
"""The user of our images; any other would do as well."""

POD_SECURITY = m.PodSecurityContext(
    run_as_non_root=True,
    run_as_user=USER,
    run_as_group=USER,
    fs_group=USER,
    seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
)
SECURITY = m.SecurityContext(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=m.Capabilities(drop=["ALL"]),
)
RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Those of containers that are not ours: Argo leaves its own two open."""
UPLOADS = {"name": "ARTIFACT_S3_UPLOAD_THREADS", "value": "1"}
"""Of Argo's executor. With four, its default, it held 1.3 to 3 GB while it uploaded three files of
400 MB, and was killed with the outputs of its pod; with one 0.14 GB, in the same time (4.1.2)."""
COMMON: dict[str, Any] = {
    "securityContext": overlay.plain(POD_SECURITY),
    "volumes": [{"name": name, "emptyDir": {}} for name in ("scratch", "tmp")],
}
"""What every pod of a workflow has."""
MOUNTS = [
    m.VolumeMount(name="scratch", mount_path=SCRATCH),
    m.VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108  an emptyDir of the pod's own
]

OWN_ACCOUNT = ("fuse", "exit")
"""Steps that ask the API server: they need the rights of their own account, not a pool's."""
NAMELESS = {"HOME": SCRATCH, "TMPDIR": SCRATCH, "USER": "quorate"}
"""What a container is told that may not be ours. Its user has no name and no folder of its own:
HOME would be /, which cannot be written to, and programs that ask who they are (getpass, and so
torch) would end."""
OF_WORKFLOW = ("--workflow", "{{workflow.name}}", "--namespace", "{{workflow.namespace}}")
"""The options that tell a step which run it is of."""


Plan = Ensemble | Training
Place = tuple[str | None, Pool | None]
"""The name of a pool and the pool; both None where any node will do."""

# Answers of S3 to Argo's own containers that stay the same on another try: a missing key or
# bucket, credentials that are refused.
FOR_GOOD = (
    "(?i)NoSuchKey|key does not exist|no such key|bucket does not exist|access denied"
    "|access key id|request signature|token .*expired"
)
# Another try may help: storage did not answer (75), the pod was killed (137) or told to end (143)
# by who took its node, a node or an executor went away, other pods took the memory. Argo calls a
# deleted pod so only where it did not see its containers end first. A timeout kills as well.
WORTH_A_RETRY = (
    "(asInt(lastRetry.exitCode) in [75, 137, 143]"
    " && not (lastRetry.message matches 'specified deadline'))"
    f" || (lastRetry.status == 'Error' && not (lastRetry.message matches '{FOR_GOOD}'))"
    " || lastRetry.message matches"
    " 'pod deleted|OOMKilled|[Ee]vict|[Pp]reempt|low on resource|[Nn]ode .*shut'"
)
WORTH_ANOTHER_POOL = ("-1", "75", "137", "143")
"""Exit codes: the pod never ran or is gone; storage; killed; told to end."""


@dataclass(frozen=True)
class Run:
    """Where and how a container runs.

    of       the pool and the step that say more of it, in this order
    size     how much it gets where nothing is said
    ours     whether the image is ours; another one is not told of the store
    retried  whether Argo itself tries again
    """

    image: str
    of: tuple[Sized | None, ...] = ()
    size: Size = overlay.LIGHT
    ours: bool = True
    retried: bool = True


@dataclass(kw_only=True)
class Newer(Container):
    """A container template with fields of Argo 4.1, which Hera's models, made for 4.0, lack.

    Hera drops such a field, in `build()` and in `from_yaml`. So it is kept beside the template,
    and written where the workflow becomes plain values: `manifest.Template`.

    pending_timeout  how long a pod may wait for a node. Argo ignores it where a template has a
                     retryStrategy, and counts the time that a pod waits for a semaphore.
    """

    pending_timeout: str | None = None


def store() -> list[ConfigMapEnvFrom | SecretEnvFrom]:
    """The environment that names the store; without the Secret, the pod's own identity is used."""
    return [
        ConfigMapEnvFrom(name=CONFIG, optional=True),
        SecretEnvFrom(name=SECRET, optional=True),
    ]


def command(step: str, *more: str, spec: str = RESOLVED) -> list[str]:
    """The command line of a step over the work folder."""
    return ["quorate", "step", step, spec, "--work", WORK, *more]


def step(plan: Plan, name: str, size: Size = overlay.LIGHT) -> Run:
    """How a step runs that shows no picture to a detector."""
    settings = plan.workflow
    own: Step = getattr(settings.steps, name)
    pools = chain(plan, own.pool or settings.pool)
    pool = pools[0][1] if pools else None
    if pool and name in OWN_ACCOUNT:
        pod = {k: v for k, v in pool.pod.items() if not k.startswith("serviceAccount")}
        pool = pool.model_copy(update={"pod": pod})
    return Run(own.image or settings.images.cpu, (pool, own), size)


def image(ensemble: Ensemble, detector: Member) -> str:
    """A detector's image: its own; for GPUs and torch `cuda`; else `cpu`."""
    if detector.image:
        return detector.image
    images = ensemble.workflow.images
    accelerated = any(pool.accelerated for _, pool in chain(ensemble, pool_of(ensemble, detector)))
    return images.cuda if accelerated or isinstance(detector, TorchDetector) else images.cpu


def pool_of(plan: Plan, one: Member | Trainer) -> str | None:
    """The name of the pool that a detector or a trainer runs on; None for any node."""
    return one.pool or plan.workflow.pool


def chain(plan: Plan, pool: str | None) -> list[tuple[str, Pool]]:
    """A pool and its fallbacks, in the order of the tries."""
    found = []
    while pool is not None:
        found.append((pool, plan.pools[pool]))
        pool = plan.pools[pool].fallback
    return found


def tries(plan: Plan, one: Member | Trainer) -> list[Place]:
    """Where it is tried, in order; one place where Argo itself tries again.

    Argo ignores `pendingTimeout` where it retries. So a pool with such a limit and without a
    fallback gets a second try of its own here.
    """
    pools: list[Place] = [*chain(plan, pool_of(plan, one))]
    if len(pools) == 1 and pools[0][1] and pools[0][1].pending_timeout:
        return pools * 2
    return pools or [(None, None)]


def retries(settings: WorkflowSettings, *, or_if: str = "") -> RetryStrategy:
    """Further tries by Argo itself; see WORTH_A_RETRY."""
    return RetryStrategy(
        limit=settings.retries,
        retry_policy="Always",
        expression=WORTH_A_RETRY + (f" || {or_if}" if or_if else ""),
        backoff=m.Backoff(duration="10s", factor=m.IntOrString(root=2), cap="5m"),
    )


def container(
    settings: WorkflowSettings,
    name: str,
    command: Sequence[str],
    run: Run,
    *,
    inputs: Sequence[Parameter | Artifact] = (),
    outputs: Sequence[Parameter | Artifact] = (),
    **more: Any,
) -> Container:
    """A template of one container; `more` is passed to Hera's `Container`.

    A pod that requested no processors and memory would be put on a node however many pods it has.
    """
    one = Newer(
        name=name,
        image=run.image,
        image_pull_policy=m.ImagePullPolicy(settings.image_pull_policy),
        command=list(command) or None,
        inputs=list(inputs) or None,
        outputs=list(outputs) or None,
        env_from=store() if run.ours else None,
        security_context=SECURITY.model_copy(deep=True),
        # Of a container that crashes without a word, the end of its log is told.
        termination_message_policy="FallbackToLogsOnError",
        volume_mounts=[one.model_copy() for one in MOUNTS],
        retry_strategy=retries(settings) if run.retried and settings.retries else None,
        **more,
    )
    layers = [Layer(settings.pod, settings.container), *map(overlay.layer, run.of)]
    foreign = {"securityContext": RIGHTS} if settings.restricted else {}
    overlay.lay_over(one, COMMON, layers, run.size, foreign)
    if settings.restricted:
        patch = executor(settings, initContainers="init", containers="wait")
        overlay.add_patch(one, patch)
    return one


def executor(settings: WorkflowSettings, **named: str) -> dict[str, Any]:
    """A patch for Argo's own containers: rights, sizes, and what the spec says of them.

    `named` has their names by the lists of a pod that they are in.
    """
    own = overlay.layer(settings.steps.executor).container

    def patched(name: str) -> dict[str, Any]:
        base = {"name": name, "env": [UPLOADS], "securityContext": RIGHTS}
        return sized(laid(base, [own], CONTAINER, name), overlay.BESIDE)

    return {kind: [patched(name)] for kind, name in named.items()}


def of_executor(settings: WorkflowSettings, resource: Resource) -> None:
    """What all pods have, for a template whose work Argo's own container does."""
    own = overlay.layer(settings.steps.executor).container
    brings = ("containers", "initContainers", "volumes")
    pod = {key: value for key, value in settings.pod.items() if key not in brings}
    rights = {"securityContext": RIGHTS} if settings.restricted else {}
    layers = [Layer(pod, rights), Layer({}, own)]
    overlay.lay_over(resource, COMMON, layers, overlay.BESIDE, {})
    if settings.restricted:
        overlay.add_patch(resource, executor(settings, initContainers="init"))


def beside(settings: WorkflowSettings, name: str, command: Sequence[str]) -> m.UserContainer:
    """A container of ours before or beside one that is not: sized as the step `stage` is."""
    own = settings.steps.stage
    plain = {
        "name": name,
        "image": own.image or settings.images.cpu,
        "imagePullPolicy": settings.image_pull_policy,
        "command": list(command),
        "envFrom": [overlay.plain(one.build()) for one in store()],
        "securityContext": overlay.plain(SECURITY),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [overlay.plain(one) for one in MOUNTS],
    }
    layers = [settings.container, overlay.layer(own).container]
    found = sized(laid(plain, layers, CONTAINER, name), overlay.LIGHT)
    return m.UserContainer.model_validate(found)
