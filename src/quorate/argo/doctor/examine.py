"""What would keep an ensemble from running on a cluster: facts and remedies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.doctor import ensemble as of_ensemble
from quorate.argo.doctor import namespace
from quorate.argo.doctor.finding import GROUP, Finding, Findings, allowed, fail, guarded, ok, warn
from quorate.errors import AccessError, QuorateError

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.spec import EnsembleSpec

KINDS = ("workflows", "workflowtemplates", "workflowtaskresults", "workflowartifactgctasks")
REQUEUE = "DEFAULT_REQUEUE_TIME"
"""The controller's variable: how long it waits before it looks at a workflow again."""
OLDEST = (4, 1)
"""The Argo release whose fields our templates use."""

# What the user of each command may do: verb, group, resource, purpose.
USERS = (
    ("get", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflowtemplates", "submit"),
    ("update", GROUP, "workflowtemplates", "submit"),
    ("create", GROUP, "workflows", "submit"),
    ("get", GROUP, "workflows", "status"),
    ("list", GROUP, "workflows", "list"),
    ("watch", GROUP, "workflows", "watch"),
    ("patch", GROUP, "workflows", "stop"),
    ("list", "", "pods", "logs"),
    ("get", "", "pods/log", "logs"),
    ("list", "", "events", "the reason why a pod waits"),
)


def examine(cluster: Cluster, ensemble: EnsembleSpec | None = None) -> Findings:
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
        yield from namespace.examine(kube, ensemble)
    yield from namespace.store(ensemble)
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
    if missing:
        said = f"resource definitions are missing: {', '.join(missing)}"
        yield fail("argo", said, "install Argo Workflows' own, of the controller's version")
    else:
        yield ok("argo", "resource definitions are there")


def _controller(kube: Kube) -> Findings:
    """Its version and settings where it is a Deployment; whether it acts upon workflows."""
    query = {"fieldSelector": "metadata.name=workflow-controller"}
    try:
        found = kube.rest("GET", "/apis/apps/v1/deployments", query=query).get("items") or []
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
    if missing:
        said = f"you may not {', '.join(missing)} in {kube.namespace}"
        remedy = "ask for a Role with these, for example Argo's `argo-aggregate-to-edit`"
        yield fail("you", said, remedy)
    else:
        yield ok("you", f"you may submit, watch, stop and read logs in {kube.namespace}")
