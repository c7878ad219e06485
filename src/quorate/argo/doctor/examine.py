"""What would keep an ensemble from running on a cluster: facts and remedies.

Argo itself, what its user may do, what the chart installs in a namespace, and the store.
"""

from __future__ import annotations

import base64
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.doctor import ensemble as of_ensemble
from quorate.argo.doctor.finding import (
    GROUP,
    Finding,
    Findings,
    allowed,
    fail,
    guarded,
    judged,
    ok,
    secret_key,
    there,
    warn,
)
from quorate.argo.names import CONFIG, SECRET
from quorate.errors import AccessError, InputError, QuorateError
from quorate.spec import WorkflowSettings

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.spec import Ensemble

KINDS = ("workflows", "workflowtemplates", "workflowtaskresults", "workflowartifactgctasks")
REQUEUE = "DEFAULT_REQUEUE_TIME"
"""The controller's variable: how long it waits before it looks at a workflow again."""
OLDEST = (4, 1)
"""The Argo release whose fields our templates use."""
Right = tuple[str, str, str]
"""Verb, group, resource."""

REPOSITORIES = "artifact-repositories"
DEFAULT = "workflows.argoproj.io/default-artifact-repository"
TOKEN = "workflows.argoproj.io/service-account-token.name"  # noqa: S105  an annotation's name
CHART = "helm upgrade --install quorate charts/quorate, with the store's values"
# No pod of ours needs these: an account that may do them has been given too much.
TOO_MUCH = (("create", "", "pods"), ("get", "", "secrets"), ("list", "", "secrets"))

# What the user of each command may do: verb, group, resource, purpose.
USERS = (
    ("get", GROUP, "workflowtemplates", "submit"),
    ("list", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflowtemplates", "submit"),
    ("update", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflows", "submit"),
    ("delete", GROUP, "workflows", "submit"),
    ("get", GROUP, "workflows", "status"),
    ("list", GROUP, "workflows", "list"),
    ("watch", GROUP, "workflows", "watch"),
    ("patch", GROUP, "workflows", "stop"),
    ("update", GROUP, "workflows", "retry"),
    ("delete", "", "pods", "retry"),
    ("list", "", "pods", "logs"),
    ("watch", "", "pods", "logs through argo-server"),
    ("get", "", "pods/log", "logs"),
    ("list", "", "events", "the reason why a pod waits"),
)


def examine(cluster: Cluster, ensemble: Ensemble | None = None) -> Findings:
    """Look at a cluster, and at what an ensemble needs of it; one finding at a time.

    Most is visible with a kubeconfig only; argo-server shows no more than Argo's own objects.
    """
    try:
        version = cluster.version()
    except QuorateError as error:
        yield fail("cluster", error)
        return
    yield ok("cluster", f"{cluster.where}: {version}")
    kube = cluster if isinstance(cluster, Kube) else None
    if kube is None:
        yield _version(version)
        try:
            cluster.templates()
        except QuorateError as error:
            yield fail("argo", error)
        kube = _beside(cluster)
        if kube is None:
            yield warn(
                "kubeconfig",
                "argo-server shows neither accounts, nodes nor secrets: they are not looked at.",
                "export KUBECONFIG to look at them",
            )
    if kube is not None:
        yield from guarded("argo", _definitions, kube)
        yield from guarded("argo", _controller, kube)
        yield from guarded("you", _user, kube)
        yield from _namespace(kube, ensemble)
    yield from _store(ensemble)
    if ensemble is not None:
        yield from of_ensemble.examine(kube, ensemble)


def _beside(cluster: Cluster) -> Kube | None:
    """The same namespace by a kubeconfig, where there is one."""
    try:
        kube = Kube.of_kubeconfig(namespace=cluster.namespace)
        kube.version()
    except QuorateError:
        return None
    return kube


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
    if not numbers:
        return warn("argo", f"Argo's version '{version}' is not known.")
    if numbers >= OLDEST:
        return ok("argo", f"Argo Workflows {version}")
    said = f"Argo {version}; templates use fields of {OLDEST[0]}.{OLDEST[1]}."
    return (fail if numbers < (4, 0) else warn)("argo", said, "update Argo Workflows")


def _definitions(kube: Kube) -> Findings:
    found = kube.rest("GET", f"/apis/{GROUP}/v1alpha1").get("resources") or []
    missing = [kind for kind in KINDS if kind not in {one["name"] for one in found}]
    said, well = "resource definitions are missing: {}", "resource definitions are there"
    remedy = "install Argo Workflows' own, of the controller's version"
    yield judged("argo", missing, said, remedy, well)


def _controller(kube: Kube) -> Findings:
    """Its version and settings where it is a Deployment; whether it acts upon workflows."""
    query = {"fieldSelector": "metadata.name=workflow-controller"}
    try:
        found = kube.rest.items("/apis/apps/v1/deployments", query)
    except AccessError:
        found = []
    for one in found:
        container = one["spec"]["template"]["spec"]["containers"][0]
        yield _version(str(container["image"]).rpartition(":")[2])
        if not any(set_["name"] == REQUEUE for set_ in container.get("env") or ()):
            yield warn(
                "argo",
                "the controller looks at a workflow every ten seconds at most, which each step "
                "of a small run waits for",
                f"{REQUEUE}=1s in the environment of its container",
            )
    workflows = kube.workflows()
    old = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    idle = [
        one["metadata"]["name"]
        for one in workflows
        if not (one.get("status") or {}).get("phase") and one["metadata"]["creationTimestamp"] < old
    ]
    if idle:
        said = f"nothing acts upon workflows: {idle[0]} waits for a controller"
        remedy = "is the workflow-controller running, and does it watch this namespace?"
        yield fail("argo", said, remedy)
    elif workflows:
        yield ok("argo", "a controller acts upon workflows")
    elif not found:
        yield warn("argo", "no workflow yet, so it is not known whether a controller runs")


def _user(kube: Kube) -> Findings:
    missing = [
        f"{verb} {resource} ({why})"
        for verb, group, resource, why in USERS
        if not allowed(kube, verb, group, resource)
    ]
    said, here = "you may not {}", f" in {kube.namespace}"
    remedy = "ask to be bound to the Role quorate-user: `users` in the chart's values"
    well = "you may submit, watch, stop and read logs" + here
    yield judged("you", missing, said + here, remedy, well)


def accounts(settings: WorkflowSettings) -> dict[str, list[Right]]:
    """What the pods of each account need."""
    results = [(verb, GROUP, "workflowtaskresults") for verb in ("create", "patch")]
    reads: list[Right] = [("get", GROUP, "workflows"), ("list", "", "events")]
    creates = [(verb, GROUP, "workflows") for verb in ("create", "get", "patch", "watch")]
    creates += [(verb, GROUP, "workflowtemplates") for verb in ("create", "get")]
    return {
        settings.service_account: results,
        settings.fuse_service_account: reads,
        settings.exit_service_account: [*results, *reads, ("patch", GROUP, "workflows")],
        settings.children_service_account: [*results, *creates],
        settings.artifact_gc_service_account: [
            ("list", GROUP, "workflowartifactgctasks"),
            ("watch", GROUP, "workflowartifactgctasks"),
            ("patch", GROUP, "workflowartifactgctasks/status"),
        ],
    }


def _namespace(kube: Kube, ensemble: Ensemble | None) -> Findings:
    """Accounts, artifact repository and the store's address, as the pods will find them."""
    settings = ensemble.workflow if ensemble else WorkflowSettings()
    for name, rights in accounts(settings).items():
        yield from guarded(f"account {name}", _account, kube, name, rights)
    for name in (settings.service_account, settings.children_service_account):
        yield from guarded(f"account {name}", _token, kube, name)
    yield from guarded("artifacts", _repository, kube, settings.artifact_repository)
    yield from guarded("store", _store_of_pods, kube)


def _store(ensemble: Ensemble | None) -> Findings:
    """Put, get and delete a tiny object in S3 from here, with the environment's credentials."""
    from quorate.storage import s3

    check = "S3 from here"
    bucket = (ensemble.workflow.bucket if ensemble else None) or os.environ.get("QUORATE_BUCKET")
    if not bucket:
        remedy = "export QUORATE_BUCKET, and AWS_… as boto3 reads them"
        yield warn(check, "not tried: no bucket is named", remedy)
        return
    given: dict[str, Any] = {"Bucket": bucket, "Key": f"quorate/doctor/{uuid.uuid4().hex}"}
    said = b"quorate doctor"
    try:
        with s3.s3_errors(f"s3://{bucket}/{given['Key']}"):
            client = s3.client()
            client.put_object(**given, Body=said)
            read = client.get_object(**given)["Body"].read()
            client.delete_object(**given)
    except QuorateError as error:
        yield fail(check, error)
        return
    if read == said:
        yield ok(check, f"put, got and deleted an object in s3://{bucket}")
    else:
        yield fail(check, f"s3://{bucket} returned other bytes than were put")


def _account(kube: Kube, name: str, rights: list[Right]) -> Findings:
    check = f"account {name}"
    if there(kube, "serviceaccounts", name) is None:
        raise InputError(f"there is no service account {name}", hint=CHART)
    missing = [f"{v} {r}" for v, g, r in rights if not allowed(kube, v, g, r, account=name)]
    yield judged(check, missing, "it may not {}", CHART, "it may do what its pods need")
    more = [f"{v} {r}" for v, g, r in TOO_MUCH if allowed(kube, v, g, r, account=name)]
    if more:
        said = f"it may also {', '.join(more)}, which none of its pods needs"
        yield warn(check, said, "bind it to the chart's Role only")


def _token(kube: Kube, name: str) -> Findings:
    """The Secret that Argo's executor mounts, where a template names the executor's account."""
    account = there(kube, "serviceaccounts", name)
    if account is None:
        return
    annotations = account["metadata"].get("annotations") or {}
    secret = annotations.get(TOKEN, f"{name}.service-account-token")
    if there(kube, "secrets", secret) is None:
        said = f"its token, Secret {secret}, is missing: pods would wait for it for ever"
        yield fail(f"account {name}", said, CHART)


def _repository(kube: Kube, reference: str | None) -> Findings:
    check, remedy = "artifacts", "artifactRepository.create=true in the chart's values makes one"
    name, _, key = (reference or REPOSITORIES).partition("/")
    found = there(kube, "configmaps", name)
    if found is None and reference is None:
        said = f"no ConfigMap {name} here: the controller's own artifact repository is used, if any"
        yield warn(check, said, remedy)
        return
    if found is None:
        raise InputError(f"there is no ConfigMap {name}", hint=remedy)
    key = key or str((found["metadata"].get("annotations") or {}).get(DEFAULT, ""))
    if not key:
        raise InputError(f"ConfigMap {name} has no default ({DEFAULT})", hint=remedy)
    text = (found.get("data") or {}).get(key)
    if text is None:
        raise InputError(f"ConfigMap {name} has no entry '{key}'", hint=remedy)
    entry: Any = yaml.safe_load(text)
    s3 = entry.get("s3") if isinstance(entry, dict) else None
    if not isinstance(s3, dict) or not s3.get("bucket"):
        raise InputError(f"{name}/{key} names no S3 bucket", hint=remedy)
    for field in ("accessKeySecret", "secretKeySecret"):
        if wanted := s3.get(field):
            yield from secret_key(check, kube, wanted["name"], wanted["key"])
    yield ok(check, f"{name}/{key}: s3://{s3['bucket']}")


def _store_of_pods(kube: Kube) -> Findings:
    check, config = "store", there(kube, "configmaps", CONFIG)
    if config is None:
        yield warn(check, f"no ConfigMap {CONFIG}: steps can use AWS's own S3 only", CHART)
        return
    data = config.get("data") or {}
    bucket = data.get("QUORATE_BUCKET")
    if not bucket:
        said = (
            f"ConfigMap {CONFIG} names no QUORATE_BUCKET: data must be s3://…, and a killed "
            "detector begins anew"
        )
        yield warn(check, said, CHART)
    yield ok(check, f"pods read s3://{bucket or '…'} at {data.get('AWS_ENDPOINT_URL', 'AWS')}")
    try:
        keys = there(kube, "secrets", SECRET)
    except AccessError:
        return
    if keys is None:
        yield warn(check, f"no Secret {SECRET}: pods use their own identity")
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not base64.b64decode((keys.get("data") or {}).get(name, "")):
            yield fail(check, f"Secret {SECRET} has no {name}", CHART)
