"""quorate run and quorate demo: the whole chain on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from quorate.cli.arguments import count
from quorate.cli.output import note, progress_bars, warn
from quorate.cli.summary import print_summary


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    run = commands.add_parser(
        "run",
        description="Run an ensemble on this machine. The same command again goes on where a "
        "killed run stopped, and redoes only what a changed spec touches.",
    )
    add = run.add_argument
    add("spec", help="spec file (YAML)")
    add("data", nargs="?", help="pictures, instead of the spec's own `data`")
    add("-o", "--out", default="out", help="folder for the results (default: out)")
    add("--fresh", action="store_true", help="forget what an earlier run has done")
    add("--workers", type=count, help="threads (default: one for each processor)")
    add("--json", action="store_true", help="print the summary as JSON")
    run.set_defaults(command=_run)

    demo = commands.add_parser(
        "demo",
        description="Three small detectors look at pictures of machine parts, and a quorum "
        "decides. The spec, the detectors and the pictures are put into `parts` in the folder of "
        "the results, for you to change.",
    )
    add = demo.add_argument
    add("-o", "--out", default="out/demo", help="folder for the results (default: out/demo)")
    add("--json", action="store_true", help="print the summary as JSON")
    demo.set_defaults(command=_demo, data=None, fresh=False, workers=None)


def _demo(arguments: argparse.Namespace) -> None:
    import shlex
    from pathlib import Path

    from quorate.demo import unpack

    spec = arguments.spec = unpack(Path(arguments.out) / "parts")
    _run(arguments)
    again = shlex.join(["quorate", "run", str(spec), "--out", arguments.out])
    note(
        f"try next: change `fusion` in {spec}, for example to {{method: wbf}}, then\n"
        f"          {again}   (only what the change touches is done again)"
    )


def _run(arguments: argparse.Namespace) -> None:
    import os

    from quorate.ensemble import read_ensemble
    from quorate.notifications import telling

    ensemble = read_ensemble(arguments.spec)
    out = os.path.abspath(arguments.out)
    with telling(
        ensemble.notify,
        ensemble=ensemble.name,
        run=out,
        problem=lambda error: warn(f"warning: {error}"),
    ) as ended:
        with progress_bars() as progress:
            summary = ensemble.run(
                arguments.data,
                arguments.out,
                fresh=arguments.fresh,
                workers=arguments.workers,
                progress=progress,
            )
        ended(summary)
    print_summary(summary, as_json=arguments.json)
