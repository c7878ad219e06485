"""Nothing of an earlier run is taken for one of now, and what still holds is not done again."""

import json
import os
import shutil
from pathlib import Path

import pytest

from quorate.ensemble import DetectionEnsemble
from quorate.errors import InputError, StorageError
from quorate.spec import Publish
from quorate.steps import Voter, Work, detect, fuse, prepare
from quorate.steps.parts import PART_SIZE, Task
from quorate.storage import open_tree
from tests.spots import Spots, SpotsPredictor, draw, pool
from tests.test_local import published

A = Spots(name="a", kind="spots")
B = Spots(name="b", kind="spots", shift=1.0, score=0.8)
PLAIN = Publish(formats=("coco",), report=False)


def ensemble(data, *detectors, **more):
    given = {"publish": PLAIN} | more
    return DetectionEnsemble(
        name="e", data=str(data), labels=("green", "red"), detectors=detectors or (A, B), **given
    )


@pytest.fixture
def looked(monkeypatch):
    """How often a picture is shown to a detector."""
    shown = []
    one = SpotsPredictor._one

    def counted(self, picture):
        shown.append(self.spots.name)
        return one(self, picture)

    monkeypatch.setattr(SpotsPredictor, "_one", counted)
    return shown


def as_if_new(tmp_path, spec, number=[0]):  # noqa: B006  a counter
    """What a run into an empty folder publishes."""
    number[0] += 1
    spec.run(out=tmp_path / f"new{number[0]}")
    return published(tmp_path / f"new{number[0]}")


def replaced(path, seed):
    """Draw another picture; the file keeps its length, as a camera's raw pictures do."""
    before = path.stat()
    draw(path, seed)
    data = path.read_bytes()
    assert len(data) <= before.st_size + 400
    path.write_bytes(data.ljust(before.st_size, b"\0"))


def test_a_picture_replaced_by_one_of_the_same_size_is_seen_again(tmp_path, looked):
    data = pool(tmp_path / "pool", 6)
    for file in data.rglob("*.png"):
        file.write_bytes(file.read_bytes().ljust(1000, b"\0"))
    spec = ensemble(data)
    spec.run(out=tmp_path / "out")
    before = published(tmp_path / "out")
    replaced(data / "north/0003.png", 77)
    looked.clear()
    spec.run(out=tmp_path / "out")
    assert sorted(looked) == ["a", "b"]  # that picture alone
    assert published(tmp_path / "out") != before
    assert published(tmp_path / "out") == as_if_new(tmp_path, spec)
    # The time alone is enough to look again: what a file holds is not read to compare it.
    os.utime(data / "north/0003.png", (1, 1))
    looked.clear()
    spec.run(out=tmp_path / "out")
    assert sorted(looked) == ["a", "b"]


def test_one_picture_more_or_less_costs_no_other(tmp_path, looked):
    data, out = pool(tmp_path / "pool", PART_SIZE + 9), tmp_path / "out"
    spec = ensemble(data)
    spec.run(out=out)
    looked.clear()
    draw(data / "aaa/first.png", 500)  # all ids move by one
    spec.run(out=out)
    assert sorted(looked) == ["a", "b"]
    assert published(out) == as_if_new(tmp_path, spec)
    assert not (out / "work/earlier").exists()
    (data / "north/0005.png").unlink()
    looked.clear()
    spec.run(out=out)
    assert looked == []
    assert published(out) == as_if_new(tmp_path, spec)


def test_shards_of_another_size_take_what_is_known(tmp_path, looked):
    data = pool(tmp_path / "pool", 12)
    (data / "south/broken.png").write_bytes((data / "south/0000.png").read_bytes()[:90])
    spec = ensemble(data, A)
    work, whole = Work(tmp_path / "work"), Work(tmp_path / "whole")
    for size in (5, 3, 13):
        plan = prepare(spec, work, shard_size=size)
        for shard in range(plan.shards):
            detect(work, shard, [Voter.load(A, work.images(shard).labels)], workers=2)
    assert len(looked) == 12
    prepare(spec, whole)
    detect(whole, 0, [Voter.load(A, whole.images(0).labels)], workers=2)
    one, other = (w.detections(0, "a") / "detections.parquet" for w in (work, whole))
    assert one.read_bytes() == other.read_bytes()


def test_another_detector_takes_nothing_of_the_earlier(tmp_path, looked):
    data = pool(tmp_path / "pool", 5)
    ensemble(data, A).run(out=tmp_path / "out")
    draw(data / "aaa.png", 50)
    looked.clear()
    spec = ensemble(data, A.model_copy(update={"shift": 2.0}))
    spec.run(out=tmp_path / "out")
    assert len(looked) == 6
    assert published(tmp_path / "out") == as_if_new(tmp_path, spec)


def test_a_run_that_is_killed_after_the_pool_changed_loses_nothing(tmp_path, looked, monkeypatch):
    data, out = pool(tmp_path / "pool", 5), tmp_path / "out"
    spec = ensemble(data, A)
    spec.run(out=out)
    draw(data / "aaa.png", 50)
    monkeypatch.setattr(Task, "finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        spec.run(out=out)
    monkeypatch.undo()
    draw(data / "bbb.png", 51)
    spec.run(out=out)
    assert published(out) == as_if_new(tmp_path, spec)


def test_what_is_known_is_found_behind_a_plan_that_came_to_nothing(tmp_path, looked):
    data = pool(tmp_path / "pool", 5)
    spec, work = ensemble(data, A), Work(tmp_path / "work")
    prepare(spec, work)
    voter = Voter.load(A, work.images(0).labels)
    detect(work, 0, [voter], workers=1)
    for seed in (50, 51, 52):
        draw(data / f"aaa{seed}.png", seed)
        prepare(spec, work)  # and nothing else: each plan is given up
    looked.clear()
    detect(work, 0, [voter], workers=1)
    assert len(looked) == 3


def test_what_stamps_tell_apart(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.txt").write_text("one")
    shutil.make_archive(str(tmp_path / "pool"), "zip", tmp_path / "pool")
    for place, text in ((tmp_path / "pool", "two"), (tmp_path / "pool.zip", "six")):
        with open_tree(place) as tree:
            first, gone = tree.stamps(["a.txt", "gone.txt"])
        assert first
        assert gone == ""
        (tmp_path / "pool/a.txt").write_text(text)
        os.utime(tmp_path / "pool/a.txt", (10**9, 10**9))
        shutil.make_archive(str(tmp_path / "pool"), "zip", tmp_path / "pool")
        with open_tree(place) as tree:
            assert tree.stamps(["a.txt"]) != (first,)


@pytest.mark.cluster
def test_what_stamps_tell_apart_in_s3(s3_prefix):
    from quorate.storage import join, write_bytes

    seen = []
    for text in (b"one", b"two", b"two"):
        write_bytes(join(s3_prefix, "a.txt"), text)
        with open_tree(s3_prefix) as tree:
            seen.append(tree.stamps(["a.txt", "gone.txt"]))
    assert seen[0] != seen[1] == seen[2]
    assert seen[0][1] == ""


def test_files_that_are_written_no_more_are_removed(tmp_path):
    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    spec = ensemble(data, publish=Publish(formats=("coco", "yolo", "voc"), report=True))
    spec.run(out=out)
    label = out / "yolo/labels/north/0003.txt"
    assert label.exists()
    (out / "yolo/notes.txt").write_text("mine")
    (data / "north/0003.png").unlink()
    spec.run(out=out)
    assert not label.exists()
    less = spec.model_copy(update={"publish": Publish(formats=("yolo",), report=False)})
    summary = less.run(out=out)
    assert not (out / "report.html").exists()
    assert sorted(path.name for path in out.iterdir()) == [
        ".published.json", "summary.json", "work", "yolo",
    ]  # fmt: skip
    assert (out / "yolo/notes.txt").read_text() == "mine"
    assert not [note for note in summary.notes if "stays" in note]
    (out / "yolo/notes.txt").unlink()
    assert published(out) == as_if_new(tmp_path, less)


def test_a_file_that_somebody_changed_stays_and_is_told(tmp_path):
    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    spec = ensemble(data, publish=Publish(formats=("yolo",), report=False))
    spec.run(out=out)
    label = out / "yolo/labels/north/0003.txt"
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    (data / "north/0003.png").unlink()
    for _ in range(2):
        summary = spec.run(out=out)
        (said,) = [note for note in summary.notes if "changed" in note]
        assert said.startswith("yolo/labels/north/0003.txt: ")
        assert label.read_text() == "0 0.5 0.5 0.1 0.1\n"


def test_the_list_of_what_was_written_leads_nowhere_else(tmp_path):
    data, out = pool(tmp_path / "pool", 2), tmp_path / "out"
    spec = ensemble(data)
    spec.run(out=out)
    (tmp_path / "mine.txt").write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (out / ".published.json").write_text(json.dumps({"files": {"../mine.txt": [empty]}}))
    with pytest.raises(Exception, match="leads outside"):
        spec.run(out=out)
    assert (tmp_path / "mine.txt").exists()


def test_another_calibration_is_another_decision(tmp_path):
    spec = ensemble(pool(tmp_path / "pool", 3), A)
    work = Work(tmp_path / "work")
    prepare(spec, work)
    detect(work, 0, [Voter.load(A, work.images(0).labels)], workers=1)
    first = fuse(work, 0, spec)
    assert fuse(work, 0, spec) == first
    how = {"method": "temperature", "temperature": 2.0}
    calibrated = ensemble(spec.data, Spots(name="a", kind="spots", calibration=how))
    assert fuse(work, 0, calibrated).fingerprint != first.fingerprint
    again = published_scores(work)
    assert again != [pytest.approx(0.9)] * 6
    fuse(work, 0, spec)
    assert published_scores(work) == [pytest.approx(0.9)] * 6


def published_scores(work):
    from quorate.detections import Detections

    return Detections.from_parquet(work.fused(0) / "detections.parquet").score.tolist()


@pytest.mark.parametrize("harm", ["missing", "of another", "swapped"])
def test_parts_that_are_not_whole_are_refused_and_then_made_again(tmp_path, monkeypatch, harm):
    """What a second process did that wrote to the same folder."""
    count = 2 * PART_SIZE + 3
    spec = ensemble(pool(tmp_path / "pool", count), A)
    work, whole = Work(tmp_path / "work"), Work(tmp_path / "whole")
    for one in (work, whole):
        prepare(spec, one)
    voter = Voter.load(A, work.images(0).labels)
    detect(whole, 0, [voter], workers=2)
    parts = work.detections(0, "a") / "parts"
    finish = Task.finish

    def harmed(self, seconds):
        self._write()
        if harm == "missing":
            for file in parts.glob("00000.*"):
                file.unlink()
        elif harm == "of another":
            told = json.loads((parts / "00001.json").read_text())
            (parts / "00001.json").write_text(json.dumps(told | {"fingerprint": "x"}))
        else:
            shutil.copy(parts / "00001.parquet", parts / "00000.parquet")
        finish(self, seconds)

    monkeypatch.setattr(Task, "finish", harmed)
    with pytest.raises(StorageError, match="1 of its 3 parts are not what was written"):
        detect(work, 0, [voter], workers=2)
    assert not (work.detections(0, "a") / "manifest.json").exists()
    monkeypatch.undo()
    detect(work, 0, [voter], workers=2)
    one, other = (w.detections(0, "a") / "detections.parquet" for w in (work, whole))
    assert one.read_bytes() == other.read_bytes()


def test_a_picture_of_the_same_name_length_and_time_is_seen_to_be_another(tmp_path):
    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    spec = ensemble(data)
    spec.run(out=out)
    place = data / "north/0003.png"
    before = place.stat()
    draw(tmp_path / "other.png", 77)
    other = (tmp_path / "other.png").read_bytes()
    size = max(before.st_size, len(other))
    for path, content in ((place, place.read_bytes()), (tmp_path / "other.png", other)):
        path.write_bytes(content.ljust(size, b"\0"))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    spec.run(out=out)
    (tmp_path / "other.png").replace(place)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    spec.run(out=out)
    assert published(out) == as_if_new(tmp_path, spec)


def test_results_inside_the_data_are_no_data(tmp_path):
    data = pool(tmp_path / "pool", 4)
    spec = ensemble(data)
    first = spec.run(out=data / "out")
    again = spec.run(out=data / "out")
    assert again.images == first.images == 4
    assert again.ensemble.ap is None  # its own boxes are not taken for a truth
    with pytest.raises(InputError, match="is the folder of the data"):
        spec.run(out=data)


def test_a_publish_that_was_killed_leaves_no_file_unknown(tmp_path, monkeypatch):
    data, out = pool(tmp_path / "pool", 4), tmp_path / "out"
    spec = ensemble(data, publish=Publish(formats=("coco",), report=False))
    spec.run(out=out)
    wanted = published(out)
    more = spec.model_copy(update={"publish": Publish(formats=("coco", "voc", "yolo"))})
    real, left = Path.replace, 5

    def killed(path, target):
        nonlocal left
        if ".publishing" in str(path):
            left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        more.run(out=out)
    monkeypatch.undo()
    assert (out / "voc").exists()
    (out / "coco/.x.json.1234abcd.unfinished").write_bytes(b"half")
    spec.run(out=out)
    assert published(out) == wanted
    assert not list(out.rglob(".*unfinished"))
    assert not (out / ".publishing").exists()
