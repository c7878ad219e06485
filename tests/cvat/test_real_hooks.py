"""Webhooks of a real CVAT, which has to reach this machine, and a companion that acts on them."""

from contextlib import contextmanager

import urllib3

from quorate.companion.hooks.registering import register
from quorate.companion.settings import Settings
from quorate.cvat import Client
from tests.companion.visitor import companion
from tests.cvat.local import PARTS, WORDS
from tests.cvat.real import Real, labels, needs_cvat, unique
from tests.waiting import until

pytestmark = needs_cvat
SECRET = "a secret of the tests, long enough"
PASSWORD = "Quorate-tests-1"


@contextmanager
def account(real):
    """A new user: number and name, and what signs their requests."""
    name = unique()
    mail = f"{name}@quorate.example.org"
    told = {"username": name, "email": mail, "password1": PASSWORD, "password2": PASSWORD}
    real.send("POST", "auth/register", body=told | {"first_name": "A", "last_name": "Labeller"})
    (who,) = real.get(f"users?search={name}")["results"]
    basic = urllib3.make_headers(basic_auth=f"{name}:{PASSWORD}")["authorization"]
    try:
        yield who["id"], name, {"headers": {"Authorization": basic}}
    finally:
        real.send("DELETE", f"users/{who['id']}")


@contextmanager
def own(real, monkeypatch, **signed):
    """A token for the companion's own account."""
    token = real.send(
        "POST", "auth/access_tokens", body={"name": unique(), "read_only": False}, **signed
    )
    monkeypatch.setenv("QUORATE_CVAT_TOKEN", token["value"])
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", SECRET)
    yield
    real.send("DELETE", f"auth/access_tokens/{token['id']}", **signed)


def settings(real, tmp_path, **hooks):
    return Settings.read(
        None,
        cvat=real.client.server,
        url="https://quorate.example.org",
        specs=(str(PARTS / "spec.yaml"),),
        state=str(tmp_path / "companion"),
        hooks=hooks,
    )


def asked(real, job, message, signed):
    """An issue of a job with a command in it; what others say there is given when asked for."""
    about = {"job": job, "frame": 0, "position": [1.0, 1.0], "message": "Boxes?"}
    issue = real.send("POST", "issues", body=about, **signed)
    real.send("POST", "comments", body={"issue": issue["id"], "message": message}, **signed)

    def said():
        found = real.get(f"comments?issue_id={issue['id']}")["results"]
        mine = issue["owner"]["id"]
        return [one["message"] for one in found if one["owner"]["id"] != mine]

    return said


def pictures(count):
    return [(file.name, file.read_bytes()) for file in sorted(PARTS.rglob("*.jpg"))[:count]]


def test_a_link_a_command_and_a_stage(real, tmp_path, monkeypatch):
    with account(real) as (who, name, theirs), own(real, monkeypatch):
        project = real.made("projects", name=name, labels=labels(WORDS))
        rule = {"when": {"state": "completed"}, "run": "parts", "project": project}
        with companion(settings(real, tmp_path, links=True, rules=[rule])) as (url, running):
            assert register(real.client, project, url, SECRET).status == 200
            task = real.task(files=pictures(4), project_id=project, segment_size=2)
            until(lambda: real.get(f"tasks/{task}")["bug_tracker"])
            link = real.get(f"tasks/{task}")["bug_tracker"]
            assert link == f"https://quorate.example.org/tasks/{task}"
            first, second = sorted(one["id"] for one in real.get(f"jobs?task_id={task}")["results"])
            for job in (first, second):
                real.send("PATCH", f"jobs/{job}", body={"assignee": who})

            # Nothing runs because of what the companion's own account says.
            about = {"job": first, "frame": 0, "position": [1.0, 1.0], "message": "/run parts"}
            real.send("POST", "issues", body=about)
            said = asked(real, first, "/run parts min-score=0.5", theirs)
            until(said)
            boxes = len(real.get(f"jobs/{first}/annotations")["shapes"])
            assert boxes > 0
            assert said()[0].startswith(f"parts: boxes: {boxes} created; issues for review: 1.")
            (run,) = running.store.of_task(task)
            assert (run.job, run.person, run.who) == (first, who, f"{name} (comment)")

            real.send("PATCH", f"jobs/{second}", body={"state": "completed"}, **theirs)
            until(lambda: [r.state for r in running.store.of_task(task)] == ["done", "done"])
            assert len(real.get(f"jobs/{second}/annotations")["shapes"]) > 0
            assert len(running.store.of_task(task)) == 2


def test_in_an_organization_where_the_companion_is_a_maintainer(real, tmp_path, monkeypatch):
    slug = unique().replace("-", "")
    organization = real.made("organizations", slug=slug, name=slug)
    vision = Real(Client.connect(organization=slug))
    with account(real) as (_, maintainer, its), account(real) as (who, worker, theirs):
        for name, role in ((maintainer, "maintainer"), (worker, "worker")):
            mail = {"email": f"{name}@quorate.example.org", "role": role}
            vision.send("POST", "invitations", body=mail)
        wanted = settings(real, tmp_path, comments=True)
        with own(real, monkeypatch, **its), companion(wanted) as (url, running):
            done = register(vision.client, None, url, SECRET)
            assert (done.made, done.status) == (True, 200)
            task = vision.task(WORDS, files=pictures(2))
            (job,) = vision.get(f"jobs?task_id={task}")["results"]
            assert job["organization"] == organization
            vision.send("PATCH", f"jobs/{job['id']}", body={"assignee": who})
            theirs["headers"]["X-Organization"] = slug
            said = asked(vision, job["id"], "/run parts", theirs)
            until(said)
            boxes = len(vision.get(f"jobs/{job['id']}/annotations")["shapes"])
            assert said()[0].startswith(f"parts: boxes: {boxes} created; issues for review: 1.")
            # The demo's spec asks for issues on what is in doubt.
            assert running.store.of_task(task)[0].result.issues == 1
        vision.close()
