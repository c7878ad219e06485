"""What a page of another site, a forged form or a hostile name can do: nothing."""

import re
from urllib.parse import urlencode

import pytest
import urllib3

from quorate.companion.store import Run, new_id
from quorate.companion.web.guard import LARGEST
from tests.companion.visitor import Visitor

MARKUP = '"><img src=x onerror=alert(1)>\u202e&lt;'


@pytest.fixture
def signed_in(visitor):
    return visitor.sign_in()


@pytest.mark.parametrize("csrf", ["", "guess", None])
def test_a_form_without_the_secret_of_the_session_is_refused(cvat, task, signed_in, csrf):
    form = {"p.frames": "0"} | ({} if csrf is None else {"csrf": csrf})
    signed_in.send(f"/tasks/{task}/start/parts", urlencode(form))
    assert signed_in.status == 403
    assert "not of this visit" in signed_in.text
    assert cvat.drawn(task) == []


def test_the_secret_of_another_session_is_refused(task, signed_in, site):
    other = Visitor(site[0])
    other.sign_in("guest", "pass of guests").get("/")
    csrf = re.search(r'name="csrf" value="([^"]+)"', other.page)[1]
    signed_in.send(f"/tasks/{task}/start/parts", {"csrf": csrf})
    assert signed_in.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_are_refused_even_for_signing_in(task, visitor, headers):
    visitor.get("/sign-in").send(
        "/sign-in", {"username": "labeller", "password": "correct horse"}, **headers
    )
    assert visitor.status == 403
    assert visitor.cookies == {}


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x"]
)
def test_signing_in_leads_nowhere_else(visitor, to):
    visitor.send("/sign-in", {"username": "labeller", "password": "correct horse", "to": to})
    assert visitor.path == "/"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site, settings):
    answer = urllib3.request(
        "POST", f"{site[0]}/sign-in", body="username=labeller&password=correct+horse",
        headers={"Content-Type": "application/x-www-form-urlencoded"}, redirect=False,
    )  # fmt: skip
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize("path", ["/sign-in", "/static/page.css", "/nothing", "/tasks/1"])
def test_every_answer_forbids_scripts_and_frames_of_others(visitor, path):
    visitor.get(path)
    policy = visitor.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert visitor.headers["X-Content-Type-Options"] == "nosniff"


def test_names_errors_logs_and_notes_are_text(cvat, task, site, signed_in):
    from quorate.companion.store import Result, Step

    cvat.tasks[task]["name"] = MARKUP
    run = Run(id=new_id(), task=task, template="parts", runner="here", title=MARKUP,
              values={"frames": MARKUP}, person=1, who=MARKUP, made=1.0, error=MARKUP, hint=MARKUP,
              steps=[Step(MARKUP, "failed", message=MARKUP)], result=Result(notes=[MARKUP]),
              state="failed", facts={"name": MARKUP})  # fmt: skip
    site[1].store.add(run, {})
    site[1].store.release(run)
    site[1].store.say(run.id, MARKUP)
    pages = ["/", f"/tasks/{task}", f"/tasks/{task}/history", f"/runs/{run.id}",
             f"/runs/{run.id}/live", f"/tasks/{task}/start/parts"]  # fmt: skip
    for page in pages:
        signed_in.get(page)
        assert "<img" not in signed_in.page
        assert "\u202e" not in signed_in.page
        assert "&quot;&gt;&lt;img" in signed_in.page, page
    path = f"/tasks/{task}/start/parts"
    signed_in.get(path).send(path, {f"p.{MARKUP}": "1", "p.frames": MARKUP})
    assert "<img" not in signed_in.page
    signed_in.get(f"/open?{urlencode({'task': MARKUP})}")
    assert "<img" not in signed_in.page
    signed_in.get(f"/sign-in?{urlencode({'to': MARKUP})}")
    assert "<img" not in signed_in.page


def test_forms_of_any_size_are_answered(task, signed_in):
    path = f"/tasks/{task}/start/parts"
    signed_in.get(path).send(path, {"p.frames": "0," * (LARGEST // 2)})
    assert signed_in.status == 413
    signed_in.get(path).send(path, {"p.frames": "0," * 5000})
    assert "longer than 1,000 characters" in signed_in.text
    signed_in.get(path).send(path, "&".join(f"a{n}=1" for n in range(5000)))
    assert signed_in.status == 400
    signed_in.get(path).send(path, "p.frames=%ff&csrf=%00")
    assert signed_in.status == 400
    signed_in.send(path, "{}", Content_Type="application/json")
    assert signed_in.status == 415


@pytest.mark.parametrize("frames", ["0-999999999", "5-0", "999999999"])
def test_huge_ranges_of_frames_cost_nothing(cvat, task, signed_in, frames):
    run = signed_in.start(task, "parts", frames=frames)
    signed_in.ended(run)
    assert ("done" in signed_in.text) == (frames == "0-999999999")


@pytest.mark.parametrize(
    "given",
    [
        "http://169.254.169.254/tasks/1",
        "http://10.0.0.1:6443/tasks/1",
        "https://cvat.example.org/tasks/1",
        "file:///tasks/1",
    ],
)
def test_no_server_but_the_configured_one_is_ever_asked(cvat, signed_in, given):
    before = len(cvat.requests)
    signed_in.get(f"/open?{urlencode({'task': given})}")
    assert signed_in.status == 400
    assert len(cvat.requests) == before
    signed_in.get(f"/open?{urlencode({'task': f'{cvat.url}/tasks/1001'})}")
    assert signed_in.path == "/tasks/1001"


@pytest.mark.parametrize(
    "path",
    ["/tasks/0x1", "/tasks/-1", "/tasks/99999999999999999999999", "/runs/..%2f..%2fetc",
     "/static/../app.py", "/static/%2e%2e/app.py", "/jobs/1/history", "/runs/a/b/c"],
)  # fmt: skip
def test_odd_addresses_are_answered(signed_in, path):
    signed_in.get(path)
    assert signed_in.status in (403, 404)


def test_actions_that_are_none(task, signed_in):
    run = signed_in.start(task, "parts", frames="0")
    signed_in.ended(run)
    for what in ("delete", "again", "cancel"):
        signed_in.get(f"/runs/{run}").send(f"/runs/{run}/{what}", {})
        assert signed_in.status == 404
    assert signed_in.get(f"/runs/{run}/undo").status == 405
