"""quorate submit, watch, status, list, logs, stop, retry: runs on a cluster."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json

WHERE = (
    "Argo is reached through argo-server where --server or ARGO_SERVER names one (ARGO_TOKEN, "
    "ARGO_SECURE and Argo's other variables count), else with the kubeconfig."
)


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    submit = _command(
        commands, "submit", _submit, "Start a run of an ensemble on Argo Workflows: its template "
        "is rendered, made so on the cluster, and a workflow of it is created.",
    )  # fmt: skip
    submit.add_argument("spec", nargs="?", help="spec file (YAML); not with --from")
    submit.add_argument("--from", dest="template", metavar="TEMPLATE",
                        help="start this WorkflowTemplate, which the cluster has")  # fmt: skip
    submit.add_argument("--data", help="pictures, instead of the spec's own: s3://… or a key in "
                        "the cluster's bucket; with --upload also a folder here")  # fmt: skip
    submit.add_argument("-o", "--out", help="folder of the cluster's bucket for the results "
                        "(default: quorate)")  # fmt: skip
    submit.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter of the template; may be repeated")  # fmt: skip
    submit.add_argument("--upload", action="store_true", help="put weights and data that are on "
                        "this machine into the cluster's bucket first")  # fmt: skip
    submit.add_argument("-w", "--watch", action="store_true",
                        help="show the run until it ends, then what it came to")  # fmt: skip
    submit.add_argument("--json", action="store_true", help="print JSON")

    watch = _command(commands, "watch", _watch, "Show a run until it ends, then what it came to. "
                     "The exit status is not 0 where the run failed.")  # fmt: skip
    _named(watch)
    watch.add_argument("--json", action="store_true", help="print the summary as JSON")

    status = _command(commands, "status", _status, "Show a run as it is now, with the reason of "
                      "each pod that waits or failed.")  # fmt: skip
    _named(status)
    status.add_argument("--json", action="store_true", help="print JSON")

    listed = _command(commands, "list", _list, "List the runs of the namespace, newest first.")
    listed.add_argument("--ensemble", help="only runs of this ensemble")
    listed.add_argument("--limit", type=int, default=20, help="how many at most (default: 20)")
    listed.add_argument("--all", action="store_true", help="also workflows that are not of "
                        "quorate, and the children of large runs")  # fmt: skip
    listed.add_argument("--json", action="store_true", help="print JSON instead of a table")

    logs = _command(commands, "logs", _logs, "Print what the steps of a run wrote.")
    _named(logs)
    logs.add_argument("task", nargs="?", help="only this task: detect-yolo, or 'shard 00003/fuse'")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")

    stop = _command(commands, "stop", _stop, "Stop a run; finished parts stay.")
    _named(stop)
    stop.add_argument("--now", action="store_true", help="do not run the exit handler either")

    retry = _command(commands, "retry", _retry, "Run again what failed; what succeeded stays. It "
                     "needs argo-server.")  # fmt: skip
    _named(retry)
    retry.add_argument("-w", "--watch", action="store_true", help="show the run until it ends")
    retry.add_argument("--json", action="store_true", help="print the summary as JSON")


def _command(commands: Any, name: str, run: Any, what: str) -> Any:
    command = commands.add_parser(name, description=f"{what} {WHERE}")
    command.add_argument("-n", "--namespace", help="default: ARGO_NAMESPACE, else the kubeconfig's")
    command.add_argument("--server", metavar="HOST:PORT", help="argo-server (default: ARGO_SERVER)")
    command.set_defaults(command=run)
    return command


def _named(command: Any) -> None:
    command.add_argument("name", help="the run, as `quorate submit` and `quorate list` print it")


def _cluster(arguments: argparse.Namespace, namespace: str | None = None) -> Cluster:
    from quorate.argo.cluster.connect import connect

    return connect(server=arguments.server, namespace=arguments.namespace or namespace)


def _submit(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.submit import submit, submit_from
    from quorate.cli.output import note, print_json, progress_bars
    from quorate.ensemble import DetectionEnsemble
    from quorate.errors import InputError

    if (arguments.spec is None) == (arguments.template is None):
        raise InputError("Give a spec, or a template with --from.", hint="quorate submit --help")
    if arguments.template and arguments.upload:
        raise InputError("--upload needs a spec: a template says no more what is on this machine.")
    given = {"data": arguments.data, "out": arguments.out}
    parameters = _parameters(arguments.parameter)
    if arguments.template:
        cluster = _cluster(arguments)
        run = submit_from(cluster, arguments.template, parameters=parameters, **given)
    else:
        ensemble = DetectionEnsemble.from_yaml(arguments.spec)
        cluster = _cluster(arguments, ensemble.workflow.namespace)
        with progress_bars() as progress:
            run = submit(
                ensemble,
                cluster,
                parameters=parameters,
                upload=arguments.upload,
                progress=progress,
                **given,
            )
    note(f"through {cluster.where}")
    note(f"template: {run.template}" + (f" ({run.applied})" if run.applied else ""))
    if arguments.watch:
        note(f"run: {run.name}")
        _until_the_end(cluster, run.name, as_json=arguments.json)
    elif arguments.json:
        from dataclasses import asdict

        print_json(asdict(run))
    else:
        print(run.name)
        note(f"quorate watch {run.name}{cluster.options} shows it")


def _parameters(given: list[str]) -> dict[str, str]:
    """The NAME=VALUE of -p."""
    from quorate.errors import InputError

    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise InputError(f"-p {one}: expected NAME=VALUE.")
        if name in found:
            raise InputError(f"-p {name} is given twice.")
        found[name] = value
    return found


def _watch(arguments: argparse.Namespace) -> None:
    _until_the_end(_cluster(arguments), arguments.name, as_json=arguments.json)


def _until_the_end(cluster: Cluster, name: str, *, as_json: bool) -> None:
    """Show a run until it ends, then what it came to; WorkflowError where it failed."""
    from quorate.argo.runs.watch import check, drawn, follow
    from quorate.cli.output import note

    try:
        with drawn() as show:
            workflow, branch = follow(cluster, name, show)
    except KeyboardInterrupt:
        here = f"{name}{cluster.options}"
        note(f"\nthe run goes on: quorate watch {here}, or quorate stop {here}")
        raise SystemExit(130) from None
    check(branch, cluster.options)
    _outcome(workflow, as_json=as_json)


def _outcome(workflow: Json, *, as_json: bool) -> None:
    """Print the summary of a run that ended well, where it can be read from here."""
    from quorate.argo.runs.outcome import degraded, place, summary
    from quorate.cli.output import note, print_json
    from quorate.cli.summary import print_summary
    from quorate.errors import QuorateError

    results = place(workflow)
    if results is None:
        note("the run left no results")
        if as_json:
            print_json({"results": None})
        return
    try:
        found = summary(results)
    except QuorateError as error:
        note(f"results: {results}")
        if degraded(workflow):
            note("degraded: not every detector took part")
        note(f"they cannot be read from here: {error.message}")
        if as_json:
            print_json({"results": results})
        return
    print_summary(found, as_json=as_json)
    note(f"results: {results}")


def _status(arguments: argparse.Namespace) -> None:
    from datetime import UTC, datetime

    from quorate.argo.runs.outcome import degraded, place
    from quorate.argo.runs.reasons import remedy
    from quorate.argo.runs.watch import drawing, explained
    from quorate.cli.output import note, print_json

    cluster = _cluster(arguments)
    workflow = cluster.workflow(arguments.name)
    branch = explained(cluster, workflow)
    now = datetime.now(UTC)
    results = place(workflow)
    if arguments.json:
        tasks = [
            {
                "task": path or one.label,
                "phase": one.phase,
                "seconds": one.seconds(now),
                "progress": one.progress,
                "attempts": one.attempts,
                "message": one.message,
                "remedy": remedy(one.message),
                "pods": one.pods,
            }
            for path, one in branch.paths()
        ]
        print_json({"name": branch.label, "phase": branch.phase, "message": branch.message,
                    "degraded": degraded(workflow), "results": results,
                    "tasks": tasks[1:]})  # fmt: skip
        return
    from rich.console import Console

    Console().print(drawing(branch, now))
    if results:
        note(f"results: {results}")


def _list(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.runs import rows
    from quorate.cli.output import note, print_table

    cluster = _cluster(arguments)
    found = rows(cluster, ensemble=arguments.ensemble, everything=arguments.all)
    print_table(found[: arguments.limit], title=f"Runs: {cluster.where}", as_json=arguments.json)
    if len(found) > arguments.limit:
        note(f"and {len(found) - arguments.limit:,} older ones (--limit)")


def _logs(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.runs import pods_of
    from quorate.cli.output import note

    cluster = _cluster(arguments)
    workflow = cluster.workflow(arguments.name)
    tasks = pods_of(workflow, arguments.task)
    seen = set()
    only = None if arguments.task is None else list(tasks)
    for line in cluster.logs(arguments.name, pods=only, follow=arguments.follow):
        if line.pod not in tasks:  # begun since the workflow was read
            tasks |= pods_of(cluster.workflow(arguments.name), None)
        seen.add(line.pod)
        alone = arguments.task is not None and len(tasks) == 1
        print(line.text if alone else f"{tasks.get(line.pod, line.pod)}: {line.text}", flush=True)
    for pod, task in tasks.items():
        if pod not in seen and not arguments.follow:
            note(f"{task}: no log; its pod {pod} has not begun, wrote nothing, or is gone")


def _stop(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note

    _cluster(arguments).stop(arguments.name, now=arguments.now)
    note(f"{arguments.name} stops" + (" now" if arguments.now else "; its exit handler runs"))


def _retry(arguments: argparse.Namespace) -> None:
    from quorate.cli.output import note

    cluster = _cluster(arguments)
    cluster.retry(arguments.name)
    note(f"{arguments.name} runs again where it failed")
    if arguments.watch:
        _until_the_end(cluster, arguments.name, as_json=arguments.json)
