"""What is asked of a cluster, whichever way leads there.

    client_server.py   through argo-server: an address and a token
    client_kube.py     with nothing but a kubeconfig

Workflows and templates are plain JSON as the servers give it, so that fields newer than any
library's models pass through unchanged.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from quorate.argo.cluster.rest import Json, Rest
from quorate.errors import AccessError, ClusterError, InputError

WATCHED = 15
"""Seconds a watch lasts until it is begun anew, and at most until a pending pod is looked at."""
PATIENCE = 5
"""How often in a row a watch may fail before it is given up."""

OF_WORKFLOW = "workflows.argoproj.io/workflow"
"""The label of a workflow's pods that names it."""
WITHOUT_SERVER = "--server HOST:PORT, or export ARGO_SERVER"


class LogLine(NamedTuple):
    """One line that a pod's container wrote."""

    pod: str
    text: str

    @property
    def of_argo(self) -> bool:
        """Whether Argo's executor wrote it, not the step."""
        return self.text.startswith("time=") and " argo=true" in self.text


class Cluster(ABC):
    """One namespace of a cluster with Argo Workflows.

    Every method raises AccessError where the cluster refuses, InputError where there is no such
    thing, ClusterError where it does not answer.
    """

    def __init__(self, rest: Rest, namespace: str) -> None:
        self.rest = rest
        self.namespace = namespace
        self.options = ""
        """What a further command must be told to come here: " -n vision", or nothing."""

    @property
    def where(self) -> str:
        """The way and the namespace, for a person."""
        return f"{self.rest.where}, namespace {self.namespace}"

    # What differs between the two ways.

    @abstractmethod
    def _path(self, kind: str, name: str = "") -> str:
        """The path of a kind ("workflows", "workflow-templates"), or of one of them."""

    @abstractmethod
    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        """The body that creates or replaces an object."""

    @abstractmethod
    def _selected(self, **options: str) -> dict[str, str]:
        """Kubernetes' list options as a query."""

    @abstractmethod
    def _watch(self, name: str) -> Iterator[Json]:
        """Events of one workflow, beginning with what it is now; ends after `WATCHED` seconds."""

    @abstractmethod
    def warnings(self, workflow: str) -> dict[str, str]:
        """What Kubernetes last complained of, for each pod of a workflow that it did."""

    @abstractmethod
    def stop(self, name: str, *, now: bool = False) -> None:
        """Stop a workflow; its exit handler still runs, unless `now`."""

    @abstractmethod
    def retry(self, name: str) -> None:
        """Run again what failed; what succeeded stays."""

    @abstractmethod
    def logs(
        self, workflow: str, *, pods: list[str] | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """What the main containers wrote: of all pods of a workflow, or of `pods`."""

    @abstractmethod
    def version(self) -> str:
        """The server's version: argo-server's, or Kubernetes'."""

    # What does not.

    def apply(self, template: Mapping[str, object]) -> str:
        """Create a WorkflowTemplate or make it as given: "created", "updated" or "unchanged".

        Labels and annotations that others have put on it stay.
        """
        kind = "workflow-templates"
        given = json.loads(json.dumps(template))
        given["metadata"]["namespace"] = self.namespace
        path = self._path(kind, given["metadata"]["name"])
        try:
            there = self.rest("GET", path)
        except InputError:
            self.rest("POST", self._path(kind), self._wrapped(kind, given))
            return "created"
        for key in ("labels", "annotations"):
            own = given["metadata"].get(key) or {}
            given["metadata"][key] = (there["metadata"].get(key) or {}) | own
        given["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
        answer = self.rest("PUT", path, self._wrapped(kind, given))
        # Only the server knows which spellings of a spec are the same; labels are no part of it.
        same = answer["metadata"].get("generation") == there["metadata"].get("generation")
        return "unchanged" if same else "updated"

    def template(self, name: str) -> Json:
        """One WorkflowTemplate."""
        return self.rest("GET", self._path("workflow-templates", name))

    def templates(self) -> list[Json]:
        """Every WorkflowTemplate of the namespace."""
        return self.rest("GET", self._path("workflow-templates")).get("items") or []

    def create(self, workflow: Mapping[str, object]) -> Json:
        """Submit a workflow; as the cluster took it, with its name."""
        given = json.loads(json.dumps(workflow))
        given["metadata"]["namespace"] = self.namespace
        return self.rest("POST", self._path("workflows"), self._wrapped("workflows", given))

    def workflow(self, name: str) -> Json:
        """One workflow, whole."""
        return unpacked(self.rest("GET", self._path("workflows", name)))

    def workflows(self, selector: str = "") -> list[Json]:
        """The workflows of the namespace, newest first, of those that bear the labels given."""
        query = self._selected(labelSelector=selector) if selector else {}
        answer = self.rest("GET", self._path("workflows"), query=query)
        found: list[Json] = answer.get("items") or []
        return sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"]))[::-1]

    def unfinished(self, name: str) -> Json:
        """A workflow that has not ended; InputError where it has."""
        workflow = self.rest("GET", self._path("workflows", name))
        if (workflow.get("status") or {}).get("finishedAt"):
            raise InputError(f"The workflow {name} has ended already.")
        return workflow

    def delete(self, name: str) -> None:
        """Remove a workflow, and the intermediates that its artifactGC names."""
        self.rest("DELETE", self._path("workflows", name))

    def delete_template(self, name: str) -> None:
        """Remove a WorkflowTemplate."""
        self.rest("DELETE", self._path("workflow-templates", name))

    def changes(self, name: str) -> Iterator[Json]:
        """The workflow now, then whenever it changes and every `WATCHED` seconds, without end.

        A connection that breaks is made again. Raises InputError when the workflow is deleted.
        """
        failures = 0
        yield self.workflow(name)
        while True:
            seen = False
            try:
                for event in self._watch(name):
                    if event.get("type") == "DELETED":
                        raise InputError(f"The workflow {name} was deleted.")
                    if event.get("type") in ("ADDED", "MODIFIED"):
                        seen, failures = True, 0
                        yield unpacked(event["object"])
                if not seen:
                    yield self.workflow(name)
            except ClusterError:
                failures += 1
                if failures >= PATIENCE:
                    raise
                time.sleep(2**failures)


def unpacked(workflow: Json) -> Json:
    """The workflow with its nodes: Argo compresses those of a large one."""
    status = workflow.get("status") or {}
    packed = status.get("compressedNodes")
    if packed and not status.get("nodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
        return workflow | {"status": status | {"nodes": nodes, "compressedNodes": ""}}
    return workflow


def connect(*, server: str | None = None, namespace: str | None = None) -> Cluster:
    """The way to the cluster: argo-server where one is named, else the kubeconfig.

    Args:
        server: argo-server as HOST:PORT or URL; default ARGO_SERVER.
        namespace: default ARGO_NAMESPACE, else that of the kubeconfig's context.

    Raises:
        AccessError: where neither leads anywhere.
        MissingExtraError: where a kubeconfig is to be used without the package `kubernetes`.
    """
    options = ""
    for option, given, variable in (
        ("-n", namespace, "ARGO_NAMESPACE"),
        ("--server", server, "ARGO_SERVER"),
    ):
        if given and given != os.environ.get(variable):
            options += f" {option} {given}"
    cluster = _way(
        server or os.environ.get("ARGO_SERVER"), namespace or os.environ.get("ARGO_NAMESPACE")
    )
    cluster.options = options
    return cluster


def _way(server: str | None, namespace: str | None) -> Cluster:
    if server:
        from quorate.argo.cluster.client_server import ArgoServer

        return ArgoServer.at(server, namespace=namespace)
    from quorate.argo.cluster.client_kube import Kube

    try:
        return Kube.of_kubeconfig(namespace=namespace)
    except AccessError as error:
        if error.hint:
            raise
        raise AccessError(error.message, hint=f"export KUBECONFIG, or {WITHOUT_SERVER}") from None
