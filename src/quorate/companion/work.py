"""A run at work, as who carries it out sees it: whom to ask, what to tell, whether to stop."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from quorate.companion.forms import Template
from quorate.companion.store import Run, Step, Store
from quorate.cvat.client import Client

OFTEN = 0.5
"""Seconds between two writes of a run's progress."""


class Cancelled(KeyboardInterrupt):
    """A person does not want the run any more: as Ctrl-C, which no step takes for a failure."""


class Work:
    """One run at work.

    client   asks CVAT for the person who started it
    stopped  set where somebody cancels it
    closing  set where the process ends
    """

    def __init__(self, run: Run, template: Template, client: Client, store: Store) -> None:
        self.run, self.template, self.client = run, template, client
        self.stopped, self.closing = threading.Event(), threading.Event()
        self._store = store
        self._saved = 0.0
        self._steps = {step.name: step for step in run.steps}

    def say(self, text: str) -> None:
        """Add a line to the run's log."""
        self._store.say(self.run.id, text)

    def reached(self, name: str, value: str) -> None:
        """Keep what need not be done again."""
        self.run.facts[name] = value
        self._store.save(self.run)

    def progress(self, task: str, done: int, total: int) -> None:
        """How far a named part of the work is; raises Cancelled where somebody wants no more."""
        step = self._steps.get(task)
        if step is None:
            step = self._steps[task] = Step(task)
            self.run.steps.append(step)
        place = self.run.steps.index(step)
        for before in self.run.steps[:place]:
            before.state = "done"
        step.done, step.total = done, total
        step.state = "done" if total and done >= total else "working"
        if step.state == "done" and place + 1 < len(self.run.steps):
            self.run.steps[place + 1].state = "working"
        self._save(now=step.state == "done")
        self.check()

    def show(self, steps: list[Step]) -> None:
        """The steps as they are now, all of them."""
        self.run.steps = steps
        self._steps = {step.name: step for step in steps}
        self._save(now=False)

    def check(self) -> None:
        """Raise Cancelled where somebody wants no more."""
        if self.stopped.is_set():
            raise Cancelled

    def ended(self, *, well: bool) -> None:
        """Mark the step that was at work: finished, or the one at which it ended."""
        self._finish("done" if well else "failed")

    def _finish(self, state: str = "done") -> None:
        for step in self.run.steps:
            step.state = state if step.state == "working" else step.state

    def _save(self, *, now: bool) -> None:
        if now or time.monotonic() - self._saved > OFTEN:
            self._saved = time.monotonic()
            self._store.save(self.run)


class Runner(Protocol):
    """Carries runs out; calls come from worker threads.

    at_once   how many runs it works on at a time
    survives  whether a run goes on while this process is away
    """

    at_once: int
    survives: bool

    def templates(self) -> list[Template]:
        """What it can start, now."""

    def carry_out(self, work: Work) -> None:
        """Do a whole run, or the rest of one; what it did goes into `work.run.result`."""

    def undo(self, work: Work) -> None:
        """Take back what a run made and nobody touched since."""
