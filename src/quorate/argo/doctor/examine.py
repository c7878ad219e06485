"""What would keep an ensemble from running on a cluster, found before it does: facts and remedies.

doctor.py             the findings, and in which order they are sought
namespace.py   what the chart installs: accounts, repository, store
ensemble.py        what one spec needs: template, weights, images, pools, secrets
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from quorate.argo.cluster.client_kube import Kube
from quorate.errors import AccessError, ClusterError, InputError, QuorateError

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.spec import EnsembleSpec

State = Literal["ok", "warn", "fail"]
GROUP = "argoproj.io"
KINDS = ("workflows", "workflowtemplates", "workflowtaskresults", "workflowartifactgctasks")
REQUEUE = "DEFAULT_REQUEUE_TIME"
"""The controller's variable: how long it lets a workflow be between two looks at it."""
OLDEST = (4, 1)
"""The Argo release whose fields our templates use."""

# What the user of each command may do: verb, group, resource, for what.
USERS = (
    ("get", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflowtemplates", "submit"),
    ("update", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflows", "submit"),
    ("get", GROUP, "workflows", "status"),
    ("list", GROUP, "workflows", "list"),
    ("watch", GROUP, "workflows", "watch"),
    ("update", GROUP, "workflows", "stop"),
    ("list", "", "pods", "logs"),
    ("get", "", "pods/log", "logs"),
    ("list", "", "events", "the reason why a pod waits"),
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ok, to be minded (warn), or in the way (fail), with its remedy."""

    check: str
    state: State
    found: str
    remedy: str = ""


Findings = Iterator[Finding]


def examine(cluster: Cluster, ensemble: EnsembleSpec | None = None) -> Findings:
    """Look at a cluster, and with an ensemble at what that one needs; one finding at a time.

    Most is seen with a kubeconfig only; argo-server shows no more than Argo's own objects.
    """
    from quorate.argo.doctor import namespace
    from quorate.argo.doctor.ensemble import examine as examine_ensemble

    try:
        version = cluster.version()
    except QuorateError as error:
        yield Finding("cluster", "fail", error.message, error.hint or "")
        return
    yield Finding("cluster", "ok", f"{cluster.where}: {version}")
    kube = cluster if isinstance(cluster, Kube) else None
    if kube is None:
        yield from _argo_server(cluster, version)
        kube = _beside(cluster)
        if kube is None:
            yield Finding(
                "kubeconfig",
                "warn",
                "argo-server shows neither accounts, nodes nor secrets: they are not looked at.",
                "export KUBECONFIG to look at them",
            )
    if kube is not None:
        yield from guarded("argo", lambda: _definitions(kube))
        yield from guarded("argo", lambda: _controller(kube))
        yield from guarded("you", lambda: _user(kube))
        yield from namespace.examine(kube, ensemble)
    yield from namespace.store(ensemble)
    if ensemble is not None:
        yield from examine_ensemble(cluster, kube, ensemble)


def guarded(check: str, look: Callable[[], Findings]) -> Findings:
    """What a check finds; where it may not look, or the cluster does not answer, that."""
    try:
        yield from look()
    except AccessError as error:
        yield Finding(check, "warn", f"may not be looked at: {error.message}")
    except (ClusterError, InputError) as error:
        yield Finding(check, "fail", error.message, error.hint or "")


def allowed(kube: Kube, verb: str, group: str, resource: str, *, account: str = "") -> bool:
    """Whether the user, or a service account of the namespace, may do something there.

    Raises AccessError where the user may not ask about others.
    """
    name, _, sub = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "namespace": kube.namespace}
    if sub:
        attributes["subresource"] = sub
    kind, spec = "SelfSubjectAccessReview", {"resourceAttributes": attributes}
    if account:
        kind = "SubjectAccessReview"
        user = f"system:serviceaccount:{kube.namespace}:{account}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{kube.namespace}",
                  "system:authenticated"]  # fmt: skip
        spec = {**spec, "user": user, "groups": groups}  # type: ignore[dict-item]
    path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    return bool(kube.rest("POST", path, body)["status"].get("allowed"))


def _beside(cluster: Cluster) -> Kube | None:
    """The same namespace by a kubeconfig, where there is one."""
    try:
        kube = Kube.of_kubeconfig(namespace=cluster.namespace)
        kube.version()
    except QuorateError:
        return None
    return kube


def _argo_server(cluster: Cluster, version: str) -> Findings:
    yield _version(version)
    try:
        cluster.templates()
    except QuorateError as error:
        yield Finding("argo", "fail", error.message, error.hint or "")


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
    if not numbers:
        return Finding("argo", "warn", f"Argo's version '{version}' is not known.")
    if numbers < OLDEST:
        return Finding(
            "argo",
            "fail" if numbers < (4, 0) else "warn",
            f"Argo {version}; templates use fields of {OLDEST[0]}.{OLDEST[1]}.",
            "update Argo Workflows",
        )
    return Finding("argo", "ok", f"Argo Workflows {version}")


def _definitions(kube: Kube) -> Findings:
    found = kube.rest("GET", f"/apis/{GROUP}/v1alpha1").get("resources") or []
    missing = [kind for kind in KINDS if kind not in {one["name"] for one in found}]
    if missing:
        yield Finding(
            "argo", "fail", f"resource definitions are missing: {', '.join(missing)}",
            "install Argo Workflows' own, of the controller's version",
        )  # fmt: skip
    else:
        yield Finding("argo", "ok", "resource definitions are there")


def _controller(kube: Kube) -> Findings:
    """Its image where it is a Deployment; whether workflows are acted upon at all."""
    query = {"fieldSelector": "metadata.name=workflow-controller"}
    try:
        found = kube.rest("GET", "/apis/apps/v1/deployments", query=query).get("items") or []
    except AccessError:
        found = []
    for one in found:
        container = one["spec"]["template"]["spec"]["containers"][0]
        yield _version(str(container["image"]).rpartition(":")[2])
        if not any(set_["name"] == REQUEUE for set_ in container.get("env") or ()):
            yield Finding(
                "argo", "warn", "the controller looks at a workflow every ten seconds at most, "
                "which each step of a small run waits for",
                f"{REQUEUE}=1s in the environment of its container",
            )  # fmt: skip
    from datetime import UTC, datetime, timedelta

    workflows = kube.workflows()
    old = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    idle = [
        one["metadata"]["name"]
        for one in workflows
        if not (one.get("status") or {}).get("phase") and one["metadata"]["creationTimestamp"] < old
    ]
    if idle:
        yield Finding(
            "argo", "fail", f"nothing acts upon workflows: {idle[0]} waits for a controller",
            "is the workflow-controller running, and does it watch this namespace?",
        )  # fmt: skip
    elif not workflows and not found:
        yield Finding("argo", "warn", "no workflow yet, so nothing tells whether a controller runs")
    elif workflows:
        yield Finding("argo", "ok", "a controller acts upon workflows")


def _user(kube: Kube) -> Findings:
    missing = [
        f"{verb} {resource} ({why})"
        for verb, group, resource, why in USERS
        if not allowed(kube, verb, group, resource)
    ]
    if missing:
        yield Finding(
            "you", "fail", f"you may not {', '.join(missing)} in {kube.namespace}",
            "ask for a Role with these, for example Argo's `argo-aggregate-to-edit`",
        )  # fmt: skip
    else:
        yield Finding("you", "ok", f"you may submit, watch, stop and read logs in {kube.namespace}")
