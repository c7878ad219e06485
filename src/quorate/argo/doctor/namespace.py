"""What the chart installs in a namespace, and the store: whether it is there and works."""

from __future__ import annotations

import base64
import os
import uuid
from typing import TYPE_CHECKING, Any

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.rest import Json
from quorate.argo.doctor.examine import GROUP, Finding, Findings, allowed, guarded
from quorate.argo.names import CONFIG, SECRET
from quorate.errors import AccessError, InputError, QuorateError
from quorate.spec import WorkflowSettings

if TYPE_CHECKING:
    from quorate.spec import EnsembleSpec

REPOSITORIES = "artifact-repositories"
DEFAULT = "workflows.argoproj.io/default-artifact-repository"
CHART = "helm upgrade --install quorate charts/quorate, with the store's values"
# What no pod of ours needs: an account that may do it has been given too much.
TOO_MUCH = (("create", "", "pods"), ("get", "", "secrets"), ("list", "", "secrets"))


def examine(kube: Kube, ensemble: EnsembleSpec | None) -> Findings:
    """Accounts, artifact repository and the store's address, as the pods will find them."""
    settings = ensemble.workflow if ensemble else WorkflowSettings()
    results = [(verb, GROUP, "workflowtaskresults") for verb in ("create", "patch")]
    creates = [(verb, GROUP, "workflows") for verb in ("create", "get", "patch", "watch")]
    accounts = {
        settings.service_account: results,
        settings.fuse_service_account: [("get", GROUP, "workflows"), ("list", "", "events")],
        settings.exit_service_account: [*results, ("patch", GROUP, "workflows")],
        settings.children_service_account: [*results, *creates],
        settings.artifact_gc_service_account: [
            ("list", GROUP, "workflowartifactgctasks"),
            ("watch", GROUP, "workflowartifactgctasks"),
            ("patch", GROUP, "workflowartifactgctasks/status"),
        ],
    }
    for name, rights in accounts.items():
        yield from guarded(f"account {name}", lambda n=name, r=rights: _account(kube, n, r))  # type: ignore[misc]
    name = settings.service_account
    yield from guarded(f"account {name}", lambda: _token(kube, name))
    yield from guarded("artifacts", lambda: _repository(kube, settings.artifact_repository))
    yield from guarded("store", lambda: _store_of_pods(kube))


def store(ensemble: EnsembleSpec | None) -> Findings:
    """Put, get and delete a tiny object in S3 from here, with the environment's credentials."""
    from quorate.storage import s3

    named = ensemble.workflow.bucket if ensemble else None
    bucket = named or os.environ.get("QUORATE_BUCKET")
    if not bucket:
        yield Finding(
            "S3 from here", "warn", "not tried: no bucket is named",
            "export QUORATE_BUCKET, and AWS_… as boto3 reads them",
        )  # fmt: skip
        return
    key = f"quorate/doctor/{uuid.uuid4().hex}"
    where, said = f"s3://{bucket}/{key}", b"quorate doctor"
    try:
        with s3.s3_errors(where):
            client = s3.client()
            client.put_object(Bucket=bucket, Key=key, Body=said)
            read = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            client.delete_object(Bucket=bucket, Key=key)
    except QuorateError as error:
        yield Finding("S3 from here", "fail", error.message, error.hint or "")
        return
    if read != said:
        yield Finding("S3 from here", "fail", f"s3://{bucket} gave back other bytes than were put")
    else:
        yield Finding("S3 from here", "ok", f"put, got and deleted an object in s3://{bucket}")


def there(kube: Kube, kind: str, name: str) -> Json | None:
    """One of the core kinds in the namespace, or None; AccessError where it may not be read."""
    try:
        return kube.rest("GET", kube.core(kind, name))
    except InputError:
        return None


def _account(kube: Kube, name: str, rights: list[tuple[str, str, str]]) -> Findings:
    check = f"account {name}"
    if there(kube, "serviceaccounts", name) is None:
        yield Finding(check, "fail", f"there is no service account {name}", CHART)
        return
    missing = [f"{v} {r}" for v, g, r in rights if not allowed(kube, v, g, r, account=name)]
    if missing:
        yield Finding(check, "fail", f"it may not {', '.join(missing)}", CHART)
    else:
        yield Finding(check, "ok", "it may do what its pods need")
    more = [f"{v} {r}" for v, g, r in TOO_MUCH if allowed(kube, v, g, r, account=name)]
    if more:
        yield Finding(
            check, "warn", f"it may also {', '.join(more)}, which no pod of it needs",
            "bind it to the chart's Role only",
        )  # fmt: skip


def _token(kube: Kube, name: str) -> Findings:
    """The Secret that Argo's executor mounts, where a template names the executor's account."""
    account = there(kube, "serviceaccounts", name)
    if account is None:
        return
    annotations = account["metadata"].get("annotations") or {}
    secret = annotations.get(
        "workflows.argoproj.io/service-account-token.name", f"{name}.service-account-token"
    )
    if there(kube, "secrets", secret) is None:
        yield Finding(
            f"account {name}", "fail",
            f"its token, Secret {secret}, is missing: pods would wait for it for ever", CHART,
        )  # fmt: skip


def _repository(kube: Kube, reference: str | None) -> Findings:
    name, _, key = (reference or REPOSITORIES).partition("/")
    found = there(kube, "configmaps", name)
    remedy = "artifactRepository.create=true in the chart's values makes one"
    if found is None:
        if reference is None:
            yield Finding(
                "artifacts", "warn",
                f"no ConfigMap {name} here: the controller's own artifact repository is used, "
                "if it has one", remedy,
            )  # fmt: skip
        else:
            yield Finding("artifacts", "fail", f"there is no ConfigMap {name}", remedy)
        return
    key = key or str((found["metadata"].get("annotations") or {}).get(DEFAULT, ""))
    if not key:
        yield Finding("artifacts", "fail", f"ConfigMap {name} has no default ({DEFAULT})", remedy)
        return
    text = (found.get("data") or {}).get(key)
    if text is None:
        yield Finding("artifacts", "fail", f"ConfigMap {name} has no entry '{key}'", remedy)
        return
    import yaml

    entry: Any = yaml.safe_load(text)
    s3 = entry.get("s3") if isinstance(entry, dict) else None
    if not isinstance(s3, dict) or not s3.get("bucket"):
        yield Finding("artifacts", "fail", f"{name}/{key} names no S3 bucket", remedy)
        return
    for field in ("accessKeySecret", "secretKeySecret"):
        wanted = s3.get(field)
        if wanted:
            yield from secret_key("artifacts", kube, wanted["name"], wanted["key"])
    yield Finding("artifacts", "ok", f"{name}/{key}: s3://{s3['bucket']}")


def _store_of_pods(kube: Kube) -> Findings:
    config = there(kube, "configmaps", CONFIG)
    if config is None:
        yield Finding(
            "store", "warn",
            f"no ConfigMap {CONFIG}: steps reach no other store than AWS's own", CHART,
        )  # fmt: skip
        return
    data = config.get("data") or {}
    bucket = data.get("QUORATE_BUCKET")
    if not bucket:
        yield Finding(
            "store", "warn",
            f"ConfigMap {CONFIG} names no QUORATE_BUCKET: data must be s3://…, and a killed "
            "detector begins anew", CHART,
        )  # fmt: skip
    address = data.get("AWS_ENDPOINT_URL", "AWS")
    yield Finding("store", "ok", f"pods read s3://{bucket or '…'} at {address}")
    try:
        keys = there(kube, "secrets", SECRET)
    except AccessError:
        return
    if keys is None:
        yield Finding("store", "warn", f"no Secret {SECRET}: pods use their own identity")
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not base64.b64decode((keys.get("data") or {}).get(name, "")):
            yield Finding("store", "fail", f"Secret {SECRET} has no {name}", CHART)


def secret_key(check: str, kube: Kube, name: str, key: str) -> Findings:
    """A finding where a Secret, or the key in it, is missing."""
    found = there(kube, "secrets", name)
    if found is None:
        yield Finding(
            check, "fail", f"there is no Secret {name}", f"kubectl create secret generic {name}"
        )
    elif key not in (found.get("data") or {}):
        yield Finding(check, "fail", f"Secret {name} has no key '{key}'", "add it")
