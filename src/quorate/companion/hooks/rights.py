"""Whether somebody who is not signed in here may change what is drawn in a job.

CVAT answers that for whoever asks, never for another. So the rules that it has for jobs (2.15 to
2.73) are repeated here, and where they cannot be seen to allow it, they do not: staff of the job,
the task or the project, in an organization its active members alone; its owner and maintainers;
and administrators.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from quorate.companion.hooks.deliveries import AJob, Somebody
from quorate.cvat.client import Client
from quorate.errors import AccessError, InputError

T = TypeVar("T")


class _Owned(msgspec.Struct):
    owner: Somebody | None = None
    assignee: Somebody | None = None


class _User(msgspec.Struct):
    is_superuser: bool = False
    is_active: bool = True
    groups: list[str] = []


class _Member(msgspec.Struct):
    user: Somebody
    organization: int
    role: str
    is_active: bool = False


def may_annotate(client: Client, user: int, name: str, job: AJob) -> bool:
    """Whether a user of CVAT's may change the shapes of a job.

    Args:
        client: of an account that sees the job, its task and its organization; what it does not
            see speaks for nobody.
        user: whose right is asked for.
        name: the user's name, by which CVAT finds members.
        job: the job, as it is now.
    """
    who = _seen(client, f"users/{user}", _User) or _User()
    if not who.is_active:
        return False
    if who.is_superuser or "admin" in who.groups:
        return True
    staff = [job.assignee]
    for path in (f"tasks/{job.task_id}", f"projects/{job.project_id}"):
        if not path.endswith("None") and (owned := _seen(client, path, _Owned)):
            staff += [owned.owner, owned.assignee]
    is_staff = any(one is not None and one.id == user for one in staff)
    if job.organization is None:
        return is_staff
    member = next(
        (
            one
            for one in client.all(
                "memberships", _Member, user=name, **client.within(job.organization)
            )
            if one.user.id == user and one.organization == job.organization and one.is_active
        ),
        None,
    )
    if member is None:
        return False
    # CVAT asks of maintainers that they are more than workers elsewhere, too.
    return is_staff or (member.role in ("owner", "maintainer") and "user" in who.groups)


def _seen(client: Client, path: str, kind: type[T]) -> T | None:
    """What is at a path, where this account may see it."""
    try:
        return client.get(path, kind)
    except (AccessError, InputError):
        return None
