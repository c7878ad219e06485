"""Telling a CVAT server of the companion: its webhook, and the links of tasks that are there.

Done by a person with their own credentials, who has to own the project or to be a maintainer of the
organization. The same once more changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from quorate.companion.hooks.events import EVENTS, set_link
from quorate.cvat.client import Client
from quorate.cvat.task import Place, tasks_of
from quorate.errors import AccessError, InputError

ABOUT = "Quorate's companion"


class _Webhook(msgspec.Struct):
    id: int
    target_url: str
    project_id: int | None = None


class _Key(msgspec.Struct):
    key: str


class _Known(msgspec.Struct):
    events: list[_Key]


class _Delivery(msgspec.Struct):
    status_code: int | None = None


@dataclass
class Registered:
    """What was told.

    webhook  its number in CVAT
    made     whether it is new; else the one that was there has been set to the same
    status   what the companion answered when CVAT called it; 502: CVAT did not reach it
    linked   tasks that have the link now
    others   tasks that have another link, or this one already, and keep it
    """

    webhook: int
    made: bool
    status: int | None = None
    linked: int = 0
    others: int = 0
    notes: list[str] = field(default_factory=list)


def register(
    client: Client,
    project: int | None,
    url: str,
    secret: str,
    *,
    links: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Registered:
    """Make the webhook of a project, or of the client's organization, and let CVAT call it.

    Args:
        client: of who makes it.
        project: None: of the organization that the client names.
        url: the companion's address, as the server reaches it.
        secret: what deliveries are signed with.
        links: whether tasks that are there and have no link get one.
        progress: told how many tasks are done.

    Raises:
        InputError: neither a project nor an organization.
        AccessError: this person may not make webhooks there.
    """
    if project is None and client.organization is None:
        raise InputError(
            "Webhooks belong to a project or to an organization, and none is named.",
            hint="name project:5, or --org NAME",
        )
    target = f"{url}/hooks"
    where = "project" if project is not None else "organization"
    known = {one.key for one in client.get("webhooks/events", _Known, type=where).events}
    body: dict[str, object] = {
        "target_url": target,
        "description": ABOUT,
        "content_type": "application/json",
        "secret": secret,
        "is_active": True,
        "enable_ssl": True,
        "events": [name for name in EVENTS if name in known],
    }
    try:
        there = client.all("webhooks", _Webhook, target_url=target)
        same = (one.id for one in there if (one.target_url, one.project_id) == (target, project))
        found = next(same, None)
        if found is None:
            whole = body | {"type": where} | ({"project_id": project} if project else {})
            found = client.send("POST", "webhooks", whole, _Webhook).id
            result = Registered(found, made=True)
        else:
            client.send("PATCH", f"webhooks/{found}", body, msgspec.Raw)
            result = Registered(found, made=False)
    except AccessError as error:
        raise AccessError(
            f"You may not make webhooks of this {where} ({error.message})",
            hint="the project's owner may, and who maintains the organization",
        ) from None
    result.status = client.send("POST", f"webhooks/{found}/ping", {}, _Delivery).status_code
    if links:
        _link(client, project, url, result, progress)
    return result


def _link(
    client: Client,
    project: int | None,
    url: str,
    result: Registered,
    progress: Callable[[int, int], None],
) -> None:
    """Make the link of every task that has none."""
    found = tasks_of(client, project)
    for done, task in enumerate(found, start=1):
        try:
            made = set_link(client, task, f"{url}/tasks/{task}")
        except (AccessError, InputError) as error:
            result.notes.append(f"task {task}: has no link, for {error.message}")
            continue
        result.linked += made
        result.others += not made
        progress(done, len(found))


def project_of(text: str) -> int:
    """The project that 'project:5', '5' or its address names; InputError for anything else."""
    place = Place.parse(text if not text.isdecimal() else f"project:{text}")
    if place.what != "project":
        raise InputError(
            f"{text}: webhooks belong to projects and organizations, not to a {place.what}.",
            hint="name its project, such as project:5",
        )
    return place.id
