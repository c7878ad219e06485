"""A task's way over S3: handed over, run by the steps that pods run, and brought back.

Argo itself is in `tests/cluster/test_cvat.py`; here the same ensemble runs over the same data.
"""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from quorate.argo.names import CVAT, ENSEMBLE
from quorate.argo.runs.submit import rendered
from quorate.cvat import annotate, undo
from quorate.cvat.cluster import dag, exporting
from quorate.cvat.cluster.bringing_back import bring_back
from quorate.cvat.cluster.dag import Origin
from quorate.cvat.cluster.handing_over import hand_over
from quorate.cvat.cluster.on_cluster import OnCluster, import_run, submit
from quorate.cvat.task import Place, tasks
from quorate.ensemble import DetectionEnsemble, read_ensemble
from quorate.errors import InputError, LabelError, ServerError, StorageError
from quorate.formats import read, write
from quorate.spec import Publish
from quorate.storage import open_tree, read_bytes, s3, write_bytes
from tests.classifiers.models import colour_ensemble
from tests.cvat.exports import FORMATS
from tests.cvat.local import shapes
from tests.spots import Spots, pool

LABELS = ["red", "green", "blue"]
TOLD = [{"name": name} for name in ("votes", "confidence", "run")]
TELLING = [{"name": name, "attributes": TOLD} for name in LABELS]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(exporting, "ASK_AGAIN", 0.01)


@pytest.fixture
def files(tmp_path):
    folder = pool(tmp_path / "pool", 6)
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def names(files, tmp_path):
    return [path.relative_to(tmp_path / "pool").as_posix() for path in files]


def ensemble(shift=0.0):
    detectors = tuple(
        Spots(name=name, kind="spots", shift=shift + by) for name, by in (("a", 0.0), ("b", 1.0))
    )
    return DetectionEnsemble(name="spots", detectors=detectors)


def the_task(client, number):
    return next(tasks(client, Place("task", number)))


def finished(results, *, run="spots-x7k2p", artifacts=("results",), out=None, phase="Succeeded"):
    """A workflow as Argo has it when it has ended, whose results are at a place in S3."""
    bucket, key = s3.split(results)
    left = [{"name": name, "s3": {"key": key}} for name in artifacts]
    parameters = [{"name": "cvat-output-path", "value": out}] if out else []
    return {
        "metadata": {"name": run, "creationTimestamp": "2026-11-29T09:30:00Z"},
        "spec": {
            "workflowTemplateRef": {"name": run.rpartition("-")[0]},
            "arguments": {"parameters": parameters},
        },
        "status": {
            "phase": phase,
            "artifactRepositoryRef": {"artifactRepository": {"s3": {"bucket": bucket}}},
            "nodes": {"a": {"phase": "Succeeded", "outputs": {"artifacts": left}}},
        },
    }


def ran(given, handed, folder, results):
    """What a run of an ensemble over what was handed over leaves in S3."""
    given.run(handed.location, folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("work/"):
            write_bytes(f"{results}/{name}", path.read_bytes())
    return finished(f"{results}/")


@pytest.mark.parametrize("dump_format", [None, *FORMATS])
def test_what_is_handed_over_are_the_tasks_pictures_and_labels(
    cvat, client, files, names, s3_prefix, dump_format
):
    task = cvat.add_task(files, LABELS, names=names, segment=4, deleted=(2,))
    told = []
    handed = hand_over(
        client,
        the_task(client, task),
        f"{s3_prefix}/cvat",
        dump_format=dump_format,
        progress=lambda *said: told.append(said),
    )
    found = read(handed.location)
    assert [image.name for image in found.images] == [*names[:2], *names[3:]]
    assert list(found.labels.names) == LABELS
    with open_tree(found.root) as tree:
        read_back = [tree.read(image.file_name) for image in found.images]
    assert read_back == [path.read_bytes() for n, path in enumerate(files) if n != 2]
    exported = any(r == f"POST tasks/{task}/dataset/export" for r in cvat.requests)
    assert exported == (dump_format is not None)
    assert ("export", 50, 100) in told or dump_format is None
    assert told[-1][0] == "upload"
    assert told[-1][1] == told[-1][2] > 5


@pytest.mark.parametrize("part", ["job", "frames", "names"])
def test_a_part_of_a_task_is_handed_over_picture_by_picture(
    cvat, client, files, names, s3_prefix, part
):
    alike = ["a/x.png"] * 2 + names[2:]  # as of honeypots, which CVAT's exports cannot tell apart
    task = cvat.add_task(files, LABELS, names=alike if part == "names" else names, segment=3)
    job = next(number for number, job in cvat.jobs.items() if job["start_frame"] == 3)
    given = next(tasks(client, Place("job", job))) if part == "job" else the_task(client, task)
    given = given.only("3-5") if part == "frames" else given
    handed = hand_over(client, given, f"{s3_prefix}/cvat", dump_format=FORMATS[0])
    found = [image.name for image in read(handed.location).images]
    if part == "names":
        assert found == [f"frame_{n:06d}.png" for n in range(6)]
    else:
        assert found == names[3:]
    assert "without what is drawn" in handed.notes[0]
    assert not [r for r in cvat.requests if r.endswith("/export")]


def test_an_export_that_is_at_work_is_waited_for(cvat, client, files, names, s3_prefix):
    task = cvat.add_task(files, LABELS, names=names)
    cvat.exporting = 2
    handed = hand_over(client, the_task(client, task), s3_prefix, dump_format=FORMATS[0])
    assert len(read(handed.location).images) == 6


def test_cvat_writes_into_its_own_cloud_storage(cvat, client, files, names, s3_prefix, s3_bucket):
    task = cvat.add_task(files, LABELS, names=names)
    cvat.clouds = {7: s3_bucket, 8: "another"}
    given, to = the_task(client, task), f"{s3_prefix}/cvat"
    handed = hand_over(client, given, to, dump_format=FORMATS[0], cloud_storage=7)
    assert handed.location.endswith("/task.zip")
    assert [image.name for image in read(handed.location).images] == names
    with pytest.raises(InputError, match="cloud storage 8 is another"):
        hand_over(client, given, to, dump_format=FORMATS[0], cloud_storage=8)
    cvat.clouds_lead_elsewhere = True
    with pytest.raises(StorageError, match="it is not there"):
        hand_over(client, given, to, dump_format=FORMATS[0], cloud_storage=7)


def test_an_export_that_cannot_be_says_why(cvat, client, files, s3_prefix, monkeypatch):
    task = the_task(client, cvat.add_task(files, LABELS))
    with pytest.raises(InputError, match=r"in no format 'COCO 1\.1'") as error:
        hand_over(client, task, s3_prefix, dump_format="COCO 1.1")
    assert "COCO 1.0" in error.value.hint
    assert "Off" not in error.value.hint
    cvat.export_fails = "ValueError: frame 3 is broken"
    with pytest.raises(InputError, match="failed: ValueError: frame 3 is broken"):
        hand_over(client, task, s3_prefix, dump_format=FORMATS[0])
    cvat.export_fails = ""
    monkeypatch.setattr(exporting, "QUEUED", 0.0)
    with pytest.raises(ServerError, match="is not taken up"):
        hand_over(client, task, s3_prefix, dump_format=FORMATS[0])
    with pytest.raises(InputError, match="pods read pictures in S3"):
        hand_over(client, task, "pool/")


@pytest.mark.parametrize("labels", [LABELS, TELLING], ids=["plain", "telling"])
@pytest.mark.parametrize("dump_format", [None, *FORMATS])
def test_boxes_over_s3_are_those_of_a_run_here(
    cvat, client, files, names, tmp_path, s3_prefix, labels, dump_format
):
    here, there = (cvat.add_task(files, labels, names=names, segment=4) for _ in range(2))
    mine = cvat.draw(
        there, frame=0, label_id=max(cvat.labels), points=[1.0, 2.0, 3.0, 4.0], score=1
    )
    (local,) = annotate(str(here), ensemble(), client=client, out=tmp_path / "here")
    task = the_task(client, there)
    handed = hand_over(client, task, s3_prefix, dump_format=dump_format)
    workflow = ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results")
    done = bring_back(client, task, workflow)
    assert done.created == local.published.created > 5
    assert not [note for note in done.notes if "left out" in note]
    before = shapes(cvat, there)
    assert before - shapes(cvat, here) == Counter(
        {(0, "blue", "rectangle", 1.0, 2.0, 3.0, 4.0, 1, "manual"): 1}
    )
    assert not shapes(cvat, here) - before
    again = bring_back(client, task, workflow)
    assert (again.run, again.created, again.there) == (done.run, 0, done.created)
    assert done.run == "spots-20260929-093000-x7k2p".replace("0929", "1129")
    assert undo(done.run, client=client).removed == done.created
    assert cvat.drawn(there) == [mine]


def told_issues(cvat, task):
    """Frame, place and words of a task's issues, but for the run."""
    own = {n for n, job in cvat.jobs.items() if job["task_id"] == task}
    said = {c["issue"]: c["message"].partition(" [")[0] for c in cvat.talk.comments.values()}
    issues = [one for one in cvat.talk.issues.values() if one["job"] in own]
    return sorted((one["frame"], one["position"], said[one["id"]]) for one in issues)


def test_frames_that_need_a_person_have_an_issue(cvat, client, files, names, tmp_path, s3_prefix):
    here, there = (cvat.add_task(files, LABELS, names=names, segment=4) for _ in range(2))
    detectors = [Spots(name=n, kind="spots", blind="green" if n == "b" else "") for n in "abc"]
    publish = Publish(review="disagreement", review_share=0.5)
    spec = DetectionEnsemble(name="spots", detectors=tuple(detectors), publish=publish)
    annotate(str(here), spec, client=client, out=tmp_path / "here")
    task = the_task(client, there)
    workflow = ran(spec, hand_over(client, task, s3_prefix), tmp_path / "there", f"{s3_prefix}/r")
    done = bring_back(client, task, workflow)
    assert told_issues(cvat, there) == told_issues(cvat, here)
    assert done.issues.opened == len(told_issues(cvat, there)) == 3
    assert not [note for note in done.notes if "tag" in note]
    assert bring_back(client, task, workflow).issues.there == 3
    assert undo(done.run, client=client).issues.removed == 3


def test_boxes_of_a_video_come_back_as_tracks(cvat, client, files, tmp_path, s3_prefix):
    same = [files[0]] * 6  # what does not move is one object
    here, there = (cvat.add_task(same, TELLING, video=True, segment=3) for _ in range(2))
    annotate(str(here), ensemble(), client=client, out=tmp_path / "here", tracks=True)
    task = the_task(client, there)
    handed = hand_over(client, task, s3_prefix, dump_format=FORMATS[0])
    workflow = ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results")
    done = bring_back(client, task, workflow, tracks=True)
    told = [
        [(one["frame"], [(s["frame"], s["points"]) for s in one["shapes"]])
         for job, about in cvat.jobs.items() if about["task_id"] == number
         for one in cvat.tracks[job]] for number in (there, here)
    ]  # fmt: skip
    assert told[0] == told[1] != []
    assert cvat.drawn(there) == []
    assert any("boxes are joined to 2 tracks" in note for note in done.notes)


def test_a_run_here_replaces_one_of_the_cluster(cvat, client, files, names, tmp_path, s3_prefix):
    number = cvat.add_task(files, LABELS, names=names)
    task = the_task(client, number)
    handed = hand_over(client, task, s3_prefix)
    workflow = ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results")
    first = bring_back(client, task, workflow)
    (second,) = annotate(
        str(number), ensemble(3.0), client=client, out=tmp_path / "here", replace=True
    )
    assert second.published.removed == first.created
    assert len(cvat.drawn(number)) == second.published.created


@pytest.mark.parametrize("dump_format", [None, *FORMATS])
def test_frames_of_a_video_are_found_by_their_number(
    cvat, client, files, tmp_path, s3_prefix, dump_format
):
    here, there = (
        cvat.add_task(files, TELLING, video=True, start=4, step=5, segment=3) for _ in range(2)
    )
    annotate(str(here), ensemble(), client=client, out=tmp_path / "here")
    task = the_task(client, there)
    handed = hand_over(client, task, s3_prefix, dump_format=dump_format)
    found = [image.name.partition(".")[0] for image in read(handed.location).images]
    assert found == [f"frame_{4 + 5 * n:06d}" for n in range(6)]
    bring_back(client, task, ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results"))
    assert shapes(cvat, there) == shapes(cvat, here)
    assert len(cvat.drawn(there)) > 5


@pytest.mark.parametrize("format", ["coco", "voc", "cvat"])
@pytest.mark.parametrize("where", ["artifact", "archive", "output path"])
def test_what_another_template_left_is_found_in_any_format(
    cvat, client, files, names, tmp_path, s3_prefix, format, where
):
    number = cvat.add_task(files, LABELS, names=names, size=(64, 48))
    handed = hand_over(client, the_task(client, number), s3_prefix)
    ensemble().run(handed.location, tmp_path / "out")
    told = read(tmp_path / "out/cvat")
    place = f"{s3_prefix}/left"
    write_bytes(f"{place}/model/weights.bin", b"weights")
    if where == "archive":
        write(told, told.annotations, f"{place}.zip", format=format)
        workflow = finished(f"{place}.zip", run="theirs-abcde", artifacts=("main-logs", "labels"))
    else:
        write(told, told.annotations, f"{place}/predicted", format=format)
        out = s3.split(place)[1] if where == "output path" else None
        names_ = ("model",) if out else ("model", "predicted")
        workflow = finished(
            f"{place}/model" if out else f"{place}", run="theirs-abcde", artifacts=names_, out=out
        )
    bucket = s3.split(place)[0]
    done = bring_back(client, the_task(client, number), workflow, bucket=bucket)
    assert done.created == len(told.annotations) == len(cvat.drawn(number))
    assert any(place in note for note in done.notes)


def left_by_another(files, names, tmp_path, place, **size):
    """Boxes that a foreign template says it found, in COCO."""
    images = [
        {"id": n, "file_name": name, "width": 64, "height": 48, **size}
        for n, name in enumerate(names, start=1)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, n, 4], "segmentation": [],
         "iscrowd": 0, "area": 4} for n in range(1, len(names) + 1)
    ]  # fmt: skip
    told = {"images": images, "categories": [{"id": 1, "name": "red"}], "annotations": boxes}
    write_bytes(f"{place}/annotations/instances_default.json", json.dumps(told).encode())
    return finished(f"{place}/", run="theirs-abcde", artifacts=("boxes",))


def test_boxes_on_other_pictures_are_left_out_and_counted(
    cvat, client, files, names, tmp_path, s3_prefix
):
    number = cvat.add_task(files, LABELS, names=names, size=(64, 48))
    task = the_task(client, number)
    bare = [name.rpartition("/")[2] for name in names]  # a base name says nothing
    given = [names[0], names[1].replace(".png", ".jpg"), *bare[2:]]
    done = bring_back(client, task, left_by_another(files, given, tmp_path, f"{s3_prefix}/a"))
    assert [shape["frame"] for shape in cvat.drawn(number)] == [0, 1]
    assert any(f"4 shapes are left out: their 4 pictures are not among the task's, the first "
               f"'{bare[2]}'" in note for note in done.notes)  # fmt: skip
    with pytest.raises(InputError, match="None of the 6 pictures of the results is one of task"):
        bring_back(client, task, left_by_another(files, bare, tmp_path, f"{s3_prefix}/b"))
    with pytest.raises(InputError, match="have another size than the task's"):
        bring_back(
            client, task, left_by_another(files, names, tmp_path, f"{s3_prefix}/c", width=128)
        )
    assert len(cvat.drawn(number)) == 2


def test_an_ending_is_left_off_only_where_that_means_one_picture(
    cvat, client, tmp_path, files, s3_prefix
):
    names = ["a.png", "a.jpg", "b.png", "c.png", "d.png", "e.png"]
    number = cvat.add_task(files, LABELS, names=names, size=(64, 48))
    given = ["a.bmp", "b.bmp", "c.png", "c.bmp", "d.jpg", "d.bmp", "e.jpg"]
    place = f"{s3_prefix}/left"
    done = bring_back(
        client, the_task(client, number), left_by_another(files, given, tmp_path, place)
    )
    assert [shape["frame"] for shape in cvat.drawn(number)] == [2, 3, 5]
    assert any("4 pictures are not among" in note for note in done.notes)


def test_nothing_to_import_says_where_was_looked(cvat, client, files, names, s3_prefix):
    task = the_task(client, cvat.add_task(files, LABELS, names=names))
    write_bytes(f"{s3_prefix}/left/model.onnx", b"weights")
    workflow = finished(f"{s3_prefix}/left", artifacts=("model",), run="theirs-abcde")
    with pytest.raises(InputError, match="left nothing to import") as error:
        bring_back(client, task, workflow)
    assert f"{s3_prefix}/left/" in error.value.message
    write_bytes(f"{s3_prefix}/left/data.yaml", b"names: [red]")
    write_bytes(f"{s3_prefix}/left/labels/a.txt", b"0 .5 .5 .1 .1")
    with pytest.raises(InputError, match="YOLO's boxes are relative to their pictures"):
        bring_back(client, task, workflow)
    with pytest.raises(InputError, match="has not ended well: it is Running"):
        bring_back(client, task, workflow | {"status": {"phase": "Running"}})


def test_labels_of_whole_pictures_are_refused(cvat, client, files, names, tmp_path, s3_prefix):
    number = cvat.add_task(files, LABELS, names=names, size=(64, 48))
    handed = hand_over(client, the_task(client, number), s3_prefix)
    given = read_ensemble(colour_ensemble(tmp_path))
    workflow = ran(given, handed, tmp_path / "out", f"{s3_prefix}/left")
    with pytest.raises(InputError, match="6 labels of whole pictures, which are not brought"):
        bring_back(client, the_task(client, number), workflow)
    assert cvat.drawn(number) == []


def test_a_label_that_was_renamed_meanwhile_creates_nothing(
    cvat, client, files, names, tmp_path, s3_prefix
):
    number = cvat.add_task(files, LABELS, names=names)
    handed = hand_over(client, the_task(client, number), s3_prefix)
    workflow = ran(ensemble(), handed, tmp_path / "there", f"{s3_prefix}/results")
    next(label for label in cvat.labels.values() if label["name"] == "green")["name"] = "lime"
    with pytest.raises(LabelError, match="no label 'green' any more"):
        bring_back(client, the_task(client, number), workflow)
    assert cvat.drawn(number) == []


class Known:
    """A cluster with a template, which takes what it is given; `created` has it."""

    namespace, where, options = "n", "a cluster", ""

    def __init__(self, *parameters, labels=None):
        self.created = []
        self.spec = {"arguments": {"parameters": list(parameters)}}
        self.labels = {"used-by": "cvat", **(labels or {})}

    def template(self, name):
        return {"metadata": {"name": name, "labels": self.labels}, "spec": self.spec}

    def apply(self, template):
        self.applied = template
        return "unchanged"

    def create(self, workflow):
        self.created.append(workflow)
        return {"metadata": {"name": f"{workflow['metadata']['generateName']}abcde"}}

    def workflow(self, name):
        return self.created[-1] | {"metadata": {"name": name} | self.created[-1]["metadata"]}


DATA, OUT = {"name": "cvat-annotation-path"}, {"name": "cvat-output-path", "value": "old"}
MORE = (
    {"name": "cvat-num-classes"},
    {"name": "cvat-task-id"},
    {"name": "dump-format", "value": FORMATS[1]},
)


def test_a_template_is_told_of_the_task(cvat, client, files, names, s3_prefix, s3_bucket):
    number = cvat.add_task(files, [*LABELS, {"name": "knee", "type": "points"}], names=names)
    cluster = Known(DATA, OUT, *MORE, {"name": "epochs", "value": "3"})
    on = OnCluster(cluster, to=f"{s3_prefix}/cvat", parameters={"epochs": "5"})
    (run,) = submit(str(number), "theirs", on, client=client)
    assert run.name == "theirs-abcde"
    (workflow,) = cluster.created
    given = {p["name"]: p["value"] for p in workflow["spec"]["arguments"]["parameters"]}
    key = given.pop("cvat-annotation-path")
    assert not key.startswith("s3://")
    assert read_bytes(f"s3://{s3_bucket}/{key}/annotations/instances_default.json")
    assert given == {"cvat-num-classes": "3", "cvat-task-id": str(number), "epochs": "5",
                     "cvat-output-path": f"{key}-results"}  # fmt: skip
    labels = workflow["metadata"]["labels"]
    assert (labels["cvat-task-id"], labels["cvat-job-id"]) == (str(number), str(number))
    origin = Origin.of(workflow)
    assert origin == Origin(client.server, f"task:{number}", None, f"s3://{s3_bucket}/{key}")
    job = next(n for n, job in cvat.jobs.items() if job["task_id"] == number)
    submit(f"job:{job}", "theirs", on, client=client, frames="1-2")
    again = cluster.created[1]["metadata"]
    assert (again["labels"]["cvat-task-id"], again["labels"]["cvat-job-id"]) == (
        str(number),
        str(job),
    )
    assert json.loads(again["annotations"][CVAT])["place"] == f"job:{job}"
    assert json.loads(again["annotations"][CVAT])["frames"] == "1-2"


def test_a_template_of_ours_has_its_labels_checked_too(cvat, client, files, s3_prefix):
    number = cvat.add_task(files, LABELS)
    on = OnCluster(cluster := Known(DATA), to=s3_prefix)

    def given(**changes):
        detector = {"name": "a", "kind": "onnx", "weights": "s3://models/a.onnx"}
        return DetectionEnsemble.model_validate(
            {"name": "spots", "detectors": [detector], **changes}
        )

    whole = given(publish={"folder": "street"}, labels=["red"])
    submit(str(number), whole, on, client=client)
    assert "street" not in json.dumps(cluster.applied)
    cluster.spec, cluster.labels = cluster.applied["spec"], cluster.applied["metadata"]["labels"]
    submit(str(number), "spots", on, client=client)
    before = len(cvat.requests)
    for changes, error in (
        ({"labels": ["red", "purple"]}, r"lacks 1 of the spec's labels: purple"),
        ({"publish": {"folder": "street"}}, "puts the folder 'street' before names"),
    ):
        cluster.spec = rendered(given(**changes))["spec"]
        with pytest.raises(InputError, match=error):
            submit(str(number), "spots", on, client=client)
    assert not [r for r in cvat.requests[before:] if "export" in r]
    cluster.spec = rendered(given(labels=["red", "purple"]))["spec"]
    submit(str(number), "spots", on, client=client, add_labels=True)
    assert "purple" in {label["name"] for label in cvat.labels.values()}
    cluster.labels = {}
    with pytest.raises(InputError, match="does not say which it needs"):
        submit(str(number), "spots", on, client=client, add_labels=True)
    assert len(cluster.created) == 3


def test_a_template_of_ours_gets_the_whole_location(cvat, client, files, s3_prefix):
    number = cvat.add_task(files, LABELS)
    cluster = Known(DATA, labels={ENSEMBLE: "spots"})
    submit(str(number), "spots", OnCluster(cluster, to=s3_prefix), client=client)
    (given,) = cluster.created[0]["spec"]["arguments"]["parameters"]
    assert given["value"].startswith(f"{s3_prefix}/{number}/{time.strftime('%Y')}")


def test_what_cannot_run_is_refused_before_any_work(cvat, client, files, s3_prefix, s3_bucket):
    number = cvat.add_task(files, LABELS)
    checkpoint = {"name": "cvat-finetune-checkpoint", "value": ""}

    def run(*known, **parameters):
        on = OnCluster(Known(*known), to=s3_prefix, parameters=parameters)
        submit(str(number), "theirs", on, client=client)

    with pytest.raises(InputError, match="knows no task"):
        run(OUT)
    with pytest.raises(InputError, match="has no parameter 'epochs'"):
        run(DATA, epochs="3")
    key = f"{s3.split(s3_prefix)[1]}/model"
    with pytest.raises(InputError, match=r"cvat-finetune-checkpoint: .* no such file"):
        run(DATA, checkpoint, **{"cvat-finetune-checkpoint": key})
    assert not [r for r in cvat.requests if "data" in r or "export" in r]
    write_bytes(f"s3://{s3_bucket}/{key}/last.pt", b"weights")
    run(DATA, checkpoint, **{"cvat-finetune-checkpoint": key})
    spec = plain(ensemble().model_copy(update={"labels": ("red", "purple")}))
    on = OnCluster(Known(DATA), to=s3_prefix)
    with pytest.raises(LabelError, match=r"lacks 1 of the spec's labels: purple"):
        submit(str(number), spec, on, client=client)


def plain(spec):
    """A spec whose detectors can be rendered: their weights are in S3."""
    detector = {"name": "a", "kind": "onnx", "weights": "s3://models/a.onnx"}
    return DetectionEnsemble.model_validate(
        {"name": spec.name, "labels": spec.labels, "detectors": [detector]}
    )


def test_results_go_to_no_server_that_a_workflow_names(cvat, client, files):
    number = cvat.add_task(files, LABELS)
    cluster = Known(DATA)
    origin = Origin("https://cvat.example.org", f"task:{number}", data="s3://b/cvat/1")
    task = the_task(client, number)
    run = dag.start(cluster, cluster.template("theirs"), task, origin)
    with pytest.raises(InputError, match=r"was started for https://cvat\.example\.org"):
        import_run(cluster, run.name, client=client)
    cluster.created[-1]["metadata"]["annotations"] = {}
    with pytest.raises(InputError, match="does not say for which task"):
        import_run(cluster, run.name, client=client)
