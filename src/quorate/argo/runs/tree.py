"""A workflow's nodes as the tree that a person sees: pure functions of what Argo's status says.

Argo keeps a flat list. A node's `boundaryID` is the DAG it stands in; the parts of a loop bear
the loop's name with `(0:…)` behind it, the attempts of a retry its name with `(0)`. Here a DAG
has its tasks below it, a loop its parts, and the attempts of a retry are one branch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from quorate.argo.runs.reasons import plain, pod_name, why

Json = Mapping[str, Any]

ENDED = ("Succeeded", "Failed", "Error", "Skipped", "Omitted")
FAILED = ("Failed", "Error")
LOOPS = ("TaskGroup", "StepGroup")
EXIT = "exit handler"
MOST = 8
"""Parts of a loop that are shown; the rest is counted."""

_PART = re.compile(r"(.+)\(\d+:(.{1,40})\)")


@dataclass(frozen=True)
class Branch:
    """One thing to see: a task, a loop, the whole workflow.

    label      as a person calls it: the task's name
    phase      Argo's: Pending, Running, Succeeded, Failed, Error, Skipped, Omitted
    progress   "done/total" as the step reports it; of a loop, its ended parts; else ""
    attempts   how many pods tried
    pods       the names of the pods that tried, where it is one pod's work
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
    below: tuple[Branch, ...] = field(default=())

    def walk(self) -> Iterator[Branch]:
        """This branch and all below it."""
        for _, branch in self.paths():
            yield branch

    def paths(self) -> Iterator[tuple[str, Branch]]:
        """The same, each with its name below the workflow: "shard 00001/detect-a"."""
        yield "", self
        for one in self.below:
            for path, branch in one.paths():
                names = [name for name in ("" if one.loop else one.label, path) if name]
                yield "/".join(names), branch

    def seconds(self, now: datetime) -> float | None:
        """How long it took, or has taken until `now`; None before it began."""
        if self.started is None or self.phase in ("Skipped", "Omitted"):
            return None
        return max(0.0, ((self.finished or now) - self.started).total_seconds())


def tree(workflow: Json, warnings: Mapping[str, str] | None = None) -> Branch:
    """The whole workflow as one branch; `warnings` as `Cluster.warnings` gives them."""
    status = workflow.get("status") or {}
    nodes: dict[str, Json] = status.get("nodes") or {}
    name = str(workflow["metadata"]["name"])
    inside: dict[str, list[Json]] = {}
    for node in nodes.values():
        inside.setdefault(str(node.get("boundaryID", "")), []).append(node)
    templates = (status.get("storedWorkflowTemplateSpec") or {}).get("templates") or ()
    limits = {one["name"]: int(one.get("activeDeadlineSeconds") or 0) for one in templates}
    made = _Made(workflow, inside, warnings or {}, limits)
    below: list[Branch] = []
    root = nodes.get(name)
    if root is not None:
        top = made.branch(root)
        below += top.below or (top,)
    # The exit handler stands in no boundary.
    below += made.branches(
        [node for node in inside.get("", []) if node.get("id") != name], parent=name
    )
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
class _Made:
    workflow: Json
    inside: Mapping[str, list[Json]]
    warnings: Mapping[str, str]
    limits: Mapping[str, int]

    def branches(self, members: list[Json], parent: str = "") -> list[Branch]:
        """The members of one boundary, loops and retries with their parts below or within."""
        # What its `when` left out is no part of the run.
        members = [node for node in members if node.get("phase") != "Skipped"]
        members = sorted(members, key=lambda n: (str(n.get("startedAt") or "~"), str(n["name"])))
        parts: dict[str, list[Json]] = {}
        owners = {str(n["name"]) for n in members if n["type"] in (*LOOPS, "Retry")}
        for node in members:
            owner = _owner(str(node["name"]))
            if owner in owners:
                parts.setdefault(owner, []).append(node)
        return [
            self.branch(node, parts)
            for node in members
            if _owner(str(node["name"])) not in owners
        ]  # fmt: skip

    def branch(self, node: Json, parts: Mapping[str, list[Json]] | None = None) -> Branch:
        """One node with what is below it."""
        if parts is None:  # the root: its own attempts stand beside it
            parts = {str(node["name"]): [
                n for n in self.inside.get("", []) if _owner(str(n["name"])) == node["name"]
            ]}  # fmt: skip
        kind = node["type"]
        own = parts.get(str(node["name"]), [])
        if kind == "Retry" and own:
            last = self.branch(own[-1], parts)
            return replace(
                last,
                label=_label(node),
                phase=last.phase if last.phase == "Pending" else str(node.get("phase")),
                message=last.message or plain(str(node.get("message") or "")),
                started=_time(node.get("startedAt")),
                finished=_time(node.get("finishedAt")),
                attempts=len(own),
                pods=tuple(pod_name(self.workflow, one) for one in own if one["type"] == "Pod"),
                key=str(node["id"]),
            )
        below: list[Branch] = []
        if kind in LOOPS:
            below = [self.branch(one, parts) for one in own]
        elif kind != "Pod":
            below = self.branches(self.inside.get(str(node["id"]), []))
            if len(below) == 1 and below[0].loop:  # a DAG that is nothing but a loop
                return below[0]
            if below and _label(node) == EXIT:
                return replace(below[0], label=EXIT)
        pod = pod_name(self.workflow, node) if kind == "Pod" else None
        loop = kind in LOOPS
        waits = node.get("phase") in ("Pending", *FAILED)
        ended = sum(one.phase in ENDED for one in below)
        return Branch(
            label=_label(node),
            phase=str(node.get("phase") or "Pending"),
            message=why(
                str(node.get("message") or ""),
                self.warnings.get(pod or "") if waits else None,
                self.limits.get(str(node.get("templateName"))),
            ),
            started=_time(node.get("startedAt")),
            finished=_time(node.get("finishedAt")),
            progress=f"{ended}/{len(below)}" if loop else _progress(node),
            pods=(pod,) if pod else (),
            key=str(node["id"]),
            loop=loop,
            below=tuple(below),
        )


def shown(branch: Branch, most: int = MOST) -> tuple[tuple[Branch, ...], str]:
    """What of a branch's parts to show, and a word for the rest.

    Of a long loop the parts that failed come first, then those at work, in the loop's order.
    """
    if not branch.loop or len(branch.below) <= most:
        return branch.below, ""
    rank = {"Failed": 0, "Error": 0, "Running": 1, "Pending": 2}
    first = sorted(branch.below, key=lambda one: rank.get(one.phase, 3))
    kept = {one.key for one in first[:most] if one.phase not in ("Succeeded", "Omitted")}
    rest: dict[str, int] = {}
    for one in branch.below:
        if one.key not in kept:
            rest[one.phase.lower()] = rest.get(one.phase.lower(), 0) + 1
    counted = ", ".join(f"{count:,} {phase}" for phase, count in rest.items())
    return tuple(one for one in branch.below if one.key in kept), counted


def failure(branch: Branch) -> tuple[str, str]:
    """Which task ended the workflow, and what it said; the workflow itself where none did.

    What failed last decided: a detector's failure is outlived while the quorum holds.
    """
    failed = [
        one for one in branch.walk() if one.phase in FAILED and not one.below and one.label != EXIT
    ]
    told = [one for one in failed if one.message] or failed
    if not told:
        return branch.label, branch.message
    last = max(told, key=lambda one: one.finished or datetime.min.replace(tzinfo=UTC))
    return last.label, last.message or branch.message


def _owner(name: str) -> str:
    """The loop or retry that a name with `(…)` or a step of `[…]` belongs to, else ""."""
    if name.endswith(")"):
        return name[: name.rindex("(")]
    head, dot, _ = name.rpartition(".")
    return head if dot and head.endswith("]") else ""


def _label(node: Json) -> str:
    """The task's name; of a loop's part "shard 00003" for Argo's "shard(3:00003)"."""
    name = str(node.get("displayName") or node["name"])
    if name.endswith(".onExit"):
        return EXIT
    found = _PART.fullmatch(name)
    return f"{found[1]} {found[2]}" if found else name


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _progress(node: Json) -> str:
    """A pod's own count; Argo says 0/1 or 1/1 of one that reports none, and sums those of a DAG."""
    text = str(node.get("progress") or "/1")
    return "" if node["type"] != "Pod" or text.endswith(("/1", "/0")) else text
