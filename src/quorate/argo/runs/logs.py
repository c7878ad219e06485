"""What the steps of a run wrote, its children's too, each line with its task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from quorate.argo.cluster.streams import Streams
from quorate.argo.names import CHILD
from quorate.argo.runs.family import names
from quorate.argo.runs.tree import tree
from quorate.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster

NEW = 5.0
"""Seconds between two looks for new children while logs are followed."""


class Line(NamedTuple):
    """One line that a step wrote.

    task  as `quorate status` names it: "shard 00003/fuse", "child 00001/shard 00060/fuse"
    """

    task: str
    pod: str
    text: str


class Logs:
    """The logs of a run, or of one task of it.

    A task is found by its whole name, by its name within a child, or by its last part.
    """

    def __init__(self, cluster: Cluster, run: str, task: str | None = None) -> None:
        """InputError for an unknown task."""
        self._cluster, self._run, self._task = cluster, run, task
        self.tasks: dict[str, str] = {}
        """The pods that are known, each with its task; with a task only those of it."""
        self._known: list[str] = []
        """Every task that there is, wanted or not."""
        self._workflows = {run: self._read(run)}
        # A task that is the run's own is not looked for in its children.
        if task is None or not self.tasks:
            for child in names(cluster, run):
                with suppress(InputError):  # it is gone
                    self._workflows[child] = self._read(child)
        if task is not None and not self.tasks:
            self._unknown(task)

    def lines(self, *, follow: bool = False) -> Iterator[Line]:
        """The lines of one pod in their order; with `follow` as they come, until the run ends."""
        if follow:
            yield from self._followed()
            return
        for workflow in self._workflows:
            yield from self._of(workflow, follow=False)

    def _read(self, workflow: str) -> set[str]:
        """Learn a workflow's tasks; the pods of those that are wanted."""
        number = workflow.removeprefix(f"{self._run}-")
        before = "" if workflow == self._run else f"{CHILD} {number}/"
        found = {
            pod: before + (path or one.label)
            for path, one in tree(self._cluster.workflow(workflow)).paths()
            for pod in one.pods
        }
        self._known += [task for task in found.values() if task not in self._known]
        wanted = {
            pod: task
            for pod, task in found.items()
            if self._task is None or f"/{task}".endswith(f"/{self._task}")
        }
        self.tasks |= wanted
        return set(wanted)

    def _of(self, workflow: str, *, follow: bool) -> Iterator[Line]:
        pods = self._workflows[workflow]
        if self._task is not None and not pods:
            return
        only = None if self._task is None else sorted(pods)
        for line in self._cluster.logs(workflow, pods=only, follow=follow):
            if line.pod not in self.tasks:  # begun since the workflow was read
                self._read(workflow)
            yield Line(self.tasks.get(line.pod, line.pod), line.pod, line.text)

    def _followed(self) -> Iterator[Line]:
        """The lines of the run and of its children, of those too that come later."""
        logs = Streams(partial(self._of, follow=True))
        looked = float("-inf")
        while True:
            if self._task is None and time.monotonic() - looked > NEW:
                looked = time.monotonic()
                for child in names(self._cluster, self._run):
                    self._workflows.setdefault(child, set())
            for workflow in self._workflows:
                logs.begin(workflow)
            for line in logs.items(NEW):
                yield line
                if time.monotonic() - looked > NEW:
                    break  # to see whether there are new children; what still comes is kept
            if not logs.open:
                return

    def _unknown(self, task: str) -> None:
        last = list(dict.fromkeys(one.rpartition("/")[2] for one in self._known))
        raise InputError(
            f"The run {self._run} has no task '{task}'.",
            hint=did_you_mean(task, [*self._known, *last])
            or f"there are {', '.join(last) or 'none with a pod'}",
        )
