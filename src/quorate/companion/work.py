"""A run at work, as who carries it out sees it: whom to ask, what to tell, whether to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from quorate.companion.forms import Template
from quorate.companion.store import Result, Run, Step, Store
from quorate.cvat.client import Client
from quorate.cvat.publishing.publish import Published

YES = "yes"
"""The value of a box that is ticked."""
OFTEN = 0.5
"""Seconds between two writes of a run's progress."""


ON_A_PAGE = {
    "map the detectors' words onto its labels (`labels: {theirs: yours}`), or let --add-labels add "
    "them to it": "start it anew with 'Add labels that the task lacks', or ask who runs this "
    "companion which labels a task should have",
    "--add-labels": "'Add labels that the task lacks'",
    "--frames": "Frames",
    " (`publish: {min_score: …}`)": " (Lowest score)",
    "leave --tracks away": "leave 'Join the boxes of a video to tracks' unticked",
    " (--org)": "",
    "Name that with --org": "ask who owns it",
}
"""What errors call by the options of the command line, and what it is called here."""


class Cancelled(KeyboardInterrupt):
    """A person does not want the run any more: as Ctrl-C, which no step takes for a failure."""


class Work:
    """One run at work.

    client   asks CVAT for the person who started it
    stopped  set where somebody cancels it
    closing  set where the process ends
    over     set where the run has ended
    """

    def __init__(self, run: Run, client: Client, store: Store) -> None:
        self.run, self.client = run, client
        self.stopped, self.closing = threading.Event(), threading.Event()
        self.over = threading.Event()
        self._store = store
        self._saved = 0.0

    def say(self, text: str) -> None:
        """Add a line to the run's log."""
        self._store.say(self.run.id, on_a_page(text))

    def reached(self, name: str, value: str) -> None:
        """Keep what need not be done again."""
        self.run.facts[name] = value
        self._store.save(self.run)

    def progress(self, task: str, done: int, total: int) -> None:
        """How far a named part of the work is; raises Cancelled where somebody wants no more."""
        steps = self.run.steps
        place = next((n for n, one in enumerate(steps) if (one.name, one.key) == (task, "")), None)
        if place is None:
            place = len(steps)
            steps.append(Step(task))
        step = steps[place]
        for before in steps[:place]:
            before.state = before.state if before.state == "failed" else "done"
        step.done, step.total = done, total
        step.state = "done" if total and done >= total else "working"
        if step.state == "done" and place + 1 < len(steps):
            steps[place + 1].state = "working"
        self._save(now=step.state == "done")
        self.check()

    def show(self, steps: list[Step]) -> None:
        """The steps as they are now, all of them."""
        self.run.steps = steps
        self._save(now=False)

    def check(self) -> None:
        """Raise Cancelled where somebody wants no more."""
        if self.stopped.is_set() or self.closing.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Let some time pass; raises Cancelled as soon as somebody wants no more."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self.stopped.wait(min(left, 0.5))

    def ended(self, *, well: bool) -> None:
        """Mark the step that was at work: finished, or the one at which it ended."""
        for step in self.run.steps:
            if step.state == "working":
                step.state = "done" if well else "failed"

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

    def check(self, template: Template, values: Mapping[str, str]) -> None:
        """InputError, before any work, for values that cannot be run."""


def on_a_page(sentence: str) -> str:
    """A sentence in the words of the pages."""
    for option, name in ON_A_PAGE.items():
        sentence = sentence.replace(option, name)
    return sentence


def result(published: Published, extra: Sequence[str] = ()) -> Result:
    """What publishing did, as a run's page shows it."""
    issues = published.issues
    return Result(
        published.created,
        published.there,
        published.removed,
        published.touched,
        published.earlier,
        (issues.opened or issues.removed) if issues else 0,
        [*extra, *published.notes],
        published.tracks.created or published.tracks.removed,
    )
