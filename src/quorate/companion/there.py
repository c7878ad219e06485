"""WorkflowTemplates of a cluster: handed over, submitted, followed, and brought back."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.pools import node_groups
from quorate.argo.runs import family
from quorate.argo.runs.logs import Logs
from quorate.argo.runs.submit import DATA
from quorate.argo.runs.tree import FAILED, Branch, failure, shown
from quorate.argo.runs.watch import OVER, explained, remedies
from quorate.companion.forms import Template
from quorate.companion.store import NAME, Step
from quorate.companion.templates import FILLED, REPLACE, TRACKS, is_offered, of
from quorate.companion.work import YES, Cancelled, Work, result
from quorate.cvat.cluster import dag
from quorate.cvat.cluster.bringing_back import bring_back, run_of
from quorate.cvat.cluster.dag import FORMAT, Origin
from quorate.cvat.cluster.handing_over import hand_over
from quorate.cvat.task import tasks
from quorate.errors import ClusterError, InputError, QuorateError, WorkflowError
from quorate.storage import s3

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

LOG = logging.getLogger("quorate.companion")
LOOK = 2.0
"""Seconds between two looks at a workflow."""
PATIENCE = 900.0
"""Seconds for which a cluster may not answer before a run is given up."""
KNOWN = 10.0
"""Seconds for which the list of templates holds, and of pools."""
HANDED, WORKFLOW, ENDED_BADLY = "handed", "workflow", "ended badly"
"""Facts of a run: where its pictures are, the workflow, and that this is to be tried again."""
STATES = {"Pending": "waiting", "Running": "working", "Succeeded": "done"}
STATES |= dict.fromkeys(FAILED, "failed")


class There:
    """See `Runner`."""

    at_once = 16
    survives = True

    def __init__(self, connect: Callable[[], Cluster], storage: str) -> None:
        self._connect, self._storage = connect, storage
        self._seen: tuple[float, list[Template]] = (float("-inf"), [])
        self._lock = threading.Lock()

    def templates(self) -> list[Template]:
        """Those labelled used-by=cvat, by name; one whose annotation is wrong is shown so."""
        with self._lock:
            when, known = self._seen
            if time.monotonic() - when > KNOWN:
                pools = _pools()
                found = sorted(self._connect().templates(), key=lambda one: one["metadata"]["name"])
                known = [_offered(one, pools) for one in found if is_offered(one)]
                self._seen = (time.monotonic(), known)
            return known

    def check(self, template: Template, values: Mapping[str, str]) -> None:
        """InputError, before any work, for values that cannot be run."""
        if template.wrong:
            raise InputError(template.wrong)
        found = self._connect().template(template.name)
        dag.check(found, _given(values), s3.split(self._storage)[0])

    def carry_out(self, work: Work) -> None:
        """Hand over, submit, follow, bring back: what has been reached is not done again."""
        cluster = self._connect()
        try:
            self._carry_out(work, cluster)
        except Cancelled:
            workflow = work.run.facts.get(WORKFLOW)
            if workflow and work.stopped.is_set():
                with contextlib.suppress(InputError):  # it has ended in this moment
                    family.stop(cluster, workflow)
                del work.run.facts[WORKFLOW]  # Argo does not retry well what was stopped
            raise

    def _carry_out(self, work: Work, cluster: Cluster) -> None:
        run = work.run
        task = next(tasks(work.client, run.target))
        if run.facts.pop(ENDED_BADLY, ""):
            self._try_again(work, cluster)
        if WORKFLOW not in run.facts:
            template = cluster.template(run.template)
            takes_data = DATA in dag.parameters_of(template)
            if takes_data and HANDED not in run.facts:
                handed = hand_over(
                    work.client,
                    task,
                    self._storage,
                    dump_format=run.values.get(FORMAT),
                    progress=work.progress,
                )
                for note in handed.notes:
                    work.say(note)
                work.reached(HANDED, handed.location)
            place = f"{run.target.what}:{run.target.id}"
            data = run.facts.get(HANDED) if takes_data else None
            origin = Origin(work.client.server, place, None, data)
            started = dag.start(cluster, template, task, origin, parameters=_given(run.values))
            work.reached(WORKFLOW, started.name)
            work.say(f"The workflow {started.name} is started in {cluster.where}.")
        workflow = self._followed(work, cluster)
        work.reached(NAME, run_of(workflow)[1])
        published = bring_back(
            work.client,
            task,
            workflow,
            bucket=s3.split(self._storage)[0],
            replace=run.values.get(REPLACE) == YES,
            tracks=run.values.get(TRACKS) == YES,
            progress=work.progress,
        )
        for note in published.notes:
            work.say(note)
        published.notes = [note for note in published.notes if not note.startswith("s3://")]
        run.result = result(published)

    def _try_again(self, work: Work, cluster: Cluster) -> None:
        """Let Argo run again what failed; where it cannot, the workflow is started anew."""
        try:
            family.retry(cluster, work.run.facts[WORKFLOW])
            work.say(f"What failed in {work.run.facts[WORKFLOW]} runs again.")
        except QuorateError as error:
            work.say(f"A new workflow is started: {error.message}")
            del work.run.facts[WORKFLOW]

    def _followed(self, work: Work, cluster: Cluster) -> Json:
        """The workflow when it has ended well; WorkflowError where it ended otherwise."""
        name = work.run.facts[WORKFLOW]
        before = [step for step in work.run.steps if not step.key]
        threading.Thread(target=_log, args=(work, cluster, name), daemon=True).start()
        away = 0.0
        while True:
            try:
                workflow = cluster.workflow(name)
                branch = explained(cluster, workflow)
                away = 0.0
            except ClusterError as error:
                away = away or time.monotonic()
                if time.monotonic() - away > PATIENCE:
                    raise
                work.say(error.message)
                work.wait(10 * LOOK)
                continue
            work.show([*before, *_steps(branch)])
            if branch.phase in OVER:
                break
            work.wait(LOOK)
        work.check()
        for said in remedies(branch) if branch.phase in FAILED else ():
            work.say(said)
        if branch.phase in FAILED:
            work.reached(ENDED_BADLY, name)
            task, message = failure(branch)
            where = f" at {task}" if task != branch.label else ""
            said = message.rstrip(".") or "it does not say why"
            raise WorkflowError(f"The workflow {name} failed{where}: {said}.")
        return workflow


def _offered(template: Json, pools: Callable[[str | None], tuple[str, ...]]) -> Template:
    try:
        return of(template, pools)
    except QuorateError as error:
        name = str(template["metadata"]["name"])
        said = f"{error.message} {error.hint or ''}".strip()
        return Template(name, name, "", "cluster", wrong=said)


def _given(values: Mapping[str, str]) -> dict[str, str]:
    """What is submitted: the template's own parameters but those that are filled in."""
    return {n: value for n, value in values.items() if n not in (*FILLED, REPLACE, TRACKS)}


def _pools() -> Callable[[str | None], tuple[str, ...]]:
    """The pools of the cluster, asked for once, and only where a form wants them."""
    nodes: list[Json] = []

    def pools(label: str | None) -> tuple[str, ...]:
        try:
            nodes[:] = nodes or Kube.of_kubeconfig().rest.items("/api/v1/nodes")
        except QuorateError as error:  # then a pool is asked for as text
            LOG.warning("the nodes are not known: %s", error.message)
        if label is None:
            return tuple(dict.fromkeys(group.name for group in node_groups(nodes)))
        labels = (node["metadata"].get("labels") or {} for node in nodes)
        return tuple(sorted({one[label] for one in labels if label in one}))

    return pools


def _steps(branch: Branch, depth: int = 0) -> list[Step]:
    """The tasks of a workflow, each below what it belongs to."""
    found: list[Step] = []
    kept, rest = shown(branch)
    for one in kept:
        if one.phase in ("Omitted", "Skipped"):
            continue
        done, _, total = one.progress.partition("/")
        waits = one.phase in ("Pending", *FAILED)
        found.append(
            Step(
                one.label + (f" ×{one.attempts}" if one.attempts > 1 else ""),
                STATES.get(one.phase, "waiting"),
                int(done) if done.isdecimal() else 0,
                int(total) if total.isdecimal() else 0,
                one.message if waits else "",
                depth,
                one.key,
            )
        )
        found += _steps(one, depth + 1)
    if rest:
        found.append(Step(f"… {rest}", "done", depth=depth, key="…"))
    return found


def _log(work: Work, cluster: Cluster, name: str) -> None:
    """Write what the pods say into the run's log, until the workflow ends."""
    try:
        for line in Logs(cluster, name).lines(follow=True):
            if not line.text.strip():
                continue
            if work.over.is_set() or work.closing.is_set():
                return
            work.say(f"{line.task}: {line.text}")
    except QuorateError as error:
        if not work.over.is_set():
            work.say(f"The log ends here: {error.message}")
