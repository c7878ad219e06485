"""With nothing but a kubeconfig (or, inside a pod, its service account).

The package `kubernetes` reads the kubeconfig, renews tokens (exec plug-ins, OIDC) and knows the
certificates; requests are made here, so that both ways share one set of errors.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from quorate.argo.cluster.client import OF_WORKFLOW, WATCHED, WITHOUT_SERVER, Cluster, LogLine
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.runs.reasons import warnings
from quorate.errors import AccessError, ClusterError, InputError, MissingExtraError, QuorateError

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
RENEW = "log in again as your cluster's provider asks; `kubectl get workflows` must work"
NEW_PODS = 2.0
"""Seconds between two looks for new pods, of which logs are followed."""


class Kube(Cluster):
    """One namespace as the Kubernetes API shows it."""

    @classmethod
    def of_kubeconfig(cls, *, namespace: str | None = None) -> Self:
        """The cluster of KUBECONFIG or ~/.kube/config; in a pod, the pod's own."""
        client = _api_client()
        configuration = client.configuration

        def authorization() -> str | None:
            bearer = configuration.auth_settings().get("BearerToken")
            token: str | None = bearer["value"] if bearer else None
            return token

        rest = Rest(
            client.rest_client.pool_manager,
            configuration.host,
            authorization=authorization,
            where=f"the cluster at {configuration.host}",
            renew=RENEW,
        )
        return cls(rest, namespace or current_namespace() or "default")

    def _path(self, kind: str, name: str = "") -> str:
        resource = kind.replace("-", "")
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/{resource}"
        return path + (f"/{name}" if name else "")

    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        own = {"workflows": "Workflow", "workflow-templates": "WorkflowTemplate"}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": own[kind], **value}

    def _selected(self, **options: str) -> dict[str, str]:
        return options

    def core(self, kind: str, name: str = "") -> str:
        """The path of one of the core kinds in this namespace."""
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def _watch(self, name: str) -> Iterator[Json]:
        query = {"fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(WATCHED)}
        for line in self.rest.lines(self._path("workflows"), query | {"watch": "true"}):
            if line:
                yield json.loads(line)

    def warnings(self, workflow: str) -> dict[str, str]:
        """See `Cluster`."""
        query = {"fieldSelector": "involvedObject.kind=Pod"}
        found = self.rest("GET", self.core("events"), query=query).get("items") or []
        return warnings(found, workflow)

    def stop(self, name: str, *, now: bool = False) -> None:
        """See `Cluster`."""
        # What argo-server does: the controller obeys `spec.shutdown`.
        for _ in range(3):
            workflow = self.unfinished(name)
            workflow["spec"]["shutdown"] = "Terminate" if now else "Stop"
            try:
                self.rest("PUT", self._path("workflows", name), workflow)
                return
            except ClusterError as error:
                last = error  # the controller wrote at the same time
        raise last

    def retry(self, name: str) -> None:
        """See `Cluster`."""
        self.workflow(name)
        raise InputError(
            "A retry needs argo-server: which finished parts still hold is decided there.",
            hint=f"{WITHOUT_SERVER}; or `argo retry {name} -n {self.namespace}`",
        )

    def pods(self, workflow: str) -> list[Json]:
        """A workflow's pods, oldest first."""
        query = {"labelSelector": f"{OF_WORKFLOW}={workflow}"}
        found: list[Json] = self.rest("GET", self.core("pods"), query=query).get("items") or []
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def logs(
        self, workflow: str, *, pods: list[str] | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """See `Cluster`."""
        if follow:
            yield from self._followed(workflow, pods)
            return
        for pod in self.pods(workflow):
            name = pod["metadata"]["name"]
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
            # Its container has not started, or the pod went away meanwhile.
            if not ("not found" in error.message or "waiting to start" in error.message):
                raise

    def _followed(self, workflow: str, pods: list[str] | None) -> Iterator[LogLine]:
        """Lines of all pods as they are written, also of pods yet to come, until the end."""
        lines: queue.SimpleQueue[LogLine | QuorateError | None] = queue.SimpleQueue()
        seen: set[str] = set()
        open_logs = 0

        def read(pod: str) -> None:
            try:
                for line in self._log(pod, follow=True):
                    lines.put(line)
            except QuorateError as error:
                lines.put(error)
            lines.put(None)

        while True:
            ended = bool((self.workflow(workflow).get("status") or {}).get("finishedAt"))
            for pod in self.pods(workflow):
                name = pod["metadata"]["name"]
                started = (pod.get("status") or {}).get("phase") != "Pending"
                if name in seen or not started or (pods is not None and name not in pods):
                    continue
                seen.add(name)
                open_logs += 1
                threading.Thread(target=read, args=(name,), daemon=True).start()
            if ended and not open_logs:
                return
            with contextlib.suppress(queue.Empty):
                while True:
                    found = lines.get(timeout=NEW_PODS)
                    if found is None:
                        open_logs -= 1
                        break
                    if isinstance(found, QuorateError):
                        raise found
                    yield found


def _package() -> Any:
    try:
        import kubernetes.config
    except ImportError:
        raise MissingExtraError("Reading a kubeconfig", "argo") from None
    return kubernetes


def _api_client() -> Any:
    kubernetes = _package()
    configuration = kubernetes.client.Configuration()
    try:
        if _in_pod():
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        else:
            kubernetes.config.load_kube_config(_kubeconfig(), client_configuration=configuration)
    except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        if not os.environ.get("KUBECONFIG") and not Path(_kubeconfig()).exists():
            raise AccessError("There is no kubeconfig, and no argo-server is named.") from None
        said = str(error).strip().removesuffix(".").splitlines()[-1]
        raise AccessError(
            f"{_kubeconfig()}: no kubeconfig that leads to a cluster ({said}).",
            hint=f"`kubectl cluster-info` must work; or {WITHOUT_SERVER}",
        ) from None
    return kubernetes.client.ApiClient(configuration=configuration)


def _in_pod() -> bool:
    """Whether to use the pod's own account: in a pod, where no kubeconfig is given."""
    named = os.environ.get("KUBECONFIG") or Path(_kubeconfig()).exists()
    return _IN_POD.exists() and not named


def _kubeconfig() -> str:
    """As it is now: the package reads the variable once, when it is imported."""
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def current_namespace() -> str | None:
    """That of the kubeconfig's current context, or the pod's own; None where neither says."""
    kubernetes = _package()
    if _in_pod():
        return _IN_POD.read_text(encoding="utf-8").strip() or None
    try:
        _, current = kubernetes.config.list_kube_config_contexts(_kubeconfig())
    except (kubernetes.config.ConfigException, OSError, TypeError):
        return None
    found: str | None = current.get("context", {}).get("namespace")
    return found
