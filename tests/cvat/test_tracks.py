"""Boxes of a video as tracks, against a server that answers as CVAT does."""

import shutil

import numpy as np
import pytest
from PIL import Image

from quorate.cvat import annotate, undo
from quorate.cvat.publishing import writing
from quorate.cvat.publishing.drawn import Shape
from quorate.cvat.publishing.tracks import LIFE, objects
from quorate.ensemble import DetectionEnsemble
from quorate.errors import InputError
from tests.spots import Spots

TOLD = [{"name": name} for name in ("votes", "confidence", "run")]
PLAIN = [{"name": name} for name in ("red", "green")]
TELLING = [{"name": name, "attributes": TOLD} for name in ("red", "green")]


@pytest.fixture
def clip(tmp_path):
    """Ten frames: red goes to the right; green stands still, and is gone on frames 3 and 4."""
    files = []
    for number in range(10):
        pixels = np.zeros((80, 200, 3), np.uint8)
        pixels[10:40, 10 + 6 * number : 50 + 6 * number] = (220, 0, 0)
        if number not in (3, 4):
            pixels[45:75, 120:160] = (0, 220, 0)
        file = tmp_path / f"frame_{number}.png"
        Image.fromarray(pixels).save(file)
        files.append(file)
    return files


def ensemble(shift=0.0, **more):
    detectors = (
        Spots(name="a", kind="spots", shift=shift, score=0.9),
        Spots(name="b", kind="spots", shift=shift, score=0.7),
    )
    return DetectionEnsemble(name="spots", detectors=detectors, **more)


def run(client, task, tmp_path, spec=None, **more):
    more = {"tracks": True, **more}
    (done,) = annotate(f"{task}", spec or ensemble(), client=client, out=tmp_path / "out", **more)
    return done.published


def shown(track, stop):
    """The box that CVAT shows on each frame: that of the last keyframe, unless it is outside."""
    keyframes = {one["frame"]: one for one in track["shapes"]}
    found, now = {}, None
    for frame in range(track["frame"], stop + 1):
        now = keyframes.get(frame, now)
        if not now["outside"]:
            found[frame] = tuple(now["points"])
    return found


def of(cvat, task, label):
    """The tracks of a label: those of each job."""
    ids = {n for n, one in cvat.labels.items() if one["name"] == label and one["_task"] == task}
    return [
        (job, track)
        for job, one in cvat.jobs.items()
        if one["task_id"] == task
        for track in cvat.tracks[job]
        if track["label_id"] in ids
    ]


def test_a_track_shows_the_boxes_of_the_ensemble_and_nothing_between(cvat, client, clip, tmp_path):
    plain = cvat.add_task(clip, PLAIN, video=True)
    annotate(str(plain), ensemble(), client=client, out=tmp_path / "plain")
    task = cvat.add_task(clip, PLAIN, video=True)
    done = run(client, task, tmp_path)
    assert (done.created, done.tracks.created) == (0, 2)
    words = {n: one["name"] for n, one in cvat.labels.items()}
    for label, frames in (("red", [*range(10)]), ("green", [0, 1, 2, 5, 6, 7, 8, 9])):
        boxes = {
            s["frame"]: tuple(s["points"])
            for s in cvat.drawn(plain)
            if words[s["label_id"]] == label
        }
        ((_, track),) = of(cvat, task, label)
        assert [*boxes] == frames
        assert shown(track, 9) == boxes
        assert track["source"] == "auto"
    assert "18 boxes are joined to 2 tracks; 0 join" in done.notes[-1]


def test_a_box_that_joins_with_no_other_stays_a_shape(cvat, client, clip, tmp_path):
    task = cvat.add_task([*clip[:3], *clip[8:]], PLAIN, video=True)
    done = run(client, task, tmp_path, frames="2,3")  # red has moved too far between them
    assert (done.created, done.tracks.created) == (2, 1)
    assert [s["frame"] for s in cvat.drawn(task)] == [2, 3]
    ((_, track),) = of(cvat, task, "green")
    assert sorted(shown(track, 4)) == [2, 3]


def test_each_job_has_the_part_that_it_shows(cvat, client, clip, tmp_path):
    task = cvat.add_task(clip, TELLING, video=True, segment=5, overlap=2)
    run(client, task, tmp_path)
    for label in ("red", "green"):
        for job, track in of(cvat, task, label):
            first, last = (cvat.jobs[job][f"{name}_frame"] for name in ("start", "stop"))
            frames = [one["frame"] for one in track["shapes"]]
            assert all(first <= frame <= last for frame in frames)
            want = {n for n in range(first, last + 1) if label == "red" or n not in (3, 4)}
            assert set(shown(track, last)) == want
    jobs = [job for job, _ in of(cvat, task, "red")]
    assert len(jobs) == len(set(jobs)) == 3


def test_attributes_that_may_change_are_told_of_each_box(cvat, client, clip, tmp_path):
    labels = [
        {
            "name": name,
            "attributes": [
                {"name": "votes", "mutable": True},
                {"name": "confidence"},
                {"name": "run"},
                {"name": "colour", "values": ["grey"], "default_value": "grey"},
            ],
        }
        for name in ("red", "green")
    ]
    task = cvat.add_task(clip, labels, video=True)
    done = run(client, task, tmp_path)
    names = {a["id"]: a["name"] for label in cvat.labels.values() for a in label["attributes"]}
    for _, track in of(cvat, task, "red"):
        own = {names[v["spec_id"]]: v["value"] for v in track["attributes"]}
        assert own["confidence"] == "0.8"
        assert own["run"].startswith(done.run)
        assert {names[v["spec_id"]] for one in track["shapes"] for v in one["attributes"]} == {
            "votes"
        }
    assert run(client, task, tmp_path, ensemble(shift=1.0), replace=True).tracks.removed == 2


@pytest.mark.parametrize("labels", [PLAIN, TELLING], ids=["journal", "attribute"])
def test_again_replace_and_undo(cvat, client, clip, tmp_path, labels):
    task = cvat.add_task(clip, labels, video=True, segment=5)
    first = run(client, task, tmp_path)
    assert first.tracks.created == 4
    before = [track for job in cvat.jobs for track in cvat.tracks[job]]
    again = run(client, task, tmp_path)
    assert (again.tracks.created, again.tracks.there) == (0, 4)
    assert [track for job in cvat.jobs for track in cvat.tracks[job]] == before
    _, touched = of(cvat, task, "red")[0]
    touched["shapes"][2]["points"] = [1.0, 2.0, 30.0, 40.0]
    if labels is TELLING:
        shutil.rmtree(tmp_path / "state")
    moved = run(client, task, tmp_path, ensemble(shift=1.0), replace=True)
    assert (moved.tracks.created, moved.tracks.removed, moved.tracks.touched) == (4, 3, 1)
    gone = undo(moved.run, task=task, client=client)
    assert gone.tracks.removed == 4
    assert [track for job in cvat.jobs for track in cvat.tracks[job]] == [touched]


def test_replace_takes_boxes_for_tracks_and_tracks_for_boxes(cvat, client, clip, tmp_path):
    task = cvat.add_task(clip, PLAIN, video=True)
    boxes = run(client, task, tmp_path, tracks=False)
    tracks = run(client, task, tmp_path, replace=True)
    assert tracks.removed == boxes.created == 18
    assert cvat.drawn(task) == []
    back = run(client, task, tmp_path, tracks=False, replace=True)
    assert (back.created, back.tracks.removed) == (18, 2)


def test_tracks_beyond_the_frames_asked_for_stay(cvat, client, clip, tmp_path):
    task = cvat.add_task(clip, PLAIN, video=True)
    run(client, task, tmp_path)
    part = run(client, task, tmp_path / "b", ensemble(shift=1.0), replace=True, frames="0-2")
    assert part.tracks.removed == 0
    assert len(of(cvat, task, "red")) == 2


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_answers_double_no_track(cvat, client, clip, tmp_path, lost, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 10)
    task = cvat.add_task(clip, PLAIN, video=True, segment=5)
    cvat.lose_answers = lost
    done = run(client, task, tmp_path)
    assert done.tracks.created == 4 == sum(len(cvat.tracks[job]) for job in cvat.jobs)
    assert undo(done.run, client=client).tracks.removed == 4


def test_pictures_that_are_no_video_are_refused_before_any_work(cvat, client, clip, tmp_path):
    task = cvat.add_task(clip, PLAIN)
    with pytest.raises(InputError, match="tracks are for videos"):
        run(client, task, tmp_path)
    assert not [r for r in cvat.requests if r.endswith("/data")]


def test_objects_are_apart_by_label_and_place_and_end_with_their_life():
    def box(left, label):
        return Shape(type="rectangle", frame=0, label_id=label, points=[left, 0.0, left + 20, 20.0])

    frames = {n: [box(0.0, 1), box(0.0, 2), box(100.0 + 4 * n, 1)] for n in range(4)}
    frames[4 + 2 * LIFE] = [box(0.0, 1)]
    frames[5 + 2 * LIFE] = [Shape(type="mask", frame=0, label_id=1, points=[1.0] * 6)]
    assert objects(frames, sorted(frames)) == [
        [(0, 0), (1, 0), (2, 0), (3, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 1)],
        [(0, 2), (1, 2), (2, 2), (3, 2)],
        [(4 + 2 * LIFE, 0)],
    ]
