"""quorate render: an ensemble as a WorkflowTemplate for Argo."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    render = commands.add_parser(
        "render",
        description="Write the WorkflowTemplate that runs an ensemble on Argo Workflows. The same "
        "spec gives the same bytes; no cluster is asked.",
    )
    render.add_argument(
        "spec", help="spec file (YAML); or fuse-files, evaluate: templates that need none"
    )
    render.add_argument("-o", "--out", metavar="FILE", help="write to a file (default: print)")
    render.set_defaults(command=_render)


def _render(arguments: argparse.Namespace) -> None:
    from quorate.argo.render import SHIPPED, shipped, workflow_template
    from quorate.spec import EnsembleSpec, WorkflowSettings
    from quorate.storage import write_bytes

    if arguments.spec in SHIPPED:
        template = shipped(arguments.spec, WorkflowSettings())
    else:
        template = workflow_template(EnsembleSpec.from_yaml(arguments.spec))
    text = template.to_yaml()
    if arguments.out not in (None, "-"):
        write_bytes(arguments.out, text.encode())
    else:
        print(text, end="")
