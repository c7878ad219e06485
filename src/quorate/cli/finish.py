"""quorate step finish: what a workflow's exit handler does, whatever the run came to."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from quorate.notifications import Counts, Failure, Link, Notice
    from quorate.spec.notify import Event, Notifications


def add_command(steps: Any) -> None:
    """Add `finish` to the steps."""
    what = "tell how a workflow went and mark it if degraded; it never changes the result"
    one = steps.add_parser("finish", help=what, description=what)
    one.add_argument("spec", nargs="?", help="spec file (YAML): its `notify` says who is told")
    one.add_argument("--workflow", required=True, metavar="NAME", help="the workflow's name")
    one.add_argument("--namespace", default="", help="the workflow's namespace")
    one.add_argument(
        "--status",
        required=True,
        help="what became of it, in Argo's words: Succeeded, Failed, Error; Running: it starts",
    )
    one.add_argument(
        "--failures",
        metavar="JSON",
        help="what failed, as Argo lists it; where the API server can be asked, it is",
    )
    one.add_argument("--summary", metavar="FILE", help="the summary.json that publish wrote")
    one.add_argument("--results", metavar="PLACE", help="where the results are, to link to")
    one.set_defaults(command=_finish)


def _finish(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note

    # An exit handler that fails makes a good run a failed one, so nothing may: what goes wrong
    # is said, and the next thing is tried.
    def attempt(what: Callable[[], Any], purpose: str) -> Any:
        try:
            return what()
        except Exception as error:
            said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            note(f"warning: {purpose}: {said}")
            return None

    targets = attempt(lambda: _targets(arguments.spec), "the spec cannot be read") or ()
    own = attempt(lambda: _own(arguments), "the API server cannot be asked")
    workflow = attempt(own.read, "the workflow cannot be read") if own else None
    if workflow is not None and _is_child(workflow):
        note("a part of another run, which is told of there")
        return
    ended = arguments.status != "Running"
    waited = attempt(own.warnings, "the events cannot be read") if own and ended else None
    notice = attempt(lambda: _notice(arguments, workflow, waited or {}), "nothing can be told")
    if notice is None:
        return
    if notice.event == "degraded" and own is not None:
        from quorate.argo.names import DEGRADED

        attempt(lambda: own.label(DEGRADED, "true"), "the workflow cannot be marked as degraded")
    print(notice.title)
    for line in notice.lines:
        print(f"  {line}")
    attempt(lambda: _tell(notice, targets), "nobody was told")


def _targets(spec: str | None) -> Notifications:
    from quorate.spec import EnsembleSpec

    return EnsembleSpec.from_yaml(spec).notify if spec else ()


def _own(arguments: argparse.Namespace) -> Any:
    from quorate.argo.cluster.this_workflow import OwnWorkflow

    return OwnWorkflow.of_pod(arguments.namespace, arguments.workflow)


def _is_child(workflow: dict[str, Any]) -> bool:
    from quorate.argo.names import PARENT

    return PARENT in (workflow["metadata"].get("labels") or {})


def _notice(
    arguments: argparse.Namespace, workflow: dict[str, Any] | None, waited: dict[str, str]
) -> Notice:
    """All that is known of the run, from its summary, its status and the API server."""
    from quorate.argo.names import ENSEMBLE
    from quorate.notifications import Notice

    started = arguments.status == "Running"
    counts = None if started else _counts(arguments.summary)
    event: Event = "failed"
    if started:
        event = "started"
    elif arguments.status == "Succeeded":
        event = "degraded" if counts is not None and counts.degraded else "succeeded"
    metadata = (workflow or {}).get("metadata") or {}
    labels = metadata.get("labels") or {}
    where = f"{arguments.namespace}/" if arguments.namespace else ""
    return Notice(
        event=event,
        ensemble=labels.get(ENSEMBLE) or arguments.workflow,
        run=f"{where}{arguments.workflow}",
        uid=metadata.get("uid", ""),
        counts=counts,
        failures=_failures(arguments.failures, workflow, waited, event),
        links=_links(arguments, published=counts is not None),
    )


def _counts(path: str | None) -> Counts | None:
    """What summary.json says; None where publish wrote none, or not all of it."""
    from pathlib import Path

    import msgspec

    from quorate.cli.output import note
    from quorate.notifications import Counts

    if path is None or not Path(path).is_file():
        return None
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Counts)
    except (OSError, msgspec.MsgspecError) as error:
        note(f"warning: {path} cannot be read: {error}")
        return None


def _failures(
    listed: str | None, workflow: dict[str, Any] | None, waited: dict[str, str], event: Event
) -> tuple[Failure, ...]:
    """What failed, what decided first: by the workflow's own nodes, else by Argo's list.

    A detector that failed alike in many shards is named once.
    """
    from quorate.notifications import Failure

    if event not in ("failed", "degraded"):
        return ()
    if workflow is not None:
        from quorate.argo.runs.tree import EXIT, FAILED, failure, tree

        top = tree(workflow, waited)
        said = [failure(top)] if event == "failed" else []
        said += [
            (one.label, one.message)
            for one in top.walk()
            if one.phase in FAILED and not one.below and one.label != EXIT
        ]
        told = tuple(Failure(node, why) for node, why in dict.fromkeys(said) if why)
        if told:
            return told
    return tuple(
        Failure(
            node=str(one.get("displayName") or one.get("templateName") or "a step"),
            message=str(one.get("message") or one.get("phase") or "it failed"),
        )
        for one in _listed(listed)
    )


def _listed(text: str | None) -> list[dict[str, Any]]:
    """Argo's list of failures, last one first; it comes as JSON, or as JSON within a string."""
    import json

    value: Any = text
    try:
        for _ in range(3):
            value = json.loads(value) if isinstance(value, str) and value else value
    except ValueError:
        return [{"message": text}] if text and "{{" not in text else []
    if not isinstance(value, list):
        return []
    found = [one for one in value if isinstance(one, dict)]
    return sorted(found, key=lambda one: str(one.get("finishedAt") or ""), reverse=True)


def _links(arguments: argparse.Namespace, *, published: bool) -> tuple[Link, ...]:
    import os

    from quorate.cli.pod import in_bucket
    from quorate.notifications import Link

    found = []
    if published and arguments.results:
        found.append(Link("Results", in_bucket(arguments.results)))
    address = os.environ.get("QUORATE_ARGO_URL", "").rstrip("/")
    if address:
        place = f"/workflows/{arguments.namespace}/{arguments.workflow}"
        found.append(Link("Workflow", address + place))
    return tuple(found)


def _tell(notice: Notice, targets: Notifications) -> None:
    from quorate.cli.output import note
    from quorate.notifications import notify

    told, problems = notify(notice, targets)
    if told:
        note(f"told: {told} of {told + len(problems)}")
    for problem in problems:
        note(f"warning: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
