"""The life of a run: ordered, carried out in a worker thread, ended, repeated, undone."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from quorate.companion.forms import Template
from quorate.companion.people import Person, may_edit, seen_jobs
from quorate.companion.store import LOOK, NAME, Doing, Run, State, Store, new_id
from quorate.companion.work import Cancelled, Runner, Work, on_a_page, result
from quorate.cvat.client import Client
from quorate.cvat.publishing.publish import Published
from quorate.cvat.run import undo
from quorate.cvat.task import Place
from quorate.errors import AccessError, InputError, QuorateError, did_you_mean, file_error

LOG = logging.getLogger("quorate.companion")
INTERRUPTED = "The companion was stopped while this was at work."
GO_ON = "let it go on: what is finished is kept, and no box is created twice"


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

    def offered(self) -> tuple[list[Template], list[QuorateError]]:
        """What can be started, now; and what keeps a runner from telling it."""
        found: list[Template] = []
        troubles: list[QuorateError] = []
        for runner in self.runners.values():
            try:
                found += runner.templates()
            except QuorateError as error:
                troubles.append(error)
        return found, troubles

    def template(self, name: str) -> Template:
        """The template of a name; InputError where there is none, ClusterError where it is away."""
        found, troubles = self.offered()
        known = {one.name: one for one in found}
        if name in known:
            return known[name]
        if troubles:
            raise troubles[0]
        raise InputError(
            f"There is no template '{name[:80]}' to start.",
            hint=did_you_mean(name, known)
            or (f"there are {', '.join(known)}" if known else "none is labelled used-by=cvat"),
        )

    def run(self, name: str) -> Run:
        """One run; InputError where there is none of this name."""
        run = self.store.run(name)
        if run is None:
            raise InputError("There is no such run.")
        return run

    def start(
        self,
        name: str,
        task: int,
        job: int | None,
        given: Mapping[str, str],
        who: Person,
        facts: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run of a template on a task, or on one job of it; the run's id.

        `given` are answers of its form, `facts` what the run keeps beside, by name.

        Raises InputError for a template that is not there, FormError for values that do not fit,
        AccessError where who ordered it may not change the shapes there, BusyError where another
        run is at work on the task.
        """
        template = self.template(name)
        values = template.checked(given)
        run = Run(
            id=new_id(),
            task=task,
            job=job,
            template=template.name,
            runner=template.runner,
            title=template.title,
            values=values,
            person=who.id,
            who=who.name,
            made=time.time(),
            facts=dict(facts or {}),
        )
        self._allowed(who, run.target)
        self._runner(run).check(template, values)
        self.store.add(run, who.client.headers)
        self._go(run, who.client)
        return run.id

    def again(self, name: str, who: Person) -> None:
        """Let a run that ended badly go on from what it has; errors are those of `start`."""
        run = self.run(name)
        if not run.may_go_on:
            raise InputError("Only a run that ended badly can go on.", hint="start a new one")
        self._claim(run, who, run.doing)

    def undo(self, name: str, who: Person) -> None:
        """Take back what a run made and nobody touched since; errors are those of `start`."""
        run = self.run(name)
        if not run.may_be_undone:
            raise InputError("There is nothing of this run to undo.")
        self._claim(run, who, "undo")

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
            runner = self.runners.get(run.runner)
            if runner and runner.survives and run.doing == "run" and headers:
                self.store.clear(run.id)  # what its pods wrote is asked for again
                self.store.say(run.id, "The companion was restarted, and follows on.")
                self._go(run, Client.of(self.server, headers))
            else:
                self._end(run, "interrupted", InputError(INTERRUPTED, hint=GO_ON))

    def close(self) -> None:
        """Stop the runs that do not survive this process, and leave the others."""
        with self._lock:
            works = [*self._works.values()]
        for work in works:
            work.closing.set()
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def _runner(self, run: Run) -> Runner:
        if run.runner not in self.runners:
            raise InputError("What carried this run out is no longer in the settings.")
        return self.runners[run.runner]

    def _allowed(self, who: Person, place: Place) -> None:
        reason = may_edit(who.client, place)
        if reason is not None:
            raise AccessError(
                f"You may not change what is drawn in {place}, so you may not run on it.",
                hint=f"CVAT says: {reason} A token that is for reading only cannot either",
            )

    def _claim(self, run: Run, who: Person, doing: Doing) -> None:
        self._runner(run)
        self._allowed(who, run.target)
        run.doing = doing
        run.state, run.error, run.hint, run.steps = "waiting", "", "", []
        run.began = run.ended = None
        self.store.claim(run, who.client.headers)
        self._go(run, who.client)

    def _go(self, run: Run, client: Client) -> None:
        # Pages may be patient with nobody; a run is.
        work = Work(run, Client.of(client.server, client.headers), self.store)
        with self._lock:
            self._works[run.id] = work
        self._pools[run.runner].submit(self._carry_out, work)

    def _carry_out(self, work: Work) -> None:
        run, runner = work.run, self.runners[work.run.runner]
        try:
            work.check()
            run.state, run.began = "working", run.began or time.time()
            self.store.save(run)
            if run.doing == "undo":
                done = undo(run.facts[NAME], task=run.task, job=run.job, client=work.client)
                run.result = result(done, _missed(run, done))
            else:
                before = NAME in run.facts  # an earlier try may have created boxes
                runner.carry_out(work)
                if not before and not _made(run):
                    run.facts.pop(NAME, None)
                self._point(work)
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
            work.over.set()
            with self._lock:
                self._works.pop(run.id, None)

    def _point(self, work: Work) -> None:
        """Keep the job at which a person looks first, for the link into CVAT."""
        with contextlib.suppress(QuorateError):
            jobs = [] if work.run.job else seen_jobs(work.client, work.run.task)
            if jobs:
                work.run.facts[LOOK] = str(jobs[0].job)

    def _end(self, run: Run, state: State, error: Exception | None = None) -> None:
        found = file_error(error) if isinstance(error, OSError) else error
        if isinstance(found, QuorateError):
            run.error, run.hint = on_a_page(found.message), on_a_page(found.hint or "")
        elif error is not None:
            LOG.error("run %s: %s", run.id, error, exc_info=error)
            run.error = f"{type(error).__name__}: a fault of the companion's; its log says more."
        if run.error:
            self.store.say(run.id, f"{run.error} {run.hint}".strip())
            LOG.warning("run %s on task %d: %s", run.id, run.task, run.error)
        run.state, run.ended = state, time.time()
        self.store.release(run)
        self.at_end(run)


def _made(run: Run) -> int:
    """How many shapes and issues a run is known to have made."""
    return run.result.created + run.result.tracks + run.result.issues if run.result else 0


def _missed(run: Run, done: Published) -> list[str]:
    """What to say of shapes that a run made and undoing it did not find; InputError if all."""
    made = run.result.created + run.result.tracks if run.result else 0
    found = sum(one.removed + one.touched for one in (done, done.tracks))
    if found >= made:
        return []
    why = "somebody deleted them, or nothing tells any more which they were"
    if not found:
        raise InputError(
            f"None of the {made:,} boxes that this run made is found: {why}.",
            hint="labels with a text attribute 'run' tell it; else a file that may be lost does",
        )
    return [f"{made - found:,} of the {made:,} boxes that it made are not found: {why}."]
