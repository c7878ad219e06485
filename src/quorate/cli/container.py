"""quorate check-container: does somebody else's detector keep the step contract?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.output import print_json, print_table
from quorate.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from quorate.steps.container_rules import Finding


def add_commands(commands: Any) -> None:
    """Add this group's command."""
    check = commands.add_parser(
        "check-container",
        description="Run a container on a few made-up pictures, or look at what it has written, "
        "and list the rules of the step contract that it keeps. The exit status is 2 where it "
        "keeps one not.",
    )
    check.add_argument(
        "target",
        metavar="IMAGE|DIR|SPEC",
        help="an image to run, a folder that a container has written, or the spec (.yaml) that "
        "says how it is run",
    )
    check.add_argument("--detector", help="which detector of the spec, where it has several")
    check.add_argument("--labels", default="thing", help="what an image is asked for (a,b,…)")
    check.add_argument("--images", metavar="FILE", help="the images.json that a folder is held to")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    findings = _findings(arguments)
    if arguments.json:
        print_json([asdict(finding) for finding in findings])
    else:
        words = {True: "kept", False: "MISSING", None: "?"}
        print_table([{"": words[f.kept], "rule": f.rule, "found": f.found} for f in findings])
    missing = [finding for finding in findings if finding.kept is False]
    if missing:
        raise InputError(
            f"{arguments.target}: {len(missing)} of {len(findings)} rules are not kept.",
            hint="docs/guides/container-detectors.md has a detector that keeps them all",
        )


def _findings(arguments: argparse.Namespace) -> list[Finding]:
    import os
    import tempfile
    from pathlib import Path

    from quorate.detectors.container import ContainerDetector
    from quorate.ensemble import DetectionEnsemble
    from quorate.labels import Labels
    from quorate.steps import Runner
    from quorate.steps.container_rules import examine_folder, try_out

    target: str = arguments.target
    listed = Path(arguments.images) if arguments.images else None
    if os.path.isdir(target):
        return examine_folder(Path(target).absolute(), listed)
    labels = tuple(word for word in arguments.labels.split(",") if word)
    if target.endswith((".yaml", ".yml")):
        ensemble = DetectionEnsemble.from_yaml(os.path.abspath(target))
        named = {d.name: d for d in ensemble.detectors if isinstance(d, ContainerDetector)}
        name = arguments.detector or next(iter(named), "")
        if name not in named or (len(named) > 1 and not arguments.detector):
            raise InputError(
                f"{target}: say which container detector is meant: {', '.join(named) or 'none'}.",
                hint=did_you_mean(name, named) if arguments.detector else "--detector NAME",
            )
        detector = named[name]
        words = tuple(detector.labels.get(w, w) for w in detector.words.values())
        labels = ensemble.labels or tuple(dict.fromkeys(words)) or labels
    else:
        detector = ContainerDetector(name="container", image=target)
    with tempfile.TemporaryDirectory(prefix="quorate-check-") as folder:
        return try_out(Runner.of(detector), Labels.from_names(labels), Path(folder))
