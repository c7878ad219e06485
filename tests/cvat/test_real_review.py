"""Issues for review, and tracks, on a real CVAT."""

import cv2
import numpy as np

from quorate.cvat import annotate, undo
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from quorate.steps.review import Rule
from tests.cvat.real import TOLD, needs_cvat, zipped
from tests.spots import Spots, pool

pytestmark = needs_cvat
GREY = TOLD | {"input_type": "select", "values": ["grey", "blue"], "default_value": "grey"}


def clip(path):
    """A video: red goes to the right, green is away on two of ten frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (200, 80))
    for number in range(10):
        pixels = np.zeros((80, 200, 3), np.uint8)
        pixels[10:40, 10 + 6 * number : 50 + 6 * number] = (0, 0, 230)
        if number not in (3, 4):
            pixels[45:75, 120:160] = (0, 230, 0)
        writer.write(pixels)
    writer.release()
    return path.name, path.read_bytes()


def test_issues_are_opened_once_and_go_again(real, tmp_path):
    task = real.task(files=[zipped(pool(tmp_path / "pool", 6))], segment_size=2)
    ensemble = DetectionEnsemble(
        name="spots",
        detectors=(Spots(name="a", kind="spots"), Spots(name="b", kind="spots", blind="green")),
    )

    def run():
        more = {"client": real.client, "out": tmp_path / "out", "review": Rule(most=3)}
        return annotate(str(task), ensemble, **more)[0].published

    def issues():
        return real.get(f"issues?task_id={task}&page_size=100")["results"]

    done = run()
    assert done.issues.opened == 3
    assert len({one["frame"] for one in issues()}) == 3
    first = issues()[0]
    said = real.get(f"comments?issue_id={first['id']}")["results"]
    assert [comment["message"] for comment in said] == [
        "green? 1 of 2 votes. Detectors disagree on this frame, 32%: 1 × green "
        f"[quorate run {done.run}]"
    ]
    assert run().issues.there == 3
    real.send("PATCH", f"issues/{first['id']}", body={"resolved": True})
    gone = undo(done.run, client=real.client)
    assert (gone.issues.removed, gone.issues.touched) == (2, 1)
    assert [one["id"] for one in issues()] == [first["id"]]


def test_tracks_show_the_boxes_of_the_run_and_go_again(real, tmp_path):
    video = real.task(files=[clip(tmp_path / "clip.mp4")], segment_size=5, overlap=2)
    known = real.get(f"labels?task_id={video}")["results"]
    grown = [
        {"id": label["id"], "name": label["name"], "attributes": [GREY | {"name": "colour"}]}
        for label in known
    ]
    real.send("PATCH", f"tasks/{video}", body={"labels": grown})
    words = {label["id"]: label["name"] for label in known}

    def run(shift=0.0, **more):
        spots = [Spots(name=name, kind="spots", shift=shift) for name in ("a", "b")]
        ensemble = DetectionEnsemble(name="spots", detectors=spots)
        more |= {"client": real.client, "out": tmp_path / "out", "tracks": True}
        return annotate(str(video), ensemble, **more)[0].published

    def tracks():
        jobs = next(tasks(real.client, Place("task", video))).jobs
        return [one for job in jobs for one in real.get(f"jobs/{job.id}/annotations")["tracks"]]

    def places(outside):
        return {
            (words[track["label_id"]], one["frame"], *one["points"])
            for track in tracks()
            for one in track["shapes"]
            if one["outside"] is outside
        }

    done = run()
    assert done.tracks.created == len(tracks()) == 6
    told = read(tmp_path / "out" / "cvat")
    names = {image.id: int(image.name[6:12]) for image in told.images}
    shapes = told.annotations
    columns = (shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist())
    wanted = {
        (told.labels.name_of(category), names[image], *(round(value, 2) for value in box))
        for image, category, box in zip(*columns, strict=True)
    }
    assert places(outside=False) == wanted
    assert len(wanted) == 18
    assert ("green", 3) in {place[:2] for place in places(outside=True)}
    again = run()
    assert (again.tracks.created, again.tracks.there) == (0, 6)
    moved = run(2.0, replace=True)
    assert (moved.tracks.created, moved.tracks.removed) == (6, 6)
    assert undo(moved.run, client=real.client).tracks.removed == 6
    assert tracks() == []
