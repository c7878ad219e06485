"""What surrounds tasks on the small CVAT: users, members, projects, webhooks, links; after 2.73.

Details of a user are for administrators: where `shows_users` is off, none asks; lists of members
are of one organization; a webhook's secret is never told; a ping is sent at once, and its status is
told.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import urllib3

from tests.cvat.talk import RefusedError

EVENTS = ["completed:request[create:task]", "create:comment", "create:task", "update:job"]


class Around:
    def __init__(self) -> None:
        self.users: dict[int, dict[str, Any]] = {}
        self.members: list[dict[str, Any]] = []
        self.projects: dict[int, dict[str, Any]] = {}
        self.hooks: dict[int, dict[str, Any]] = {}
        self.organizations: dict[int, str] = {}
        self.events = list(EVENTS)
        self.shows_users = True

    def add_user(self, number: int, name: str, **more: Any) -> None:
        base = {"is_superuser": False, "is_active": True, "groups": ["user"]}
        self.users[number] = {"id": number, "username": name, **base, **more}

    def answer(self, cvat: Any, method: str, path: str, query: Any, body: Any) -> Any:
        """What is at a path; None where it is another's."""
        if match := re.fullmatch(r"users/(\d+)", path):
            if not self.shows_users:
                raise RefusedError(403, {"detail": "You do not have permission"})
            return self._found(self.users, match[1])
        if path == "memberships":
            of, name = int(query["org_id"]), query["user"]
            known = {n for n, one in self.users.items() if one["username"] == name}
            found = [
                m for m in self.members if m["organization"] == of and m["user"]["id"] in known
            ]
            return cvat._pages(path, found, query)
        if path == "organizations":
            found = [{"id": n, "slug": slug} for n, slug in self.organizations.items()]
            return cvat._pages(path, found, query)
        if (match := re.fullmatch(r"projects/(\d+)", path)) and method == "GET":
            return self._found(self.projects, match[1])
        if match := re.fullmatch(r"comments/(\d+)", path):
            return self._found(cvat.talk.comments, match[1])
        if path == "comments" and method == "POST":
            job = cvat.jobs[cvat.talk.issues[body["issue"]]["job"]]
            if str(job.get("organization") or "") != query.get("org_id", ""):
                raise RefusedError(403, {"detail": "not authorized"})
            return cvat.talk.comments[cvat.talk.say(body["issue"], body["message"])]
        if (match := re.fullmatch(r"tasks/(\d+)", path)) and "bug_tracker" in (body or {}):
            self._found(cvat.tasks, match[1])
            cvat.tasks[int(match[1])]["bug_tracker"] = body["bug_tracker"]
            return cvat.tasks[int(match[1])]
        return self._webhooks(cvat, method, path, query, body)

    def _webhooks(self, cvat: Any, method: str, path: str, query: Any, body: Any) -> Any:
        if path == "webhooks/events":
            return {"webhook_type": query["type"], "events": [{"key": e} for e in self.events]}
        if path == "webhooks":
            if method == "POST":
                if not set(body["events"]) <= set(self.events):
                    raise RefusedError(400, {"non_field_errors": ["Invalid events list"]})
                number = cvat.next_id()
                self.hooks[number] = {"project_id": None, "is_active": True, **body, "id": number}
                return self._told(number)
            return cvat._pages(path, [self._told(number) for number in self.hooks], query)
        if match := re.fullmatch(r"webhooks/(\d+)(/ping)?", path):
            hook = self._found(self.hooks, match[1])
            if match[2]:
                return {"status_code": self.send(hook, {"event": "ping", "webhook": {"id": 1}})}
            if method == "PATCH":
                hook.update(body)
            if method == "DELETE":
                del self.hooks[hook["id"]]
            return self._told(hook["id"]) if hook["id"] in self.hooks else {}
        return None

    def _told(self, number: int) -> dict[str, Any]:
        return {name: value for name, value in self.hooks[number].items() if name != "secret"}

    def _found(self, table: dict[int, dict[str, Any]], number: str) -> dict[str, Any]:
        if int(number) not in table:
            raise RefusedError(404, {"detail": "Not found."})
        return table[int(number)]

    def send(self, hook: dict[str, Any], payload: dict[str, Any]) -> int:
        """Deliver as CVAT does; the status, 502 where nobody answers."""
        body, headers = sealed(payload, hook["secret"])
        try:
            return urllib3.request(
                "POST", hook["target_url"], body=body, headers=headers, timeout=10, retries=False
            ).status
        except urllib3.exceptions.HTTPError:
            return 502


def sealed(payload: dict[str, Any], secret: str) -> tuple[bytes, dict[str, str]]:
    """A payload's bytes and the headers that CVAT sends with them."""
    body = json.dumps(payload).encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return body, {"X-Signature-256": f"sha256={mac}", "Content-Type": "application/json"}
