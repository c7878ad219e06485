"""quorate step: one step over a work folder, as a runner of containers calls it."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from quorate.ensemble import DetectionEnsemble
    from quorate.steps import Work


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    step = commands.add_parser(
        "step", help="run one step: prepare, detect, fuse or publish", description=__doc__
    )
    steps = step.add_subparsers(title="steps", metavar="STEP", required=True)
    for name, command, what in (
        ("prepare", _prepare, "find the pictures and cut them into shards"),
        ("detect", _detect, "run one detector over one shard"),
        ("fuse", _fuse, "let the quorum decide on one shard"),
        ("publish", _publish, "write the annotations, the evaluation and the report"),
    ):
        one = steps.add_parser(name, help=what, description=what)
        one.add_argument("spec", help="spec file (YAML)")
        one.add_argument("--work", required=True, help="the work folder")
        one.set_defaults(command=command)
        if name == "prepare":
            one.add_argument("--data", help="pictures, instead of the spec's own `data`")
            one.add_argument("--shard-size", type=int, help="pictures a shard (default: 1024)")
        if name == "detect":
            one.add_argument("--detector", required=True, help="which detector of the spec")
            one.add_argument("--workers", type=int, help="threads (default: one per processor)")
        if name in ("detect", "fuse"):
            one.add_argument("--shard", type=int, required=True, help="which shard, from 0")
        if name == "publish":
            one.add_argument("-o", "--out", required=True, help="folder for the results")


def _given(arguments: argparse.Namespace) -> tuple[DetectionEnsemble, Work]:
    from pathlib import Path

    from quorate.ensemble import DetectionEnsemble
    from quorate.steps import Work

    return DetectionEnsemble.from_yaml(arguments.spec), Work(Path(arguments.work))


def _prepare(arguments: argparse.Namespace) -> None:
    from quorate.steps import SHARD_SIZE, prepare

    ensemble, work = _given(arguments)
    if arguments.data:
        ensemble = ensemble.model_copy(update={"data": arguments.data})
    plan = prepare(ensemble, work, shard_size=arguments.shard_size or SHARD_SIZE)
    print(plan.shards)


def _detect(arguments: argparse.Namespace) -> None:
    from quorate.errors import DetectorError, InputError, did_you_mean
    from quorate.local import processors
    from quorate.steps import Voter, detect

    ensemble, work = _given(arguments)
    named = {detector.name: detector for detector in ensemble.detectors}
    if arguments.detector not in named:
        raise InputError(
            f"The ensemble has no detector '{arguments.detector}'.",
            hint=did_you_mean(arguments.detector, named),
        )
    voter = Voter.load(named[arguments.detector], work.images(arguments.shard).labels)
    workers = arguments.workers or processors()
    for name, reason in detect(work, arguments.shard, [voter], workers=workers).items():
        raise DetectorError(f"{name}: {reason}")


def _fuse(arguments: argparse.Namespace) -> None:
    from quorate.steps import fuse

    ensemble, work = _given(arguments)
    print(fuse(work, arguments.shard, ensemble).detections)


def _publish(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.cli.summary import print_summary
    from quorate.steps import publish

    ensemble, work = _given(arguments)
    print_summary(publish(ensemble, work, Path(arguments.out)))
