"""Following a run: the live tree on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from quorate.argo.runs.family import at_work
from quorate.argo.runs.reasons import SILENT, duration, plain, remedy, warnings
from quorate.argo.runs.tree import FAILED, Branch, failure, nodes, shown, tree
from quorate.errors import WorkflowError

if TYPE_CHECKING:
    from rich.table import Table

    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

Show = Callable[[Branch], None]

OVER = ("Succeeded", "Failed", "Error")
ASK_AGAIN = 5.0
"""Seconds between two requests for Kubernetes' events."""

_MARKS = {
    "Pending": ("○", "yellow"),
    "Running": ("●", "cyan"),
    "Succeeded": ("✔", "green"),
    "Failed": ("✖", "red"),
    "Error": ("✖", "red"),
    "Skipped": ("–", "dim"),
    "Omitted": ("–", "dim"),
}


def follow(cluster: Cluster, name: str, show: Show) -> tuple[Json, Branch]:
    """Show a workflow whenever it changes; at its end, return the workflow and its tree.

    Of a run with children, these are looked at whenever the run is.

    Argo forgets why a pod waited once it gives the pod up; here the reason is remembered. Where
    Argo never gave one, Kubernetes' events are asked.
    """
    reasons: dict[str, str] = {}
    asked = 0.0
    for workflow in cluster.changes(name):
        parts = at_work(cluster, workflow)
        unknown = _remember((workflow, *parts.values()), reasons)
        over = (workflow.get("status") or {}).get("phase") in OVER
        if unknown and (over or time.monotonic() - asked > ASK_AGAIN):
            asked = time.monotonic()
            reasons |= warnings(cluster.events(name), name)
        branch = tree(workflow, reasons, parts)
        show(branch)
        if over:
            break
    return workflow, branch


def explained(cluster: Cluster, workflow: Json) -> Branch:
    """The tree of a workflow as it is now, with the reasons that the cluster still knows."""
    reasons: dict[str, str] = {}
    parts = at_work(cluster, workflow)
    if _remember((workflow, *parts.values()), reasons):
        name = str(workflow["metadata"]["name"])
        reasons |= warnings(cluster.events(name), name)
    return tree(workflow, reasons, parts)


def _remember(workflows: Iterable[Json], reasons: dict[str, str]) -> bool:
    """Keep by pod what Argo says of waiting pods; whether a pod's reason is still unknown."""
    unknown = False
    for workflow, node in ((one, node) for one in workflows for node in nodes(one)):
        pod, silent = node.pod(workflow), node.message in SILENT
        if node.phase == "Running":
            reasons.pop(pod, None)  # it waits no more
        elif node.type == "Pod" and node.phase == "Pending" and not silent:
            reasons[pod] = plain(node.message)
        elif node.type == "Pod" and node.phase in ("Pending", *FAILED) and silent:
            unknown |= pod not in reasons
    return unknown


def check(branch: Branch, options: str = "") -> None:
    """Raise WorkflowError where a run failed, with the task that ended it and its message.

    `options` are those of the cluster, for the command that shows the log.
    """
    if branch.phase not in FAILED:
        return
    task, message = failure(branch)
    where = f": {task}" if task != branch.label else ""
    said = message.rstrip(".") or "it does not say why"
    raise WorkflowError(
        f"The workflow {branch.label} failed{where}: {said}.",
        hint=remedy(message)
        or f"quorate logs {branch.label}" + (f" {task}" if where else "") + options,
    )


def remedies(branch: Branch) -> list[str]:
    """The remedies for pods that wait or failed, each once."""
    waiting = (one for one in branch.walk() if one.phase in ("Pending", *FAILED))
    return list(dict.fromkeys(said for one in waiting if (said := remedy(one.message))))


@contextmanager
def drawn() -> Iterator[Show]:
    """Show trees on standard error: drawn on a terminal, else as lines."""
    if not sys.stderr.isatty():
        yield Lines(sys.stderr)
        return
    from rich.console import Console
    from rich.live import Live

    seen: list[Branch] = []

    def show(branch: Branch) -> None:
        seen[:] = [branch]

    def now() -> Table | str:  # drawn anew all the time: durations grow
        return drawing(seen[0], datetime.now(UTC)) if seen else ""

    with Live(get_renderable=now, console=Console(stderr=True), refresh_per_second=4):
        yield show


class Lines:
    """A line for each change of phase or message, for a log file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, tuple[str, str]] = {}
        self._advised: set[str] = set()

    def __call__(self, branch: Branch) -> None:
        """Print what changed since the last tree."""
        now = datetime.now(UTC)
        # What is at work comes before its parts, what has ended after them.
        found = list(branch.paths())
        last = [pair for pair in reversed(found) if pair[1].finished is not None]
        last.sort(key=lambda pair: pair[1].finished or now)
        for path, one in [pair for pair in found if pair[1].finished is None] + last:
            state = (one.phase, one.message)
            quiet = one.phase in ("Omitted", "Skipped") or (one.loop and one.below)
            if self._told.get(one.key) != state and not quiet:
                self._told[one.key] = state
                took = duration(one.seconds(now)) if one.finished else ""
                told = "  ".join(part for part in (one.phase, took, one.message) if part)
                name = path or branch.label
                print(f"{now:%H:%M:%S}  {name}  {told}", file=self._stream, flush=True)
        for said in [one for one in remedies(branch) if one not in self._advised]:
            self._advised.add(said)
            print(f"          → {said}", file=self._stream, flush=True)


def drawing(branch: Branch, now: datetime) -> Table:
    """The tree as rich draws it: task, duration, progress, message."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_column(overflow="fold")

    def add(one: Branch, depth: int) -> None:
        mark, colour = _MARKS.get(one.phase, ("?", "default"))
        name = Text.from_markup(f"{'  ' * depth}[{colour}]{mark}[/] {escape(one.label)}")
        if one.attempts > 1:
            name.append(f" ×{one.attempts}", "dim")
        table.add_row(name, duration(one.seconds(now)), one.progress, Text(one.message, colour))
        kept, rest = shown(one)
        for below in kept:
            add(below, depth + 1)
        if rest:
            table.add_row(Text(f"{'  ' * (depth + 1)}… {rest}", "dim"), "", "", "")

    add(branch, 0)
    for said in remedies(branch):
        table.add_row("", "", "", Text(f"→ {said}"))
    return table
