"""Through argo-server, with the variables that Argo's own command line reads.

ARGO_SERVER                     HOST:PORT, or a URL
ARGO_SECURE                     false: plain HTTP
ARGO_INSECURE_SKIP_VERIFY       true: any certificate
ARGO_BASE_HREF                  the path that the server is below
ARGO_TOKEN                      "Bearer …", or the token alone
ARGO_NAMESPACE
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from quorate.argo.cluster.client import POD_EVENTS, Cluster, LogLine, Shutdown
from quorate.argo.cluster.client_kube import Kube, current_namespace
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.cluster.retry import selector
from quorate.errors import AccessError, ClusterError, InputError, MissingExtraError, QuorateError

if TYPE_CHECKING:
    import urllib3

SILENCE = 1.5
"""Seconds without a new value after which a stream of past events is taken to have ended."""
RENEW = (
    'the token may have expired: export ARGO_TOKEN="Bearer $(kubectl create token NAME)", or '
    "`argo auth token`"
)


class ArgoServer(Cluster):
    """One namespace as argo-server shows it."""

    of_list = "listOptions."

    @classmethod
    def at(cls, server: str, *, namespace: str | None = None) -> Self:
        """The server at HOST:PORT or a URL, with what the environment says about it."""
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
        try:
            return cls(rest, namespace or current_namespace() or "default")
        except MissingExtraError:  # nothing here can read a kubeconfig
            return cls(rest, "default")

    def _path(self, kind: str, name: str = "") -> str:
        return f"/api/v1/{kind}/{self.namespace}" + (f"/{name}" if name else "")

    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        key = "workflow" if kind == "workflows" else "template"
        return {"namespace": self.namespace, key: value}

    def _watch(self, query: Mapping[str, str]) -> Iterator[Json]:
        yield from self._results(f"/api/v1/workflow-events/{self.namespace}", query)

    def events(self, workflow: str) -> list[Json]:
        """See `Cluster`."""
        query, path = self._selected(POD_EVENTS), f"/api/v1/stream/events/{self.namespace}"
        try:
            return list(self._results(path, query, silence=SILENCE))
        except (AccessError, ClusterError):
            # It asks for `watch`, which `list` does not give, and argo-server 4.1.2 cannot encode
            # an event (500, "failed to marshal"). A kubeconfig may lead to the cluster that has the
            # very same workflow.
            try:
                kube = Kube.of_kubeconfig(namespace=self.namespace)
                there, here = kube.workflow(workflow), self.workflow(workflow)
                same = there["metadata"]["uid"] == here["metadata"]["uid"]
                return kube.events(workflow) if same else []
            except QuorateError:
                return []  # Argo's own messages remain, as long as the pod waits

    def _shut_down(self, workflow: str, how: Shutdown) -> None:
        self._told(workflow, how.lower())

    def retry(self, workflow: Json) -> None:
        """See `Cluster`."""
        wanted = selector(workflow)
        more = {"restartSuccessful": True, "nodeFieldSelector": wanted} if wanted else {}
        self._told(str(workflow["metadata"]["name"]), "retry", more)

    def _told(self, workflow: str, verb: str, more: Mapping[str, object] | None = None) -> None:
        body = {"namespace": self.namespace, "name": workflow, **(more or {})}
        self.rest("PUT", f"{self._path('workflows', workflow)}/{verb}", body)

    def labelled(self, selector: str) -> list[Json]:
        """See `Cluster`."""
        query = self._selected({"labelSelector": selector}) | {"fields": "items.metadata"}
        return self.rest.items(self._path("workflows"), query)

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
        for line in self.rest.lines(path, query, accept="text/event-stream", silence=silence):
            text = line.removeprefix("data:").strip()
            if not text.startswith("{"):
                continue
            value = json.loads(text)
            if "result" in value:
                yield value["result"]
            elif value.get("error"):
                return  # the watch has ended: its reader opens it again


def address(server: str, environment: Mapping[str, str]) -> str:
    """The URL of argo-server; what the URL itself says counts before the environment."""
    server = server.strip().rstrip("/")
    scheme, given, rest = server.partition("://")
    if not given:
        scheme = "https" if _true(environment.get("ARGO_SECURE") or "true") else "http"
        rest = server
    if scheme not in ("http", "https"):
        raise InputError(
            f"'{server}' is no address of an argo-server.", hint="HOST:PORT, or https://…"
        )
    path = environment.get("ARGO_BASE_HREF", "").strip("/")
    return f"{scheme}://{rest}" + (f"/{path}" if path and "/" not in rest else "")


def _true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "t", "true", "yes")


def _pool(base: str, *, verify: bool) -> urllib3.PoolManager:
    """A pool that respects the proxies of the environment, and certificates where asked."""
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
