"""quorate render, submit, watch, status, list, logs, stop, retry, pools, doctor: on a cluster."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from quorate.cli.arguments import pairs
from quorate.cli.output import note, print_json, print_table, progress_bars
from quorate.cli.summary import print_summary
from quorate.errors import InputError, QuorateError

if TYPE_CHECKING:
    from quorate.argo.cluster.client import Cluster
    from quorate.argo.cluster.rest import Json
    from quorate.spec import Ensemble
    from quorate.spec.training import Training

WIDE = 10_000
"""Columns of what is printed where no terminal folds it."""
WHERE = (
    "Argo is reached through argo-server where --server or ARGO_SERVER names one (ARGO_TOKEN, "
    "ARGO_SECURE and Argo's other variables count), else with the kubeconfig."
)

NOTED = 8
"""Of how many pods without a log it is said."""


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    render = commands.add_parser(
        "render",
        description="Write the WorkflowTemplate that runs an ensemble, or a training, on Argo "
        "Workflows, or what puts an ensemble behind another server: services and an InferenceGraph "
        "of KServe, or a folder with models and a config.json for OpenVINO Model Server. The same "
        "spec gives the same bytes; no cluster is asked. What the other server cannot do is told.",
    )
    render.add_argument(
        "spec", help="spec file (YAML); or fuse-files, evaluate: templates that need none"
    )
    render.add_argument("-o", "--out", metavar="FILE", help="write to a file (default: print); "
                        "with --for ovms: the folder")  # fmt: skip
    render.add_argument("--for", dest="target", choices=("argo", "kserve", "ovms"), default="argo",
                        help="whom it is for (default: argo)")  # fmt: skip
    render.add_argument("--upload", action="store_true", help="put weights and data that are on "
                        "this machine into the cluster's bucket first")  # fmt: skip
    render.set_defaults(command=_render)

    submit = _command(
        commands, "submit", _submit, "Start a run of an ensemble, or a training, on Argo "
        "Workflows: its template is rendered, made so on the cluster, and a workflow of it is "
        "created.",
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
    submit.add_argument("--overwrite", action="store_true", help="put the spec's template in the "
                        "place of one that somebody has changed on the cluster")  # fmt: skip
    submit.add_argument("-w", "--watch", action="store_true",
                        help="show the run until it ends, then what it came to")  # fmt: skip
    submit.add_argument("--json", action="store_true", help="print JSON")

    watch = _command(commands, "watch", _watch, "Show a run until it ends, then what it came to. "
                     "The exit status is not 0 where the run failed.")  # fmt: skip
    watch.add_argument("--json", action="store_true", help="print the summary as JSON")

    status = _command(commands, "status", _status, "Show a run as it is now, with the reason of "
                      "each pod that waits or failed.")  # fmt: skip
    status.add_argument("--json", action="store_true", help="print JSON")

    listed = _command(commands, "list", _list, "List the runs of the namespace, newest first.")
    listed.add_argument("--ensemble", help="only runs of this ensemble")
    listed.add_argument("--limit", type=int, default=20, help="how many at most (default: 20)")
    listed.add_argument("--all", action="store_true", help="also workflows that are not of "
                        "quorate, and the children of large runs")  # fmt: skip
    listed.add_argument("--json", action="store_true", help="print JSON instead of a table")

    logs = _command(commands, "logs", _logs, "Print what the steps of a run wrote.")
    logs.add_argument("task", nargs="?", help="only this task: detect-yolo, or 'shard 00003/fuse'")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")

    stop = _command(commands, "stop", _stop, "Stop a run and its children; finished parts stay, "
                    "and `quorate retry` goes on from there.")  # fmt: skip
    stop.add_argument("--now", action="store_true", help="do not run the exit handler either")

    retry = _command(commands, "retry", _retry, "Run again what failed; what succeeded stays. "
                     "Children that failed go first.")  # fmt: skip
    retry.add_argument("-w", "--watch", action="store_true", help="show the run until it ends")
    retry.add_argument("--json", action="store_true", help="print the summary as JSON")

    pools = commands.add_parser(
        "pools",
        description="List a cluster's pools of nodes by accelerator, labels and taints; with a "
        "spec, which of its pools fit where. It needs a kubeconfig.",
    )
    pools.add_argument("spec", nargs="?", help="spec file (YAML)")
    pools.add_argument("--json", action="store_true", help="print JSON instead of a table")
    pools.set_defaults(command=_pools)

    doctor = _command(
        commands, "doctor", _doctor, "Look for what would keep an ensemble from running on a "
        "cluster: Argo, permissions, artifact repository, S3, images, pools; each finding with its "
        "remedy. The exit status is 2 where something is in the way.",
    )  # fmt: skip
    doctor.add_argument("spec", nargs="?", help="spec file (YAML): look at what it needs, too")
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _command(commands: Any, name: str, run: Any, what: str) -> Any:
    command = commands.add_parser(name, description=f"{what} {WHERE}")
    command.add_argument("-n", "--namespace", help="default: ARGO_NAMESPACE, else the kubeconfig's")
    command.add_argument("--server", metavar="HOST:PORT", help="argo-server (default: ARGO_SERVER)")
    if name in ("watch", "status", "logs", "stop", "retry"):
        command.add_argument(
            "name", help="the run, as `quorate submit` and `quorate list` print it"
        )
    command.set_defaults(command=run)
    return command


def _cluster(arguments: argparse.Namespace, namespace: str | None = None) -> Cluster:
    from quorate.argo.cluster.connect import connect

    return connect(server=arguments.server, namespace=arguments.namespace or namespace)


def _plan(path: str) -> Ensemble | Training:
    """The ensemble or the training of a spec file."""
    from quorate.ensemble import ClassificationEnsemble, DetectionEnsemble
    from quorate.spec import Ensemble, read_spec
    from quorate.spec.training import Training

    found = read_spec(path, DetectionEnsemble, ClassificationEnsemble, Training)
    assert isinstance(found, Ensemble | Training)
    return found


def _render(arguments: argparse.Namespace) -> None:
    if arguments.target != "argo":
        _render_for_server(arguments)
        return
    from quorate.argo.render import SHIPPED, shipped, workflow_template
    from quorate.spec import WorkflowSettings

    if arguments.spec in SHIPPED:
        if arguments.upload:
            raise InputError(f"--upload needs a spec: {arguments.spec} names no files.")
        template = shipped(arguments.spec, WorkflowSettings())
    else:
        plan = _plan(arguments.spec)
        if arguments.upload:
            from quorate.argo.runs.upload import plan_uploaded

            with progress_bars() as progress:
                plan = plan_uploaded(plan, None, progress=progress)
        template = workflow_template(plan)
    _write(template.to_yaml(), arguments.out)


def _write(text: str, out: str | None) -> None:
    """Write to a file; print where none is named."""
    from quorate.storage import write_bytes

    if out is None or out == "-":
        print(text, end="")
    else:
        write_bytes(out, text.encode())


def _render_for_server(arguments: argparse.Namespace) -> None:
    from quorate.ensemble import read_ensemble

    if arguments.upload:
        raise InputError("--upload goes with --for argo alone.")
    ensemble = read_ensemble(arguments.spec)
    if arguments.target == "ovms":
        from quorate.serving.ovms.render import render

        if arguments.out in (None, "-"):
            raise InputError("Models and a config.json are a folder: say where, with -o FOLDER.")
        notes = render(ensemble, arguments.out)
    else:
        from quorate.serving.kserve import manifests, to_yaml

        made, notes = manifests(ensemble)
        _write(to_yaml(made), arguments.out)
    for one in notes:
        note(one)


def _submit(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.submit import submit, submit_from

    if (arguments.spec is None) == (arguments.template is None):
        raise InputError("Give a spec, or a template with --from.", hint="quorate submit --help")
    if arguments.template and arguments.upload:
        raise InputError("--upload needs a spec: a template says no more what is on this machine.")
    given = {"data": arguments.data, "out": arguments.out}
    parameters = pairs("-p", arguments.parameter, "NAME=VALUE")
    if arguments.template:
        cluster = _cluster(arguments)
        run = submit_from(cluster, arguments.template, parameters=parameters, **given)
    else:
        plan = _plan(arguments.spec)
        cluster = _cluster(arguments, plan.workflow.namespace)
        with progress_bars() as progress:
            run = submit(
                plan,
                cluster,
                parameters=parameters,
                upload=arguments.upload,
                overwrite=arguments.overwrite,
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


def _watch(arguments: argparse.Namespace) -> None:
    _until_the_end(_cluster(arguments), arguments.name, as_json=arguments.json)


def _until_the_end(cluster: Cluster, name: str, *, as_json: bool) -> None:
    """Show a run until it ends, then what it came to; WorkflowError where it failed."""
    from quorate.argo.runs.watch import check, drawn, follow

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
    from quorate.argo.runs.runs import degraded, place, summary, trained

    results = place(workflow)
    if results is None:
        note("the run left no results")
    else:
        try:
            if (training := trained(results)) is not None:
                _print_training(training, as_json=as_json)
                note(f"results: {results}")
                return
            found = summary(results)
        except QuorateError as error:
            note(f"results: {results}")
            if degraded(workflow):
                note("degraded: not every detector took part")
            note(f"they cannot be read from here: {error.message}")
        else:
            print_summary(found, as_json=as_json)
            note(f"results: {results}")
            return
    if as_json:
        print_json({"results": results})


def _print_training(said: Json, *, as_json: bool) -> None:
    """Print what a training came to."""
    if as_json:
        print_json(said)
        return
    rows = [
        {"trainer": one["name"], "AP": one.get("ap"), "AP50": one.get("ap50"),
         "failed": one.get("failed", "")}
        for one in said["trainers"]
    ]  # fmt: skip
    print_table(rows, title=f"{said['name']}: {said['best']} is best on {said['pictures']} "
                f"pictures held out")  # fmt: skip
    for one in said["notes"]:
        note(f"note: {one}")


def _status(arguments: argparse.Namespace) -> None:
    from datetime import UTC, datetime

    from quorate.argo.runs.reasons import remedy
    from quorate.argo.runs.runs import degraded, place
    from quorate.argo.runs.watch import drawing, explained

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

    # In a pipe or a file each task has its line, so that what it says is found and copied whole.
    Console(width=None if sys.stdout.isatty() else WIDE).print(drawing(branch, now))
    if results:
        note(f"results: {results}")


def _list(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.runs import rows

    cluster = _cluster(arguments)
    found = rows(cluster, ensemble=arguments.ensemble, everything=arguments.all)
    print_table(found[: arguments.limit], title=f"Runs: {cluster.where}", as_json=arguments.json)
    if len(found) > arguments.limit:
        note(f"and {len(found) - arguments.limit:,} older ones (--limit)")


def _logs(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.logs import Logs

    found = Logs(_cluster(arguments), arguments.name, arguments.task)
    seen = set()
    for line in found.lines(follow=arguments.follow):
        seen.add(line.pod)
        alone = arguments.task is not None and len(found.tasks) == 1
        print(line.text if alone else f"{line.task}: {line.text}", flush=True)
    silent = [pod for pod in found.tasks if pod not in seen and not arguments.follow]
    for pod in silent[:NOTED]:
        task = found.tasks[pod]
        note(f"{task}: no log; its pod {pod} has not begun, wrote nothing, or is gone")
    if len(silent) > NOTED:
        note(f"and {len(silent) - NOTED:,} other pods have none")


def _stop(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.family import stop

    told = stop(_cluster(arguments), arguments.name, now=arguments.now)
    for name in told:
        handled = " now" if arguments.now else "; its exit handler runs" * (name == arguments.name)
        note(f"{name} stops{handled}")


def _retry(arguments: argparse.Namespace) -> None:
    from quorate.argo.runs.family import retry

    cluster = _cluster(arguments)
    for name in retry(cluster, arguments.name):
        note(f"{name} runs again where it failed")
    if arguments.watch:
        _until_the_end(cluster, arguments.name, as_json=arguments.json)


def _pools(arguments: argparse.Namespace) -> None:
    from quorate.argo.cluster.client_kube import Kube
    from quorate.argo.cluster.pools import fitting, nearest, node_groups, row
    from quorate.ensemble import read_ensemble

    ensemble = read_ensemble(arguments.spec) if arguments.spec else None
    kube = Kube.of_kubeconfig()
    groups = node_groups(kube.rest.items("/api/v1/nodes"))
    rows = [row(group) for group in groups]
    fits = fitting(ensemble, groups) if ensemble else {}
    for group, shown in zip(groups, rows, strict=True) if ensemble else ():
        shown["fits"] = ", ".join(n for n, names in fits.items() if group.name in names) or None
    print_table(rows, title=f"Pools of {kube.rest.where}", as_json=arguments.json)
    for name, names in fits.items():
        if not names and ensemble:
            note(f"the spec's pool {name} fits no node; {nearest(ensemble.pools[name], groups)}")


def _doctor(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from quorate.argo.doctor.examine import examine
    from quorate.ensemble import read_ensemble

    ensemble = read_ensemble(arguments.spec) if arguments.spec else None
    cluster = _cluster(arguments, ensemble.workflow.namespace if ensemble else None)
    found = []
    for finding in examine(cluster, ensemble):
        found.append(finding)
        if not arguments.json:
            mark = {"ok": "✔", "warn": "!", "fail": "✖"}[finding.state]
            print(f"{mark} {finding.check}: {finding.found}", flush=True)
            if finding.remedy:
                print(f"    → {finding.remedy}", flush=True)
    if arguments.json:
        print_json([asdict(finding) for finding in found])
    failed = sum(finding.state == "fail" for finding in found)
    if failed:
        raise InputError(
            f"{failed} of {len(found)} findings are in the way.",
            hint="each has its remedy beside it",
        )
    note("nothing is in the way")
