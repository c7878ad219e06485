"""Issues and comments of the small CVAT, after `IssueViewSet` and its serializers in 2.73.

Lists are newest first; an issue without a position or a message is refused; who opens one has
its first comment; deleting one deletes its comments; `frame`, `job` and `message` are written
once; a comment names its issue, not its job.
"""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


class Talk:
    """The issues of a server, by number, and their comments."""

    def __init__(self, next_id: Any) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self._next_id = next_id

    def say(self, issue: int, message: str, owner: int | None = None) -> int:
        """Somebody answers on an issue."""
        number = self._next_id()
        who = {"id": owner, "username": f"user {owner}"} if owner else None
        self.comments[number] = {
            "id": number, "issue": issue, "message": message, "owner": who,
        }  # fmt: skip
        return int(number)

    def open(self, body: dict[str, Any], job: dict[str, Any] | None) -> dict[str, Any]:
        if not body.get("position"):
            raise RefusedError(400, {"position": ["This list may not be empty."]})
        if not body.get("message"):
            raise RefusedError(400, {"message": ["This field may not be blank."]})
        if job is None:
            raise RefusedError(400, ["Job matching query does not exist."])
        number = self._next_id()
        self.issues[number] = {
            "id": number, "frame": body["frame"], "position": body["position"],
            "job": body["job"], "resolved": body.get("resolved", False),
        }  # fmt: skip
        self.say(number, body["message"])
        return self.issues[number]

    def change(self, number: int, method: str, body: Any) -> dict[str, Any] | None:
        if number not in self.issues:
            raise RefusedError(404, {"detail": "Not found."})
        if method == "DELETE":
            del self.issues[number]
            self.comments = {n: c for n, c in self.comments.items() if c["issue"] != number}
            return None
        if method == "PATCH":
            self.issues[number]["resolved"] = body["resolved"]
        return self.issues[number]

    def those(self, what: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """Issues or comments of a job, or comments of an issue, the newest first."""
        found = [*(self.issues if what == "issues" else self.comments).values()]
        if "job_id" in query:
            of = {n for n, one in self.issues.items() if one["job"] == int(query["job_id"])}
            found = [o for o in found if (o["id"] if what == "issues" else o["issue"]) in of]
        if "issue_id" in query:
            found = [one for one in found if one["issue"] == int(query["issue_id"])]
        return found[::-1]
