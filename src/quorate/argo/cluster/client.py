"""What can be asked of a cluster, whichever way leads there.

Workflows and templates are plain JSON as the servers give it, so that fields newer than any
library's models pass through unchanged.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, NamedTuple

from quorate.argo.cluster.changes import digest, generation_after
from quorate.argo.cluster.rest import Json, Rest
from quorate.argo.names import APPLIED
from quorate.errors import ClusterError, InputError

WATCHED = 15
"""Seconds that a watch lasts before it is opened again; a pending pod is looked at as often."""
PATIENCE = 5
"""How many times in a row a watch may fail before it is given up."""

POD_EVENTS = {"fieldSelector": "involvedObject.kind=Pod"}
WITHOUT_SERVER = "--server HOST:PORT, or export ARGO_SERVER"

Shutdown = Literal["Stop", "Terminate"]
"""Argo's words: Stop runs the exit handler, Terminate does not."""


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

    Every method raises AccessError where the cluster refuses, InputError where the object does
    not exist, ClusterError where the cluster does not answer.
    """

    def __init__(self, rest: Rest, namespace: str) -> None:
        self.rest = rest
        self.namespace = namespace
        self.options = ""
        """The options that lead a further command here: " -n vision", or nothing."""

    @property
    def where(self) -> str:
        """The server and the namespace, for a person."""
        return f"{self.rest.where}, namespace {self.namespace}"

    # What differs between the two ways.

    @abstractmethod
    def _path(self, kind: str, name: str = "") -> str:
        """The path of a kind ("workflows", "workflow-templates"), or of one object of it."""

    @abstractmethod
    def _wrapped(self, kind: str, value: Mapping[str, object]) -> Json:
        """The body that creates or replaces an object."""

    of_list: ClassVar[str] = ""
    """What Kubernetes' list options begin with in a query."""

    @abstractmethod
    def _watch(self, query: Mapping[str, str]) -> Iterator[Json]:
        """The events of the workflows that a query selects, beginning with their present state."""

    @abstractmethod
    def _shut_down(self, workflow: str, how: Shutdown) -> None:
        """Tell the controller to end a workflow."""

    @abstractmethod
    def events(self, workflow: str) -> list[Json]:
        """What Kubernetes says of the pods of the namespace in which a workflow runs."""

    @abstractmethod
    def retry(self, workflow: Json) -> None:
        """Run again what failed in a workflow; what succeeded stays.

        Raises InputError where the way that leads here cannot.
        """

    @abstractmethod
    def labelled(self, selector: str) -> list[Json]:
        """The workflows with labels, oldest first, of each only its metadata: it weighs little."""

    @abstractmethod
    def logs(
        self, workflow: str, *, pods: list[str] | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """What the main containers wrote: of all pods of a workflow, or of `pods`."""

    @abstractmethod
    def version(self) -> str:
        """The version of argo-server, or of Kubernetes."""

    # What does not.

    def apply(self, template: Mapping[str, object], *, overwrite: bool = False) -> str:
        """Create or update a WorkflowTemplate: "created", "updated" or "unchanged".

        Labels and annotations that others have put on it stay. InputError where somebody else has
        changed its spec since, unless that may be overwritten.
        """
        kind, given = "workflow-templates", self._placed(template)
        own = given["metadata"]
        path = self._path(kind, own["name"])
        try:
            whole = self.rest("GET", path)
        except InputError:
            if digest(given):
                own["annotations"] = (own.get("annotations") or {}) | {APPLIED: "1"}
            self.rest("POST", self._path(kind), self._wrapped(kind, given))
            return "created"
        there = whole["metadata"]
        after = generation_after(given, whole, overwrite=overwrite)
        for key in ("labels", "annotations"):
            own[key] = (there.get(key) or {}) | (own.get(key) or {})
        own["annotations"].pop(APPLIED, None)
        if after is not None:
            own["annotations"][APPLIED] = after
        own["resourceVersion"] = there["resourceVersion"]
        answer = self.rest("PUT", path, self._wrapped(kind, given))
        # Only the server knows which spellings of a spec mean the same. Labels do not count.
        same = answer["metadata"].get("generation") == there.get("generation")
        return "unchanged" if same else "updated"

    def template(self, name: str) -> Json:
        """One WorkflowTemplate."""
        return self.rest("GET", self._path("workflow-templates", name))

    def templates(self) -> list[Json]:
        """Every WorkflowTemplate of the namespace."""
        return self.rest.items(self._path("workflow-templates"))

    def create(self, workflow: Mapping[str, object]) -> Json:
        """Submit a workflow; the answer has its name."""
        return self.add("workflows", workflow)

    def add(self, kind: str, value: Mapping[str, object]) -> Json:
        """Create an object in this namespace; the answer has its name."""
        return self.rest("POST", self._path(kind), self._wrapped(kind, self._placed(value)))

    def workflow(self, name: str) -> Json:
        """One workflow, with all its nodes."""
        return unpacked(self.rest("GET", self._path("workflows", name)))

    def workflows(self, selector: str = "") -> list[Json]:
        """The workflows of the namespace, newest first; with a selector, those with its labels."""
        query = self._selected({"labelSelector": selector}) if selector else {}
        return self.rest.items(self._path("workflows"), query)[::-1]

    def stop(self, name: str, *, now: bool = False) -> None:
        """Stop a workflow that has not ended; its exit handler still runs, unless `now`."""
        workflow = self.rest("GET", self._path("workflows", name))
        if (workflow.get("status") or {}).get("finishedAt"):
            raise InputError(f"The workflow {name} has ended already.")
        self._shut_down(name, "Terminate" if now else "Stop")

    def delete(self, name: str, kind: str = "workflows") -> None:
        """Remove a workflow, and the intermediate files that its artifactGC names; or another."""
        self.rest("DELETE", self._path(kind, name))

    def changes(self, name: str) -> Iterator[Json]:
        """The workflow now, then whenever it changes and every `WATCHED` seconds, without end.

        A connection that breaks is made again. Raises InputError when the workflow is deleted.
        """
        selected = {"fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(WATCHED)}
        failures = 0
        yield self.workflow(name)
        while True:
            seen = False
            try:
                for event in self._watch(self._selected(selected)):
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

    def _selected(self, options: Mapping[str, str]) -> dict[str, str]:
        """Kubernetes' list options as a query."""
        return {f"{self.of_list}{key}": value for key, value in options.items()}

    def _placed(self, value: Mapping[str, object]) -> Json:
        """A copy of an object, in this namespace."""
        given: Json = json.loads(json.dumps(value))
        given["metadata"]["namespace"] = self.namespace
        return given


def unpacked(workflow: Json) -> Json:
    """The workflow with its nodes: Argo compresses those of a large one."""
    status = workflow.get("status") or {}
    packed = status.get("compressedNodes")
    if packed and not status.get("nodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
        return workflow | {"status": status | {"nodes": nodes, "compressedNodes": ""}}
    return workflow
