"""CVAT's webhooks: real signatures, replays, links, commands in comments, stages; and attacks."""

import contextlib
import hashlib
import hmac
import json
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
import urllib3

from quorate.companion.hooks import deliveries
from quorate.companion.hooks import receiving as hooks
from quorate.companion.hooks.events import command
from quorate.companion.settings import Settings
from quorate.errors import AccessError, InputError
from tests.companion.visitor import companion
from tests.cvat.around import sealed
from tests.cvat.local import PARTS, WORDS
from tests.cvat.server import Cvat, Someone, serving
from tests.waiting import until

SECRET = "a secret of the tests, long enough"
OWN, LABELLER, STRANGER = 9, 5, 6
RULE = {"when": {"state": "completed"}, "run": "parts", "values": {"min-score": "0.5"}}

# As CVAT 2.15 sent it, with its header.
REAL_SECRET = "sample-webhook-secret"
REAL_SIGNATURE = "sha256=0c233d724721a4c1d468128247d5d47c533173a01cb03f8e157328f75ac77900"
REAL = (
    b'{"event": "create:comment", "comment": {"id": 4, "issue": 2, "owner": {"url": '
    b'"http://127.0.0.1:8180/api/users/1", "id": 1, "username": "admin", "first_name": "", '
    b'"last_name": ""}, "message": "Gr\\u00f6\\u00dfe pr\\u00fcfen: /run street iou=0.6", '
    b'"created_date": "2026-11-21T04:18:50.238930Z", "updated_date": '
    b'"2026-11-21T04:18:50.238954Z"}, "sender": {"url": "http://127.0.0.1:8180/api/users/1", '
    b'"id": 1, "username": "admin", "first_name": "", "last_name": ""}, "webhook_id": 2}'
)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch):
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("QUORATE_CVAT_TOKEN", "companion-token")
    monkeypatch.setattr(hooks, "PAUSE", 0.1)


@pytest.fixture
def task(cvat, task):
    """A task whose first job somebody has; who else is there has nothing to do with it."""
    cvat.people["companion"] = Someone(OWN, "pass of its own", "companion-token")
    for number, name in ((OWN, "companion"), (LABELLER, "user 5"), (STRANGER, "user 6")):
        cvat.around.add_user(number, name)
    jobs(cvat, task)[0]["assignee"] = {"id": LABELLER}
    return task


@pytest.fixture
def settings(cvat, tmp_path, request) -> Settings:
    more = getattr(request, "param", {"links": True, "rules": [RULE]})
    return Settings.read(
        None,
        cvat=cvat.url,
        url="https://quorate.example.org",
        specs=(str(PARTS / "spec.yaml"),),
        state=str(tmp_path / "companion"),
        hooks=more,
    )


def jobs(cvat, task):
    return [job for job in cvat.jobs.values() if job["task_id"] == task]


def now(**ago):
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def deliver(site, payload, *, secret=SECRET, **headers):
    body, told = sealed({"sender": {"id": LABELLER}, "webhook_id": 2, **payload}, secret)
    return post(site, body, told | headers)


def post(site, body, headers):
    url = f"{site[0]}/hooks"
    answer = urllib3.request("POST", url, body=body, headers=headers, retries=False)
    return answer.status, answer.data.decode().strip()


def commented(cvat, job, message, owner=LABELLER):
    """Somebody comments on an issue of a job: the issue, and what CVAT delivers."""
    about = {"frame": job["start_frame"], "job": job["id"], "position": [1, 2], "message": "?"}
    issue = cvat.talk.open(about, job)["id"]
    number = cvat.talk.say(issue, message, owner)
    comment = {"id": number, "issue": issue, "message": message, "updated_date": now()}
    return issue, {"event": "create:comment", "comment": comment, "sender": {"id": owner}}


def answers(cvat, issue):
    """What the companion said in a thread: comments that nobody of the tests wrote."""
    found = [c for c in cvat.talk.comments.values() if c["issue"] == issue]
    return [c["message"] for c in found[1:] if c["owner"] is None]


def changed(job, **to):
    """Somebody changes a job: what CVAT delivers."""
    was = {name: job[name] for name in to}
    job.update(to)
    told = {k: job[k] for k in ("id", "task_id", "project_id", "type", "stage", "state")}
    return {
        "event": "update:job",
        "job": {**told, "updated_date": now()},
        "before_update": was | {"updated_date": now(seconds=9)},
    }


def quiet(site, seconds=0.5):
    """Wait so long, and say that no run was begun."""
    time.sleep(seconds)
    return not site[1].store.at_work() and not site[1].store.of_person(OWN)


# Who signed it, and whether it came before.


def test_the_signature_of_a_real_server_holds_for_its_bytes_alone():
    assert deliveries.signed(REAL, REAL_SIGNATURE, REAL_SECRET)
    assert not deliveries.signed(REAL + b" ", REAL_SIGNATURE, REAL_SECRET)
    assert not deliveries.signed(REAL, REAL_SIGNATURE, "another secret")
    again = json.dumps(json.loads(REAL), ensure_ascii=False).encode()
    assert not deliveries.signed(again, REAL_SIGNATURE, REAL_SECRET)
    delivery = deliveries.read(REAL)
    assert (delivery.comment.issue, delivery.sender.id) == (2, 1)
    assert command(delivery.comment.message) == ("street", {"iou": "0.6"})
    at = datetime(2026, 11, 21, 5, 18, 50, 238954, tzinfo=UTC).timestamp()
    assert deliveries.age(REAL, at) == pytest.approx(3600)


@pytest.mark.parametrize(
    "header",
    ["", "sha256=", "sha256=" + "0" * 64, "sha1=abc", "sha256=ä", None],
    ids=["empty", "bare", "wrong", "sha1", "letters", "none"],
)
def test_what_is_not_signed_is_refused_and_nothing_is_kept(cvat, task, site, header):
    payload = changed(jobs(cvat, task)[0], state="completed")
    headers = (
        {} if header is None else {"X-Signature-256": header.encode("utf-8").decode("latin-1")}
    )
    status, said = post(site, json.dumps(payload).encode(), headers)
    assert (status, "signature" in said) == (401, True)
    assert site[1].store.unhandled() == []
    assert quiet(site, 0.2)
    assert deliver(site, payload, secret="of somebody else, as long")[0] == 401


def test_a_replay_does_nothing(cvat, task, site):
    issue, payload = commented(cvat, jobs(cvat, task)[0], "/run parts")
    assert deliver(site, payload) == (200, "Taken.")
    until(lambda: answers(cvat, issue))
    assert deliver(site, payload) == (200, "This came before; nothing is done again.")
    assert len(site[1].store.of_task(task)) == 1


def test_what_the_store_has_forgotten_is_too_old(cvat, task, site):
    _, payload = commented(cvat, jobs(cvat, task)[0], "/run parts")
    payload["comment"]["updated_date"] = now(days=29, hours=1)
    assert deliver(site, payload) == (400, "This event is too old to be acted on.")
    assert quiet(site, 0.2)


def test_ten_megabytes_a_slow_body_and_no_json(site, monkeypatch):
    monkeypatch.setattr(hooks, "PATIENCE", 0.3)
    assert post(site, b"x" * (10 << 20), {})[0] == 413
    host, _, port = site[0].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST /hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in slow.recv(200)
    with socket.create_connection((host, int(port)), timeout=10) as many:
        many.sendall(b"POST /hooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            many.sendall(chunk * 3)
        assert b" 413 " in many.recv(200)
    for body in (b"[1]", b"\xff", b'{"event": 3}', b'{"event": "update:job", "job": {"id": "x"}}'):
        mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert post(site, body, {"X-Signature-256": f"sha256={mac}"})[0] == 400


def test_addresses_in_an_event_are_never_asked(cvat, task, site):
    with serving(Cvat()) as other:
        job = jobs(cvat, task)[0]
        issue, payload = commented(cvat, job, "/run nothing")
        owner = {"id": LABELLER, "url": f"{other.url}/api/users/{LABELLER}"}
        payload["comment"] |= {"url": f"{other.url}/api/comments/1", "owner": owner}
        payload |= {"sender": owner, "url": other.url, "webhook": {"target_url": other.url}}
        deliver(site, payload)
        until(lambda: answers(cvat, issue))
        assert other.requests == []


def test_a_ping_is_answered(site):
    assert deliver(site, {"event": "ping"}) == (200, "Nothing is to be done about it.")


# Links.


def test_a_new_task_gets_the_link_and_one_that_has_a_link_keeps_it(cvat, task, site):
    other = cvat.add_task([], ["red"])
    cvat.tasks[other]["bug_tracker"] = "https://tracker.example.org/7"
    for number in (task, other):
        operation = {"type": "create:task", "target": "task", "task_id": number}
        told = {"status": "finished", "operation": operation, "finished_date": now()}
        deliver(site, {"event": "completed:request[create:task]", "request": told})
    until(lambda: not site[1].store.unhandled())
    assert cvat.tasks[task]["bug_tracker"] == f"https://quorate.example.org/tasks/{task}"
    assert cvat.tasks[other]["bug_tracker"] == "https://tracker.example.org/7"


@pytest.mark.parametrize("settings", [{"comments": True}], indirect=True)
def test_links_are_made_where_they_are_wanted_alone(cvat, task, site):
    said = deliver(site, {"event": "create:task", "task": {"id": task, "updated_date": now()}})
    assert said == (200, "Nothing is to be done about it.")
    assert cvat.tasks[task]["bug_tracker"] == ""


# Commands.


def test_a_command_runs_and_its_result_is_answered(cvat, task, site):
    job = jobs(cvat, task)[0]
    issue, payload = commented(
        cvat, job, "Please:\n/run parts min-score=0.5 replace=yes\nThank you"
    )
    deliver(site, payload)
    until(lambda: answers(cvat, issue))
    (run,) = site[1].store.of_task(task)
    assert (run.job, run.state, run.person) == (job["id"], "done", LABELLER)
    assert run.values["min-score"] == "0.5"
    (said,) = answers(cvat, issue)
    assert f"boxes: {len(cvat.shapes[job['id']])} created" in said
    assert f"https://quorate.example.org/runs/{run.id}" in said
    assert cvat.shapes[jobs(cvat, task)[1]["id"]] == []


def test_a_video_is_tracked_and_doubtful_frames_get_issues(cvat, task, site, pictures, visitor):
    labels = [{"name": name} for name in WORDS]
    clip = cvat.add_task(pictures[:1] * 3, labels, video=True)
    job = jobs(cvat, clip)[0]
    job["assignee"] = {"id": LABELLER}
    issue, payload = commented(cvat, job, "/run parts tracks=yes review=2")
    deliver(site, payload)
    until(lambda: answers(cvat, issue))
    tracks = len(cvat.tracks[job["id"]])
    assert tracks > 3
    assert f"boxes: none; tracks: {tracks}; issues for review: 2." in answers(cvat, issue)[0]
    visitor.get("/").sign_in().get(f"/tasks/{clip}")
    assert f"0, {tracks} tracks" in visitor.text
    (run,) = site[1].store.of_task(clip)
    assert f"{tracks} tracks created" in visitor.get(f"/runs/{run.id}").text

    issue, payload = commented(cvat, jobs(cvat, task)[0], "/run parts tracks=yes")
    deliver(site, payload)
    until(lambda: answers(cvat, issue))
    assert "tracks are for videos" in answers(cvat, issue)[0]
    assert "'Join the boxes of a video to tracks' unticked" in answers(cvat, issue)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/run parts review=often", "is not a number such as 20 or 0.3"),
        ("/run", "a name is missing"),
        ("/run nothing", "There is no template 'nothing'"),
        ("/run parts weights=s3://evil", "has no field 'weights'"),
        ("/run parts method=evil", "is not among what there is"),
        ("/run parts frames", "is not key=value"),
        ('/run parts frames="0-9', "a quote is not closed"),
        ("/run parts frames=0 frames=1", "is given twice"),
        ("/run parts " + "x" * 2000, "at most 1,000 characters"),
        ("/run <script>alert(1)</script>", "There is no template '<script>"),
    ],
)
def test_a_command_that_cannot_be_is_answered(cvat, task, site, text, said):
    issue, payload = commented(cvat, jobs(cvat, task)[0], text)
    deliver(site, payload)
    until(lambda: answers(cvat, issue))
    assert said in answers(cvat, issue)[0]
    assert site[1].store.of_task(task) == []


def test_who_may_not_change_the_job_is_refused_whatever_the_companion_may(cvat, task, site):
    for job, who in ((jobs(cvat, task)[0], STRANGER), (jobs(cvat, task)[1], LABELLER)):
        issue, payload = commented(cvat, job, "/run parts", owner=who)
        deliver(site, payload)
        until(lambda issue=issue: answers(cvat, issue))
        assert "You may not change what is drawn in this job" in answers(cvat, issue)[0]
    assert cvat.drawn(task) == []


def test_in_an_organization_its_active_members_alone(cvat, task, site):
    job = jobs(cvat, task)[0]
    job["organization"] = 3
    member = {"user": {"id": LABELLER}, "organization": 3, "role": "worker", "is_active": False}
    maintainer = {"user": {"id": STRANGER}, "organization": 3, "role": "maintainer"}
    cvat.around.members = [member, maintainer | {"is_active": True}]

    def said(who):
        issue, payload = commented(cvat, job, "/run nothing", owner=who)
        deliver(site, payload)
        until(lambda: answers(cvat, issue))
        return answers(cvat, issue)[0]

    assert "You may not" in said(LABELLER)
    member["is_active"] = True
    assert "There is no template" in said(LABELLER)
    assert "There is no template" in said(STRANGER)
    cvat.around.users[STRANGER]["groups"] = ["worker"]
    assert "You may not" in said(STRANGER)
    cvat.around.users[STRANGER] |= {"is_superuser": True, "is_active": False}
    assert "You may not" in said(STRANGER)
    cvat.around.shows_users = False  # the companion's account is no administrator
    assert "There is no template" in said(LABELLER)
    assert "You may not" in said(STRANGER)


def test_the_companions_own_events_and_other_comments_are_ignored(cvat, task, site):
    job = jobs(cvat, task)[0]
    own, payload = commented(cvat, job, "/run parts", owner=OWN)
    deliver(site, payload)
    _, chat = commented(cvat, job, "How do I /runaway?")
    deliver(site, chat)
    deliver(site, changed(job, state="completed") | {"sender": {"id": OWN}})
    until(lambda: not site[1].store.unhandled())
    assert quiet(site)
    assert answers(cvat, own) == []


def test_two_at_once_one_runs_and_the_other_is_told(cvat, task, site):
    job = jobs(cvat, task)[0]
    (one, first), (two, second) = (commented(cvat, job, "/run parts") for _ in range(2))
    deliver(site, first)
    deliver(site, second)
    until(lambda: answers(cvat, one) and answers(cvat, two))
    assert "boxes: " in answers(cvat, one)[0]
    assert "is at work on task" in answers(cvat, two)[0]


# Stages.


def test_a_job_that_reaches_a_state_is_run_once(cvat, task, site):
    job = jobs(cvat, task)[0]
    nothing = (200, "Nothing is to be done about it.")
    assert deliver(site, changed(job, state="in progress")) == nothing
    deliver(site, changed(job, state="completed"))
    assert deliver(site, changed(job, stage="validation")) == nothing  # it was completed before
    until(lambda: [run.state for run in site[1].store.of_task(task)] == ["done"])
    (run,) = site[1].store.of_task(task)
    assert (run.job, run.person, run.who) == (job["id"], OWN, "companion (rule)")
    assert run.values["min-score"] == "0.5"
    assert len(cvat.shapes[job["id"]]) == run.result.created > 0


def test_jobs_that_reach_it_together_are_run_one_after_the_other(cvat, task, site):
    for job in jobs(cvat, task):
        deliver(site, changed(job, state="completed"))
    until(lambda: [run.state for run in site[1].store.of_task(task)] == ["done", "done"])
    assert all(cvat.shapes[job["id"]] for job in jobs(cvat, task))


def test_a_job_that_has_moved_on_is_left_alone(cvat, task, site):
    job = jobs(cvat, task)[0]
    payload = changed(job, state="completed")
    job["state"] = "rejected"
    deliver(site, payload)
    truth = cvat.jobs[cvat.add_job(task, 0, 2, type="ground_truth")]
    deliver(site, changed(truth, state="completed"))
    until(lambda: not site[1].store.unhandled())
    assert quiet(site, 0.3)


@pytest.mark.parametrize("settings", [{"rules": [RULE | {"project": 7}]}], indirect=True)
def test_a_rule_of_a_project_is_for_its_jobs_alone(cvat, task, site):
    job = jobs(cvat, task)[0]
    assert deliver(site, changed(job, state="completed"))[1].startswith("Nothing")
    job["project_id"] = 7
    job["state"] = "new"
    assert deliver(site, changed(job, state="completed"))[1] == "Taken."


def test_what_cvat_prevented_is_done_later(cvat, task, site):
    job = jobs(cvat, task)[0]
    payload = changed(job, state="completed")
    cvat.busy = 12  # more than it is asked again for one thing
    deliver(site, payload)
    until(lambda: [run.state for run in site[1].store.of_task(task)] == ["done"])


def test_what_was_taken_is_done_after_a_restart(cvat, task, settings, monkeypatch):
    monkeypatch.setattr(
        "quorate.companion.hooks.receiving.Hooks.start", lambda self: self._thread.start()
    )
    monkeypatch.setattr(
        "quorate.companion.hooks.receiving.Hooks._act", lambda self, name, body: None
    )
    job = jobs(cvat, task)[0]
    with companion(settings) as site:
        assert deliver(site, changed(job, state="completed")) == (200, "Taken.")
    assert cvat.shapes[job["id"]] == []
    monkeypatch.undo()
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("QUORATE_CVAT_TOKEN", "companion-token")
    with companion(settings) as site:
        until(lambda: [run.state for run in site[1].store.of_task(task)] == ["done"])
    assert cvat.shapes[job["id"]]


# Settings.


def test_without_secrets_or_an_address_it_does_not_begin(settings, monkeypatch):
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", "short")
    with pytest.raises(AccessError, match="16 characters"), companion(settings):
        pass
    with pytest.raises(InputError, match="needs the address"):
        Settings.read(None, cvat="http://cvat", specs=("x.yaml",), hooks={"links": True})


def test_names_are_shown_as_text(cvat, task, site, visitor):
    cvat.around.users[LABELLER]["username"] = "<img src=x onerror=alert(1)>"
    issue, payload = commented(cvat, jobs(cvat, task)[0], "/run parts")
    comment = cvat.talk.comments[payload["comment"]["id"]]
    comment["owner"]["username"] = "<img src=x onerror=alert(1)>"
    deliver(site, payload)
    until(lambda: answers(cvat, issue))
    visitor.get("/").sign_in().get(f"/tasks/{task}")
    assert "<img" not in visitor.page
    assert "&lt;img src=x" in visitor.page
