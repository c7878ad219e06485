"""What Argo is told so that a workflow that failed, or was stopped, goes on where it was.

Argo's own retry begins with the pods that failed. A stop leaves more: tasks that waited for a pool
and have no pod, loops and DAGs that were given up while all their pods had succeeded, tasks that
were omitted. Argo's retry would leave these: a detector that only waited would have lost its votes,
and a DAG with an omitted task would never end.

    formulated   for the Kubernetes API: the whole workflow as it shall be
    selector     for argo-server, whose own retry takes one selector of further nodes
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from quorate.argo.cluster.rest import Json
from quorate.argo.names import SHARD, pod_name
from quorate.errors import InputError

ENDED_BADLY = ("Failed", "Error")
LOOPS = ("TaskGroup", "StepGroup")
GROUPS = ("DAG", "Steps", *LOOPS)
WHOLE = ("DAG", "Steps", "Retry")
_COMPLETED = "workflows.argoproj.io/completed"
_ARCHIVED = "workflows.argoproj.io/workflow-archiving-status"
LARGE = 1 << 20
"""Bytes of nodes from which they are compressed, as Argo does."""


def checked(workflow: Json) -> Json:
    """The workflow; InputError where it has not failed."""
    name, phase = workflow["metadata"]["name"], (workflow.get("status") or {}).get("phase")
    if phase == "Succeeded":
        raise InputError(f"The workflow {name} has succeeded: there is nothing to run again.")
    if phase not in ENDED_BADLY:
        raise InputError(
            f"The workflow {name} has not ended yet.",
            hint=f"`quorate watch {name}` waits for its end, `quorate stop {name}` ends it",
        )
    return workflow


def formulated(workflow: Json) -> tuple[Json, list[str]]:
    """The workflow as it goes on, and the names of the pods to delete.

    What succeeded stays, and so does a failure that the workflow outlived. Of a DAG, a loop or
    steps that failed, whatever in them did not succeed is forgotten and decided anew.
    """
    name = str(workflow["metadata"]["name"])
    status = workflow["status"]
    if status.get("offloadNodeStatusVersion") and not status.get("nodes"):
        raise InputError(
            f"The nodes of {name} are in Argo's database, which only argo-server reads.",
            hint="--server HOST:PORT, or export ARGO_SERVER",
        )
    nodes: dict[str, Json] = status.get("nodes") or {}
    tree = _Tree(nodes)
    forgotten = {key for key, one in nodes.items() if one["name"].startswith(f"{name}.onExit")}
    begun: set[str] = set()
    for root in [one for one in nodes.values() if one["name"] == name]:
        _again(tree, root, begun, forgotten)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    kept = {
        key: _node(one, forgotten, now if key in begun else None)
        for key, one in nodes.items()
        if key not in forgotten
    }
    gone = [
        pod_name(workflow, one["name"], key, _template(one))
        for key, one in sorted(nodes.items())
        if key in forgotten and one["type"] == "Pod"
    ]
    return _running(workflow, kept, now), gone


def selector(workflow: Json) -> str | None:
    """Argo's selector of nodes that its own retry must begin with too; None where that is enough.

    Raises InputError where no one selector says it.
    """
    nodes: dict[str, Json] = (workflow.get("status") or {}).get("nodes") or {}
    tree = _Tree(nodes)
    left = list(tree.left_by_argo())
    if not left:
        return None
    if all(any(_is_shard(one) for one in tree.around(node)) for node in left):
        # The whole of each failed shard; the loop around them has the same template.
        return f"templateName={SHARD},displayName!={SHARD},phase!=Succeeded"
    if len(left) == 1 and left[0].get("boundaryID"):
        return f"id={left[0]['id']}"
    name = workflow["metadata"]["name"]
    raise InputError(
        f"The workflow {name} was ended where argo-server's own retry cannot go on.",
        hint="submit it again; or retry it without --server and ARGO_SERVER, with a kubeconfig",
    )


class _Tree:
    """The nodes of a workflow by what they belong to."""

    def __init__(self, nodes: dict[str, Json]) -> None:
        self.nodes = nodes
        self.inside: dict[str, list[Json]] = {}
        retries = {one["name"] for one in nodes.values() if one["type"] == "Retry"}
        self._attempts: dict[str, list[Json]] = {}
        for one in nodes.values():
            head = one["name"].rpartition("(")[0]
            if one["name"].endswith(")") and head in retries:
                self._attempts.setdefault(head, []).append(one)
            elif one.get("boundaryID"):
                self.inside.setdefault(one["boundaryID"], []).append(one)

    def attempts(self, node: Json) -> list[Json]:
        """The tries of a node that is tried again, else nothing."""
        return self._attempts.get(node["name"], [])

    def below(self, node: Json) -> Iterator[Json]:
        """A node, its attempts, and all that belongs to them."""
        yield node
        for one in (*self.attempts(node), *self.inside.get(node["id"], ())):
            yield from self.below(one)

    def around(self, node: Json) -> Iterator[Json]:
        """A node, and the DAGs that it is in, from the inside out."""
        found: Json | None = node
        while found is not None:
            yield found
            found = self.nodes.get(found.get("boundaryID") or "")

    def outlived(self, node: Json) -> bool:
        """Whether a task came after one that failed, and succeeded."""
        own = {one["id"] for one in self.below(node)}
        return any(self.nodes[key]["phase"] == "Succeeded" for key in self.after(own) - own)

    def after(self, begin: Iterable[str]) -> set[str]:
        """The ids of some nodes, and of all that came after them."""
        seen = set(begin)
        left = list(seen)
        while left:
            more = set(self.nodes[left.pop()].get("children") or ()) & self.nodes.keys() - seen
            seen |= more
            left += more
        return seen

    def left_by_argo(self) -> Iterator[Json]:
        """What a retry of Argo's would leave as it is in DAGs that failed.

        It begins with pods that failed, and forgets what came after them. It leaves what failed
        while nothing in it did; and what was omitted as the successor of nothing, and is waited for
        without end in a DAG, which is executed from its last tasks on.
        """
        pods = [
            k for k, o in self.nodes.items() if o["type"] == "Pod" and o["phase"] in ENDED_BADLY
        ]
        forgotten = self.after(pods)
        for one in self.nodes.values():
            _, *outer = self.around(one)
            if any(dag["phase"] not in ENDED_BADLY for dag in outer):
                continue
            if one["phase"] == "Omitted" and one["id"] not in forgotten:
                yield one
            whole = one["type"] in WHOLE and ".onExit" not in one["name"]
            if whole and one["phase"] in ENDED_BADLY:
                _, *inside = self.below(one)
                failed = [part for part in inside if part["phase"] in ENDED_BADLY]
                if not any(part["type"] in ("Pod", *WHOLE) for part in failed):
                    yield one


def _is_shard(node: Json) -> bool:
    return node.get("templateName") == SHARD and node["type"] == "DAG"


def _again(tree: _Tree, node: Json, begun: set[str], forgotten: set[str]) -> None:
    """Begin a group again that did not succeed, and forget what in it did not; or forget a task."""
    if node["phase"] == "Succeeded":
        return
    if node["phase"] in ENDED_BADLY and node["type"] not in LOOPS and tree.outlived(node):
        return
    if node["type"] in GROUPS:
        begun.add(node["id"])
        for one in tree.inside.get(node["id"], ()):
            _again(tree, one, begun, forgotten)
    else:
        forgotten |= {one["id"] for one in tree.below(node)}


def _template(node: Json) -> str | None:
    return node.get("templateName") or (node.get("templateRef") or {}).get("template")


def _node(node: Json, forgotten: set[str], begun: str | None) -> Json:
    found = {**node}
    for links in ("children", "outboundNodes"):
        if links in node:
            found[links] = [key for key in node[links] or () if key not in forgotten]
    if begun:
        found |= {"phase": "Running", "startedAt": begun, "finishedAt": None}
        found.pop("message", None)
    return found


def _running(workflow: Json, nodes: dict[str, Json], now: str) -> Json:
    """The workflow as one that a controller takes up."""
    metadata, spec, status = ({**workflow[key]} for key in ("metadata", "spec", "status"))
    labels = {**(metadata.get("labels") or {})}
    for label in (_COMPLETED, _ARCHIVED):
        labels.pop(label, None)
    metadata["labels"] = labels
    spec.pop("shutdown", None)
    if spec.get("activeDeadlineSeconds") == 0:
        del spec["activeDeadlineSeconds"]
    stored = status.get("storedWorkflowTemplateSpec")
    if stored:
        status["storedWorkflowTemplateSpec"] = {k: v for k, v in stored.items() if k != "shutdown"}
    conditions = [c for c in status.get("conditions") or () if c["type"] != "Completed"]
    status["conditions"] = [*conditions, {"type": "Completed", "status": "False"}]
    for field in ("phase", "message", "persistentVolumeClaims", "compressedNodes"):
        status.pop(field, None)
    status |= {"startedAt": now, "finishedAt": None, "nodes": nodes}
    text = json.dumps(nodes, separators=(",", ":")).encode()
    if len(text) > LARGE:
        packed = base64.b64encode(gzip.compress(text, mtime=0)).decode()
        status |= {"compressedNodes": packed, "nodes": None}
    return {**workflow, "metadata": metadata, "spec": spec, "status": status}
