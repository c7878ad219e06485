"""Dumps as CVAT really writes them: what is learnt from each is what `read` finds in it."""

import json
import zipfile
from dataclasses import replace
from os.path import splitext

import numpy as np
import pytest
import yaml
from msgspec import structs

from quorate.annotations import HAVE_A_BOX
from quorate.errors import QuorateError
from quorate.formats import read, write
from quorate.spec.training import Training
from quorate.storage import open_tree
from quorate.training.data import prepare
from quorate.training.work import TrainingWork
from tests.formats.samples import sample
from tests.training.pictures import trainer

PICTURES = {
    "task-a": "task-a.cvat-2.15.cvat-for-images-1.1.images",
    "project-b": "project-b.cvat-2.15.cvat-for-images-1.1.images",
}
SPLIT = {"Train": "train", "Validation": "val"}
FORMATS = ("coco-1.0", "cvat-for-images-1.1.images", "labelme-3.0", "pascal-voc-1.1",
           "yolo-1.1", "yolo-1.1.images", "datumaro-1.0", "mot-1.1", "mot-1.1.images")  # fmt: skip


def learnt(dump, to, **settings):
    """What is written of a dump: part -> picture -> [(label, x1, y1, x2, y2)]; what was told."""
    training = Training(name="dump", data=str(dump), trainers=[trainer()], **settings)
    done = prepare(training, TrainingWork(to))
    found = {}
    for part in ("train", "validation"):
        coco = json.loads((to / f"data/{part}.json").read_text())
        names = {one["id"]: one["name"] for one in coco["categories"]}
        files = {one["id"]: one["file_name"] for one in coco["images"]}
        boxes = {file: [] for file in files.values()}
        for one in coco["annotations"]:
            x, y, w, h = one["bbox"]
            box = names[one["category_id"]], x, y, x + w, y + h
            boxes[files[one["image_id"]]].append(box)
        found[part] = {file: sorted(some) for file, some in boxes.items()}
        assert all((to / "data/images" / file).exists() for file in boxes)
    return done, found


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_learnt_is_what_was_read(tmp_path, form):
    dump = sample(f"task-a.cvat-2.15.{form}")
    elsewhere = {} if "images" in form else {"images": str(sample(PICTURES["task-a"]))}
    done, found = learnt(dump, tmp_path, split={"validation": 0.3, "by": "picture"}, **elsewhere)
    data = read(dump if form not in ("yolo-1.1", "mot-1.1") else f"{dump}"[:-4] + ".images.zip")
    shapes = data.annotations
    shapes = shapes.take(np.isin(shapes.kind, HAVE_A_BOX))
    here = "images" in form
    names = {i.id: splitext(i.file_name if here else i.name)[0] for i in data.images}
    sizes = {"cam1/überfahrt_日本": (240, 180), "cam2/night/bins": (200, 150)}
    expected = {name: [] for name in names.values()}
    for image, category, box in zip(
        shapes.image_id.tolist(), shapes.category_id, shapes.enclosing(), strict=True
    ):
        width, height = sizes.get(names[image], (320, 240))
        limit = np.array([width, height] * 2)
        label = data.labels.name_of(int(category))
        expected[names[image]].append((label, *np.clip(box, 0, limit).tolist()))
    written = {splitext(file)[0]: boxes for part in found.values() for file, boxes in part.items()}
    assert sum(map(len, written.values())) >= 14
    for name, boxes in written.items():
        mine, theirs = sorted(boxes), sorted(expected[name])
        assert [box[0] for box in mine] == [box[0] for box in theirs], name
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one[1:], other[1:], atol=0.01, err_msg=name)
    assert set(done.labels) >= {"car", "person"}


def test_subsets_of_a_project_are_the_parts(tmp_path):
    done, found = learnt(sample(PICTURES["project-b"]), tmp_path)
    assert "The subset Validation of the data is held out for validation." in done.notes
    assert len(found["train"]) == len(found["validation"]) == 3
    assert done.train.boxes == done.validation.boxes == (3, 3)
    assert any("look nearly the same as pictures of another subset" in n for n in done.notes)


@pytest.mark.parametrize("form", ["coco-1.0", "labelme-3.0", "datumaro-1.0", "pascal-voc-1.1",
                                  "yolo-1.1", "mot-1.1"])  # fmt: skip
def test_pictures_of_one_name_are_found_by_their_subsets(tmp_path, form):
    pictures = sample(PICTURES["project-b"])
    dump = sample(f"project-b.cvat-2.15.{form}")
    done, found = learnt(dump, tmp_path / "out", images=str(pictures))
    expected = {
        part: {f"{subset}/{name}" for name in names}
        for part, subset, names in (
            ("train", "Train", ("shared.jpg", "t_000.jpg", "t_001.jpg")),
            ("validation", "Validation", ("shared.jpg", "v_000.jpg", "v_001.jpg")),
        )
    }
    if form.startswith("pascal"):  # which has one file for both, of the subset that came last
        expected["train"].discard("Train/shared.jpg")
    assert {part: set(boxes) for part, boxes in found.items()} == expected
    assert (done.train.images, done.validation.images) == tuple(map(len, expected.values()))
    with open_tree(pictures) as tree:
        for name in (name for names in expected.values() for name in names):
            written = (tmp_path / "out/data/images" / name).read_bytes()
            assert written == tree.read(f"images/{name}")


@pytest.mark.parametrize("lists", [True, False])
def test_an_ultralytics_dump_without_pictures_has_the_boxes_of_one_with_them(tmp_path, lists):
    """As CVAT writes it, with a list of each subset, and with folders in `data.yaml`."""
    dump, task = tmp_path / "dump", read(sample(PICTURES["project-b"]))
    task = replace(
        task, images=tuple(structs.replace(i, subset=SPLIT[i.subset]) for i in task.images)
    )
    write(task, task.annotations, dump, format="yolo")
    told = yaml.safe_load((dump / "data.yaml").read_text())
    if lists:
        for subset in ("train", "val"):
            files = sorted((dump / "labels").rglob(f"{subset}/*.txt"))
            lines = [f"data/images/{subset}/{file.stem}.jpg\n" for file in files]
            (dump / f"{subset}.txt").write_text("".join(lines))
            told[subset] = f"{subset}.txt"
        (dump / "data.yaml").write_text(yaml.safe_dump(told))
    photos = tmp_path / "photos"
    with open_tree(task.root) as tree:
        for image in task.images:
            file = photos / image.subset / image.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tree.read(image.file_name))
    done, found = learnt(dump, tmp_path / "out", images=str(photos))
    assert done.train.boxes == done.validation.boxes == (3, 3)
    assert set(found["validation"]) == {f"val/{name}.jpg" for name in ("shared", "v_000", "v_001")}
    car = ("car", 50.0, 50.0, 120.0, 100.0)
    np.testing.assert_allclose(found["validation"]["val/shared.jpg"][0][1:], car[1:], atol=0.01)


def overwritten(folder):
    """COCO of a project, in which CVAT wrote two pictures of one name over each other."""
    with zipfile.ZipFile(sample("project-b.cvat-2.15.coco-1.0.images")) as archive:
        archive.extractall(folder)
    return folder


def test_a_file_that_is_two_pictures_is_learnt_once_where_the_boxes_agree(tmp_path):
    done, found = learnt(overwritten(tmp_path / "dump"), tmp_path / "out")
    assert set(found["train"]) == {"t_000.jpg", "t_001.jpg"}
    assert set(found["validation"]) == {"shared.jpg", "v_000.jpg", "v_001.jpg"}
    assert any("listed more than once with the same boxes" in note for note in done.notes)


def test_a_file_that_is_two_pictures_is_left_out_where_the_boxes_differ(tmp_path):
    dump = overwritten(tmp_path / "dump")
    file = dump / "annotations/instances_Train.json"
    coco = json.loads(file.read_text())
    number = next(one["id"] for one in coco["images"] if one["file_name"] == "shared.jpg")
    moved = next(one for one in coco["annotations"] if one["image_id"] == number)
    moved["bbox"][0] += 7
    file.write_text(json.dumps(coco))
    done, found = learnt(dump, tmp_path / "out")
    assert set(found["train"]) == {"t_000.jpg", "t_001.jpg"}
    assert set(found["validation"]) == {"v_000.jpg", "v_001.jpg"}
    [told] = [note for note in done.notes if "share their files" in note]
    assert told.startswith("2 labelled pictures share their files with others, as 'shared.jpg'")


@pytest.mark.parametrize("target", ["out", "out.zip"])
@pytest.mark.parametrize("name", PICTURES)
def test_records_with_pictures_inside_are_learnt_as_the_dump_is(tmp_path, name, target):
    dump = sample(PICTURES[name])
    data = read(dump)
    write(data, data.annotations, tmp_path / target, format="tfrecord", pictures=True)
    _, found = learnt(tmp_path / target, tmp_path / "learnt")
    _, told = learnt(dump, tmp_path / "expected")
    for part, pictures in told.items():
        assert set(found[part]) == set(pictures)
        for file, boxes in pictures.items():
            one, other = (tmp_path / f"{to}/data/images" / file for to in ("learnt", "expected"))
            assert one.read_bytes() == other.read_bytes()
            assert [box[0] for box in found[part][file]] == [box[0] for box in boxes]
            for mine, theirs in zip(found[part][file], boxes, strict=True):
                np.testing.assert_allclose(mine[1:], theirs[1:], atol=0.01)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("task-a.cvat-2.15.coco-keypoints-1.0", "holds 0 skeletons and nothing else"),
        ("tracks.cvat-2.23.1.yolov8-pose-1.0", "skeletons into 'Pose'"),
        ("task-a.cvat-2.15.market-1501-1.0", "is in the format 'Market-1501', which is not read"),
    ],
)
def test_a_dump_without_boxes_is_refused_with_why(tmp_path, name, why):
    with pytest.raises(QuorateError) as refused:
        learnt(sample(name), tmp_path)
    assert why in f"{refused.value.message} {refused.value.hint}"
    assert "CVAT for images 1.1" in refused.value.hint


def test_a_dump_without_its_pictures_says_what_to_do(tmp_path):
    from quorate.errors import InputError

    with pytest.raises(InputError, match="none of 7 pictures could be read") as refused:
        learnt(sample("task-a.cvat-2.15.coco-1.0"), tmp_path)
    assert "images:" in refused.value.hint
