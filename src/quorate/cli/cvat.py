"""quorate cvat: annotate a task of a CVAT server, and take that back."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.arguments import count

if TYPE_CHECKING:
    from typing import Any

    from quorate.cvat import Annotated, Client, Published
    from quorate.cvat.publishing import Counts
    from quorate.steps.review import Rule


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    cvat = commands.add_parser("cvat")
    below = cvat.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = below.add_parser(
        "run",
        help="let an ensemble annotate a task, a job or a project",
        description="Download the pictures of a task, run an ensemble on them here, and create its "
        "boxes in the task, beside what people drew. The same command again goes on where a killed "
        "one stopped, and creates no box twice. Who you are is told by CVAT_ACCESS_TOKEN (a "
        "personal access token), or CVAT_USERNAME and CVAT_PASSWORD.",
    )
    run.add_argument("place", metavar="TASK", help="12, job:34, project:5, or an address in CVAT")
    run.add_argument("spec", help="spec file (YAML); its `data` is not used")
    run.add_argument("-o", "--out", help="folder for the results (default: out/cvat-task-12)")
    run.add_argument("--frames", metavar="RANGES", help="frames such as 0-99,150; default: all")
    run.add_argument(
        "--replace",
        action="store_true",
        help="let boxes that earlier runs of this ensemble made make way; those that somebody "
        "touched stay",
    )
    run.add_argument(
        "--add-labels",
        action="store_true",
        help="add labels of the spec that the task lacks, and the attributes votes, confidence "
        "and run",
    )
    run.add_argument(
        "--review",
        type=_rule,
        metavar="K|SCORE",
        help="open an issue on at most the K worst frames, or on those whose disagreement is at "
        "least SCORE, such as 0.3 (default: as the spec's publish: {review: …} says)",
    )
    run.add_argument(
        "--tracks",
        action="store_true",
        help="join the boxes of a video to tracks; needs the extra 'tracks'",
    )
    run.add_argument("--workers", type=count, help="threads (default: one for each processor)")
    _add_server(run)
    run.set_defaults(command=_run)

    undo = below.add_parser(
        "undo",
        help="delete what a run created",
        description="Delete the boxes and issues that a run created and that nobody has touched "
        "since.",
    )
    undo.add_argument("run", metavar="RUN", help="the name that the run told at its end")
    undo.add_argument(
        "--task", type=count, help="its task, where the run was made on another machine"
    )
    _add_server(undo)
    undo.set_defaults(command=_undo)


def _rule(text: str) -> Rule:
    from quorate.errors import InputError
    from quorate.steps.review import Rule

    try:
        return Rule.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.hint}") from None


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", help="address of CVAT (default: the task's, or CVAT_URL)")
    command.add_argument("--org", help="organization (default: CVAT_ORGANIZATION)")
    command.add_argument("--json", action="store_true", help="print what was done as JSON")


def _client(arguments: argparse.Namespace, server: str | None) -> Client:
    from quorate.cvat import Client

    return Client.connect(arguments.server or server, organization=arguments.org)


def _run(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note, notes, print_json, progress_bars
    from quorate.cli.summary import print_summary
    from quorate.cvat import annotate
    from quorate.cvat.task import Place
    from quorate.ensemble import DetectionEnsemble

    place = Place.parse(arguments.place)
    ensemble = DetectionEnsemble.from_yaml(arguments.spec)
    client = _client(arguments, place.server)
    note(f"{client.server}: CVAT {client.version()}, {place}")
    with progress_bars() as progress:
        done = annotate(
            place,
            ensemble,
            client=client,
            out=arguments.out,
            frames=arguments.frames,
            replace=arguments.replace,
            add_labels=arguments.add_labels,
            review=arguments.review,
            tracks=arguments.tracks,
            workers=arguments.workers,
            progress=progress,
        )
    if arguments.json:
        print_json([_told(one) for one in done])
        return
    for one in done:
        print_summary(one.summary, import_next=False)
        notes(one.published.notes)
        _tell(f"task {one.task}", one.published)
        earlier = one.published.earlier + one.published.tracks.earlier
        if earlier:
            note(
                f"{earlier:,} other boxes or tracks of earlier runs are there; --replace lets them "
                "make way"
            )
        if _new(one.published):
            note(f"look:     {client.server}/tasks/{one.task}")
            note(f"undo:     quorate cvat undo {one.published.run} --server {client.server}")


def _undo(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from quorate.cli.output import print_json
    from quorate.cvat import undo

    client = _client(arguments, None) if arguments.task or arguments.server else None
    done = undo(arguments.run, task=arguments.task, client=client)
    if arguments.json:
        print_json(asdict(done))
        return
    _tell(arguments.run, done)


def _told(one: Annotated) -> dict[str, Any]:
    from dataclasses import asdict

    return {"task": one.task, **asdict(one.published), "files": list(one.summary.files)}


def _new(done: Published) -> bool:
    """Whether there is something to look at and to undo."""
    return bool(done.created or done.tracks.created or (done.issues and done.issues.opened))


def _tell(who: str, done: Published) -> None:
    """Say what became of boxes, and of tracks and issues where there are any."""
    from quorate.cli.output import note

    note(f"{who}: boxes: {_counted(_counts(done))}")
    tracks = _counts(done.tracks)
    if any(count for count, _ in tracks):
        note(f"{who}: tracks: {_counted(tracks)}")
    if done.issues:
        issues = [
            (done.issues.opened, "opened"),
            (done.issues.there, "there already"),
            (done.issues.removed, "removed"),
            (done.issues.touched, "stay, for somebody answered or resolved them"),
        ]
        note(f"{who}: issues for review: {_counted(issues)}")


def _counts(done: Counts) -> list[tuple[int, str]]:
    return [
        (done.created, "created"),
        (done.there, "there already"),
        (done.removed, "of earlier runs removed" if done.created or done.there else "removed"),
        (done.touched, "stay, for somebody has changed them"),
    ]


def _counted(parts: list[tuple[int, str]]) -> str:
    return ", ".join(f"{count:,} {what}" for count, what in parts if count) or "none"
