"""The same on a real CVAT, the one that CVAT_URL, CVAT_USERNAME and CVAT_PASSWORD lead to."""

import io
import json
import os
import time
import zipfile
from collections import Counter

import cv2
import numpy as np
import pytest
import urllib3

from quorate.cvat import Client, annotate, undo
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from quorate.steps.review import Rule
from tests.spots import Spots, pool

pytestmark = pytest.mark.skipif(not os.environ.get("CVAT_URL"), reason="no CVAT: set CVAT_URL")
ATTRIBUTES = ("votes", "confidence", "run")
DEFAULT = {"default_value": "grey"}


@pytest.fixture
def client(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Client.connect()


def asked(client, method, path, **sent):
    headers = dict(client.headers)
    if "body" in sent:
        headers["Content-Type"] = "application/json"
    url = f"{client.server}/api/{path}"
    answer = urllib3.request(method, url, headers=headers, timeout=120, **sent)
    assert answer.status < 300, answer.data[:500]
    return json.loads(answer.data or b"null")


def made(client, file, **more):
    """The number of a new task of two labels with the attributes, and one of their own."""
    told = {"mutable": False, "input_type": "text", "default_value": "1", "values": ["1"]}
    grey = {"name": "colour", **told, "input_type": "select", "values": ["grey", "blue"]}
    labels = [
        {
            "name": name,
            "attributes": [*({"name": a, **told} for a in ATTRIBUTES), grey | DEFAULT],
        }
        for name in ("red", "green")
    ]
    body = json.dumps({"name": "quorate test", "labels": labels, **more})
    number = asked(client, "POST", "tasks", body=body)["id"]
    fields = {"image_quality": "70", "client_files[0]": file}
    request = asked(client, "POST", f"tasks/{number}/data", fields=fields)["rq_id"]
    end = time.monotonic() + 300
    while (status := asked(client, "GET", f"requests/{request}")["status"]) != "finished":
        assert status != "failed"
        assert time.monotonic() < end
        time.sleep(0.5)
    return number


@pytest.fixture
def task(client, tmp_path):
    """A task of six pictures in two folders and three jobs, which goes away afterwards."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        root = pool(tmp_path / "pool", 6)
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(root).as_posix())
    number = made(client, ("pool.zip", packed.getvalue(), "application/zip"), segment_size=2)
    yield number
    asked(client, "DELETE", f"tasks/{number}")


@pytest.fixture
def video(client, tmp_path):
    """A task of a video in three jobs: red goes to the right, green is away on two frames."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (200, 80))
    for number in range(10):
        pixels = np.zeros((80, 200, 3), np.uint8)
        pixels[10:40, 10 + 6 * number : 50 + 6 * number] = (0, 0, 230)
        if number not in (3, 4):
            pixels[45:75, 120:160] = (0, 230, 0)
        writer.write(pixels)
    writer.release()
    file = ("clip.mp4", path.read_bytes(), "video/mp4")
    number = made(client, file, segment_size=5, overlap=2)
    yield number
    asked(client, "DELETE", f"tasks/{number}")


def boxes(client, number):
    """What the server has: name, label and coordinates of each box."""
    task = next(tasks(client, Place("task", number)))
    names = {frame.number: frame.name for frame in task.frames}
    words = {label.id: label.name for label in task.labels}
    shapes = asked(client, "GET", f"tasks/{number}/annotations")["shapes"]
    return Counter((names[s["frame"]], words[s["label_id"]], *s["points"]) for s in shapes)


def test_boxes_arrive_once_and_go_again(client, task, tmp_path):
    ensemble = DetectionEnsemble(
        name="spots",
        detectors=(Spots(name="a", kind="spots"), Spots(name="b", kind="spots", shift=1.0)),
    )
    (done,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    told = read(tmp_path / "out" / "cvat")
    names = {image.id: image.name for image in told.images}
    shapes = told.annotations
    columns = (shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist())
    local = Counter(
        (names[image], told.labels.name_of(category), *box)
        for image, category, box in zip(*columns, strict=True)
    )
    assert boxes(client, task) == local
    assert done.published.created == local.total() == 12
    (again,) = annotate(str(task), ensemble, client=client, out=tmp_path / "out")
    assert (again.published.created, again.published.there) == (0, 12)
    assert boxes(client, task) == local
    assert undo(done.published.run, client=client).removed == 12
    assert boxes(client, task) == Counter()


def test_issues_are_opened_once_and_go_again(client, task, tmp_path):
    ensemble = DetectionEnsemble(
        name="spots",
        detectors=(Spots(name="a", kind="spots"), Spots(name="b", kind="spots", blind="green")),
    )

    def run(**more):
        return annotate(str(task), ensemble, client=client, out=tmp_path / "out", **more)[0]

    def issues():
        return asked(client, "GET", f"issues?task_id={task}&page_size=100")["results"]

    done = run(review=Rule(most=3)).published
    assert done.issues.opened == 3
    assert len({one["frame"] for one in issues()}) == 3
    first = issues()[0]
    said = asked(client, "GET", f"comments?issue_id={first['id']}")["results"]
    assert [c["message"] for c in said] == [
        f"Detectors disagree, 32%: green 1 of 2 votes [quorate run {done.run}]"
    ]
    assert run(review=Rule(most=3)).published.issues.there == 3
    asked(client, "PATCH", f"issues/{first['id']}", body=json.dumps({"resolved": True}))
    gone = undo(done.run, client=client)
    assert (gone.issues.removed, gone.issues.touched) == (2, 1)
    assert [one["id"] for one in issues()] == [first["id"]]


def test_tracks_show_the_boxes_of_the_run_and_go_again(client, video, tmp_path):
    def run(shift=0.0, **more):
        spots = [Spots(name=name, kind="spots", shift=shift) for name in ("a", "b")]
        ensemble = DetectionEnsemble(name="spots", detectors=spots)
        return annotate(str(video), ensemble, client=client, out=tmp_path / "out", **more)[0]

    def tracks():
        jobs = next(tasks(client, Place("task", video))).jobs
        return [
            (job, track)
            for job in jobs
            for track in asked(client, "GET", f"jobs/{job.id}/annotations")["tracks"]
        ]

    done = run(tracks=True).published
    assert done.tracks.created == len(tracks()) == 6
    words = {label.id: label.name for label in next(tasks(client, Place("task", video))).labels}
    told = read(tmp_path / "out" / "cvat")
    wanted = {
        (told.labels.name_of(category), image - 1, *(round(value, 2) for value in box))
        for image, category, box in zip(
            told.annotations.image_id.tolist(),
            told.annotations.category_id.tolist(),
            told.annotations.xyxy.tolist(),
            strict=True,
        )
    }
    shown = {
        (words[track["label_id"]], one["frame"], *one["points"])
        for _, track in tracks()
        for one in track["shapes"]
        if not one["outside"]
    }
    assert shown == wanted
    assert len(wanted) == 18
    # An object that is not found on a frame is not shown there.
    hidden = {
        (words[t["label_id"]], s["frame"]) for _, t in tracks() for s in t["shapes"] if s["outside"]
    }
    assert ("green", 3) in hidden
    again = run(tracks=True).published
    assert (again.tracks.created, again.tracks.there) == (0, 6)
    moved = run(2.0, tracks=True, replace=True).published
    assert (moved.tracks.created, moved.tracks.removed) == (6, 6)
    assert undo(moved.run, client=client).tracks.removed == 6
    assert tracks() == []
