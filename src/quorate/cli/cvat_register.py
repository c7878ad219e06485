"""quorate cvat register: tell a CVAT server of the companion."""

from __future__ import annotations

import argparse

from quorate import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def add_command(below: Any) -> None:
    """Add the command."""
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
    register.add_argument("--server", help="address of CVAT (default: the project's, or CVAT_URL)")
    register.add_argument("--org", help="organization (default: CVAT_ORGANIZATION)")
    register.add_argument("--json", action="store_true", help="print what was done as JSON")
    register.set_defaults(command=_register)


def _register(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from quorate.cli.output import note, notes, print_json, progress_bars
    from quorate.companion.hooks.registering import project_of, register
    from quorate.companion.settings import site, webhook_secret
    from quorate.cvat import Client
    from quorate.cvat.task import Place

    url, secret = site(arguments.companion), webhook_secret()
    project = arguments.project
    number = None if project is None else project_of(project)
    there = None if project is None or project.isdecimal() else Place.parse(project).server
    client = Client.connect(arguments.server or there, organization=arguments.org)
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
