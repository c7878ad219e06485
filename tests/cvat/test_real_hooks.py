"""Webhooks of a real CVAT, which has to reach this machine, and a companion that acts on them."""

import urllib3

from quorate.companion.hooks.registering import register
from quorate.companion.settings import Settings
from tests.companion.visitor import companion
from tests.cvat.local import PARTS, WORDS
from tests.cvat.real import labels, needs_cvat, unique
from tests.waiting import until

pytestmark = needs_cvat
SECRET = "a secret of the tests, long enough"
PASSWORD = "Quorate-tests-1"


def test_a_link_a_command_and_a_stage(real, tmp_path, monkeypatch):
    name = unique()
    mail = f"{name}@quorate.example.org"
    told = {"username": name, "email": mail, "password1": PASSWORD, "password2": PASSWORD}
    real.send("POST", "auth/register", body=told | {"first_name": "A", "last_name": "Labeller"})
    (who,) = real.get(f"users?search={name}")["results"]
    theirs = {"headers": urllib3.make_headers(basic_auth=f"{name}:{PASSWORD}")}
    theirs["headers"]["Authorization"] = theirs["headers"].pop("authorization")
    token = real.send("POST", "auth/access_tokens", body={"name": name, "read_only": False})
    monkeypatch.setenv("QUORATE_CVAT_TOKEN", token["value"])
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", SECRET)
    project = real.made("projects", name=name, labels=labels(WORDS))
    rule = {"when": {"state": "completed"}, "run": "parts", "project": project}
    settings = Settings.read(
        None,
        cvat=real.client.server,
        url="https://quorate.example.org",
        specs=(str(PARTS / "spec.yaml"),),
        state=str(tmp_path / "companion"),
        hooks={"links": True, "rules": [rule]},
    )
    try:
        with companion(settings) as (url, running):
            assert register(real.client, project, url, SECRET).status == 200
            files = [(f.name, f.read_bytes()) for f in sorted(PARTS.rglob("*.jpg"))[:4]]
            task = real.task(files=files, project_id=project, segment_size=2)
            until(lambda: real.get(f"tasks/{task}")["bug_tracker"])
            link = real.get(f"tasks/{task}")["bug_tracker"]
            assert link == f"https://quorate.example.org/tasks/{task}"
            first, second = sorted(one["id"] for one in real.get(f"jobs?task_id={task}")["results"])
            for job in (first, second):
                real.send("PATCH", f"jobs/{job}", body={"assignee": who["id"]})

            # Nothing runs because of what the companion's own account says.
            about = {"job": first, "frame": 0, "position": [1.0, 1.0], "message": "/run parts"}
            real.send("POST", "issues", body=about)
            asked = real.send("POST", "issues", body=about | {"message": "Boxes?"}, **theirs)

            def said():
                found = real.get(f"comments?issue_id={asked['id']}")["results"]
                return [one["message"] for one in found if one["owner"]["id"] != who["id"]]

            comment = {"issue": asked["id"], "message": "/run parts min-score=0.5"}
            real.send("POST", "comments", body=comment, **theirs)
            until(said)
            boxes = len(real.get(f"jobs/{first}/annotations")["shapes"])
            assert boxes > 0
            assert said()[0].startswith(f"parts: boxes: {boxes} created.")
            (run,) = running.store.of_task(task)
            assert (run.job, run.person, run.who) == (first, who["id"], f"{name} (comment)")

            real.send("PATCH", f"jobs/{second}", body={"state": "completed"}, **theirs)
            until(lambda: [r.state for r in running.store.of_task(task)] == ["done", "done"])
            assert len(real.get(f"jobs/{second}/annotations")["shapes"]) > 0
            assert len(running.store.of_task(task)) == 2
    finally:
        real.send("DELETE", f"auth/access_tokens/{token['id']}")
        real.send("DELETE", f"users/{who['id']}")
