"""quorate cvat: annotate a task of a CVAT server, and take that back."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli import cvat_cluster
from quorate.cli.arguments import count
from quorate.cli.serve import port

if TYPE_CHECKING:
    from typing import Any

    from quorate.cvat import Annotated, Client, Published
    from quorate.cvat.publishing.publish import Counts
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
        "one stopped, and creates no box twice. With --submit or --from it runs on Argo Workflows. "
        "Who you are is told by CVAT_ACCESS_TOKEN (a "
        "personal access token), or CVAT_USERNAME and CVAT_PASSWORD.",
    )
    run.add_argument("place", metavar="TASK", help="12, job:34, project:5, or an address in CVAT")
    run.add_argument(
        "spec", nargs="?", help="spec file (YAML); its `data` is not used; not with --from"
    )
    run.add_argument("-o", "--out", help="folder here for the results (default: out/cvat-task-12)")
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
    cvat_cluster.add_options(run)
    run.set_defaults(command=_run)

    brought = cvat_cluster.add_import(below)
    _add_server(brought)
    brought.set_defaults(command=_import)

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

    companion = below.add_parser(
        "companion",
        help="serve a page from which people who label start ensembles on their tasks",
        description="Serve pages that people who label open from their task: they sign in with "
        "their account of CVAT, fill in a form, watch the run, and find its boxes in the task. "
        "Nobody can run on what they may not change in CVAT.",
    )
    companion.add_argument("settings", nargs="?", help="settings file (YAML)")
    companion.add_argument(
        "--spec", action="append", default=[], metavar="SPEC", help="spec file to be run here"
    )
    companion.add_argument(
        "--namespace", help="namespace whose WorkflowTemplates are run, those used-by=cvat"
    )
    companion.add_argument(
        "--argo-server", metavar="HOST:PORT", help="argo-server (default: ARGO_SERVER)"
    )
    companion.add_argument(
        "--storage", metavar="S3", help="where tasks are handed over: s3://BUCKET/FOLDER"
    )
    companion.add_argument("--cvat", metavar="URL", help="address of CVAT (default: CVAT_URL)")
    companion.add_argument(
        "--url", help="address under which people reach the companion, where it is another"
    )
    companion.add_argument(
        "--state",
        metavar="FOLDER",
        help="folder of runs and their files (default: ~/.local/state/quorate/companion)",
    )
    companion.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)"
    )
    companion.add_argument(
        "--port", type=port, default=8090, help="port to listen at (default: 8090); 0: any"
    )
    companion.set_defaults(command=_companion)

    register = below.add_parser(
        "register",
        help="let a project, or an organization, tell the companion what happens",
        description="Make the webhook of a project, or with --org alone of an organization, and "
        "let CVAT call the companion once. The webhook's secret is that of QUORATE_WEBHOOK_SECRET. "
        "The same command again changes nothing, but for a new secret.",
    )
    register.add_argument("project", nargs="?", help="5, project:5, or its address in CVAT")
    register.add_argument(
        "--companion",
        metavar="URL",
        required=True,
        help="the companion's address, as CVAT and browsers reach it",
    )
    register.add_argument(
        "--links",
        action="store_true",
        help="make the companion's page the link of the tasks that are there and have none",
    )
    _add_server(register, "the project's")
    register.set_defaults(command=_register)


def _rule(text: str) -> Rule:
    from quorate.errors import InputError
    from quorate.steps.review import Rule

    try:
        return Rule.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.hint}") from None


def _add_server(command: argparse.ArgumentParser, whose: str = "the task's") -> None:
    command.add_argument("--server", help=f"address of CVAT (default: {whose}, or CVAT_URL)")
    command.add_argument("--org", help="organization (default: CVAT_ORGANIZATION)")
    command.add_argument("--json", action="store_true", help="print what was done as JSON")


def _client(arguments: argparse.Namespace, server: str | None) -> Client:
    from quorate.cvat import Client

    return Client.connect(arguments.server or server, organization=arguments.org)


def _run(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note, progress_bars
    from quorate.cvat import annotate
    from quorate.cvat.task import Place
    from quorate.ensemble import DetectionEnsemble
    from quorate.errors import InputError

    if (arguments.spec is None) == (arguments.template is None):
        raise InputError("Give a spec, or a template with --from.", hint="quorate cvat run --help")
    place = Place.parse(arguments.place)
    ensemble = DetectionEnsemble.from_yaml(arguments.spec) if arguments.spec else None
    client = _client(arguments, place.server)
    note(f"{client.server}: CVAT {client.version()}, {place}")
    if ensemble is None or arguments.submit:
        cvat_cluster.run(arguments, client, place, ensemble, _shown)
        return
    cvat_cluster.refuse(arguments)
    done: list[Annotated] = []
    try:
        with progress_bars() as progress:
            annotate(
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
                done=done,
            )
    except BaseException:  # of a project, what is done before is told: it can be undone
        if done:
            _told_all(arguments, client, done)
        raise
    _told_all(arguments, client, done)


def _told_all(arguments: argparse.Namespace, client: Client, done: list[Annotated]) -> None:
    from dataclasses import asdict

    from quorate.cli.output import print_json
    from quorate.cli.summary import print_summary

    if arguments.json:
        print_json(
            [
                {"task": one.task, **asdict(one.published), "files": list(one.summary.files)}
                for one in done
            ]
        )
        return
    for one in done:
        print_summary(one.summary, import_next=False)
        _shown(client, one.task, one.published)


def _import(arguments: argparse.Namespace) -> None:
    client = _client(arguments, None) if arguments.task or arguments.server else None
    cvat_cluster.bring(arguments, client, _shown)


def _companion(arguments: argparse.Namespace) -> None:
    import logging

    from quorate.cli.output import note
    from quorate.companion.serving import serve
    from quorate.companion.settings import Settings

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, force=True)
    cluster = {"namespace": arguments.namespace, "server": arguments.argo_server}
    cluster = {name: value for name, value in cluster.items() if value}
    settings = Settings.read(
        arguments.settings,
        specs=tuple(arguments.spec),
        cvat=arguments.cvat,
        url=arguments.url,
        cluster=cluster,
        storage=arguments.storage,
        state=arguments.state,
    )
    serve(
        settings,
        host=arguments.host,
        port=arguments.port,
        ready=lambda url: note(f"companion of {settings.cvat} at {settings.url or url}"),
    )


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


def _register(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from quorate.cli.output import note, notes, print_json, progress_bars
    from quorate.companion.hooks.registering import project_of, register
    from quorate.companion.settings import site, webhook_secret
    from quorate.cvat.task import Place

    url, secret = site(arguments.companion), webhook_secret()
    project = arguments.project
    number = None if project is None else project_of(project)
    there = None if project is None or project.isdecimal() else Place.parse(project).server
    client = _client(arguments, there)
    with progress_bars() as progress:
        done = register(
            client,
            number,
            url,
            secret,
            links=arguments.links,
            progress=lambda at, total: progress("links", at, total),
        )
    if arguments.json:
        print_json(asdict(done))
        return
    made = "made" if done.made else "was there, and is as it should be"
    note(f"{client.server}: webhook {done.webhook} of {project or client.organization}: {made}")
    if arguments.links:
        note(f"links: {done.linked:,} made; {done.others:,} tasks keep the link that they have")
    notes(done.notes)
    note(f"CVAT calls {url}/hooks: {_answered(done.status)}")


def _answered(status: int | None) -> str:
    if status is not None and status < 300:
        return "the companion answers"
    if status == 401:
        return "the companion has another QUORATE_WEBHOOK_SECRET"
    if status == 404:
        return "nothing there takes webhooks: do the companion's settings have `hooks:`?"
    return (
        f"it does not reach the companion ({status}). CVAT's outgoing proxy refuses private "
        "addresses: SMOKESCREEN_OPTS of its services allows one"
    )


def _shown(client: Client, task: int, published: Published) -> None:
    """Tell what became of the shapes of one task."""
    from quorate.cli.output import note, notes

    notes(published.notes)
    _tell(f"task {task}", published)
    if earlier := published.earlier + published.tracks.earlier:
        note(
            f"{earlier:,} other boxes or tracks of earlier runs are there; --replace lets them "
            "make way"
        )
    opened = published.issues.opened if published.issues else 0
    if published.created or published.tracks.created or opened:
        note(f"look:     {client.server}/tasks/{task}")
        note(f"undo:     quorate cvat undo {published.run} --server {client.server}")


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
