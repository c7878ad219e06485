"""quorate pools, doctor: a cluster looked at before anything runs there."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from quorate.spec import EnsembleSpec


def add_commands(commands: Any) -> None:
    """Add this group's commands."""
    pools = commands.add_parser(
        "pools",
        description="List a cluster's pools of nodes by accelerator, labels and taints; with a "
        "spec, which of its pools fit where. It needs a kubeconfig.",
    )
    pools.add_argument("spec", nargs="?", help="spec file (YAML)")
    pools.add_argument("--json", action="store_true", help="print JSON instead of a table")
    pools.set_defaults(command=_pools)
    doctor = commands.add_parser(
        "doctor",
        description="Look for what would keep an ensemble from running on a cluster: Argo, "
        "permissions, artifact repository, S3, images, pools; each finding with its remedy. The "
        "exit status is 2 where something is in the way.",
    )
    doctor.add_argument("spec", nargs="?", help="spec file (YAML): look at what it needs, too")
    doctor.add_argument("-n", "--namespace", help="default: ARGO_NAMESPACE, else the kubeconfig's")
    doctor.add_argument("--server", metavar="HOST:PORT", help="argo-server (default: ARGO_SERVER)")
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")
    doctor.set_defaults(command=_doctor)


def _spec(path: str | None) -> EnsembleSpec | None:
    from quorate.ensemble import DetectionEnsemble

    return None if path is None else DetectionEnsemble.from_yaml(path)


def _pools(arguments: argparse.Namespace) -> None:
    from quorate.argo.cluster.client_kube import Kube
    from quorate.argo.cluster.pools import fitting, nearest, node_groups, row
    from quorate.cli.output import note, print_table

    ensemble = _spec(arguments.spec)
    kube = Kube.of_kubeconfig()
    groups = node_groups(kube.rest("GET", "/api/v1/nodes").get("items") or [])
    fits = fitting(ensemble, groups) if ensemble else {}
    rows = [
        row(group)
        | ({"fits": ", ".join(n for n, names in fits.items() if group.name in names) or None}
           if ensemble else {})
        for group in groups
    ]  # fmt: skip
    print_table(rows, title=f"Pools of {kube.rest.where}", as_json=arguments.json)
    for name, names in fits.items():
        if not names and ensemble:
            note(f"the spec's pool {name} fits no node; {nearest(ensemble.pools[name], groups)}")


def _doctor(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from quorate.argo.cluster.connect import connect
    from quorate.argo.doctor.examine import examine
    from quorate.cli.output import note, print_json
    from quorate.errors import InputError

    ensemble = _spec(arguments.spec)
    namespace = arguments.namespace or (ensemble.workflow.namespace if ensemble else None)
    found = []
    for finding in examine(connect(server=arguments.server, namespace=namespace), ensemble):
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
