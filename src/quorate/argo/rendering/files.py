"""Where files lie, in a pod and in the bucket of the artifact repository, and how they get there.

    PREFIX/work/…          the work folder (`steps/work.py`), file by file
    PREFIX/results/…       what publish wrote
    PREFIX/checkpoints/…   finished parts of detectors that are still at work

A path below /scratch is the same as the key below PREFIX, so each step finds the work folder as
on one machine. PREFIX is {namespace}/{cvat-output-path}/{name of the workflow}.

Argo brings artifacts to a pod and takes them from it. They name keys only: bucket, endpoint and
credentials are the artifact repository's. (Where an artifact names a bucket but no endpoint, Argo
silently uses the repository's own bucket.) Nothing is packed: the objects are the files. A folder's
key ends in "/".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hera.workflows import (
    Artifact,
    GitArtifact,
    NoneArchiveStrategy,
    Parameter,
    RawArtifact,
    S3Artifact,
)
from hera.workflows.models import ArtifactGC, SecretKeySelector, ValueFrom

from quorate.errors import SpecError
from quorate.spec import Ensemble, Git
from quorate.spec.member import Member
from quorate.spec.training import Training
from quorate.spec.whole import Whole

P = TypeVar("P", bound=Whole)

PREFIX = "{{workflow.namespace}}/{{workflow.parameters.cvat-output-path}}/{{workflow.name}}"
"""Of the workflow that a person started; its children get it as the parameter `run`."""
RUN = "{{inputs.parameters.run}}"
"""The same, inside a template that a child may run as well."""
SHARD = "{{inputs.parameters.shard}}"
OF_SHARD = f"shards/{SHARD}"
"""The shard at work, below the work folder."""

SCRATCH = "/scratch"
WORK = f"{SCRATCH}/work"
RESULTS = f"{SCRATCH}/results"
DEGRADED = f"{SCRATCH}/degraded"
"""The file that says whether results lack somebody's part."""
GIVEN = f"{SCRATCH}/spec.yaml"
"""The spec as it was rendered; prepare resolves it into the work folder."""
RESOLVED = f"{WORK}/spec.yaml"
GIT = f"{SCRATCH}/git"
IMAGES = f"{SCRATCH}/images"


def taken(name: str, inside: str, *, run: str = PREFIX, optional: bool = False) -> Artifact:
    """A file below PREFIX as input, or a folder where `inside` ends in "/", below /scratch."""
    path = f"{SCRATCH}/{inside}".rstrip("/")
    return S3Artifact(name=name, key=f"{run}/{inside}", path=path, optional=optional or None)


def of_shard() -> list[Artifact]:
    """What every step over a shard needs of the work folder."""
    images = f"{OF_SHARD}/images.json"
    found = {"spec": "spec.yaml", "plan": "plan.json", "images": images}
    return [taken(name, f"work/{inside}", run=RUN) for name, inside in found.items()]


def left(
    name: str, inside: str, *, run: str = RUN, optional: bool = False, passing: bool = False
) -> Artifact:
    """A file below /scratch as output, or a folder where `inside` ends in "/", below PREFIX.

    An optional one may be missing; a `passing` one is deleted with the workflow. What a failed
    container wrote is kept too.
    """
    return S3Artifact(
        name=name,
        key=f"{run}/{inside}",
        path=f"{SCRATCH}/{inside}".rstrip("/"),
        archive=NoneArchiveStrategy(),
        optional=optional or None,
        artifact_gc=ArtifactGC(strategy="OnWorkflowDeletion" if passing else "Never"),
    )


def published(*, optional: bool = False) -> list[Parameter | Artifact]:
    """What a pod that publishes leaves; of two of them, the later says whether it is degraded."""
    said = ValueFrom(path=DEGRADED)
    return [
        Parameter(name="degraded", value_from=said, global_name="degraded"),
        left("results", "results/", run=PREFIX, optional=optional),
    ]


def spec(text: str) -> Artifact:
    """The spec, written in the template itself."""
    return RawArtifact(name="spec", data=text, path=GIVEN)


def spec_at_start(source: Git | None, text: str) -> tuple[Artifact, str]:
    """The spec as a run begins with it, a repository's where it has one; and its path in a pod."""
    if source and source.path:
        return git(source), f"{GIT}/{source.path}"
    return spec(text), GIVEN


def git(source: Git) -> Artifact:
    """A repository, cloned."""
    user, password = (
        SecretKeySelector(name=source.secret, key=key) if source.secret else None
        for key in ("username", "password")
    )
    return GitArtifact(
        name="git",
        path=GIT,
        repo=source.repo,
        revision=source.revision,
        depth=1 if source.revision == "HEAD" else None,
        username_secret=user,
        password_secret=password,
    )


def weights(ensemble: Ensemble, detector: Member) -> dict[str, S3Artifact]:
    """A detector's files in the repository's bucket, by the field of the spec that names them.

    Argo fetches these before the detector starts; the step itself reads one elsewhere in S3.
    Raises SpecError for a file that no pod could read.
    """
    settings = ensemble.workflow
    if settings.git and settings.git.path:
        return {}  # the files are known only when the run starts
    found: dict[str, S3Artifact] = {}
    for field in type(detector).model_fields:
        location = getattr(detector, field)
        if not isinstance(location, str) or location not in detector.files:
            continue
        if not location.startswith("s3://"):
            scheme, elsewhere, _ = location.partition("://")
            where = f"at {scheme}://" if elsewhere else "on this machine"
            upload = "" if elsewhere else "`--upload`, of submit and of render, uploads it; or "
            raise SpecError(
                f"{detector.name}: {field}: {location} is {where}: no pod can read it.",
                hint=f"{upload}copy it to S3 and write s3://BUCKET/KEY",
            )
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if bucket == settings.bucket:
            name = key.rstrip("/").rpartition("/")[2]
            path = f"{SCRATCH}/weights/{detector.name}/{name}"
            if any(one.path == path for one in found.values()):
                raise SpecError(
                    f"{detector.name}: two of its files are called {name}; in its pod they lie "
                    "side by side."
                )
            found[field] = S3Artifact(name=field.replace("_", "-"), key=key, path=path)
        elif detector.kind == "container":
            raise SpecError(
                f"{detector.name}: {field}: {location} is not in the cluster's own bucket, and a "
                "container that is not ours has no keys for another.",
                hint=f"set `workflow: {{bucket: {bucket}}}` if it is the artifact repository's",
            )
    return found


def training_in_pods(training: Training) -> Training:
    """The same of a training; SpecError for what is on this machine, where no pod could read it."""
    for what, location in (
        ("images", training.images),
        ("publish", training.publish),
        ("compare: ensemble", training.compare.ensemble),
        *((f"{one.name}: checkpoint", one.checkpoint) for one in training.trainers),
    ):
        if location and not location.startswith("s3://"):
            upload = "" if what == "publish" else "`--upload`, of submit and of render, uploads it;"
            raise SpecError(
                f"{what}: {location} is on this machine: no pod can read it.",
                hint=f"{upload} or write s3://BUCKET/KEY".removeprefix(" or "),
            )
    trainers = []
    for one in training.trainers:
        said = {name: getattr(one, name) for name in one.model_fields_set - {"pool", "timeout"}}
        trainers.append(type(one).model_validate(_without_templates(said)))
    return _with_members(training, trainers)


def _without_templates(said: dict[str, Any]) -> dict[str, Any]:
    """What is said of a container, without parameters of a run.

    Argo would put a parameter's value into the text, where it may break the YAML.
    """
    held = {name for name in ("command", "args", "env") if "{{" in str(said.get(name))}
    said = {name: value for name, value in said.items() if name not in held}
    if said.get("image"):
        said["image"] = str(said["image"]).replace("{{", "$(").replace("}}", ")")
    return said


def as_in_pods(ensemble: Ensemble) -> Ensemble:
    """The spec that steps read: with the paths of their pods, without what only Argo looks at."""
    members = []
    for one in ensemble.members:
        said = {name: getattr(one, name) for name in one.model_fields_set - {"pool"}}
        said |= {field: file.path for field, file in weights(ensemble, one).items()}
        if one.kind == "container":
            said = _without_templates(said)
        members.append(type(one).model_validate(said))
    return _with_members(ensemble, members)


def _with_members(plan: P, members: Sequence[Any]) -> P:
    """Another with these members, without what only Argo looks at and data that no pod can read."""
    data: str | None = getattr(plan, "data")  # noqa: B009  each whole has it
    local = data is not None and not data.startswith("s3://")
    gone = {"pools", "workflow"} | ({"data"} if local else set())
    said = {name: getattr(plan, name) for name in plan.model_fields_set - gone}
    return type(plan).model_validate(said | {plan.members_field: tuple(members)})
