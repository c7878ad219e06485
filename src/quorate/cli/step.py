"""quorate step: one step over a work folder, as a runner of containers calls it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import pairs
from quorate.cli.output import note, notes
from quorate.cli.pod import Progress, in_bucket, kept_at, tell_truth
from quorate.cli.step_training import add_step, add_steps
from quorate.cli.summary import print_summary
from quorate.errors import DetectorError, InputError, QuorateError

if TYPE_CHECKING:
    from quorate.spec import Ensemble
    from quorate.steps import Checkpoint, ClassSummary, Summary, Work


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    step = commands.add_parser("step", description=__doc__)
    steps = step.add_subparsers(title="steps", metavar="STEP", required=True)

    def add(name: str, command: Any, what: str) -> Any:
        option = add_step(steps, name, command, what)
        option("spec", help="spec file (YAML), as given or as prepare resolved it")
        option("--work", required=True, help="the work folder")
        if name in ("measure", "detect", "stage", "fuse"):
            option("--shard", type=int, required=True, help="which shard, from 0")
        return option

    option = add("prepare", _prepare, "find the pictures and cut them into shards")
    option(
        "--data",
        help="pictures, instead of the spec's own `data`; where QUORATE_BUCKET is set, a location "
        "without a scheme is a key in that bucket",
    )
    option("--method", help="fusion method, instead of the spec's own")
    option(
        "--shard-size",
        metavar="N",
        default="auto",
        help="pictures in each shard (default: auto, chosen from their number)",
    )
    option("--count", metavar="FILE", help="write the number of shards that are left to a file")
    option(
        "--fuse",
        metavar="FILE",
        help="write true to a file where the shards are worth a fusion step each, or false",
    )
    option(
        "--measure",
        metavar="FILE",
        help="leave the sizes of pictures to `measure` where each shard is worth a step for it; "
        "write true to a file then, else false",
    )
    option(
        "--one-pod",
        metavar="N",
        type=int,
        default=0,
        help="do the other steps too where there are no more pictures than this, in one shard, and "
        "no detector is a container; 0 shards are left then (default: 0)",
    )
    option(
        "--try",
        dest="tries",
        metavar="K",
        type=int,
        default=0,
        help="which try this is, from 0: a later one leaves the other steps to others",
    )
    option("-o", "--out", help="with --one-pod: folder for the results")
    option("--workers", type=int, help="with --one-pod: threads (default: one per processor)")
    option("--degraded", metavar="FILE", help="with --one-pod: as of publish")
    add("measure", _measure, "read how large the pictures of one shard are")
    option = add("detect", _detect, "run one detector over one shard")
    option("--detector", required=True, help="which detector of the spec")
    option("--workers", type=int, help="threads (default: one per processor)")
    option(
        "--checkpoint",
        metavar="PLACE",
        help="S3 prefix, key of QUORATE_BUCKET or absolute path of a folder that keeps finished "
        "parts, so that another machine goes on from there",
    )
    option = add("stage", _stage, "copy a shard's pictures into a folder, for a container detector")
    option("--to", required=True, metavar="FOLDER", help="where to copy them")
    option = add("fuse", _fuse, "let the quorum decide on one shard")
    option(
        "--status",
        metavar="NAME=STATUS",
        action="append",
        default=[],
        help="how a detector's task ended, in Argo's words: it gives the reason where the "
        "detector left none; may be repeated",
    )
    option(
        "--workflow",
        metavar="NAME",
        help="the workflow that this is a step of: its API server is asked why a detector left "
        "neither boxes nor a reason",
    )
    option("--namespace", default="", help="the workflow's namespace")
    option = add(
        "publish", _publish, "fuse the remaining shards, write the annotations and the report"
    )
    option("-o", "--out", required=True, help="folder for the results")
    option(
        "--degraded", metavar="FILE", help="write true to a file where a detector failed, or false"
    )
    what = "tell how a workflow went and mark it if degraded; it never changes the result"
    option = add_step(steps, "finish", _finish, what)
    option("spec", nargs="?", help="spec file (YAML): its `notify` says who is told")
    option("--workflow", required=True, metavar="NAME", help="the workflow's name")
    option("--namespace", default="", help="the workflow's namespace")
    option(
        "--status",
        required=True,
        help="how it ended, in Argo's words: Succeeded, Failed, Error; Running: it starts",
    )
    option(
        "--failures",
        metavar="JSON",
        help="what failed, as Argo lists it; used where the API server does not answer",
    )
    option("--summary", metavar="FILE", help="the summary.json that publish wrote")
    option("--results", metavar="PLACE", help="where the results are, to link to")
    what = "keep a workflow's template as it began, for its children, by the workflow's name"
    option = add_step(steps, "keep", _keep, what)
    option("--workflow", required=True, metavar="NAME", help="the workflow's name")
    option("--namespace", default="", help="the workflow's namespace")
    option("--at-once", type=int, default=1, metavar="N", help="how many children run "
           "at a time: each may have its share of the pods")  # fmt: skip
    add_steps(steps)


def _given(arguments: argparse.Namespace) -> tuple[Ensemble, Work]:
    import os
    from pathlib import Path

    from quorate import pictures
    from quorate.ensemble import read_ensemble
    from quorate.steps import Work

    # Absolute, so that a spec that is written down again means the same files elsewhere.
    spec = os.path.abspath(arguments.spec)
    ensemble = read_ensemble(spec)
    pictures.allow(ensemble.max_pixels)
    return ensemble, Work(Path(arguments.work))


def _prepare(arguments: argparse.Namespace) -> None:
    from quorate.spec import with_method
    from quorate.steps import check_shards, prepare, worth_pods
    from quorate.storage import write_bytes

    ensemble, work = _given(arguments)
    given = arguments.shard_size
    if given not in ("auto", "") and (not given.isdecimal() or int(given) < 1):
        raise InputError(
            f"A shard of {given} pictures cannot be made; it takes a number from 1, or auto."
        )
    size = int(given) if given.isdecimal() else None
    lost: tuple[str, ...] = ()
    if arguments.data:
        ensemble = ensemble.model_copy(update={"data": in_bucket(arguments.data)})
    if arguments.method:
        fusion, lost = with_method(ensemble.rule, arguments.method)
        ensemble = ensemble.model_copy(update={"fusion": fusion})
    plan = prepare(
        ensemble,
        work,
        shard_size=size,
        apart=bool(arguments.measure),
        notes=lost,
        progress=Progress(),
    )
    notes(plan.notes)
    alone = arguments.tries == 0 and plan.shards == 1 and plan.images <= arguments.one_pod
    alone = alone and not plan.apart and not any(d.kind == "container" for d in ensemble.members)
    if arguments.count:
        check_shards(plan.images, plan.shards)
        write_bytes(arguments.count, b"0" if alone else f"{plan.shards}".encode())
    tell_truth(arguments.fuse, worth_pods(plan.images))
    tell_truth(arguments.measure, plan.apart)
    print(plan.shards)
    if alone:
        _finish_here(arguments, ensemble, work)
    else:
        tell_truth(arguments.degraded, False)


def _finish_here(arguments: argparse.Namespace, ensemble: Ensemble, work: Work) -> None:
    """The steps after prepare, in this process."""
    from pathlib import Path

    from quorate.steps.whole import finish
    from quorate.workers import processors

    if not arguments.out:
        raise InputError("Where are the results to go?", hint="add `--out FOLDER` to --one-pod")
    workers = arguments.workers or processors()
    out = Path(arguments.out)
    summary = finish(ensemble, work, out, workers=workers, progress=Progress())
    _tell(arguments, summary)


def _measure(arguments: argparse.Namespace) -> None:
    from quorate.steps import measure

    _, work = _given(arguments)
    contents = measure(work, arguments.shard, progress=Progress())
    for skipped in contents.skipped:
        note(f"note: {skipped.file_name}: {skipped.reason}")
    print(len(contents.images))


def _detect(arguments: argparse.Namespace) -> None:
    from quorate.detectors.container import ContainerDetector
    from quorate.progress import adding
    from quorate.steps import Runner, Voter, detect
    from quorate.workers import processors

    ensemble, work = _given(arguments)
    detector = ensemble.member(arguments.detector)
    contents = work.images(arguments.shard)
    kept = _checkpoint(arguments.checkpoint)
    try:
        if isinstance(detector, ContainerDetector):
            Runner.of(detector).run(work, arguments.shard)
            return
        voter = Voter.load(detector, contents.labels)
        failed = detect(
            work,
            arguments.shard,
            [voter],
            workers=arguments.workers or processors(),
            checkpoints={detector.name: kept} if kept else None,
            progress=adding(Progress(), len(contents.images)),
        )
        if reason := failed.get(detector.name):
            raise DetectorError(f"{detector.name}: {reason}")
    except Exception as error:  # whatever it was, fusion and the report tell it
        reason = error.message if isinstance(error, QuorateError) else repr(error)
        work.failed(arguments.shard, detector.name, reason)
        raise


def _checkpoint(place: str | None) -> Checkpoint | None:
    """Where finished parts are kept; None where none are."""
    from quorate.steps import Checkpoint

    kept = kept_at(place)
    return Checkpoint(kept, warn=lambda remark: note(f"note: {remark}")) if kept else None


def _stage(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.detectors.container import ContainerDetector
    from quorate.steps import stage

    ensemble, work = _given(arguments)
    for skipped in stage(work, arguments.shard, Path(arguments.to)):
        note(f"note: {skipped.file_name}: {skipped.reason}")
    for detector in ensemble.members:
        if isinstance(detector, ContainerDetector):
            folder = work.detections(arguments.shard, detector.name)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # whoever the container runs as


def _fuse(arguments: argparse.Namespace) -> None:
    from quorate.steps import fuse

    ensemble, work = _given(arguments)
    given = pairs("--status", arguments.status, "NAME=STATUS")
    statuses = {ensemble.member(name).name: status for name, status in given.items()}
    workflow, shard = arguments.workflow, arguments.shard

    def ask() -> dict[str, str]:
        """Why detectors failed, by name; by "" why that cannot be asked."""
        from quorate.argo.runs.finish import detector_failures

        try:
            return detector_failures(arguments.namespace, workflow, shard) if workflow else {}
        except QuorateError as error:
            note(f"note: why a detector failed cannot be asked: {error.message}")
            return {"": f"the API server cannot be asked: {error.message.rstrip('.')}"}

    print(fuse(work, shard, ensemble, statuses=statuses, ask=ask).detections)


def _publish(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from quorate.steps import fuse, publish

    ensemble, work = _given(arguments)
    for shard in range(work.plan().shards):
        if not work.fused(shard).joinpath("manifest.json").exists():
            fuse(work, shard, ensemble)
    _tell(arguments, publish(ensemble, work, Path(arguments.out), progress=Progress()))


def _tell(arguments: argparse.Namespace, summary: Summary | ClassSummary) -> None:
    """What was published, here and where it was asked for."""
    tell_truth(arguments.degraded, summary.degraded)
    print_summary(summary)


def _finish(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.finish import Ended, finish

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


def _keep(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.family import keep

    made = keep(arguments.namespace, arguments.workflow, arguments.at_once)
    print("made" if made else "kept")
