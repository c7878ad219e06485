"""Through argo-server, with the variables that Argo's own command line reads.

ARGO_SERVER                     HOST:PORT, or a URL
ARGO_SECURE                     false: plain HTTP
ARGO_INSECURE_SKIP_VERIFY       true: any certificate
ARGO_BASE_HREF                  the path it is served below
ARGO_TOKEN                      "Bearer …"; a token alone is taken for that
ARGO_NAMESPACE
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from quorate.argo.cluster.client import WATCHED, Cluster, LogLine
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.runs.reasons import warnings
from quorate.errors import ClusterError, InputError, MissingExtraError, QuorateError

if TYPE_CHECKING:
    import urllib3

SILENCE = 1.5
"""Seconds after which a stream of what is there already is taken to be at its end."""
RENEW = (
    'the token may have expired: export ARGO_TOKEN="Bearer $(kubectl create token NAME)", or '
    "`argo auth token`"
)


class ArgoServer(Cluster):
    """One namespace as argo-server shows it."""

    @classmethod
    def at(cls, server: str, *, namespace: str | None = None) -> Self:
        """The server at HOST:PORT or a URL, and what the environment says about it."""
        base = address(server, os.environ)
        token = os.environ.get("ARGO_TOKEN", "").strip()
        if token and " " not in token:
            token = f"Bearer {token}"
        rest = Rest(
            _pool(base, verify=not _true(os.environ.get("ARGO_INSECURE_SKIP_VERIFY"))),
            base,
            authorization=lambda: token or None,
            where=f"argo-server at {base}",
            renew=RENEW,
        )
        return cls(rest, namespace or _kubeconfigs_namespace() or "default")

    def _path(self, kind: str, name: str = "") -> str:
        return f"/api/v1/{kind}/{self.namespace}" + (f"/{name}" if name else "")

    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        key = "workflow" if kind == "workflows" else "template"
        return {"namespace": self.namespace, key: value}

    def _selected(self, **options: str) -> dict[str, str]:
        return {f"listOptions.{key}": value for key, value in options.items()}

    def _watch(self, name: str) -> Iterator[Json]:
        query = self._selected(fieldSelector=f"metadata.name={name}", timeoutSeconds=str(WATCHED))
        yield from self._results(f"/api/v1/workflow-events/{self.namespace}", query)

    def warnings(self, workflow: str) -> dict[str, str]:
        """See `Cluster`."""
        query = self._selected(fieldSelector="involvedObject.kind=Pod")
        path = f"/api/v1/stream/events/{self.namespace}"
        try:
            return warnings(self._results(path, query, silence=SILENCE), workflow)
        except ClusterError:
            # argo-server 4.1.2 cannot encode an event (500, "failed to marshal").
            return self._warnings_of_kubernetes(workflow)

    def _warnings_of_kubernetes(self, workflow: str) -> dict[str, str]:
        """The same, where a kubeconfig leads to the cluster that has just this workflow."""
        from quorate.argo.cluster.client_kube import Kube

        try:
            kube = Kube.of_kubeconfig(namespace=self.namespace)
            there, here = kube.workflow(workflow), self.workflow(workflow)
            same = there["metadata"]["uid"] == here["metadata"]["uid"]
            return kube.warnings(workflow) if same else {}
        except QuorateError:
            return {}  # what Argo's own messages say remains, as long as the pod waits

    def stop(self, name: str, *, now: bool = False) -> None:
        """See `Cluster`."""
        self.unfinished(name)
        path = self._path("workflows", name) + ("/terminate" if now else "/stop")
        self.rest("PUT", path, {"namespace": self.namespace, "name": name})

    def retry(self, name: str) -> None:
        """See `Cluster`."""
        body = {"namespace": self.namespace, "name": name}
        self.rest("PUT", self._path("workflows", name) + "/retry", body)

    def logs(
        self, workflow: str, *, pods: list[str] | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """See `Cluster`."""
        query = {"logOptions.container": "main"}
        if follow:
            query["logOptions.follow"] = "true"
        if pods and len(pods) == 1:
            query["podName"] = pods[0]
        for line in self._results(self._path("workflows", workflow) + "/log", query):
            found = LogLine(str(line.get("podName", "")), str(line.get("content", "")))
            if (pods is None or found.pod in pods) and not found.of_argo:
                yield found

    def version(self) -> str:
        """See `Cluster`."""
        return str(self.rest("GET", "/api/v1/version").get("version", ""))

    def _results(
        self, path: str, query: Mapping[str, str], *, silence: float | None = None
    ) -> Iterator[Json]:
        """The values of a stream: JSON in lines, or in the `data:` of server-sent events."""
        sse = "text/event-stream"
        for line in self.rest.lines(path, query, accept=sse, silence=silence):
            text = line.removeprefix("data:").strip()
            if not text.startswith("{"):
                continue
            value = json.loads(text)
            if "result" in value:
                yield value["result"]
            elif value.get("error"):
                return  # a watch that came to its end: whoever reads it begins anew


def address(server: str, environment: Mapping[str, str]) -> str:
    """The URL of argo-server; what a URL says itself counts before the environment."""
    server = server.strip().rstrip("/")
    if "://" in server:
        scheme, _, rest = server.partition("://")
        if scheme not in ("http", "https"):
            raise InputError(
                f"'{server}' is no address of an argo-server.", hint="HOST:PORT, or https://…"
            )
    else:
        scheme, rest = "https" if _true(environment.get("ARGO_SECURE"), True) else "http", server
    path = environment.get("ARGO_BASE_HREF", "").strip("/")
    return f"{scheme}://{rest}" + (f"/{path}" if path and "/" not in rest else "")


def _true(value: str | None, default: bool = False) -> bool:
    return default if not value else value.strip().lower() in ("1", "t", "true", "yes")


def _pool(base: str, *, verify: bool) -> urllib3.PoolManager:
    """A pool that minds certificates and the proxies of the environment."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    parts = urlsplit(base)
    requirement = "CERT_REQUIRED" if verify else "CERT_NONE"
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, cert_reqs=requirement)
    return urllib3.PoolManager(cert_reqs=requirement, maxsize=8)


def _kubeconfigs_namespace() -> str | None:
    """That of the current context, where there is a kubeconfig and what reads it."""
    from quorate.argo.cluster.client_kube import current_namespace

    try:
        return current_namespace()
    except MissingExtraError:
        return None
