"""From a task's pictures to its boxes, against a server that answers as CVAT does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.cvat import Client, annotate, undo
from quorate.cvat.publishing import writing
from quorate.cvat.publishing.shapes import shapes
from quorate.cvat.task import Attribute, Label, Place
from quorate.ensemble import DetectionEnsemble
from quorate.errors import AccessError, InputError, LabelError, ServerError
from quorate.formats import read
from quorate.labels import Labels
from tests.cvat.server import PASSWORD, USER
from tests.spots import Spots, pool

LABELS = ["red", "green", "blue"]
TOLD = [{"name": name} for name in ("votes", "confidence", "run")]
TELLING = [{"name": name, "attributes": TOLD} for name in LABELS]


@pytest.fixture
def files(tmp_path):
    folder = pool(tmp_path / "pool", 6)
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def ensemble(shift=0.0, **more):
    detectors = tuple(
        Spots(name=name, kind="spots", shift=shift + by) for name, by in (("a", 0.0), ("b", 1.0))
    )
    return DetectionEnsemble(name="spots", detectors=detectors, **more)


def boxes(shapes):
    return sorted((s["frame"], s["label_id"], *s["points"]) for s in shapes)


def test_boxes_of_a_task_are_those_of_a_run_here(cvat, client, files, tmp_path):
    task = cvat.add_task(files, TELLING, segment=4)
    (done,) = annotate(f"{cvat.url}/tasks/{task}", ensemble(), client=client, out=tmp_path / "out")
    here = ensemble(labels=LABELS)
    here.run(tmp_path / "pool", tmp_path / "here")
    told = read(tmp_path / "here" / "cvat")
    shapes = told.annotations
    frames = {path.relative_to(tmp_path / "pool").as_posix(): n for n, path in enumerate(files)}
    ids = {label["name"]: n for n, label in cvat.labels.items()}
    names = {image.id: image.name for image in told.images}
    wanted = sorted(
        (frames[names[image]], ids[told.labels.name_of(category)], *box)
        for image, category, box in zip(
            shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist(), strict=True
        )
    )
    assert boxes(cvat.drawn(task)) == wanted
    assert done.published.created == len(wanted) > 5
    shape = cvat.drawn(task)[0]
    spec = {a["id"]: a["name"] for label in cvat.labels.values() for a in label["attributes"]}
    values = {spec[value["spec_id"]]: value["value"] for value in shape["attributes"]}
    assert values["votes"] == "2"
    assert float(values["confidence"]) == pytest.approx(shape["score"], abs=1e-4)
    assert values["run"].startswith(done.published.run)
    assert shape["source"] == "auto"


def test_a_second_run_creates_nothing_and_what_people_drew_stays(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS)
    label = next(iter(cvat.labels))
    mine = cvat.draw(task, frame=0, label_id=label, points=[1.0, 2.0, 3.0, 4.0])
    (first,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    before = json.dumps(cvat.drawn(task))
    (second,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert json.dumps(cvat.drawn(task)) == before
    assert second.published.created == 0
    assert second.published.there == first.published.created
    assert mine in cvat.drawn(task)
    assert not [r for r in cvat.requests if r.startswith(("PUT", "DELETE"))]


@pytest.mark.parametrize("labels", [LABELS, TELLING], ids=["journal", "attribute"])
def test_replace_takes_only_what_a_run_made_and_nobody_touched(
    cvat, client, files, tmp_path, labels
):
    task = cvat.add_task(files, labels, segment=2)
    mine = cvat.draw(task, frame=1, label_id=min(cvat.labels), points=[1.0, 2.0, 3.0, 4.0])
    (first,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    touched = next(s for s in cvat.drawn(task) if s["source"] == "auto")
    cvat.move(touched, [9.0, 9.0, 30.0, 30.0])
    moved = ensemble(shift=3.0)
    (beside,) = annotate(str(task), moved, client=client, out=tmp_path / "two")
    assert beside.published.earlier == first.published.created - 1
    undo(beside.published.run, client=client)
    if labels is TELLING:  # the runs' own word is enough: another machine has no journals
        shutil.rmtree(tmp_path / "state")
    (second,) = annotate(str(task), moved, client=client, out=tmp_path / "two", replace=True)
    assert second.published.removed == first.published.created - 1
    drawn = cvat.drawn(task)
    assert mine in drawn
    assert touched in drawn
    assert len(drawn) == second.published.created + 2
    assert second.published.touched == 1


def test_undo_deletes_what_its_run_made_alone(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=2)
    mine = cvat.draw(task, frame=1, label_id=min(cvat.labels), points=[1.0, 2.0, 3.0, 4.0])
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    gone = undo(done.published.run, client=client)
    assert gone.removed == done.published.created
    assert cvat.drawn(task) == [mine]
    with pytest.raises(InputError, match="There is no run"):
        undo(done.published.run, client=client)


def test_undo_uses_the_journal_where_the_task_is_named_as_well(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS)
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert undo(done.published.run, task=task, client=client).removed == done.published.created > 0
    assert cvat.drawn(task) == []


def test_undo_from_another_machine_goes_by_the_attribute(cvat, client, files, tmp_path):
    task = cvat.add_task(files, TELLING)
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    shutil.rmtree(tmp_path / "state")
    gone = undo(done.published.run, task=task, client=client)
    assert gone.removed == done.published.created
    assert cvat.drawn(task) == []


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_answers_double_nothing(cvat, client, files, tmp_path, lost, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 4)
    task = cvat.add_task(files, LABELS)
    cvat.lose_answers = lost
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    drawn = boxes(cvat.drawn(task))
    assert len(drawn) == len(set(drawn)) == done.published.created
    assert undo(done.published.run, client=client).removed == len(drawn)


def test_a_publish_that_failed_can_be_repeated(cvat, client, files, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 4)
    monkeypatch.setattr("quorate.cvat.client.TRIES", 0)
    task = cvat.add_task(files, LABELS)
    cvat.lose_answers = 1
    with pytest.raises(ServerError):
        annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert len(cvat.drawn(task)) == 4
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    drawn = boxes(cvat.drawn(task))
    assert len(drawn) == len(set(drawn)) == done.published.created + 4


def test_frames_of_jobs_that_overlap_are_in_both(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=4, overlap=2)
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    one, two = (cvat.shapes[job] for job in cvat.jobs if cvat.jobs[job]["task_id"] == task)
    shared = [s for s in one if s["frame"] >= 2]
    assert boxes(shared) == boxes(s for s in two if s["frame"] <= 3)
    assert done.published.created == len({*boxes(one), *boxes(two)})


def test_deleted_frames_other_jobs_and_other_frames_are_left_alone(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=3, deleted=(1,))
    truth = cvat.add_job(task, 0, 5, type="ground_truth")
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out", frames="0-3")
    assert {s["frame"] for s in cvat.drawn(task)} == {0, 2, 3}
    assert cvat.shapes[truth] == []
    assert any("deleted" in note for note in done.published.notes)
    assert any("ground truth" in note for note in done.published.notes)
    with pytest.raises(InputError, match="ground_truth"):
        annotate(f"job:{truth}", ensemble(), client=client, out=tmp_path / "out")
    with pytest.raises(InputError, match="has none of them"):
        annotate(str(task), ensemble(), client=client, out=tmp_path / "out", frames="9")


def test_a_job_alone(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, segment=3)
    second = [job for job in cvat.jobs if cvat.jobs[job]["task_id"] == task][1]
    annotate(
        f"{cvat.url}/tasks/{task}/jobs/{second}", ensemble(), client=client, out=tmp_path / "out"
    )
    assert {s["frame"] for s in cvat.drawn(task)} == {3, 4, 5}


def test_every_task_of_a_project(cvat, client, files, tmp_path):
    ours = [cvat.add_task(files[:2], LABELS, project=7) for _ in range(4)]
    other = cvat.add_task(files[:2], LABELS)
    done = annotate("project:7", ensemble(), client=client, out=tmp_path / "out")
    assert [one.task for one in done] == ours
    assert all(cvat.drawn(task) for task in ours)
    assert cvat.drawn(other) == []
    assert (tmp_path / "out" / f"cvat-task-{ours[2]}" / "report.html").exists()


def test_frames_of_a_video_are_found_by_their_numbers(cvat, client, files, tmp_path):
    task = cvat.add_task(files, LABELS, video=True, step=3, start=5, segment=4)
    annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    plain = cvat.add_task(files, LABELS)
    annotate(str(plain), ensemble(), client=client, out=tmp_path / "plain")

    def places(of):
        return sorted((s["frame"], *s["points"]) for s in cvat.drawn(of))

    assert places(task) == places(plain) != []
    names = sorted(path.name for path in (tmp_path / "out" / "task" / "images").iterdir())
    assert names[:2] == ["frame_000005.png", "frame_000008.png"]


def test_two_pictures_of_one_base_name_keep_their_own_boxes(cvat, client, files, tmp_path):
    names = [f"{'left' if n % 2 else 'right'}/{n // 2}.png" for n in range(6)]
    task = cvat.add_task(files, LABELS, names=names)
    plain = cvat.add_task(files, LABELS)
    annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    annotate(str(plain), ensemble(), client=client, out=tmp_path / "plain")
    of = [sorted((s["frame"], *s["points"]) for s in cvat.drawn(t)) for t in (task, plain)]
    assert of[0] == of[1]


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "a/../../evil.png"])
def test_names_that_lead_outside_are_refused(cvat, client, files, tmp_path, name):
    task = cvat.add_task(files[:1], LABELS, names=[name])
    with pytest.raises(InputError, match="outside"):
        annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert not [*tmp_path.rglob("evil.png")]


def test_labels_are_checked_before_any_picture_is_asked_for(cvat, client, files, tmp_path):
    task = cvat.add_task(files, ["red", "grey"])
    with pytest.raises(LabelError, match=r"lacks 2 .* green, blue\. It has red, grey"):
        annotate(str(task), ensemble(labels=LABELS), client=client, out=tmp_path / "out")
    tags = cvat.add_task(files, [{"name": "red", "type": "tag"}])
    with pytest.raises(LabelError, match=r"no label for boxes or masks; .*'red' \(tag\)"):
        annotate(str(tags), ensemble(), client=client, out=tmp_path / "out")
    assert not [r for r in cvat.requests if r.endswith("/data")]
    annotate(
        str(task), ensemble(labels=LABELS), client=client, out=tmp_path / "out", add_labels=True
    )
    made = {label["name"]: label for label in cvat.labels.values() if label["_task"] == task}
    assert {"red", "green", "blue", "grey"} == set(made)
    assert {a["name"] for a in made["red"]["attributes"]} == {"votes", "confidence", "run"}
    assert made["grey"]["attributes"] == []
    assert {s["label_id"] for s in cvat.drawn(task)} == {made[n]["id"] for n in ("red", "green")}


def test_labels_that_take_other_shapes_alone_are_told(cvat, client, files, tmp_path):
    task = cvat.add_task(files, [{"name": name, "type": "polygon"} for name in LABELS])
    with pytest.raises(LabelError, match="takes shapes of type 'polygon' alone"):
        annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert cvat.drawn(task) == []


def test_who_may_not_change_labels_is_told_so(cvat, client, files, tmp_path):
    task = cvat.add_task(files, ["red"])
    cvat.forbidden.add(f"tasks/{task}")
    with pytest.raises(AccessError):
        annotate(f"{task}", ensemble(labels=LABELS), client=client, add_labels=True)


def test_a_busy_server_is_asked_again(cvat, client, files, tmp_path):
    task = cvat.add_task(files[:2], LABELS)
    cvat.busy = 2
    (done,) = annotate(str(task), ensemble(), client=client, out=tmp_path / "out")
    assert done.published.created


def test_frames_of_another_task_are_not_taken_for_these(cvat, client, files, tmp_path):
    first = cvat.add_task(files[:3], LABELS, names=["0.png", "1.png", "2.png"])
    second = cvat.add_task(files[3:], LABELS, names=["0.png", "1.png", "2.png"])
    fresh = cvat.add_task(files[3:], LABELS, names=["0.png", "1.png", "2.png"])
    annotate(str(first), ensemble(), client=client, out=tmp_path / "out")
    annotate(str(second), ensemble(), client=client, out=tmp_path / "out")
    annotate(str(fresh), ensemble(), client=client, out=tmp_path / "fresh")
    of = [sorted((s["frame"], *s["points"]) for s in cvat.drawn(t)) for t in (second, fresh)]
    assert of[0] == of[1]


def test_masks_and_polygons_are_shapes_of_their_own():
    outline = np.array([0.0, 0, 4, 0, 4, 4, np.nan, np.nan, 9, 9, 12, 9, 12, 12])
    told = Annotations.build(
        image_id=[1, 1],
        category_id=1,
        xyxy=[[2.0, 3, 5, 5], [0, 0, 12, 12]],
        kind=[Kind.MASK, Kind.POLYGON],
        points=Ragged(np.array([0, 3, 17]), np.concatenate([[1.0, 4, 1], outline])),
        attributes={"score": np.array([0.25, 0.5], np.float32)},
    )
    labels = (Label(7, "bolt", attributes=(Attribute(3, "confidence"),)),)
    found = shapes(told, Labels.from_names(["bolt"]), labels, {1: 40}, run="r")
    assert [(one.type, one.points) for one in found] == [
        ("mask", [1, 4, 1, 2, 3, 4, 4]),  # right and bottom are the last column and row
        ("polygon", [0, 0, 4, 0, 4, 4]),
        ("polygon", [9, 9, 12, 9, 12, 12]),
    ]
    assert [one.attributes[0].value for one in found] == ["0.25", "0.5", "0.5"]
    assert {one.frame for one in found} == {40}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("12", ("task", 12)),
        ("job:34", ("job", 34)),
        ("project:5", ("project", 5)),
        ("https://cvat.example.org/tasks/12", ("task", 12, "https://cvat.example.org")),
        ("http://h:8080/tasks/12/jobs/34?frame=3", ("job", 34, "http://h:8080")),
        ("https://h/projects/5#x", ("project", 5, "https://h")),
    ],
)
def test_places(text, place):
    assert Place.parse(text) == Place(*place)


@pytest.mark.parametrize(
    "text",
    ["", "x", "job:", "task:x", "https://h/", "file:///tasks/1", "-1", "http://[::1/tasks/1"],
)
def test_what_is_no_place(text):
    with pytest.raises(InputError, match="names no task"):
        Place.parse(text)


def test_who_asks(cvat, monkeypatch):
    with pytest.raises(InputError, match="No CVAT server"):
        Client.connect()
    with pytest.raises(AccessError, match="nothing says who you are"):
        Client.connect(cvat.url)
    with pytest.raises(AccessError, match="does not know you"):
        Client.connect(cvat.url, access_token="old").get("tasks/1", dict)
    secret = "quite-secret"
    assert secret not in repr(Client.connect(cvat.url, access_token=secret))
    monkeypatch.setenv("CVAT_URL", cvat.url)
    monkeypatch.setenv("CVAT_USERNAME", USER)
    monkeypatch.setenv("CVAT_PASSWORD", PASSWORD)
    with pytest.raises(InputError, match="there is no task 1"):
        Client.connect().get("tasks/1", dict)


def test_what_is_no_cvat_is_told(cvat, client):
    cvat.answer = lambda *_: {"hello": "world"}
    with pytest.raises(InputError, match="is not answered as CVAT answers"):
        client.version()
