"""A run in this process tells of itself."""

import json

import pytest

from quorate.cli import main
from quorate.errors import InputError
from quorate.notifications import Counts, telling
from quorate.spec import Webhook
from tests.notifications.receivers import web


@pytest.fixture
def server():
    with web() as given:
        yield given


def events(server):
    return [json.loads(body)["type"] for _, _, body in server.came]


def run(server, summary=None, error=None, when=("started", "succeeded", "degraded", "failed")):
    problems = []
    target = Webhook(url=server.url, when=when)
    with telling((target,), ensemble="e", run="/out", problem=problems.append) as ended:
        if error:
            raise error
        ended(summary)
    return problems


@pytest.mark.parametrize(("degraded", "end"), [(False, "succeeded"), (True, "degraded")])
def test_start_and_end_are_told(server, degraded, end):
    assert run(server, Counts("wbf", 1, 2, degraded, ())) == []
    assert events(server) == ["run.started", f"run.{end}"]


def test_an_error_is_told_and_goes_on_its_way(server):
    with pytest.raises(InputError, match="no pictures"):
        run(server, error=InputError("There are no pictures.", hint="look"))
    assert events(server) == ["run.started", "run.failed"]
    data = json.loads(server.came[-1][2])["data"]
    assert data["failures"] == [{"node": "run", "message": "There are no pictures."}]


def test_an_interrupt_is_not_told(server):
    with pytest.raises(KeyboardInterrupt):
        run(server, error=KeyboardInterrupt())
    assert events(server) == ["run.started"]


def test_a_message_that_does_not_arrive_changes_nothing(server):
    server.statuses = [404]
    problems = run(server, Counts("wbf", 1, 2, False, ()), when=("succeeded",))
    assert [str(one) for one in problems] == ["webhook was not told: it answered 404."]


def test_two_runs_have_two_ids(server):
    for _ in range(2):
        run(server, Counts("wbf", 1, 2, False, ()), when=("succeeded",))
    assert len({headers["webhook-id"] for _, headers, _ in server.came}) == 2


def test_quorate_run_tells(server, tmp_path, capsys):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "kind: DetectionEnsemble\nname: street\ndata: none\n"
        "detectors: [{name: yolo, kind: onnx, weights: none.onnx}]\n"
        f"notify: [{{kind: webhook, url: {server.url}, when: [started, failed]}}]\n"
    )
    assert main(["run", str(spec), "--out", str(tmp_path / "out")]) == 2
    assert events(server) == ["run.started", "run.failed"]
    data = json.loads(server.came[-1][2])["data"]
    assert data["run"] == str(tmp_path / "out")
    assert data["failures"][0]["message"] in capsys.readouterr().err
