"""A publish that ends half-way: killed, or without its answer; what is there can be taken back."""

import os
import signal
import subprocess
import sys
import time

import pytest

from quorate.cvat import annotate, undo
from quorate.cvat.publishing import writing
from quorate.errors import ServerError
from tests.cvat.server import TOKEN
from tests.cvat.servers import ROOT
from tests.cvat.talk import RefusedError
from tests.cvat.test_run import LABELS, TELLING, boxes, ensemble
from tests.spots import pool
from tests.waiting import until


@pytest.fixture(params=[LABELS, TELLING], ids=["journal", "attribute"])
def half(request, cvat, client, tmp_path, monkeypatch):
    """A task in which the first request of a run arrived, and its answer did not; the error."""
    files = sorted(pool(tmp_path / "pool", 6).rglob("*.png"))
    task = cvat.add_task(files, request.param)
    with monkeypatch.context() as now:
        now.setattr(writing, "AT_ONCE", 4)
        now.setattr("quorate.cvat.client.TRIES", 0)
        cvat.lose_answers = 1
        with pytest.raises(ServerError) as told:
            annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert len(cvat.drawn(task)) == 4
    return task, told.value


def name(error):
    return error.hint.partition("undo ")[2].split()[0]


def test_what_arrived_is_undone(cvat, client, half):
    task, error = half
    assert undo(name(error), client=client).removed == 4
    assert cvat.drawn(task) == []


def test_the_same_command_again_goes_on_with_the_run(cvat, client, half, tmp_path):
    task, error = half
    mine = cvat.draw(task, frame=1, label_id=min(cvat.labels), points=[1.0, 2.0, 3.0, 4.0])
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert done.published.run == name(error)
    drawn = boxes(cvat.drawn(task))
    assert len(drawn) == len(set(drawn)) == 4 + done.published.created + 1
    (third,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert third.published.run != done.published.run
    assert undo(done.published.run, client=client).removed == len(drawn) - 1
    assert cvat.drawn(task) == [mine]


def test_replace_takes_what_the_half_run_left(cvat, client, half, tmp_path):
    task, _ = half
    (done,) = annotate(str(task), ensemble(3.0), client=client, out=tmp_path / "out", replace=True)
    assert done.published.removed == 4
    assert len(cvat.drawn(task)) == done.published.created


KILLED = """
import sys
from quorate.cvat import Client, annotate
from quorate.cvat.publishing import writing
from tests.cvat.test_run import ensemble
writing.AT_ONCE = 2
url, task, out = sys.argv[1:]
annotate(task, ensemble(), client=Client.connect(url), out=out)
"""


def test_a_killed_run_is_undone_whole(cvat, client, tmp_path, monkeypatch):
    files = sorted(pool(tmp_path / "pool", 6).rglob("*.png"))
    task = cvat.add_task(files, LABELS)
    answer = cvat.answer

    def slowly(method, path, query, body):
        said = answer(method, path, query, body)
        if method == "PATCH" and len(cvat.drawn(task)) >= 4:
            until(lambda: process.poll() is not None)  # carried out, and never answered
        return said

    cvat.answer = slowly
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, cvat.url, str(task), str(tmp_path / "out")],
        env=os.environ | {"CVAT_ACCESS_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)},
    )
    until(lambda: len(cvat.drawn(task)) >= 4)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    cvat.answer = answer
    assert len(cvat.drawn(task)) == 4
    (journal,) = (tmp_path / "state").rglob("spots-*.json")
    assert undo(journal.stem, client=client).removed == 4
    assert cvat.drawn(task) == []


def test_frames_that_cannot_be_read_keep_what_is_there_and_are_asked_for_again(
    cvat, client, tmp_path
):
    files = sorted(pool(tmp_path / "pool", 4).rglob("*.png"))
    task = cvat.add_task(files, TELLING)
    (first,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    answer = cvat.answer

    def cut(method, path, query, body):
        said = answer(method, path, query, body)
        return said[:99] if query.get("number") == "1" else said

    cvat.answer = cut
    how = {"client": client, "out": tmp_path / "two", "replace": True}
    (second,) = annotate(str(task), ensemble(3.0), **how)
    on = [shape for shape in cvat.drawn(task) if shape["frame"] == 1]
    assert second.published.removed == first.published.created - len(on) > 0 < len(on)
    assert any("1 of 4 frames could not be read" in note for note in second.published.notes)
    cvat.answer = answer
    (third,) = annotate(str(task), ensemble(3.0), **how)
    assert (third.published.created, third.published.removed) == (len(on), len(on))


@pytest.mark.parametrize("labels", [LABELS, TELLING], ids=["journal", "attribute"])
@pytest.mark.parametrize("looks", [1, 5])
def test_a_request_that_a_proxy_gave_up_and_comes_late(
    cvat, client, tmp_path, monkeypatch, labels, looks
):
    files = sorted(pool(tmp_path / "pool", 4).rglob("*.png"))
    task = cvat.add_task(files, labels)
    monkeypatch.setattr("quorate.cvat.client.LOOKS", looks)
    answer, late, looked = cvat.answer, [], []

    def through_a_proxy(method, path, query, body):
        if query.get("action") == "create" and body["shapes"] and not late:
            late.append((method, path, query, body))
            raise RefusedError(504, "gateway timeout")
        if late and method == "GET" and path.endswith("/annotations"):
            looked.append(path)
            if len(looked) == 3:
                answer(*late[0])
        return answer(method, path, query, body)

    cvat.answer = through_a_proxy
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    cvat.answer = answer
    if looks == 1:
        assert len(looked) == 1
        answer(*late[0])
    twice = 2 if looks == 1 else 1
    drawn = boxes(cvat.drawn(task))
    assert len(drawn) == twice * len(set(drawn)) == 8 * twice
    if twice == 2:
        (again,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
        assert "8 shapes of earlier runs that were there twice" in again.published.notes[0]
        assert len(cvat.drawn(task)) == 8
    assert undo(done.published.run, client=client).removed == 8
    assert cvat.drawn(task) == []
