"""The life of a run: ordered, carried out in a worker thread, ended, repeated, undone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from quorate.companion.forms import Template, find
from quorate.companion.people import Person, may_edit
from quorate.companion.store import Doing, Run, State, Store, new_id
from quorate.companion.work import Cancelled, Runner, Work
from quorate.cvat.client import Client
from quorate.cvat.task import Place
from quorate.errors import AccessError, InputError, QuorateError, file_error

LOG = logging.getLogger("quorate.companion")
INTERRUPTED = "The companion was stopped while this was at work."
GO_ON = "let it go on: what is finished is kept, and no box is created twice"


ON_A_PAGE = {
    "--add-labels": "'Add labels that the task lacks'",
    "--frames": "Frames",
    " (--org)": "",
    "Name that with --org": "ask who owns it",
}
"""What errors call by the options of the command line, and what it is called here."""


@dataclass(frozen=True)
class Order:
    """What is to be started: on a task or one job of it, with answers, for somebody.

    facts  what the run keeps beside, by name
    """

    template: str
    task: int
    job: int | None
    values: Mapping[str, str]
    who: Person
    facts: Mapping[str, str] = field(default_factory=dict)


class Running:
    """All runs. Calls come from any thread.

    server   CVAT
    runners  by name, as templates name them
    at_end   told each run that has ended
    """

    def __init__(self, store: Store, server: str, runners: Mapping[str, Runner]) -> None:
        self.store, self.server, self.runners = store, server, runners
        self.at_end: Callable[[Run], None] = lambda run: None
        self._pools = {
            name: ThreadPoolExecutor(one.at_once, thread_name_prefix=f"run-{name}")
            for name, one in runners.items()
        }
        self._works: dict[str, Work] = {}
        self._lock = threading.Lock()

    def templates(self) -> list[Template]:
        """What can be started, now."""
        return [one for runner in self.runners.values() for one in runner.templates()]

    def start(self, order: Order) -> str:
        """Start a run; its id.

        Raises InputError for a template that is not there, FormError for values that do not fit,
        AccessError where who ordered it may not change the shapes there, BusyError where another
        run is at work on the task.
        """
        template = find(self.templates(), order.template)
        values = template.checked(order.values)
        run = Run(
            id=new_id(),
            task=order.task,
            job=order.job,
            template=template.name,
            title=template.title,
            values=values,
            person=order.who.id,
            who=order.who.name,
            made=time.time(),
            facts=dict(order.facts),
        )
        self._allowed(order.who, run.target)
        self.store.add(run, order.who.client.headers)
        self._go(run, template, order.who.client)
        return run.id

    def again(self, name: str, who: Person) -> None:
        """Let a run that ended badly go on from what it has; errors are those of `start`."""
        run, template = self._known(name)
        if not run.may_go_on:
            raise InputError("Only a run that ended badly can go on.", hint="start a new one")
        self._claim(run, template, who, run.doing)

    def undo(self, name: str, who: Person) -> None:
        """Take back what a run made and nobody touched since; errors are those of `start`."""
        run, template = self._known(name)
        if not run.may_be_undone:
            raise InputError("There is nothing of this run to undo.")
        self._claim(run, template, who, "undo")

    def cancel(self, name: str, who: Person) -> None:
        """Stop a run that is at work; what it has created stays, and can be undone."""
        work = self._works.get(name)
        if work is None:
            raise InputError("This run has ended already.")
        self._allowed(who, work.run.target)
        work.say(f"{who.name} asks it to stop.")
        work.stopped.set()

    def resume(self) -> None:
        """After a start of the process: what ran elsewhere goes on, what ran here is told ended."""
        for run in self.store.at_work():
            headers = self.store.headers(run.id)
            try:
                template = find(self.templates(), run.template)
                survives = self.runners[template.runner].survives
            except QuorateError as error:
                self._end(run, "failed", error)
                continue
            if survives and run.doing == "run" and headers:
                self._go(run, template, Client.of(self.server, headers))
            else:
                self._end(run, "interrupted", InputError(INTERRUPTED, hint=GO_ON))

    def close(self) -> None:
        """Stop the runs that do not survive; wait for none that does."""
        with self._lock:
            works = [*self._works.values()]
        for work in works:
            work.closing.set()
            if not self.runners[work.template.runner].survives:
                work.stopped.set()
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def _known(self, name: str) -> tuple[Run, Template]:
        run = self.store.run(name)
        if run is None:
            raise InputError("There is no such run.")
        return run, find(self.templates(), run.template)

    def _allowed(self, who: Person, place: Place) -> None:
        reason = may_edit(who.client, place)
        if reason is not None:
            raise AccessError(
                f"You may not change what is drawn in {place}, so you may not run on it.",
                hint=f"CVAT says: {reason} A token that is for reading only cannot either",
            )

    def _claim(self, run: Run, template: Template, who: Person, doing: Doing) -> None:
        self._allowed(who, run.target)
        run.doing = doing
        run.state, run.error, run.hint, run.ended, run.steps = "waiting", "", "", None, []
        self.store.claim(run, who.client.headers)
        self._go(run, template, who.client)

    def _go(self, run: Run, template: Template, client: Client) -> None:
        # Pages may be patient with nobody; a run is.
        work = Work(run, template, Client.of(client.server, client.headers), self.store)
        with self._lock:
            self._works[run.id] = work
        self._pools[template.runner].submit(self._carry_out, work)

    def _carry_out(self, work: Work) -> None:
        run, runner = work.run, self.runners[work.template.runner]
        try:
            work.check()
            run.state, run.began = "working", time.time()
            self.store.save(run)
            if run.doing == "undo":
                runner.undo(work)
            else:
                runner.carry_out(work)
            work.ended(well=True)
            self._end(run, "undone" if run.doing == "undo" else "done")
        except Cancelled:
            work.ended(well=False)
            if not work.closing.is_set():
                self._end(run, "cancelled")
            elif not runner.survives:
                self._end(run, "interrupted", InputError(INTERRUPTED, hint=GO_ON))
        except Exception as error:
            work.ended(well=False)
            self._end(run, "failed", error)
        finally:
            with self._lock:
                self._works.pop(run.id, None)

    def _end(self, run: Run, state: State, error: Exception | None = None) -> None:
        found = file_error(error) if isinstance(error, OSError) else error
        if isinstance(found, QuorateError):
            run.error, run.hint = _here(found.message), _here(found.hint or "")
        elif error is not None:
            LOG.error("run %s: %s", run.id, error, exc_info=error)
            run.error = f"{type(error).__name__}: a fault of the companion's; its log says more."
        if run.error:
            self.store.say(run.id, f"{run.error} {run.hint}".strip())
            LOG.warning("run %s on task %d: %s", run.id, run.task, run.error)
        run.state, run.ended = state, time.time()
        self.store.release(run)
        self.at_end(run)


def _here(sentence: str) -> str:
    for option, name in ON_A_PAGE.items():
        sentence = sentence.replace(option, name)
    return sentence
