"""Which task, frames and run are meant: what is misspelt, elsewhere or not all of it is told."""

import os
import subprocess
import sys

import pytest

from quorate.cvat import Client, annotate, undo
from quorate.cvat.task import Place
from quorate.errors import AccessError, InputError
from tests.cvat.puppets import install
from tests.cvat.server import TOKEN, Someone
from tests.cvat.servers import ROOT
from tests.cvat.test_run import LABELS, TELLING, ensemble
from tests.spots import pool


@pytest.fixture
def files(tmp_path):
    return sorted(pool(tmp_path / "pool", 4).rglob("*.png"))


@pytest.fixture
def run(cvat, client, tmp_path):
    """Annotate a place; what was published."""

    def run(place, **more):
        more = {"client": client, "out": tmp_path / "out"} | more
        return annotate(str(place), ensemble(), **more)[0].published

    return run


@pytest.mark.parametrize("text", ["²", "٣", "job:²", "https://h/tasks/٣"])
def test_digits_of_other_scripts_are_no_number(text):
    with pytest.raises(InputError, match="names no task"):
        Place.parse(text)


def test_frames_that_are_not_there_are_told(cvat, files, run):
    task = cvat.add_task(files, LABELS, deleted=(1,))
    notes = run(task, frames="0,1,3-900,70-80").notes
    told = [note for note in notes if "has no frame" in note]
    assert [note.partition(";")[0].rpartition(" ")[2] for note in told] == ["1", "70-80"]
    for wrong in ("²", "0-", "", "0,"):
        with pytest.raises(InputError, match="is no range"):
            run(task, frames=wrong)


def test_an_address_of_another_server_is_refused(cvat, files, run):
    task = cvat.add_task(files, LABELS)
    with pytest.raises(InputError, match="named by an address of https://other"):
        run(f"https://other.example.org/tasks/{task}")
    assert cvat.drawn(task) == []
    assert run(f"{cvat.url}/tasks/{task}").created


@pytest.mark.parametrize("name", ["*", "spots-*", "../1/spots", "x" * 300, ""])
def test_undo_takes_names_as_they_are(cvat, client, files, run, name):
    task = cvat.add_task(files, LABELS)
    made = run(task)
    with pytest.raises(InputError, match="There is no run"):
        undo(name, client=client)
    with pytest.raises(InputError, match="has nothing that a run"):
        undo(name, task=task, client=client)
    assert len(cvat.drawn(task)) == made.created


def test_undo_goes_by_the_task_that_is_named(cvat, client, files, run):
    one, two = (cvat.add_task(files, TELLING) for _ in range(2))
    run(one, name="spots-20260101-000000-abcd")
    run(two, name="spots-20260101-000000-abcd")
    with pytest.raises(InputError, match="is in 2 tasks"):
        undo("spots-20260101-000000-abcd", client=client)
    undo("spots-20260101-000000-abcd", task=two, client=client)
    assert cvat.drawn(one)
    assert not cvat.drawn(two)
    with pytest.raises(InputError, match="has nothing that a run"):
        undo("spots-20260101-000000-abcd", task=two, client=client)


def test_a_run_is_undone_though_all_frames_were_deleted_since(cvat, client, files, run):
    task = cvat.add_task(files, LABELS)
    made = run(task)
    cvat.tasks[task]["_meta"]["deleted"] = [0, 1, 2, 3]
    assert undo(made.run, client=client).removed == made.created
    assert cvat.drawn(task) == []


def test_who_has_a_job_alone_may_undo_its_run(cvat, files, run):
    task = cvat.add_task(files, LABELS)
    (job,) = (n for n, one in cvat.jobs.items() if one["task_id"] == task)
    cvat.people["worker"] = Someone(2, "a password", "worker-token")
    worker = Client.connect(cvat.url, access_token="worker-token")
    cvat.forbidden.add(f"tasks/{task}")
    made = run(f"job:{job}", client=worker)
    assert undo(made.run, client=worker).removed == made.created


def test_no_pictures_in_an_organization_may_be_a_task_of_none(cvat, run):
    task = cvat.add_task([], LABELS)
    cvat.jobs.clear()
    other = Client.connect(cvat.url, access_token=TOKEN, organization="elsewhere")
    with pytest.raises(InputError, match="organization 'elsewhere'"):
        run(task, client=other)


def test_what_cannot_be_annotated_keeps_no_other_task_of_a_project_from_it(
    cvat, files, run, client, tmp_path
):
    one, empty, three = (cvat.add_task(some, LABELS, project=7) for some in (files, [], files[:1]))
    done = annotate("project:7", ensemble(), client=client, out=tmp_path / "out")
    assert [each.task for each in done] == [one, three]
    assert done[-1].published.notes == [f"left out: task {empty} has no pictures."]
    done = annotate("project:7", ensemble(), client=client, out=tmp_path / "out", frames="2-3")
    assert [each.task for each in done] == [one]
    assert len(done[-1].published.notes) == 2
    with pytest.raises(InputError, match="project 7 has no task that can be annotated"):
        run("project:7", frames="40")


def test_what_is_done_of_a_project_before_an_error_is_told(cvat, files, client, tmp_path):
    one, two = (cvat.add_task(files, LABELS, project=7) for _ in range(2))
    (job,) = (n for n, about in cvat.jobs.items() if about["task_id"] == two)
    cvat.forbidden.add(f"jobs/{job}")
    spec = tmp_path / "spec.yaml"
    install(tmp_path / "plugins")
    spec.write_text("{kind: DetectionEnsemble, name: spots, detectors: [{name: a, kind: puppet}]}")
    command = ["cvat", "run", f"{cvat.url}/projects/7", str(spec), "-o", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-m", "quorate", *command],
        env=os.environ
        | {"CVAT_ACCESS_TOKEN": TOKEN, "PYTHONPATH": f"{tmp_path / 'plugins'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    told = ended.stderr
    assert ended.returncode == 2
    assert f"task {one}: boxes: 8 created" in told
    name = told.partition("quorate cvat undo ")[2].split()[0]
    assert undo(name, client=client).removed == 8


def test_who_may_not_write_is_told_before_any_picture_is_asked_for(cvat, files, run):
    task = cvat.add_task(files, LABELS)
    cvat.people["guest"] = Someone(2, "a password", "guest", frozenset(), reads=frozenset({task}))
    guest = Client.connect(cvat.url, access_token="guest")
    with pytest.raises(AccessError, match="annotations of job"):
        run(task, client=guest)
    assert not [request for request in cvat.requests if request.endswith("/data")]
