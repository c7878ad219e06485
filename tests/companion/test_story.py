"""From the task's link to its boxes, over HTTP: the companion and the demo's ensemble for real."""

import sqlite3
import stat

import pytest

from tests.companion.visitor import Visitor
from tests.cvat.local import local_run


def frames(pictures):
    return {path.name: n for n, path in enumerate(pictures)}


def drawn(cvat, task):
    words = {n: label["name"] for n, label in cvat.labels.items()}
    return sorted((s["frame"], words[s["label_id"]], *s["points"]) for s in cvat.drawn(task))


def test_a_task_is_annotated_and_the_boxes_are_those_of_a_run_here(
    cvat, task, visitor, pictures, tmp_path
):
    mine = cvat.draw(task, frame=1, label_id=min(cvat.labels), points=[1.0, 2.0, 3.0, 4.0])
    visitor.get(f"/tasks/{task}")
    assert visitor.path == f"/sign-in?to=%2Ftasks%2F{task}"
    visitor.send("/sign-in", {"username": "labeller", "password": "correct horse",
                              "to": f"/tasks/{task}"})  # fmt: skip
    assert visitor.path == f"/tasks/{task}"
    assert "parts" in visitor.page
    run = visitor.start(task, "parts")
    visitor.ended(run)
    assert "done" in visitor.text
    assert "Find objects" in visitor.text
    cvat.shapes = {job: [s for s in shapes if s is not mine] for job, shapes in cvat.shapes.items()}
    _, here = local_run(tmp_path)
    at = {path.relative_to(path.parents[1]).as_posix(): n for n, path in enumerate(pictures)}
    wanted = sorted(
        (at[name], label, *box) for name, shapes in here.items() if name in at
        for label, box, _ in shapes
    )  # fmt: skip
    assert drawn(cvat, task) == wanted
    assert f"{len(wanted)} created" in visitor.text
    assert f"{cvat.url}/tasks/{task}" in visitor.page
    again = visitor.ended(visitor.start(task, "parts"))
    assert f"{len(wanted)} there already" in again.text
    assert drawn(cvat, task) == wanted
    visitor.get(f"/runs/{run}").send(f"/runs/{run}/undo", {})
    visitor.ended(run)
    assert "undone" in visitor.text
    assert f"{len(wanted)} removed" in visitor.text
    assert drawn(cvat, task) == []
    visitor.get(f"/tasks/{task}/history")
    assert visitor.text.count("parts") == 2


def test_a_job_alone_and_what_the_form_asks(cvat, task, site):
    visitor = Visitor(site[0]).get("/")
    visitor.send("/sign-in", {"token": "quorate-test-token"})
    assert visitor.path == "/"
    job = [job for job, one in cvat.jobs.items() if one["task_id"] == task][1]
    path = f"/jobs/{job}/start/parts"
    visitor.get(path).send(path, {"p.frames": "4-5", "p.min-score": "0.9", "p.method": "unanimous"})
    visitor.ended(visitor.path.removeprefix("/runs/"))
    assert "done" in visitor.text
    assert {shape["frame"] for shape in cvat.drawn(task)} <= {4, 5}
    few = len(cvat.drawn(task))
    visitor.ended(visitor.start(task, "parts", frames="4-5"))
    assert len(cvat.drawn(task)) > few > 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"frames": "all"}, "Frames: 'all' is not as in 0-99,150."),
        ({"min-score": "2"}, "Lowest score: is at most 1."),
        ({"min-score": "nan"}, "Lowest score: 'nan' is no number."),
        ({"method": "consensu"}, "did you mean 'consensus'?"),
        ({"depth": "3"}, "parts has no field 'depth'."),
    ],
)
def test_what_does_not_fit_is_told_beside_its_field(cvat, task, visitor, values, said):
    path = f"/tasks/{task}/start/parts"
    visitor.sign_in().get(path).send(path, {f"p.{name}": one for name, one in values.items()})
    assert visitor.status == 422
    assert said in visitor.text
    assert cvat.drawn(task) == []


def test_labels_that_do_not_fit_are_told_and_can_be_added(cvat, task, visitor, pictures):
    other = cvat.add_task(pictures[:1], ["bolt"])
    visitor.sign_in()
    run = visitor.start(other, "parts")
    visitor.ended(run)
    assert "lacks 3 of the spec's labels: nut, washer, screw" in visitor.text
    assert "'Add labels that the task lacks'" in visitor.text
    assert "Undo" not in visitor.text
    visitor.ended(visitor.start(other, "parts", **{"add-labels": "yes"}))
    assert "done" in visitor.text
    assert cvat.drawn(other)


def test_what_a_run_needs_of_a_person_is_wiped_when_it_ends(cvat, task, site, settings):
    secret = "quorate-test-token"
    visitor = Visitor(site[0])
    visitor.send("/sign-in", {"token": secret})
    visitor.ended(visitor.start(task, "parts", frames="0"))
    files = [path for path in settings.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    file = settings.folder / "companion.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT headers FROM runs").fetchall() == [(None,)]
