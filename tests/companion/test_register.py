"""Telling a CVAT server of the companion, against one that answers as CVAT does."""

import json

import pytest

from quorate.companion.hooks.registering import project_of, register
from quorate.companion.settings import Settings, site
from quorate.cvat import Client
from quorate.errors import AccessError, InputError
from tests.companion.test_hooks import SECRET
from tests.companion.visitor import companion
from tests.cvat.local import PARTS
from tests.cvat.server import TOKEN, Someone


@pytest.fixture
def client(cvat):
    return Client.connect(cvat.url, access_token=TOKEN)


@pytest.fixture
def listening(cvat, tmp_path, monkeypatch):
    """A companion that takes webhooks."""
    monkeypatch.setenv("QUORATE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("QUORATE_CVAT_TOKEN", "companion-token")
    cvat.people["companion"] = Someone(9, "pass of its own", "companion-token")
    settings = Settings.read(
        None,
        cvat=cvat.url,
        specs=(str(PARTS / "spec.yaml"),),
        state=str(tmp_path / "companion"),
        hooks={"comments": True},
    )
    with companion(settings) as both:
        yield both[0]


def test_a_webhook_is_made_once_and_called(cvat, client, listening):
    first = register(client, 5, listening, SECRET)
    assert (first.made, first.status) == (True, 200)
    again = register(client, 5, listening, SECRET)
    assert (again.webhook, again.made, again.status) == (first.webhook, False, 200)
    (hook,) = cvat.around.hooks.values()
    assert hook["target_url"] == f"{listening}/hooks"
    assert (hook["type"], hook["project_id"]) == ("project", 5)
    assert "completed:request[create:task]" in hook["events"]
    assert register(client, 6, listening, SECRET).webhook != first.webhook
    assert register(client, 5, listening, "another secret, as long").status == 401
    assert register(client, 5, "http://127.0.0.1:9", SECRET).status == 502


def test_a_server_that_lacks_an_event_does_without(cvat, client, listening):
    cvat.around.events.remove("completed:request[create:task]")
    register(client, 5, listening, SECRET)
    (hook,) = cvat.around.hooks.values()
    assert hook["events"] == ["create:comment", "create:task", "update:job"]


def test_tasks_that_are_there_get_the_link_unless_they_have_one(cvat, client, listening):
    tasks = [cvat.add_task([], ["red"], project=5) for _ in range(5)]
    cvat.tasks[tasks[0]]["bug_tracker"] = "https://tracker.example.org/7"
    cvat.forbidden.add(f"tasks/{tasks[1]}")
    done = register(client, 5, listening, SECRET, links=True)
    assert (done.linked, done.others, len(done.notes)) == (3, 1, 1)
    again = register(client, 5, listening, SECRET, links=True)
    assert (again.linked, again.others) == (0, 4)
    assert cvat.tasks[tasks[0]]["bug_tracker"] == "https://tracker.example.org/7"
    assert cvat.tasks[tasks[4]]["bug_tracker"] == f"{listening}/tasks/{tasks[4]}"


def test_an_organization_is_named_by_the_client(cvat, listening):
    client = Client.connect(cvat.url, access_token=TOKEN, organization="vision")
    register(client, None, listening, SECRET)
    (hook,) = cvat.around.hooks.values()
    assert hook["type"] == "organization"
    with pytest.raises(InputError, match="none is named"):
        register(Client.connect(cvat.url, access_token=TOKEN), None, listening, SECRET)


def test_who_may_not_is_told_so(cvat, client, listening):
    cvat.forbidden.add("webhooks")
    with pytest.raises(AccessError):
        register(client, 5, listening, SECRET)


def test_a_task_is_no_project_and_a_path_no_address():
    assert project_of("5") == project_of("project:5") == project_of("http://c/projects/5") == 5
    with pytest.raises(InputError, match="not to a task"):
        project_of("http://c/tasks/5")
    with pytest.raises(InputError, match="no address"):
        site("https://quorate.example.org/companion")


def test_the_command_says_what_cvat_reaches(cvat, listening, monkeypatch, capsys):
    from quorate.cli import main

    monkeypatch.setenv("CVAT_URL", cvat.url)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    main(["cvat", "register", "project:5", "--companion", listening])
    assert "the companion answers" in capsys.readouterr().err
    main(["cvat", "register", "5", "--companion", "http://127.0.0.1:9", "--json"])
    assert json.loads(capsys.readouterr().out)["status"] == 502
