"""quorate cvat run --submit and --from, quorate cvat import: the way over a cluster."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING
from quorate.cli.arguments import count, pairs
from quorate.errors import InputError, QuorateError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from quorate.argo.cluster.client import Cluster
    from quorate.argo.runs.submit import Submitted
    from quorate.cvat import Client, Published
    from quorate.cvat.task import Place
    from quorate.ensemble import DetectionEnsemble

    Shown = Callable[[Client, int, Published], None]

OF_CLUSTER = {
    "parameter": "-p",
    "to": "--to",
    "cloud_storage": "--cloud-storage",
    "upload": "--upload",
    "namespace": "-n",
    "argo_server": "--argo-server",
    "detach": "--detach",
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add to `quorate cvat run` what is said of a cluster."""
    group = command.add_argument_group(
        "on a cluster",
        "Argo is reached through argo-server where --argo-server or ARGO_SERVER names one, else "
        "with the kubeconfig.",
    )
    group.add_argument(
        "--submit",
        action="store_true",
        help="run the spec on Argo Workflows, wait, and bring its boxes back",
    )
    group.add_argument(
        "--from",
        dest="template",
        metavar="TEMPLATE",
        help="run this WorkflowTemplate, which the cluster has, instead of a spec",
    )
    group.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the template, such as dump-format='COCO 1.0', the format in which "
        "CVAT exports the task; may be repeated",
    )
    group.add_argument(
        "--to",
        metavar="S3",
        help="where the task's pictures are put (default: s3://BUCKET/cvat, of the spec's "
        "`workflow: {bucket: …}` or QUORATE_BUCKET)",
    )
    group.add_argument(
        "--cloud-storage",
        type=count,
        metavar="ID",
        help="CVAT's number of that bucket, for CVAT to write there itself",
    )
    group.add_argument(
        "--upload",
        action="store_true",
        help="put weights that are on this machine into the cluster's bucket first",
    )
    group.add_argument(
        "--detach",
        action="store_true",
        help="do not wait: print the run's name, for `quorate cvat import`",
    )
    _add_where(group)


def _add_where(group: Any) -> None:
    group.add_argument("-n", "--namespace", help="default: ARGO_NAMESPACE, else the kubeconfig's")
    group.add_argument(
        "--argo-server", metavar="HOST:PORT", help="argo-server (default: ARGO_SERVER)"
    )


def add_import(commands: Any) -> argparse.ArgumentParser:
    """Add `quorate cvat import`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "import",
        help="bring the boxes of a run on a cluster into its task",
        description="Wait until a run on Argo Workflows has ended, and create its boxes in the "
        "task that it was started for. The same command again creates no box twice.",
    )
    command.add_argument("run", metavar="RUN", help="the run, as `quorate list` prints it")
    command.add_argument(
        "--task", metavar="TASK", help="12, job:34 or an address, where the run does not say it"
    )
    command.add_argument(
        "--replace",
        action="store_true",
        help="let boxes that earlier runs of the same ensemble made make way; those that somebody "
        "touched stay",
    )
    _add_where(command)
    return command


def refuse(arguments: argparse.Namespace) -> None:
    """InputError for options of a cluster where the run is here."""
    for name, option in OF_CLUSTER.items():
        if getattr(arguments, name):
            raise InputError(f"{option} is of a run on a cluster.", hint="add --submit or --from")


def run(
    arguments: argparse.Namespace,
    client: Client,
    place: Place,
    ensemble: DetectionEnsemble | None,
    shown: Shown,
) -> None:
    """`quorate cvat run` on a cluster."""
    from quorate.cli.output import note, notes, print_json, progress_bars
    from quorate.cvat import OnCluster, submit

    instead = {
        "out": "-p cvat-output-path=FOLDER says where results go",
        "workers": "the spec's pools say how much each pod has",
        "review": "`publish: {review: disagreement}` of the spec counts",
    }
    for name, hint in instead.items():
        if getattr(arguments, name):
            raise InputError(f"--{name} is of a run here.", hint=hint)
    cluster = _cluster(arguments, ensemble.workflow.namespace if ensemble else None)
    runs: list[Submitted] = []
    left: list[str] = []
    try:
        with progress_bars() as progress:
            submit(
                place,
                ensemble or arguments.template,
                OnCluster(
                    cluster,
                    to=arguments.to,
                    parameters=pairs("-p", arguments.parameter, "NAME=VALUE"),
                    cloud_storage=arguments.cloud_storage,
                    upload=arguments.upload,
                ),
                client=client,
                frames=arguments.frames,
                add_labels=arguments.add_labels,
                tracks=arguments.tracks,
                progress=progress,
                done=runs,
                left=left,
            )
    except (QuorateError, KeyboardInterrupt):
        _go_on(arguments, [one.name for one in runs], client, cluster)
        raise
    names = [one.name for one in runs]
    notes([f"left out: {said}" for said in left])
    note(f"through {cluster.where}")
    if not arguments.detach:
        _brought(arguments, cluster, names, client, None, shown)
    elif arguments.json:
        print_json(names)
    else:
        for name in names:
            print(name)
        for name in names:
            note(f"{_again(arguments, name, client)} brings the boxes into the task")


def bring(arguments: argparse.Namespace, client: Client | None, shown: Shown) -> None:
    """`quorate cvat import`."""
    from quorate.cvat.task import Place

    place = Place.parse(arguments.task) if arguments.task else None
    _brought(arguments, _cluster(arguments), [arguments.run], client, place, shown)


def _again(arguments: argparse.Namespace, run: str, client: Client | None) -> str:
    """The command that brings a run's boxes into its task."""
    options = {
        "-n": arguments.namespace,
        "--argo-server": arguments.argo_server,
        "--server": client and client.server,
        "--org": arguments.org,
    }
    told = (f" {name} {value}" for name, value in options.items() if value)
    return f"quorate cvat import {run}" + "".join(told)


def _go_on(
    arguments: argparse.Namespace, names: list[str], client: Client | None, cluster: Cluster
) -> None:
    """Say of runs that nobody waits for how their boxes come into the task."""
    from quorate.cli.output import note

    for name in names:
        note(
            f"\n{name} goes on; {_again(arguments, name, client)} brings its boxes into "
            f"the task, quorate stop {name}{cluster.options} ends it"
        )


def _cluster(arguments: argparse.Namespace, namespace: str | None = None) -> Cluster:
    from quorate.argo.cluster.connect import connect

    return connect(server=arguments.argo_server, namespace=arguments.namespace or namespace)


def _brought(
    arguments: argparse.Namespace,
    cluster: Cluster,
    names: list[str],
    client: Client | None,
    place: Place | None,
    shown: Shown,
) -> None:
    """Wait for each run, and bring what it decided into its task."""
    from dataclasses import asdict

    from quorate.argo.runs.watch import drawn
    from quorate.cli.output import note, print_json
    from quorate.cvat import import_run

    done: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        note(f"run: {name}")
        try:
            with drawn() as show:
                client_, task, published = import_run(
                    cluster,
                    name,
                    client=client,
                    place=place,
                    replace=arguments.replace,
                    show=show,
                )
        except KeyboardInterrupt:
            _go_on(arguments, names[number:], client, cluster)
            raise SystemExit(130) from None
        except QuorateError as error:
            if not isinstance(error, WorkflowError):  # what the run decided is in S3, not lost
                later = f"once that is mended: {_again(arguments, name, client)}"
                error.hint = "; ".join(filter(None, (error.hint, later)))
            _go_on(arguments, names[number + 1 :], client, cluster)
            if arguments.json and done:
                print_json(done)
            raise
        if not arguments.json:
            shown(client_, task.id, published)
        done.append({"task": task.id, "workflow": name, **asdict(published)})
    if arguments.json:
        print_json(done)
