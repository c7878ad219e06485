"""The process and its files: killed, started again, started twice; settings that are wrong."""

import signal

import pytest

from quorate.companion.serving import at_work
from quorate.companion.settings import Settings
from quorate.companion.store import Store
from quorate.cvat.publishing import writing
from quorate.errors import BusyError, InputError, SpecError
from tests.companion.visitor import Process, Visitor
from tests.spots import pool
from tests.waiting import until


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_interrupted_goes_on_without_doubles(cvat, tmp_path, command, how):
    files = sorted(pool(tmp_path / "pool", 4).rglob("*.png"))
    task = cvat.add_task(files, ["red", "green"])
    (tmp_path / "switch").write_text("hang")
    first = Process(command, tmp_path / "plugins")
    visitor = Visitor(first.url)
    visitor.sign_in()
    run = visitor.start(task, "puppets")
    until(lambda: "Find objects at work" in visitor.get(f"/runs/{run}").text)
    if how == signal.SIGTERM:  # a picture that is being looked at is waited for
        first.process.send_signal(how)
        (tmp_path / "switch").unlink()
        assert first.ended() == 143
    else:
        first.end(how)
        (tmp_path / "switch").unlink()
    assert cvat.drawn(task) == []
    second = Process(command, tmp_path / "plugins")
    visitor = Visitor(second.url)
    visitor.sign_in().get(f"/runs/{run}")
    assert "interrupted" in visitor.text
    assert "no box is created twice" in visitor.text
    visitor.send(f"/runs/{run}/again", {})
    assert "done" in visitor.ended(run).text
    drawn = [(s["frame"], s["label_id"], *s["points"]) for s in cvat.drawn(task)]
    assert len(drawn) == len(set(drawn)) > 0
    visitor.send(f"/runs/{run}/undo", {})
    assert "undone" in visitor.ended(run).text
    assert cvat.drawn(task) == []
    assert second.end(signal.SIGTERM) == 143


def test_a_run_is_stopped_and_goes_on(cvat, tmp_path, command):
    task = cvat.add_task(sorted(pool(tmp_path / "pool", 40).rglob("*.png")), ["red", "green"])
    (tmp_path / "switch").write_text("hang")
    server = Process(command, tmp_path / "plugins")
    visitor = Visitor(server.url)
    visitor.sign_in()
    run = visitor.start(task, "puppets")
    until(lambda: "Find objects at work" in visitor.get(f"/runs/{run}").text)
    visitor.send(f"/runs/{run}/cancel", {})
    (tmp_path / "switch").unlink()
    assert "cancelled" in visitor.ended(run).text
    assert "labeller asks it to stop" in visitor.text
    assert cvat.drawn(task) == []
    visitor.send(f"/runs/{run}/again", {})
    assert "done" in visitor.ended(run).text
    assert len(cvat.drawn(task)) > 0
    assert server.end(signal.SIGTERM) == 143


def test_cvat_that_goes_away_is_told_and_the_run_goes_on(cvat, task, visitor, monkeypatch):
    visitor.sign_in()
    run = visitor.start(task, "parts", frames="0-1")
    visitor.ended(run)
    drawn = len(cvat.drawn(task))
    cvat.busy = 1000
    for path in ("/tasks/1001", f"/runs/{run}"):
        assert visitor.get(path).status == 502
        assert "it answers 503" in visitor.text
    cvat.busy = 0
    cvat.shapes = {job: [] for job in cvat.shapes}
    cvat.forbidden = {f"jobs/{job}/annotations" for job in cvat.jobs}
    run = visitor.start(task, "parts", frames="0-1")
    assert "failed" in visitor.ended(run).text
    assert "you may not do that" in visitor.text
    cvat.forbidden = set()
    visitor.send(f"/runs/{run}/again", {})
    assert "done" in visitor.ended(run).text
    assert len(cvat.drawn(task)) == drawn > 0


def test_a_publish_that_failed_half_way_is_undone_as_one(cvat, task, visitor, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 4)
    monkeypatch.setattr("quorate.cvat.client.TRIES", 0)
    first = min(job for job, one in cvat.jobs.items() if one["task_id"] == task)
    visitor.sign_in()
    cvat.lose_answers = 1
    run = visitor.start(task, "parts", frames="0,5")
    assert "failed" in visitor.ended(run).text
    assert "Undo" in visitor.text
    half = len(cvat.shapes[first])
    assert half == 4
    visitor.send(f"/runs/{run}/again", {})
    assert f"{half} there already" in visitor.ended(run).text
    assert len(cvat.drawn(task)) > half
    visitor.send(f"/runs/{run}/undo", {})
    assert "undone" in visitor.ended(run).text
    assert cvat.drawn(task) == []


def test_a_task_that_is_deleted_during_the_run(cvat, task, site, visitor, monkeypatch):
    runner = site[1].runners["here"]
    do = runner.carry_out
    monkeypatch.setattr(runner, "carry_out", lambda work: (cvat.tasks.pop(task), do(work)))
    visitor.sign_in()
    run = visitor.start(task, "parts")
    until(lambda: site[1].store.run(run).state == "failed")
    assert "there is no task" in site[1].store.run(run).error


def test_one_process_has_the_folder(settings):
    with at_work(settings), pytest.raises(BusyError, match="is in use by"), at_work(settings):
        pass


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "db").write_bytes(b"not a database, " * 1000)
    with pytest.raises(InputError, match="is no file of the companion's"):
        Store(tmp_path / "db")


def test_a_log_keeps_its_last_lines(tmp_path):
    store = Store(tmp_path / "db")
    for n in range(1100):
        store.say("r", str(n))
    assert [text for _, text in store.lines("r", 2000)] == [str(n) for n in range(100, 1100)]
    store.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cvat: https://cvat.example.org/app\nspecs: [a.yaml]", "an address without a path"),
        ("cvat: ftp://cvat\nspecs: [a.yaml]", "an address without a path"),
        ("cvat: https://u:p@cvat\nspecs: [a.yaml]", "an address without a path"),
        ("cvat: https://cvat", "nothing to start"),
        ("specs: [a.yaml]", "No CVAT server"),
        ("cvat: https://cvat\ncluster: {}", "Nothing says where tasks are handed over"),
        ("cvat: https://cvat\ncluster: {}\nstorage: /tmp", "is no place in S3"),
        ("cvat: https://cvat\nspec: [a.yaml]", "specs"),
    ],
)
def test_settings_that_are_wrong(tmp_path, monkeypatch, text, said):
    monkeypatch.delenv("CVAT_URL", raising=False)
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises((SpecError, InputError), match=said):
        Settings.read(str(tmp_path / "settings.yaml"))


def test_specs_stand_beside_the_settings(tmp_path):
    (tmp_path / "settings.yaml").write_text("cvat: https://cvat.example.org/\nspecs: [a.yaml]")
    settings = Settings.read(str(tmp_path / "settings.yaml"))
    assert settings.specs == (str(tmp_path / "a.yaml"),)
    assert settings.cvat == "https://cvat.example.org"


def test_a_cluster_that_is_away_leaves_what_runs_here(cvat, task, settings, tmp_path):
    from tests.companion.visitor import companion

    away = Settings.read(
        None, cvat=cvat.url, specs=settings.specs, state=str(tmp_path / "other"),
        cluster={"server": "127.0.0.1:9", "namespace": "argo"}, storage="s3://bucket/cvat",
    )  # fmt: skip
    with companion(away) as (url, _):
        visitor = Visitor(url)
        visitor.sign_in().get(f"/tasks/{task}")
        assert "127.0.0.1:9" in visitor.text
        assert "yolo, detr, frcnn" in visitor.text
        assert visitor.get(f"/tasks/{task}/start/street").status == 502
        assert visitor.get(f"/tasks/{task}/start/parts").status == 200
