"""Who may do what: CVAT decides, for each page and each button."""

import re
import threading

import pytest

from quorate.companion.store import Run, new_id
from tests.companion.visitor import WORKING, Visitor
from tests.cvat.server import Someone
from tests.waiting import until

GUEST, OTHER = ("guest", "pass of guests"), ("other", "pass of others")


@pytest.mark.parametrize("path", ["/", "/tasks/1001", "/jobs/1", "/tasks/1001/history", "/runs/ab"])
def test_nobody_sees_a_page_without_signing_in(task, visitor, path):
    assert visitor.get(path).path.startswith("/sign-in?to=")


def test_a_run_may_be_looked_at_by_who_sees_the_task_and_touched_by_who_may_change_it(
    cvat, task, site
):
    mine = Visitor(site[0])
    mine.sign_in()
    run = mine.start(task, "parts", frames="0")
    mine.ended(run)
    guest = Visitor(site[0])
    guest.sign_in(*GUEST)
    assert "done" in guest.get(f"/runs/{run}").text
    assert "not change what is drawn here" in guest.get(f"/tasks/{task}").text
    drawn = len(cvat.drawn(task))
    for what in ("undo", "again", "cancel"):
        guest.get(f"/runs/{run}").send(f"/runs/{run}/{what}", {})
        assert guest.status in (403, 404)
    path = f"/tasks/{task}/start/parts"
    guest.get(path).send(path, {})
    assert guest.status == 403
    assert "You may not change what is drawn in task" in guest.text
    assert len(cvat.drawn(task)) == drawn > 0
    assert mine.get(f"/tasks/{task}/history").text.count("parts") == 1
    other = Visitor(site[0])
    other.sign_in(*OTHER)
    for path in (f"/runs/{run}", f"/runs/{run}/live", f"/tasks/{task}", f"/tasks/{task}/history"):
        assert other.get(path).status == 403
        assert "parts" not in other.text
        assert "or you may not see it" in other.text
    assert "None yet" in other.get("/").text


def test_a_task_that_is_not_there_looks_like_one_that_may_not_be_seen(task, visitor):
    visitor.sign_in(*OTHER)
    there = visitor.get(f"/tasks/{task}").page.replace(str(task), "N")
    assert visitor.get("/tasks/999999").page.replace("999999", "N") == there


def test_who_has_one_job_of_a_task_annotates_that(cvat, task, site):
    first, second = (job for job, one in cvat.jobs.items() if one["task_id"] == task)
    cvat.people["jobber"] = Someone(9, "pass of jobs", "j", frozenset(), frozenset({second}))
    visitor = Visitor(site[0])
    visitor.sign_in("jobber", "pass of jobs").get(f"/tasks/{task}")
    assert visitor.path == f"/jobs/{second}"
    assert visitor.get(f"/jobs/{first}").status == 403
    path = f"/jobs/{second}/start/parts"
    visitor.get(path).send(path, {"p.frames": "3"})
    run = visitor.path.removeprefix("/runs/")
    assert "done" in visitor.ended(run).text
    assert {shape["frame"] for shape in cvat.drawn(task)} == {3}
    assert cvat.shapes[first] == []
    visitor.send(f"/runs/{run}/undo", {})
    assert "undone" in visitor.ended(run).text
    assert cvat.drawn(task) == []
    cvat.people["jobber"] = Someone(9, "pass of jobs", "j", frozenset(), frozenset({first, second}))
    assert "Your jobs of task" in visitor.get(f"/tasks/{task}").text
    assert f"/jobs/{first}" in visitor.page


def test_a_token_that_has_ended_leads_to_signing_in(cvat, task, site):
    visitor = Visitor(site[0])
    visitor.send("/sign-in", {"token": "guest-token"})
    assert visitor.get(f"/tasks/{task}").path == f"/tasks/{task}"
    cvat.people["guest"] = Someone(2, "pass of guests", "another", frozenset(), reads={task})
    assert visitor.get(f"/tasks/{task}").path.startswith("/sign-in")


def test_signing_in_says_what_is_wrong_and_stops_guessing(site):
    visitor = Visitor(site[0])
    for _ in range(10):
        visitor.get("/sign-in").send("/sign-in", {"username": "labeller", "password": "wrong"})
        assert (visitor.status, "does not know this name" in visitor.text) == (401, True)
    visitor.sign_in()
    assert "10 passwords were wrong" in visitor.text
    assert "quorate" not in visitor.cookies
    visitor.send("/sign-in", {"token": "nobody's"})
    assert "does not know you" in visitor.text
    visitor.send("/sign-in", {"token": "line\nbreak"})
    assert "This is no token of CVAT's" in visitor.text


def test_signing_out_ends_the_session_here_and_at_cvat(cvat, task, site):
    visitor = Visitor(site[0])
    visitor.sign_in()
    cookies = dict(visitor.cookies)
    assert len(cvat.sessions) == 1
    visitor.get("/").send("/sign-out", {})
    assert cvat.sessions == {}
    visitor.cookies = cookies
    assert visitor.get("/").path.startswith("/sign-in")


def test_of_two_who_press_at_once_the_second_is_told_who_is_at_work(cvat, task, site, monkeypatch):
    url, running = site
    let = threading.Event()
    runner = running.runners["here"]
    do = runner.carry_out
    monkeypatch.setattr(runner, "carry_out", lambda work: (let.wait(), do(work)))
    visitors = [Visitor(url) for _ in range(6)]
    cvat.people["second"] = Someone(5, "pass two", "t2", None)
    for number, visitor in enumerate(visitors):
        visitor.sign_in(*(("labeller", "correct horse"), ("second", "pass two"))[number % 2])
        visitor.get(f"/tasks/{task}/start/parts")
    path = f"/tasks/{task}/start/parts"
    threads = [threading.Thread(target=v.send, args=(path, {"p.frames": "0"})) for v in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [v for v in visitors if v.status == 409]
    assert len(refused) == 5
    assert all(re.search(r"'parts', started by (labeller|second), is at work", v.text)
               for v in refused)  # fmt: skip
    assert "is at work here" in refused[0].get(f"/tasks/{task}").text
    let.set()
    until(lambda: not running.store.at_work())
    assert len(running.store.of_task(task)) == 1


def test_a_cookie_of_ones_own_making_is_nobodys(task, visitor):
    for value in ("", "x", "a" * 43, "1", "../..", "Ω".encode().decode("latin-1")):
        visitor.cookies = {"quorate": value}
        assert visitor.get(f"/tasks/{task}").path.startswith("/sign-in")


def test_the_environment_of_the_companion_signs_nobody_in(visitor):
    # Its CVAT_ACCESS_TOKEN (conftest) must not stand in for what a visitor did not give.
    visitor.get("/sign-in").send("/sign-in", {"username": "labeller"})
    assert visitor.status == 401
    assert "Give a name and a password, or a token" in visitor.text


def test_a_rule_can_order_a_run_without_a_page(cvat, task, site):
    from quorate.companion.people import by_token

    who = by_token(cvat.url, "quorate-test-token")
    run = site[1].start("parts", task, None, {"frames": "0"}, who)
    until(lambda: site[1].store.run(run).state not in WORKING)
    assert site[1].store.run(run).state == "done"


def test_ten_thousand_runs_have_a_quick_history(cvat, task, site, visitor):
    running = site[1]
    for n in range(10_000):
        run = Run(id=new_id(), task=task, template="parts", runner="here", title=f"parts {n}",
                  person=1, who="labeller", made=float(n), state="done")  # fmt: skip
        running.store.add(run, {})
        running.store._db.execute("UPDATE runs SET busy = 0 WHERE id = ?", (run.id,))
    visitor.sign_in().get(f"/tasks/{task}/history")
    assert "parts 9999" in visitor.text
    assert "Page 1 of 200" in visitor.text
    assert len(visitor.page) < 40_000
    assert "parts 0" in visitor.get(f"/tasks/{task}/history?page=200").text
    for page in ("0", "-1", "x", "9" * 30, "201"):
        assert visitor.get(f"/tasks/{task}/history?page={page}").status == 200
