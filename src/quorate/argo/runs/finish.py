"""What pods of a run ask of their own workflow: how it ended, and why its detectors failed.

`finish` is the work of the exit handler. An exit handler that fails makes a good run a failed
one, so `finish` raises nothing: what goes wrong is noted, and the next thing is tried.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from quorate.argo.cluster.client_kube import Kube
from quorate.argo.cluster.rest import Json
from quorate.argo.names import DEGRADED, ENSEMBLE, TRAINER
from quorate.argo.runs.family import at_work
from quorate.argo.runs.reasons import warnings
from quorate.argo.runs.tree import FAILED, Branch, failure, tree
from quorate.notifications import AnyCounts, Failure, Link, Notice, counts_of, notify
from quorate.spec import ClassificationSpec, EnsembleSpec, read_spec
from quorate.spec.notify import Event
from quorate.spec.training import Training

T = TypeVar("T")
Note = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """A workflow as Argo describes it to its exit handler.

    status    Succeeded, Failed or Error; Running when it starts
    failures  Argo's list of what failed, as JSON; used where the API server does not answer
    summary   the summary.json that publish wrote
    results   the location of the results, to link to
    """

    workflow: str
    namespace: str
    status: str
    failures: str | None = None
    summary: str | None = None
    results: str | None = None


def finish(run: Ended, spec: str | None, note: Note) -> Notice | None:
    """Tell how a run went, as its spec says, and mark it if degraded.

    Returns what was told; None where nothing could be. `note` is called with what went wrong.
    """

    def attempt(purpose: str, what: Callable[..., T], *given: Any) -> T | None:
        try:
            return what(*given)
        except Exception as error:
            said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            note(f"warning: {purpose}: {said}")
            return None

    kinds = (EnsembleSpec, ClassificationSpec, Training)
    ensemble = attempt("the spec cannot be read", read_spec, spec, *kinds) if spec else None
    kube = attempt("the API server cannot be asked", Kube.of_pod, run.namespace)
    workflow, events, parts = None, None, None
    if kube is not None:
        workflow = attempt("the workflow cannot be read", kube.workflow, run.workflow)
        if run.status != "Running":
            events = attempt("the events cannot be read", kube.events, run.workflow)
            if workflow is not None:
                parts = attempt("the run's children cannot be read", at_work, kube, workflow)
    counts = attempt(f"{run.summary} cannot be read", _counts, run)
    top = None
    if workflow is not None:
        said = warnings(events or (), run.workflow)
        top = attempt("what failed cannot be read", tree, workflow, said, parts)
    notice = attempt("nothing can be told", _notice, run, workflow or {}, top, counts)
    if notice is None:
        return None
    if notice.event == "degraded" and kube is not None:
        purpose = "the workflow cannot be marked as degraded"
        attempt(purpose, kube.label, run.workflow, DEGRADED, "true")
    targets = ensemble.notify if ensemble else ()
    told, problems = attempt("nobody was told", notify, notice, targets) or (0, [])
    if told:
        note(f"told: {told} of {told + len(problems)}")
    for problem in problems:
        note(f"warning: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
    return notice


def detector_failures(namespace: str, workflow: str, shard: int) -> dict[str, str]:
    """Why detectors failed on a shard, by name, as the pod's own API server knows it.

    Raises what `Kube` raises, and AccessError where the pod has no token.
    """
    kube = Kube.of_own_pod(namespace, "`get` on workflows and `list` on events")
    top = tree(kube.workflow(workflow), warnings(kube.events(workflow), workflow))
    found = {}
    for path, one in top.paths():
        task, _, detector = path.partition("/detect-")
        if task == f"shard {shard:05d}" and "/" not in detector and one.phase in FAILED:
            _, found[detector] = failure(one)
    return {detector: said for detector, said in found.items() if said}


def trainer_failures(namespace: str, workflow: str) -> dict[str, str]:
    """Why trainers failed, by name, likewise."""
    kube = Kube.of_own_pod(namespace, "`get` on workflows and `list` on events")
    top = tree(kube.workflow(workflow), warnings(kube.events(workflow), workflow))
    found = {}
    for path, one in top.paths():
        name = path.rpartition("/")[2]
        if name.startswith(TRAINER) and one.phase in FAILED:
            said = [failure(part)[1] for part in one.failures()] or [failure(one)[1]]
            found[name.removeprefix(TRAINER)] = said[0]
    return {name: said for name, said in found.items() if said}


def _counts(run: Ended) -> AnyCounts | None:
    """What summary.json says; None where publish wrote none."""
    if run.status == "Running" or run.summary is None or not Path(run.summary).is_file():
        return None
    return counts_of(msgspec.json.decode(Path(run.summary).read_bytes()))


def _notice(run: Ended, workflow: Json, top: Branch | None, counts: AnyCounts | None) -> Notice:
    well: Event = "degraded" if counts is not None and counts.degraded else "succeeded"
    ends: dict[str, Event] = {"Running": "started", "Succeeded": well}
    event = ends.get(run.status, "failed")
    links = []
    if counts is not None and run.results:
        links.append(Link("Results", run.results))
    if address := os.environ.get("QUORATE_ARGO_URL", "").rstrip("/"):
        links.append(Link("Workflow", f"{address}/workflows/{run.namespace}/{run.workflow}"))
    metadata = workflow.get("metadata") or {}
    failures: tuple[Failure, ...] = ()
    if event in ("failed", "degraded"):
        failures = (_of_nodes(top, event) if top else ()) or _of_argo(run.failures)
    return Notice(
        event=event,
        ensemble=(metadata.get("labels") or {}).get(ENSEMBLE) or run.workflow,
        run=f"{run.namespace}/{run.workflow}" if run.namespace else run.workflow,
        uid=metadata.get("uid", ""),
        counts=counts,
        failures=failures,
        links=tuple(links),
    )


def _of_nodes(top: Branch, event: Event) -> tuple[Failure, ...]:
    """What failed, by the workflow's nodes; what ended the run comes first, nothing comes twice."""
    said = [failure(top)] if event == "failed" else []
    said += [(one.label, one.message) for one in top.failures()]
    return tuple(Failure(node, why) for node, why in dict.fromkeys(said) if why)


def _of_argo(text: str | None) -> tuple[Failure, ...]:
    """Argo's list of failures, the last first; it comes as JSON, or as JSON within a string."""
    value: Any = text
    try:
        for _ in range(3):
            value = json.loads(value) if isinstance(value, str) and value else value
    except ValueError:
        value = [{"message": text}] if text and "{{" not in text else []
    found = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    found.sort(key=lambda one: str(one.get("finishedAt") or ""), reverse=True)
    return tuple(
        Failure(
            str(one.get("displayName") or one.get("templateName") or "a step"),
            str(one.get("message") or one.get("phase") or "it failed"),
        )
        for one in found
    )
