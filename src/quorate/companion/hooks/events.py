"""What is done about an event of CVAT's: a task's link, a command in a comment, a job's stage.

All of it is asked of CVAT with the companion's own account, and what an event says is looked up
again: a comment may be gone, a job may have been reset.
"""

from __future__ import annotations

import logging
import re
import shlex

import msgspec

from quorate.companion.hooks.deliveries import AComment, AJob, Delivery
from quorate.companion.hooks.rights import may_annotate
from quorate.companion.people import Person, by_token
from quorate.companion.running import Running
from quorate.companion.settings import Settings, StageRule, When
from quorate.companion.store import Run
from quorate.cvat.client import Client
from quorate.errors import AccessError, InputError, QuorateError, ServerError
from quorate.report.markup import short

LOG = logging.getLogger("quorate.companion")
EVENTS = ("completed:request[create:task]", "create:comment", "create:task", "update:job")
"""Those that a webhook has to tell; a server that lacks one does without it."""
THREAD = "thread"
"""The fact of a run that says in which issue it is answered."""
LONGEST = 1000
"""Characters of a command."""
_RUN = re.compile(r"(?:^|\s)/run(?:[ \t]+([^\r\n]*))?(?:[\r\n]|\Z)")
EXAMPLE = "for example /run street frames=0-99"


class _Issue(msgspec.Struct):
    job: int


class _Task(msgspec.Struct):
    bug_tracker: str | None = ""


class Events:
    """Acts on events; calls come from one thread."""

    def __init__(self, settings: Settings, running: Running, token: str) -> None:
        assert settings.hooks is not None, "asked for where there are hooks"
        self._settings, self._hooks, self._running = settings, settings.hooks, running
        self._token = token
        self._own: Person | None = None

    @property
    def own(self) -> Person:
        """The companion's own account; errors are those of `by_token`."""
        if self._own is None:
            found = by_token(self._settings.cvat, self._token)
            # Nobody waits for this: a server that is away is asked longer than for a page.
            client = Client.of(found.client.server, found.client.headers)
            self._own = Person(found.id, found.name, client)
        return self._own

    def concerns(self, delivery: Delivery) -> bool:
        """Whether an event may lead to something; CVAT is not asked."""
        hooks = self._hooks
        if delivery.request is not None or delivery.event == "create:task":
            return hooks.links and _new_task(delivery) is not None
        if delivery.event == "create:comment" and delivery.comment is not None:
            return hooks.comments and "/run" in delivery.comment.message
        return bool(self._rules(delivery))

    def handle(self, delivery: Delivery) -> None:
        """Do what an event asks for.

        Raises BusyError where a run is at work on the task and the event has to wait for it,
        ServerError where CVAT is away, other errors where it asks for what cannot be done.
        """
        if delivery.sender is not None and delivery.sender.id == self.own.id:
            return
        if (task := _new_task(delivery)) is not None:
            set_link(self.own.client, task, self._settings.link(task))
        elif delivery.comment is not None:
            self._commanded(delivery.comment.id)
        else:
            for rule in self._rules(delivery):
                self._reached(delivery, rule)

    def ended(self, run: Run) -> None:
        """Answer in the thread that asked for a run."""
        if run.facts.get(THREAD, "").isdecimal():
            issue = int(run.facts[THREAD])
            self._answer(issue, self._job(issue), self._told(run))

    # A command in a comment.

    def _commanded(self, number: int) -> None:
        comment = self.own.client.get(f"comments/{number}", AComment)
        job = self._job(comment.issue)
        try:
            self._start(comment, job)
        except ServerError:
            raise
        except QuorateError as error:
            self._answer(comment.issue, job, f"{error.message} {error.hint or ''}".strip())

    def _job(self, issue: int) -> AJob:
        """The job of an issue."""
        number = self.own.client.get(f"issues/{issue}", _Issue).job
        return self.own.client.get(f"jobs/{number}", AJob)

    def _start(self, comment: AComment, job: AJob) -> None:
        asked = command(comment.message)
        if asked is None:
            return
        who, client = comment.owner, self.own.client
        if who is None or who.id is None or not may_annotate(client, who.id, who.username, job):
            raise AccessError("You may not change what is drawn in this job, so you may not run.")
        person = Person(who.id, f"{who.username} (comment)", client)
        template, values = asked
        facts = {THREAD: str(comment.issue)}
        self._running.start(template, job.task_id, job.id, values, person, facts)

    def _answer(self, issue: int, job: AJob, message: str) -> None:
        self.own.client.send(
            "POST",
            "comments",
            {"issue": issue, "message": short(message, 900)},
            msgspec.Raw,
            **self.own.client.within(job.organization),
        )

    def _told(self, run: Run) -> str:
        done, words = run.result, []
        if run.error:
            words.append(f"{run.title}: {run.error} {run.hint}".strip())
        elif run.state == "done" and done is not None:
            counts = ((done.created, "created"), (done.there, "there already"),
                      (done.removed, "of earlier runs removed"))  # fmt: skip
            told = ", ".join(f"{number:,} {what}" for number, what in counts if number) or "none"
            more = ((done.tracks, "tracks"), (done.issues, "issues for review"))
            told += "".join(f"; {what}: {number:,}" for number, what in more if number)
            words.append(f"{run.title}: boxes: {told}.")
        else:
            words.append(f"{run.title}: {run.state}.")
        if self._settings.url is not None:
            words.append(f"{self._settings.url}/runs/{run.id}")
        return " ".join(words)

    # A job that reaches a stage.

    def _rules(self, delivery: Delivery) -> list[StageRule]:
        """The rules that a job fits now and did not fit before."""
        job = delivery.job
        if job is None or delivery.event != "update:job" or job.type != "annotation":
            return []
        was = {name: delivery.before_update.get(name, getattr(job, name))
               for name in ("stage", "state")}  # fmt: skip
        return [
            rule
            for rule in self._hooks.rules
            if rule.project in (None, job.project_id)
            and _fits(rule.when, job.stage, job.state)
            and not _fits(rule.when, was["stage"], was["state"])
        ]

    def _reached(self, delivery: Delivery, rule: StageRule) -> None:
        assert delivery.job is not None, "rules are of jobs"
        own = self.own
        job = own.client.get(f"jobs/{delivery.job.id}", AJob)
        if not _fits(rule.when, job.stage, job.state):
            LOG.info("job %d has moved on before '%s' could begin", job.id, rule.run)
            return
        person = Person(own.id, f"{own.name} (rule)", own.client)
        self._running.start(rule.run, job.task_id, job.id, rule.values, person)


def command(message: str) -> tuple[str, dict[str, str]] | None:
    """The first `/run NAME key=value` in a comment: name and answers; None where there is none.

    It stands at the beginning or after a blank, and ends with its line. A value with blanks stands
    in quotes. Raises InputError where it is no command that can be read.
    """
    found = _RUN.search(message)
    if found is None:
        return None
    text = found[1] or ""
    if len(text) > LONGEST:
        raise InputError(f"A command has at most {LONGEST:,} characters.", hint=EXAMPLE)
    try:
        name, *pairs = shlex.split(text)
    except ValueError:
        raise InputError(
            "/run: this is no command: a name is missing, or a quote is not closed.", hint=EXAMPLE
        ) from None
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InputError(f"/run {name}: '{pair[:80]}' is not key=value.", hint=EXAMPLE)
        if key in values:
            raise InputError(f"/run {name}: '{key[:80]}' is given twice.")
        values[key] = value
    return name, values


def _new_task(delivery: Delivery) -> int | None:
    """The task that an event tells of as new."""
    if delivery.event == "create:task" and delivery.task is not None:
        return delivery.task.id
    request = delivery.request
    if request is not None and request.operation.type == "create:task":
        return request.operation.task_id if request.status == "finished" else None
    return None


def _fits(when: When, stage: object, state: object) -> bool:
    return when.stage in (None, stage) and when.state in (None, state)


def set_link(client: Client, task: int, link: str) -> bool:
    """Make a page the link of a task, where it has none; whether it was made.

    In CVAT it is the task's 'issue tracker', which its menu opens.
    """
    if client.get(f"tasks/{task}", _Task).bug_tracker:
        return False
    client.send("PATCH", f"tasks/{task}", {"bug_tracker": link}, msgspec.Raw)
    return True
