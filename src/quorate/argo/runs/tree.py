"""A workflow's nodes as the tree that a person sees: pure functions of what Argo's status says.

Argo keeps a flat list. A node's `boundaryID` is the DAG that it belongs to. The parts of a loop
have the loop's name with `(0:…)` appended, the attempts of a retry its name with `(0)`, a group
of steps the number of its place. Here a DAG has its tasks below it, steps are its tasks without
their groups, and a loop has its parts; the attempts of a retry are one branch. The task that waits
for a child workflow has the child's shards below it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from quorate.argo.names import CHILD, CHILDREN, SHARD, pod_name
from quorate.argo.runs.reasons import plain, why, with_place

Json = Mapping[str, Any]

ENDED = ("Succeeded", "Failed", "Error", "Skipped", "Omitted")
FAILED = ("Failed", "Error")
EXIT = "exit handler"
MOST = 8
"""The most parts of a loop that are shown; further ones are counted."""

_TASKS = ("Retry", "Pod")
_OWNERS = ("TaskGroup", "Retry")
_PART = re.compile(r"(.+)\(\d+:(.{1,40})\)")


class Node(msgspec.Struct, frozen=True):
    """What is read of one node of a workflow's status."""

    id: str
    name: str
    type: str
    phase: str = "Pending"
    message: str = ""
    progress: str = ""
    display_name: str = msgspec.field(default="", name="displayName")
    boundary: str = msgspec.field(default="", name="boundaryID")
    template: str = msgspec.field(default="", name="templateName")
    template_ref: dict[str, Any] = msgspec.field(default_factory=dict, name="templateRef")
    started: datetime | None = msgspec.field(default=None, name="startedAt")
    finished: datetime | None = msgspec.field(default=None, name="finishedAt")

    @property
    def label(self) -> str:
        """The task's name; for a loop's part "shard 00003" instead of Argo's "shard(3:00003)"."""
        name = self.display_name or self.name
        if name.endswith(".onExit"):
            return EXIT
        found = _PART.fullmatch(name)
        return f"{found[1]} {found[2]}" if found else name

    @property
    def owner(self) -> str:
        """The loop or retry that a name with `(…)` belongs to, else ""."""
        return self.name[: self.name.rindex("(")] if self.name.endswith(")") else ""

    def pod(self, workflow: Json) -> str:
        """The name of its pod, as the controller makes it."""
        template = self.template or self.template_ref.get("template")
        return pod_name(workflow, self.name, self.id, template)


def nodes(workflow: Json) -> list[Node]:
    """All nodes of a workflow."""
    status = workflow.get("status") or {}
    kept = (status.get("artifactRepositoryRef") or {}).get("artifactRepository") or {}
    bucket = str((kept.get("s3") or {}).get("bucket") or "…")
    found = [
        one | {"message": with_place(one["message"], one, bucket)} if one.get("message") else one
        for one in (status.get("nodes") or {}).values()
    ]
    return msgspec.convert(found, list[Node])


@dataclass(frozen=True)
class Branch:
    """One thing to show: a task, a loop, the whole workflow.

    label      the task's name
    phase      Argo's: Pending, Running, Succeeded, Failed, Error, Skipped, Omitted
    progress   "done/total": what a step reports, or how many parts of a loop have ended; else ""
    attempts   how many pods tried
    pods       the names of the pods that tried; empty for a DAG or a loop
    key        the node's id
    """

    label: str
    phase: str
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    progress: str = ""
    attempts: int = 1
    pods: tuple[str, ...] = ()
    key: str = ""
    loop: bool = False
    below: tuple[Branch, ...] = ()

    def walk(self) -> Iterator[Branch]:
        """This branch and all below it."""
        return (branch for _, branch in self.paths())

    def paths(self) -> Iterator[tuple[str, Branch]]:
        """The same, each with its name below the workflow: "shard 00001/detect-a"."""
        yield "", self
        for one in self.below:
            for path, branch in one.paths():
                names = [name for name in ("" if one.loop else one.label, path) if name]
                yield "/".join(names), branch

    def failures(self) -> list[Branch]:
        """The tasks that failed, without the exit handler."""
        failed = [one for one in self.walk() if one.phase in FAILED and not one.below]
        return [one for one in failed if one.label != EXIT]

    def seconds(self, now: datetime) -> float | None:
        """How long it took, or has taken until `now`; None before it began."""
        if self.started is None or self.phase in ("Skipped", "Omitted"):
            return None
        return max(0.0, ((self.finished or now) - self.started).total_seconds())


def children(workflow: Json) -> dict[str, str]:
    """The child workflows of a run by name: each with the phase of the task that waits for it."""
    tasks = [one for one in nodes(workflow) if one.template == CHILD and one.type in _TASKS]
    retried = {one.name for one in tasks if one.type == "Retry"}
    return {_child(workflow, one.label): one.phase for one in tasks if one.owner not in retried}


def _child(workflow: Json, label: str) -> str:
    return f"{workflow['metadata']['name']}-{label.removeprefix(f'{CHILD} ')}"


def tree(
    workflow: Json,
    warnings: Mapping[str, str] | None = None,
    families: Mapping[str, Json] | None = None,
) -> Branch:
    """The whole workflow as one branch.

    `warnings` are those of `reasons.warnings`, by pod; `families` are children, by name, that are
    to be seen as parts of it.
    """
    status = workflow.get("status") or {}
    name = str(workflow["metadata"]["name"])
    inside: dict[str, list[Node]] = {}
    for node in nodes(workflow):
        inside.setdefault(node.boundary, []).append(node)
    templates = (status.get("storedWorkflowTemplateSpec") or {}).get("templates") or ()
    limits = {one["name"]: int(one.get("activeDeadlineSeconds") or 0) for one in templates}
    maker = _Maker(workflow, inside, warnings or {}, limits, families or {})
    below: list[Branch] = []
    # The root and the exit handler belong to no DAG.
    for node, branch in maker.branches(""):
        below += branch.below or (branch,) if node.id == name else (branch,)
    return Branch(
        label=name,
        phase=str(status.get("phase") or "Pending"),
        message=str(status.get("message") or ""),
        started=_time(status.get("startedAt")),
        finished=_time(status.get("finishedAt")),
        key=name,
        below=tuple(below),
    )


@dataclass(frozen=True)
class _Maker:
    workflow: Json
    inside: Mapping[str, list[Node]]
    """Nodes by the id of the DAG that they belong to."""
    warnings: Mapping[str, str]
    limits: Mapping[str, int]
    """The seconds that a template's pod may take."""
    families: Mapping[str, Json]

    def branches(self, boundary: str) -> list[tuple[Node, Branch]]:
        """What belongs to one DAG, loops and retries with their parts below or within them."""
        # What was skipped by its `when` is no part of the run.
        members = [
            node
            for node in self.inside.get(boundary, ())
            if node.phase != "Skipped" and node.type != "StepGroup"
        ]
        last = datetime.max.replace(tzinfo=UTC)
        members.sort(key=lambda node: (node.started or last, node.name))
        owners = {node.name for node in members if node.type in _OWNERS}
        parts: dict[str, list[Node]] = {owner: [] for owner in owners}
        for node in members:
            if node.owner in owners:
                parts[node.owner].append(node)
        return [(one, self.branch(one, parts)) for one in members if one.owner not in owners]

    def branch(self, node: Node, parts: Mapping[str, list[Node]]) -> Branch:
        """One node with what is below it, the shards of a child too."""
        found = self._branch(node, parts)
        child = self.families.get(_child(self.workflow, node.label))
        if child is None or node.template != CHILD or node.type not in _TASKS:
            return found
        whole = tree(child, self.warnings)
        shards = tuple(one for one in whole.below if one.label != EXIT)
        # Shards that have not begun have no node yet.
        given = (child["spec"].get("arguments") or {}).get("parameters") or ()
        count = next((one["value"] for one in given if one["name"] == "count"), len(shards))
        progress = f"{sum(one.phase in ENDED for one in shards)}/{count}"
        loop = replace(
            whole,
            label=SHARD,
            key=f"{whole.key}/{SHARD}",
            progress=progress,
            below=shards,
            loop=True,
        )
        return replace(
            found,
            message=": ".join(failure(whole)) if whole.phase in FAILED else whole.message,
            progress=progress,
            below=(loop,) if shards else (),
        )

    def _branch(self, node: Node, parts: Mapping[str, list[Node]]) -> Branch:
        own, loop = parts.get(node.name, []), node.type == "TaskGroup"
        if node.type == "Retry" and own:
            last = self._branch(own[-1], parts)
            return replace(
                last,
                label=node.label,
                phase=last.phase if last.phase == "Pending" else node.phase,
                message=last.message or plain(node.message),
                started=node.started,
                finished=node.finished,
                attempts=len(own),
                pods=tuple(one.pod(self.workflow) for one in own if one.type == "Pod"),
                key=node.id,
            )
        below: list[Branch] = []
        pods: tuple[str, ...] = ()
        progress = warning = ""
        if loop:
            below = [self.branch(one, parts) for one in own]
            progress = f"{sum(one.phase in ENDED for one in below)}/{len(below)}"
        elif node.type == "Pod":
            pods = (node.pod(self.workflow),)
            warning = self.warnings.get(pods[0], "")
            # Argo says 0/1 or 1/1 of a step that reports no progress.
            progress = "" if node.progress.endswith(("/1", "/0")) else node.progress
        else:
            below = [branch for _, branch in self.branches(node.id)]
            if len(below) == 1 and below[0].loop:  # a DAG that is nothing but a loop
                return below[0]
            if below and node.label == EXIT:
                return replace(below[0], label=EXIT)
        waits = node.phase in ("Pending", *FAILED)
        return Branch(
            label=node.label,
            phase=node.phase,
            message=why(node.message, warning if waits else "", self.limits.get(node.template)),
            started=node.started,
            finished=node.finished,
            progress=progress,
            pods=pods,
            key=node.id,
            # Its tasks are named as if they stood beside prepare.
            loop=loop or node.template == CHILDREN,
            below=tuple(below),
        )


def shown(branch: Branch, most: int = MOST) -> tuple[tuple[Branch, ...], str]:
    """The parts of a branch to show, and a summary of the others.

    Of a long loop the parts that failed come first, then those at work, in the loop's order.
    """
    if not branch.loop or len(branch.below) <= most:
        return branch.below, ""
    rank = {"Failed": 0, "Error": 0, "Running": 1, "Pending": 2}
    first = sorted(branch.below, key=lambda one: rank.get(one.phase, 3))
    kept = {one.key for one in first[:most] if one.phase not in ("Succeeded", "Omitted")}
    rest = Counter(one.phase.lower() for one in branch.below if one.key not in kept)
    counted = ", ".join(f"{count:,} {phase}" for phase, count in rest.items())
    return tuple(one for one in branch.below if one.key in kept), counted


def failure(branch: Branch) -> tuple[str, str]:
    """The task that ended the workflow and its message; the workflow's own where no task failed.

    The last failure decides: while the quorum holds, the run goes on without a failed detector.
    """
    failed = branch.failures()
    told = [one for one in failed if one.message] or failed
    if not told:
        return branch.label, branch.message
    last = max(told, key=lambda one: one.finished or datetime.min.replace(tzinfo=UTC))
    return last.label, last.message or branch.message


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
