"""quorate step finish: what a workflow's exit handler does, whatever the run came to."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


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
        help="how it ended, in Argo's words: Succeeded, Failed, Error; Running: it starts",
    )
    one.add_argument(
        "--failures",
        metavar="JSON",
        help="what failed, as Argo lists it; used where the API server does not answer",
    )
    one.add_argument("--summary", metavar="FILE", help="the summary.json that publish wrote")
    one.add_argument("--results", metavar="PLACE", help="where the results are, to link to")
    one.set_defaults(command=_finish)


def _finish(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.finish import Ended, finish
    from quorate.cli.output import note
    from quorate.cli.pod import in_bucket

    run = Ended(
        workflow=arguments.workflow,
        namespace=arguments.namespace,
        status=arguments.status,
        failures=arguments.failures,
        summary=arguments.summary,
        results=in_bucket(arguments.results) if arguments.results else None,
    )
    notice = finish(run, arguments.spec, note)
    if notice is not None:
        print(notice.title)
        for line in notice.lines:
            print(f"  {line}")
