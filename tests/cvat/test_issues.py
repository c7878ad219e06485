"""Issues on the frames that need a person, against a server that answers as CVAT does."""

import shutil
from pathlib import Path

import pytest

from quorate.cvat import annotate, undo
from quorate.ensemble import DetectionEnsemble
from quorate.errors import InputError
from quorate.spec import Publish
from quorate.steps.review import Rule
from tests.spots import Spots, pool

LABELS = ["red", "green", "blue"]
ALL = Rule()


@pytest.fixture
def files(tmp_path):
    """Six pictures; detector b fails to see green, and sees nothing red on two of them."""
    folder = pool(tmp_path / "pool", 6)
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def ensemble(blind="green", **publish):
    detectors = (
        Spots(name="a", kind="spots"),
        Spots(name="b", kind="spots", blind=blind),
        Spots(name="c", kind="spots"),
    )
    return DetectionEnsemble(name="spots", detectors=detectors, publish=Publish(**publish))


def opened(cvat):
    return sorted((one["job"], one["frame"]) for one in cvat.talk.issues.values())


def run(cvat, client, task, tmp_path, spec=None, **more):
    spec = spec or ensemble()
    (done,) = annotate(str(task), spec, client=client, out=tmp_path / "out", **more)
    return done.published


def test_an_issue_names_what_is_in_doubt_and_where(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=4)
    done = run(cvat, client, task, tmp_path, review=Rule(most=2))
    assert done.issues.opened == 2
    words = {n: label["name"] for n, label in cvat.labels.items()}
    green = {s["frame"]: s["points"] for s in cvat.drawn(task) if words[s["label_id"]] == "green"}
    for issue in cvat.talk.issues.values():
        job = cvat.jobs[issue["job"]]
        assert job["start_frame"] <= issue["frame"] <= job["stop_frame"]
        assert issue["position"] == green[issue["frame"]]
        (comment,) = [c for c in cvat.talk.comments.values() if c["issue"] == issue["id"]]
        assert comment["message"] == (
            "green? 2 of 3 votes. Detectors disagree on this frame, 16%: 1 × green "
            f"[quorate run {done.run}]"
        )


def test_the_spec_says_which_frames_where_nothing_else_does(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS)
    assert run(cvat, client, task, tmp_path).issues is None
    asked = ensemble(review="disagreement", review_share=0.5)
    assert run(cvat, client, task, tmp_path, asked).issues.opened == 3
    other = cvat.add_task(files, LABELS)
    none = Rule(most=0)
    assert run(cvat, client, other, tmp_path / "b", asked, review=none).issues.opened == 0


def test_detectors_that_agree_open_none(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS)
    assert run(cvat, client, task, tmp_path, ensemble(blind=""), review=ALL).issues.opened == 0


def test_a_second_run_opens_none_again(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=4, overlap=2)
    first = run(cvat, client, task, tmp_path, review=ALL)
    before = opened(cvat)
    assert first.issues.opened == len(before) == len({frame for _, frame in before}) == 6
    done = next(iter(cvat.talk.issues))
    cvat.talk.issues[done]["resolved"] = True
    shutil.rmtree(tmp_path / "state")
    second = run(cvat, client, task, tmp_path, review=ALL)
    assert opened(cvat) == before
    assert (second.issues.opened, second.issues.there) == (0, 6)


def test_replace_removes_what_is_no_longer_in_doubt_and_nobody_touched(
    cvat, client, files, tmp_path
):
    task = cvat.add_task(files, LABELS)
    run(cvat, client, task, tmp_path, review=ALL)
    mine = cvat.talk.open(
        {"frame": 0, "job": max(cvat.jobs), "position": [1, 2], "message": "what is this?"}, {}
    )
    answered, resolved, *others = [n for n in cvat.talk.issues if n != mine["id"]]
    cvat.talk.say(answered, "It is green.")
    cvat.talk.issues[resolved]["resolved"] = True
    agree = ensemble(blind="")
    beside = run(cvat, client, task, tmp_path / "b", agree, review=ALL)
    assert beside.issues.removed == 0
    done = run(cvat, client, task, tmp_path / "b", agree, review=ALL, replace=True)
    assert (done.issues.removed, done.issues.touched) == (len(others), 2)
    assert set(cvat.talk.issues) == {answered, resolved, mine["id"]}


def test_undo_removes_its_issues_from_any_machine(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=2)
    done = run(cvat, client, task, tmp_path, review=ALL)
    answered = next(iter(cvat.talk.issues))
    cvat.talk.say(answered, "Yes.")
    shutil.rmtree(tmp_path / "state")
    gone = undo(done.run, task=task, client=client)
    assert (gone.issues.removed, gone.issues.touched) == (5, 1)
    assert [*cvat.talk.issues] == [answered]


@pytest.mark.parametrize("lost", [1, 3])
def test_lost_answers_open_no_issue_twice(cvat, client, files, tmp_path, lost):
    task = cvat.add_task(files, LABELS)
    run(cvat, client, task, tmp_path, review=Rule(most=0))
    cvat.lose_answers = lost
    run(cvat, client, task, tmp_path, review=ALL)
    assert [frame for _, frame in opened(cvat)] == [0, 1, 2, 3, 4, 5]


def test_frames_that_are_not_asked_for_have_none(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, deleted=(1,))
    run(cvat, client, task, tmp_path, review=ALL, frames="0-2")
    assert [frame for _, frame in opened(cvat)] == [0, 2]


@pytest.mark.parametrize("text", ["-1", "1.5", "0.0", "nan", "many", "1e-400"])
def test_a_rule_that_says_nothing_is_refused(text):
    with pytest.raises(InputError, match="says neither"):
        Rule.parse(text)


def test_a_rule_is_a_count_or_a_threshold():
    assert Rule.parse("20") == Rule(most=20)
    assert Rule.parse("0.3") == Rule(least=0.3)
