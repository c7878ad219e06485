"""The Kubernetes API: with a kubeconfig, or inside a pod with the pod's service account.

The package `kubernetes` reads the kubeconfig, renews tokens (exec plug-ins, OIDC) and knows the
certificates; requests are made here, so that both ways share one set of errors. Inside a pod
neither the package nor a kubeconfig is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from quorate.argo.cluster.client import POD_EVENTS, WITHOUT_SERVER, Cluster, LogLine, Shutdown
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.cluster.retry import formulated
from quorate.argo.cluster.streams import Streams
from quorate.errors import AccessError, InputError, MissingExtraError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its account's token and namespace, and the API server's certificate authority."""
RENEW = "log in again as your cluster's provider asks; `kubectl get workflows` must work"
CONNECTIONS = 16
"""Kept to the API server: who follows a run reads the logs of its pods beside."""
NAMED = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""What is accepted of a list where only the metadata of its objects is wanted."""
NEW_PODS = 2.0
"""Seconds between two looks for new pods while logs are followed."""


class Kube(Cluster):
    """One namespace as the Kubernetes API shows it."""

    @classmethod
    def of_kubeconfig(cls, *, namespace: str | None = None) -> Self:
        """The cluster of KUBECONFIG or ~/.kube/config; in a pod without either, the pod's own."""
        if not _has_kubeconfig() and (own := cls.of_pod(namespace)):
            return own
        client = _api_client()
        known = client.configuration
        rest = Rest(
            client.rest_client.pool_manager,
            known.host,
            authorization=lambda: known.auth_settings().get("BearerToken", {}).get("value"),
            where=f"the cluster at {known.host}",
            renew=RENEW,
        )
        return cls(rest, namespace or current_namespace() or "default")

    @classmethod
    def of_pod(cls, namespace: str | None = None) -> Self | None:
        """From inside a pod; None elsewhere, and where the pod has no token."""
        host, token = os.environ.get("KUBERNETES_SERVICE_HOST"), ACCOUNT / "token"
        if not host or not token.exists():
            return None
        import urllib3

        port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        rest = Rest(
            urllib3.PoolManager(maxsize=CONNECTIONS, ca_certs=str(ACCOUNT / "ca.crt")),
            f"https://{f'[{host}]' if ':' in host else host}:{port}",
            # Read for each request: a token is valid for an hour and is replaced before that.
            authorization=lambda: f"Bearer {token.read_text(encoding='utf-8').strip()}",
            where="the cluster's API server",
            renew="does the pod's service account still exist?",
        )
        return cls(rest, namespace or current_namespace() or "default")

    @classmethod
    def of_own_pod(cls, namespace: str, rights: str) -> Self:
        """From inside a pod; AccessError with the rights it needs where it has no token."""
        kube = cls.of_pod(namespace)
        if kube is None:
            raise AccessError(f"no token is mounted in this pod; its account needs {rights}")
        return kube

    def _path(self, kind: str, name: str = "") -> str:
        resource = kind.replace("-", "")
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/{resource}"
        return path + (f"/{name}" if name else "")

    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        own = {"workflows": "Workflow", "workflow-templates": "WorkflowTemplate"}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": own[kind], **value}

    def core(self, kind: str, name: str = "") -> str:
        """The path of one of the core kinds in this namespace."""
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def _watch(self, query: Mapping[str, str]) -> Iterator[Json]:
        for line in self.rest.lines(self._path("workflows"), {**query, "watch": "true"}):
            if line.strip():
                yield json.loads(line)

    def _shut_down(self, workflow: str, how: Shutdown) -> None:
        # What argo-server does: the controller obeys `spec.shutdown`.
        self.rest("PATCH", self._path("workflows", workflow), {"spec": {"shutdown": how}})

    def label(self, workflow: str, name: str, value: str) -> None:
        """Set one label of a workflow."""
        change = {"metadata": {"labels": {name: value}}}
        self.rest("PATCH", self._path("workflows", workflow), change)

    def events(self, workflow: str) -> list[Json]:
        """See `Cluster`."""
        return self.rest.items(self.core("events"), POD_EVENTS)

    def retry(self, workflow: Json) -> None:
        """See `Cluster`."""
        again, pods = formulated(workflow)
        for pod in pods:
            with contextlib.suppress(InputError):  # it is gone
                self.rest("DELETE", self.core("pods", pod))
        self.rest("PUT", self._path("workflows", again["metadata"]["name"]), again)

    def labelled(self, selector: str) -> list[Json]:
        """See `Cluster`."""
        return self.rest.items(self._path("workflows"), {"labelSelector": selector}, accept=NAMED)

    def pods(self, workflow: str) -> list[Json]:
        """A workflow's pods, oldest first."""
        query = {"labelSelector": f"workflows.argoproj.io/workflow={workflow}"}
        return self.rest.items(self.core("pods"), query)

    def logs(
        self, workflow: str, *, pods: list[str] | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """See `Cluster`."""
        if follow:
            yield from self._followed(workflow, pods)
            return
        for name in (pod["metadata"]["name"] for pod in self.pods(workflow)):
            if pods is None or name in pods:
                yield from self._log(name)

    def version(self) -> str:
        """See `Cluster`."""
        return str(self.rest("GET", "/version").get("gitVersion", ""))

    def _log(self, pod: str, *, follow: bool = False) -> Iterator[LogLine]:
        query = {"container": "main"} | ({"follow": "true"} if follow else {})
        try:
            for text in self.rest.lines(self.core("pods", pod) + "/log", query):
                line = LogLine(pod, text)
                if not line.of_argo:
                    yield line
        except InputError as error:
            # Its container has not started, or the pod has been deleted in the meantime.
            if not ("not found" in error.message or "waiting to start" in error.message):
                raise

    def _followed(self, workflow: str, pods: list[str] | None) -> Iterator[LogLine]:
        """Lines of all pods as they are written, those of later pods too, until the end."""
        logs = Streams(partial(self._log, follow=True))
        while True:
            ended = bool((self.workflow(workflow).get("status") or {}).get("finishedAt"))
            for pod in self.pods(workflow):
                name = pod["metadata"]["name"]
                started = (pod.get("status") or {}).get("phase") != "Pending"
                if started and (pods is None or name in pods):
                    logs.begin(name)
            if ended and not logs.open:
                return
            yield from logs.items(NEW_PODS)


def _package() -> Any:
    try:
        import kubernetes.config
    except ImportError:
        raise MissingExtraError("Reading a kubeconfig", "argo") from None
    return kubernetes


def _api_client() -> Any:
    kubernetes = _package()
    path = _kubeconfig()
    try:
        return kubernetes.config.new_client_from_config(path)
    except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        if not _has_kubeconfig():
            hint = f"export KUBECONFIG, or {WITHOUT_SERVER}"
            said = "There is no kubeconfig, and no argo-server is named."
            raise AccessError(said, hint=hint) from None
        said = str(error).strip().removesuffix(".").splitlines()[-1]
        raise AccessError(
            f"{path}: no kubeconfig that leads to a cluster ({said}).",
            hint=f"`kubectl cluster-info` must work; or {WITHOUT_SERVER}",
        ) from None


def _kubeconfig() -> str:
    """As the environment says now: the package reads the variable once, when it is imported."""
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def _has_kubeconfig() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or Path(_kubeconfig()).exists()


def current_namespace() -> str | None:
    """That of the kubeconfig's current context, or the pod's own; None where neither says."""
    own = ACCOUNT / "namespace"
    if own.exists() and not _has_kubeconfig():
        return own.read_text(encoding="utf-8").strip() or None
    kubernetes = _package()
    try:
        _, current = kubernetes.config.list_kube_config_contexts(_kubeconfig())
    except (kubernetes.config.ConfigException, OSError, TypeError):
        return None
    found: str | None = current.get("context", {}).get("namespace")
    return found
