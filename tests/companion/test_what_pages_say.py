"""What pages say when somebody came to a wrong place, or wants the same with other answers."""

import re
import shutil

import pytest

from tests.companion.visitor import Visitor
from tests.cvat.local import WORDS


def test_an_address_that_is_none_is_told_so(visitor):
    visitor.sign_in().get("/open?task=http://[::1")
    assert visitor.status == 400
    assert "http://[::1: names no task, job or project of CVAT." in visitor.text


def test_a_page_that_is_not_there_is_told_and_who_is_signed_in_stays_so(visitor):
    visitor.sign_in().get("/nowhere")
    assert visitor.status == 404
    assert "There is no page at this address." in visitor.text
    assert "Sign out" in visitor.text


def test_a_hint_that_asks_ends_as_a_question(cvat, task, visitor):
    visitor.get("/sign-in").send("/sign-in", {"token": "nobody's"})
    assert visitor.status == 401
    assert re.search(r"another\? ", visitor.text)


@pytest.mark.parametrize("place", ["tasks", "jobs"])
def test_a_run_is_begun_anew_with_other_answers(cvat, task, site, place):
    visitor = Visitor(site[0])
    visitor.get("/").sign_in()
    number = task if place == "tasks" else next(iter(cvat.jobs))
    path = f"/{place}/{number}/start/parts"
    visitor.get(path).send(path, {"p.frames": "0", "p.min-score": "0.9", "p.replace": "yes"})
    visitor.ended(run := visitor.path.removeprefix("/runs/"))
    assert f'href="{path}?like={run}"' in visitor.page
    visitor.get(f"{path}?like={run}")
    for given in ('name="p.frames" value="0"', 'name="p.min-score" value="0.9"', "checked"):
        assert given in visitor.page.replace('aria-describedby="p.frames-hint" ', "").replace(
            'aria-describedby="p.min-score-hint" ', ""
        )
    assert "0.9" not in visitor.get(path).page
    other = f"/jobs/{next(iter(cvat.jobs))}" if place == "tasks" else f"/tasks/{task}"
    assert "0.9" not in visitor.get(f"{other}/start/parts?like={run}").page


def test_a_history_leads_back_to_its_task(cvat, task, visitor):
    visitor.sign_in().get(f"/tasks/{task}/history")
    assert f'<a href="/tasks/{task}">' in visitor.page


def test_labels_that_do_not_fit_are_told_in_words_of_the_pages(cvat, task, visitor, pictures):
    other = cvat.add_task(pictures[:1], ["bolt"])
    visitor.sign_in()
    visitor.ended(visitor.start(other, "parts"))
    assert "start it anew with 'Add labels that the task lacks'" in visitor.text
    assert "{theirs: yours}" not in visitor.text


def test_a_run_that_created_nothing_has_nothing_to_undo(cvat, task, visitor):
    visitor.sign_in()
    visitor.ended(visitor.start(task, "parts", frames="0"))
    assert "Undo" in visitor.text
    visitor.ended(run := visitor.start(task, "parts", frames="0"))
    assert "there already" in visitor.text
    assert "Undo" not in visitor.text
    visitor.send(f"/runs/{run}/undo", {})
    assert "There is nothing of this run to undo." in visitor.text


def test_boxes_that_nothing_tells_of_any_more_are_not_told_undone(
    cvat, visitor, pictures, tmp_path
):
    task = cvat.add_task(pictures[:1], list(WORDS))  # labels without an attribute `run`
    visitor.sign_in()
    visitor.ended(run := visitor.start(task, "parts"))
    made = len(cvat.drawn(task))
    shutil.rmtree(tmp_path / "state")
    visitor.send(f"/runs/{run}/undo", {}).ended(run)
    assert "failed" in visitor.text
    assert "undone" not in visitor.text
    assert len(cvat.drawn(task)) == made > 0


def test_boxes_that_somebody_deleted_are_counted_when_the_rest_is_undone(cvat, task, visitor):
    visitor.sign_in()
    visitor.ended(run := visitor.start(task, "parts", frames="0"))
    made = len(cvat.drawn(task))
    for shapes in cvat.shapes.values():
        if shapes:
            shapes.pop()
    visitor.send(f"/runs/{run}/undo", {}).ended(run)
    assert f"1 of the {made} boxes that it made are not found" in visitor.text
    assert "undone" in visitor.text
    assert cvat.drawn(task) == []
