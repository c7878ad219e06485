"""The whole chain here, in one call."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from quorate.ensemble import DetectionEnsemble
from quorate.errors import QuorateError
from quorate.formats import read
from quorate.spec import Publish
from quorate.steps.parts import PART_SIZE
from tests.spots import Spots, draw, pool
from tests.waiting import until

A = Spots(name="a", kind="spots")
B = Spots(name="b", kind="spots", shift=1.0, score=0.8)
C = Spots(name="c", kind="spots", blind="green", score=0.7)


def published(out):
    """Every published file but the report's bytes, which a test of its own looks at."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "work" not in path.relative_to(out).parts
    }


def ensemble(data, *detectors, **more):
    return DetectionEnsemble(name="spots", data=str(data), detectors=detectors, **more)


def test_pictures_in_annotations_out(tmp_path):
    data = pool(tmp_path / "pool", 6)
    summary = ensemble(data, A, B, C).run(out=tmp_path / "out")
    assert summary.images == 6
    assert [voter.boxes for voter in summary.detectors] == [12, 12, 6]
    assert summary.ensemble.boxes == 12
    assert summary.votes == {"2": 6, "3": 6}  # c is blind to green
    assert not summary.degraded
    for name in ("cvat", "coco"):
        back = read(tmp_path / "out" / name)
        assert back.annotations is not None
        assert len(back.annotations) == 12
        assert set(back.labels.names) == {"red", "green"}
        assert [image.name for image in back.images] == [
            f"{folder}/{seed:04d}.png"
            for folder, seeds in (("north", (1, 3, 5)), ("south", (0, 2, 4)))
            for seed in seeds
        ]
    assert json.loads((tmp_path / "out/summary.json").read_text())["images"] == 6


def test_the_same_run_writes_the_same_bytes(tmp_path):
    data = pool(tmp_path / "pool", 5)
    ensemble(data, A, B).run(out=tmp_path / "one", workers=1)
    ensemble(data, A, B).run(out=tmp_path / "two", workers=3)
    one, two = published(tmp_path / "one"), published(tmp_path / "two")
    for name in one:
        assert one[name] == two[name], name


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped_and_the_result_is_the_same(tmp_path):
    data = pool(tmp_path / "pool", 200)
    command = [sys.executable, "-m", "tests.spots", str(data)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    parts = tmp_path / "killed/work/shards/00000/detections/a/parts"
    holding = os.environ | {"SPOTS_HOLD_AT": str(2 * PART_SIZE - 1)}
    process = subprocess.Popen([*command, str(tmp_path / "killed")], env=holding)
    until(lambda: list(parts.glob("*.json")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in parts.glob("*.parquet")] == ["00000.parquet"]
    subprocess.run([*command, str(tmp_path / "killed")], check=True)
    whole, killed = published(tmp_path / "whole"), published(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name in whole:
        assert whole[name] == killed[name], name


def test_two_runs_at_once_into_one_folder(tmp_path):
    """The second ends at once and says who the first is; killed, the first is in nobody's way."""
    data, out, begun = pool(tmp_path / "pool", 3), tmp_path / "out", tmp_path / "begun"
    wait = tmp_path / "wait"
    wait.touch()
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, pathlib, time\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        f"while pathlib.Path({str(wait)!r}).exists(): time.sleep(0.05)\n"
        "out = pathlib.Path(os.environ['QUORATE_OUTPUT'])\n"
        "listed = json.loads(pathlib.Path(os.environ['QUORATE_IMAGES_JSON']).read_text())\n"
        "boxes = [{'image_id': i['id'], 'category_id': 1, 'bbox': [1, 2, 30, 30], 'score': 0.5}\n"
        "         for i in listed['images']]\n"
        "(out / 'detections.json').write_text(json.dumps(boxes))\n"
        "(out / 'manifest.json').write_text(json.dumps({'images': len(listed['images'])}))\n"
    )
    spec = tmp_path / "spec.yaml"
    detector = {"name": "slow", "kind": "container", "command": [sys.executable, str(program)]}
    spec.write_text(
        json.dumps({"name": "spots", "data": str(data), "labels": ["red"],
                    "publish": {"report": False}, "detectors": [detector]})
    )  # fmt: skip
    command = [sys.executable, "-m", "quorate", "run", str(spec), "--out", str(out)]
    first = subprocess.Popen(command, start_new_session=True)
    while not begun.exists() and first.poll() is None:
        time.sleep(0.05)
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 75
    assert f"is in use by process {first.pid} on " in second.stderr
    assert f"run {spec} --out {out}" in second.stderr
    first.kill()
    assert first.wait() == -signal.SIGKILL
    begun.unlink()
    third = subprocess.Popen(command)  # the program of the first one is still at work
    while not begun.exists() and third.poll() is None:
        time.sleep(0.05)
    wait.unlink()
    assert third.wait() == 0
    subprocess.run([*command[:-1], str(tmp_path / "alone")], check=True)
    assert published(out) == published(tmp_path / "alone")
    shard = out / "work/shards/00000/detections"
    assert sorted(path.name for path in shard.iterdir()) == ["slow", "slow.log"]


def test_only_what_a_change_touches_is_done_again(tmp_path):
    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    ensemble(data, A, B).run(out=out)
    detected = {p: p.stat().st_mtime_ns for p in out.rglob("detections/*/manifest.json")}
    summary = ensemble(data, A, B, fusion={"method": "unanimous"}).run(out=out)
    assert summary.votes == {"2": 8}
    assert {p: p.stat().st_mtime_ns for p in out.rglob("detections/*/manifest.json")} == detected
    ensemble(data, A, B.model_copy(update={"shift": 2.0})).run(out=out)
    changed = {p for p, before in detected.items() if p.stat().st_mtime_ns != before}
    assert {p.parent.name for p in changed} == {"b"}


def test_doubt_becomes_a_tag_in_cvat(tmp_path):
    data = pool(tmp_path / "pool", 4)
    publish = Publish(formats=("cvat",), review="disagreement", review_share=1)
    told = _tags(ensemble(data, A, B, C, publish=publish), tmp_path / "out")
    assert len(told) == 4  # one is blind everywhere
    assert all(0 < percent < 100 for percent in told.values())
    # A tag on every picture tells nothing: a few are marked, those of the highest disagreement.
    for share, most in ((0.5, 2), (0.3, 2), (0.2, 1)):
        publish = Publish(formats=("cvat",), review="disagreement", review_share=share)
        some = _tags(ensemble(data, A, B, C, publish=publish), tmp_path / "out")
        assert some == dict(sorted(told.items(), key=lambda one: -one[1])[:most])
    assert not _tags(
        ensemble(data, A, A.model_copy(update={"name": "same"}), publish=publish),
        tmp_path / "agreed",
    )


def _tags(ensemble, out):
    """The percentage of each tagged picture of a run."""
    ensemble.run(out=out)
    back = read(out / "cvat")
    tags = back.annotations.category_id == back.labels.id_of("review")
    percent = back.annotations.numbers("disagreement")[tags].tolist()
    return dict(zip(back.annotations.image_id[tags].tolist(), percent, strict=True))


def test_truth_in_the_data_set_measures_every_detector(tmp_path):
    data = pool(tmp_path / "pool", 6)
    ensemble(data, A, publish=Publish(formats=("coco",), report=False)).run(out=tmp_path / "first")
    truth = tmp_path / "first/coco/annotations"
    truth.rename(data / "annotations")
    summary = ensemble(data, A, B, C).run(out=tmp_path / "out")
    a, b, c = summary.detectors
    assert a.ap == pytest.approx(1.0)
    assert b.ap is not None
    assert b.ap < 1  # it is a pixel off
    assert c.ap == pytest.approx(0.5, abs=0.05)  # it knows one label of two
    assert summary.ensemble.ap is not None
    assert summary.ensemble.ap > b.ap
    assert [voter.effort["edits"] for voter in (a, c, summary.ensemble)] == [0, 6, 0]
    assert c.effort["labels"][1] == {
        "label": "green",
        "add": 6,
        "delete": 0,
        "relabel": 0,
        "move": 0,
    }
    assert not any("quorate tune" in note for note in summary.notes)
    worse = ensemble(data, B, C).run(out=tmp_path / "worse")  # both must see what stays
    assert "than b alone" in worse.notes[0]
    assert "`quorate tune`" in worse.notes[0]
    assert "than b alone" in (tmp_path / "worse/report.html").read_text()


def test_a_failing_detector_degrades_the_run_and_is_named(tmp_path):
    data = pool(tmp_path / "pool", 3)
    draw(data / "south/wide.png", 7, width=80)
    broken = C.model_copy(update={"fails_at_width": 80})
    summary = ensemble(data, A, B, broken).run(out=tmp_path / "out")
    assert summary.degraded
    assert [voter.failed for voter in summary.detectors][:2] == ["", ""]
    assert "out of sorts" in summary.detectors[2].failed
    with pytest.raises(QuorateError, match="need 3"):
        ensemble(data, A, B, broken, quorum=3).run(out=tmp_path / "strict")


def test_a_bad_picture_is_in_the_summary(tmp_path):
    data = pool(tmp_path / "pool", 3)
    (data / "south/broken.png").write_bytes(b"\x89PNG\r\n")
    summary = ensemble(data, A, B).run(out=tmp_path / "out")
    assert [skipped.file_name for skipped in summary.skipped] == ["south/broken.png"]
    assert summary.images == 3


def test_progress_ends_at_the_total(tmp_path):
    told = []
    ensemble(pool(tmp_path / "pool", 5), A).run(
        out=tmp_path / "out", progress=lambda task, done, total: told.append((task, done, total))
    )
    last = {task: (done, total) for task, done, total in told}
    assert last["detect"] == (5, 5)
    assert all(done == total for done, total in last.values())


def test_labels_json_makes_a_task_that_the_file_fits(tmp_path):
    """CVAT refuses a file with a label that the task lacks, and drops undeclared attributes."""
    data = pool(tmp_path / "pool", 2)
    publish = Publish(formats=("cvat",), review="disagreement")
    ensemble(data, A, B, C, publish=publish).run(out=tmp_path / "out")
    labels = json.loads((tmp_path / "out/cvat/labels.json").read_text())
    declared = {label["name"]: {a["name"] for a in label["attributes"]} for label in labels}
    assert declared == {
        "red": {"votes", "confidence"},
        "green": {"votes", "confidence"},
        "review": {"disagreement"},
    }
    assert {label["name"]: label["type"] for label in labels}["review"] == "tag"
    for label in labels:
        for attribute in label["attributes"]:
            assert attribute["values"], "CVAT wants values even of a text"
            assert attribute.keys() == {"name", "mutable", "input_type", "default_value", "values"}


def test_pictures_beside_the_report_are_published_and_go_with_it(tmp_path, monkeypatch):
    from quorate.report import page

    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    monkeypatch.setattr(page, "ONE_FILE", 0)
    summary = ensemble(data, A, B).run(out=out)
    beside = [f"{out}/report-pictures/{i:05d}.jpg" for i in range(4)]
    assert set(beside) < set(summary.files)
    assert sorted(str(path) for path in out.glob("report-pictures/*")) == beside
    monkeypatch.undo()
    ensemble(data, A, B).run(out=out)
    assert not (out / "report-pictures").exists()
