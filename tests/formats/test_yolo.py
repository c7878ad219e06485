import dataclasses

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from PIL import Image as Pillow

from quorate.annotations import Kind
from quorate.errors import FormatError, QuorateError
from quorate.formats import read, write
from tests.formats.oracle import boxes_by_datumaro
from tests.formats.samples import datasets, same, sample, truth


def picture(path, size=(100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", size).save(path)


@pytest.fixture
def layout(tmp_path):
    """Ultralytics' layout with a picture in each of two splits."""

    def layout(text="1 0.5 0.5 0.2 0.4\n", **config):
        for split in ("train", "val"):
            picture(tmp_path / f"images/{split}/sub/a.jpg")
            (tmp_path / f"labels/{split}/sub").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"labels/{split}/sub/a.txt").write_text(text)
        told = {"path": "/elsewhere", "train": "images/train", "val": "images/val"}
        told |= {"names": {0: "car", 1: "bus"}} | config
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(told))
        return tmp_path

    return layout


def test_ultralytics_layout(layout):
    found = read(layout())
    assert [(i.file_name, i.name, i.subset) for i in found.images] == [
        ("images/train/sub/a.jpg", "sub/a.jpg", "train"),
        ("images/val/sub/a.jpg", "sub/a.jpg", "val"),
    ]
    assert found.labels.names == ("car", "bus")
    assert found.annotations.category_id.tolist() == [2, 2]
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]] * 2)


def test_roboflows_layout_climbs_out_of_its_root_only_in_words(tmp_path):
    picture(tmp_path / "train/images/a.jpg")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nnames: [car]\n")
    found = read(tmp_path)
    assert [image.name for image in found.images] == ["a.jpg"]
    assert found.annotations.xyxy.tolist() == [[0, 0, 100, 50]]


def test_scores_that_stand_second_are_found_by_boxes_that_would_leave_their_pictures(layout):
    usual = read(layout("0 0.5 0.5 0.2 0.4 0.75\n1 0.4 0.3 0.2 0.2 0.9\n"))
    second = read(layout("0 0.75 0.5 0.5 0.2 0.4\n1 0.9 0.4 0.3 0.2 0.2\n"))
    assert np.allclose(second.annotations.xyxy, usual.annotations.xyxy)
    scores = [0.75, 0.9] * 2
    assert second.annotations.numbers("score").tolist() == pytest.approx(scores)
    assert any("are read as `class score cx cy w h`" in note for note in second.notes)
    assert not any("class score" in note for note in usual.notes)
    # Boxes that reach out of their picture are no reason, where the other order has some too.
    over = read(layout("0 0.95 0.5 0.2 0.9 0.75\n0 0.98 0.1 0.2 0.9 0.5\n"))
    assert np.allclose(over.annotations.xyxy[0], [85, 2.5, 105, 47.5])


def test_confidence_and_polygons(layout):
    found = read(layout("0 0.5 0.5 0.2 0.4 0.75\n1 0 0 1 0 1 1\n1 0 0 1 0 1 1 0.5\n")).annotations
    assert found.numbers("score")[:3].tolist()[0] == 0.75
    assert found.kind.tolist()[:3] == [Kind.BOX, Kind.POLYGON, Kind.POLYGON]
    assert found.points[1].tolist() == found.points[2].tolist() == [0, 0, 100, 0, 100, 50]
    assert found.numbers("score")[2] == 0.5


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.yolo-1.1.images"))
    put = {
        (name, shape["label"], *(round(p) for p in shape["points"]))
        for name, shapes in truth("task-a").items()
        for shape in shapes
        if shape["type"] == "rectangle"
    }
    names = {image.id: image.name for image in found.images}
    shapes = found.annotations
    told = {
        (names[i], found.labels.name_of(c), *(round(p) for p in box))
        for i, c, box in zip(
            shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist(), strict=True
        )
    }
    assert told == put


def test_without_pictures_there_are_no_sizes():
    with pytest.raises(QuorateError, match="relative to their pictures"):
        read(sample("project-b.cvat-2.15.yolo-1.1"))


@given(datasets(kinds=(Kind.BOX,)))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("yolo")
    write(dataset, dataset.annotations, folder, format="yolo", confidence=True)
    for image in dataset.images:
        picture(folder / "images" / image.file_name, (image.width, image.height))
    found = read(folder)
    number = {image.name: image.id for image in dataset.images}
    ours = {image.id: number[image.name] for image in found.images}
    ids = np.array([ours[i] for i in found.annotations.image_id.tolist()], dtype=int)
    shapes = found.annotations.take(np.argsort(ids, kind="stable"))
    but = ("image_id", "z_order", "sources", "occluded")
    same(dataset.annotations, shapes, but=but)
    assert found.labels == dataset.labels


def test_datumaro_reads_the_same_boxes(tmp_path):
    source = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    write(source, source.annotations, tmp_path, format="yolo")
    for image in source.images:
        picture(tmp_path / "images" / image.subset / image.name, (image.width, image.height))
    names = {image.id: image.name[:-4] for image in source.images}
    assert {
        (*who, *map(round, box))
        for *who, x1, y1, x2, y2 in boxes_by_datumaro(tmp_path, "yolo")
        for box in [(x1, y1, x2, y2)]
    } == {
        (names[i], source.labels.name_of(c), *map(round, box))
        for i, c, box in zip(
            source.annotations.image_id.tolist(),
            source.annotations.category_id.tolist(),
            source.annotations.xyxy.tolist(),
            strict=True,
        )
    }


def test_notes_say_what_is_lost(tmp_path):
    source = read(sample("task-a.cvat-2.15.cvat-for-images-1.1.images"))
    notes = write(source, source.annotations, tmp_path, format="yolo").notes
    assert notes == [
        "YOLO: 8 shapes are written as the boxes that enclose them.",
        "YOLO: 5 tags, points and polylines are left out, for the format has none.",
        "YOLO: the attributes color, parked, score are left out, for it has none.",
    ]


PERSON = "0 0.5 0.5 0.2 0.4"


def test_what_reaches_outside_its_picture_is_cut_off_and_told(layout, tmp_path):
    found = read(layout())
    xyxy = np.array([[80, 30, 140, 70], [110, 10, 120, 20]], np.float64)
    shapes = found.annotations.take([0, 0])
    shapes = dataclasses.replace(shapes, xyxy=xyxy.astype(shapes.xyxy.dtype))
    written = write(found, shapes, tmp_path / "out", format="yolo")
    assert "2 boxes reach outside" in written.notes[0]
    assert "1 lie outside" in written.notes[0]
    text = (tmp_path / "out/labels/train/sub/a.txt").read_text()
    assert text == "1 0.900000 0.800000 0.200000 0.400000\n"


@pytest.mark.parametrize(
    ("shape", "points", "score"),
    [
        ([2, 3], "0.45 0.4 2 0.55 0.6 1", ""),
        ([2, 3], "0.45 0.4 2 0.55 0.6 1", " 0.75"),
        ([2, 2], "0.05 0.4 0.55 0.6", ""),  # no polygon, though nothing in the line says so
        ([2, 2], "0.05 0.4 0.55 0.6", " 0.75"),
    ],
)
def test_kpt_shape_says_that_columns_are_keypoints(layout, shape, points, score):
    found = read(layout(f"{PERSON} {points}{score}\n{PERSON}\n", kpt_shape=shape))
    assert found.annotations.kind.tolist() == [Kind.BOX] * 4
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]] * 4)
    assert found.notes[0].endswith("2 lines have keypoints, which are left out.")
    if score:
        assert found.annotations.numbers("score")[0] == 0.75


@pytest.mark.parametrize(
    "text",
    [
        f"{PERSON} 0.45 0.4 2 0.55 0.6 2\n",  # a corner at 2 is beside any picture
        f"{PERSON} 0.45 0.4 1 0.55 0.6 1\n",
        "".join(f"{PERSON} 0.45 0.4 0.55 0.6 0.5 {y}\n" for y in (0.31, 0.4, 0.5)),
        "".join(f"{PERSON} 0.45 0.4 0.9 0.55 0.6 0.{c} 0.8\n" for c in (7, 8, 9)),  # predictions
        f"{PERSON} 0.45 0.4 0.9{' 0.55 0.6 0.7' * 16} 0.8\n",  # of one person
    ],
)
def test_what_may_be_keypoints_or_polygons_is_asked_for(layout, text):
    with pytest.raises(FormatError, match="may be polygons or boxes with keypoints") as caught:
        read(layout(text))
    assert "kpt_shape: [17, 3]" in caught.value.hint
    if " 2\n" not in text:
        assert (read(layout(text, kpt_shape=[0, 0])).annotations.kind == Kind.POLYGON).all()


@pytest.mark.parametrize(
    "text",
    [
        "1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n" * 5,  # turned boxes by their corners
        "0 0.7 0.7 0.75 0.7 0.75 0.75 0.7 0.75 0.72 0.72\n" * 5,  # small polygons of one length
        "0 0 0 1 0 1 1\n",
    ],
)
def test_polygons_are_no_keypoints(layout, text):
    assert (read(layout(text)).annotations.kind == Kind.POLYGON).all()


def test_lines_that_do_not_fit_kpt_shape_and_a_shape_that_is_none_are_refused(layout):
    with pytest.raises(FormatError, match=r"a\.txt: a line of 9 numbers, where kpt_shape \[2, 3\]"):
        read(layout(f"{PERSON} 0.1 0.1 0.2 0.2\n", kpt_shape=[2, 3]))
    for shape in ([17], "x", [2, 4], [-1, 3]):
        with pytest.raises(FormatError, match="a kpt_shape of"):
            read(layout(kpt_shape=shape))


def test_the_number_of_a_track_is_left_out_and_told(layout):
    found = read(layout("0 0.5 0.5 0.2 0.4 0.75 1\n0 0.5 0.5 0.2 0.4 0.5 12\n"))
    assert found.annotations.kind.tolist() == [Kind.BOX] * 4
    assert found.annotations.numbers("score").tolist() == [0.75, 0.5] * 2
    assert "4 lines have the number of a track" in found.notes[0]


def test_the_number_of_a_track_in_the_place_of_a_score_is_no_score(layout):
    """CVAT's "Ultralytics YOLO Detection Track" ends the lines of tracks so, and no other."""
    box = "0 0.5 0.5 0.2 0.4"
    found = read(layout(f"{box} 0\n{box} 7\n{box}\n"))
    assert len(found.annotations) == 6
    assert "score" not in found.annotations.attributes
    assert "4 lines have the number of a track" in found.notes[0]
    # A track is in a picture once; scores of 100 % are no tracks either.
    with pytest.raises(FormatError, match="a score that is not within"):
        read(layout(f"{box} 87\n{box} 87\n"))
    assert read(layout(f"{box} 1\n")).annotations.numbers("score").tolist() == [1, 1]


def test_cvats_lists_name_pictures_below_a_folder_of_their_subset(tmp_path):
    """As CVAT 2.23 and 2.73 export a project with the subsets Train and My set."""
    for subset in ("Train", "My set"):
        names = [f"north/{n}.png" for n in range(2)]
        for name in names:
            picture(tmp_path / f"images/{subset}/{name}")
            label = tmp_path / f"labels/{subset}/{name[:-4]}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.2 0.4\n")
        listed = "".join(f"data/images/{subset}/{name}\n" for name in names)
        (tmp_path / f"{subset}.txt").write_text(listed)
    lists = {subset: f"{subset}.txt" for subset in ("Train", "My set")}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": {0: "car"}} | lists))
    found = read(tmp_path)
    assert {(image.subset, image.name) for image in found.images} == {
        (subset, name) for subset in lists for name in ("north/0.png", "north/1.png")
    }
    assert len(found.annotations) == 4
    assert not found.notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_notepad_saves_is_read(tmp_path, encoding):
    for name, text in (
        ("obj.names", "bird\n"), ("obj.data", "train = train.txt\nnames = obj.names\n"),
        ("train.txt", "data/a.jpg\n"), ("data/a.txt", "0 0.5 0.5 0.2 0.4\n"),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding=encoding)
    picture(tmp_path / "data/a.jpg")
    found = read(tmp_path)
    assert found.labels.names == ("bird",)
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]])


def test_numbers_as_numpy_writes_them(layout):
    found = read(layout("1.000000000000000000e+00 5.0e-01 +.5 0.2 4.0E-1\n"))
    assert found.annotations.category_id.tolist() == [2, 2]
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]] * 2)


def test_fiftyones_layout_without_obj_data(tmp_path):
    picture(tmp_path / "data/a.jpg")
    (tmp_path / "data/a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "obj.names").write_text("bird\n")
    (tmp_path / "images.txt").write_text("data/a.jpg\ndata/gone.jpg\n")
    found = read(tmp_path)
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]])
    assert "1 of 2 pictures are not there, the first 'data/gone.jpg'" in found.notes[0]


@pytest.mark.parametrize(
    ("picture_at", "labels_at", "classes"),
    [
        ("a.jpg", "a.txt", "classes.txt"),  # LabelImg
        ("images/a.jpg", "labels/a.txt", "classes.txt"),  # Label Studio
        ("images/a.jpg", "labels/a.txt", "labels/classes.txt"),
    ],
)
def test_the_names_may_be_in_classes_txt(tmp_path, picture_at, labels_at, classes):
    picture(tmp_path / picture_at)
    for name, text in ((labels_at, "1 0.5 0.5 0.2 0.4\n"), (classes, "cat\nbird\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = read(tmp_path)
    assert found.labels.names == ("cat", "bird")
    assert found.annotations.category_id.tolist() == [2]
    assert np.allclose(found.annotations.xyxy, [[40, 15, 60, 35]])
    assert not found.notes


def test_labels_without_pictures_and_pictures_without_labels_are_counted(layout):
    path = layout()
    (path / "labels/train/b.txt").write_text(PERSON)
    assert "1 files of labels have no picture" in read(path).notes[-1]
    for split in ("train", "val"):
        (path / f"labels/{split}/sub/a.txt").unlink()
    assert any("none of the 2 pictures has a file of labels" in note for note in read(path).notes)


def test_an_export_of_poses_without_a_skeleton_says_what_is_in_it():
    """CVAT's, of a task of boxes and tracks."""
    found = read(sample("tracks.cvat-2.23.1.yolov8-pose-1.0"))
    assert (len(found.images), len(found.annotations)) == (6, 0)
    assert any("skeletons into 'Pose', and no file for a picture" in note for note in found.notes)


def test_a_key_that_stands_twice_and_a_wrong_count_of_names_are_told(layout):
    path = layout(nc=5)
    assert "`nc` is 5, but it names 2 classes" in read(path).notes[0]
    with (path / "data.yaml").open("a") as file:
        file.write("names: [a, b]\n")
    with pytest.raises(FormatError, match="the key 'names' stands twice"):
        read(path)


def test_splits_of_another_machine_and_those_that_lead_nowhere(layout):
    path = layout(train="/home/me/street/images/train", val="images/gone")
    found = read(path)
    assert [image.name for image in found.images] == ["sub/a.jpg"]
    assert found.images[0].file_name == "images/train/sub/a.jpg"
    assert "no picture is where `val: images/gone` leads" in found.notes[0]


BAD = {
    "commas": ("0,0.5,0.5,0.1,0.1\n", "with spaces between them"),
    "underscores": ("0 0.5 0.5 0.1_0 0.1\n", "line 1: not numbers"),
    "digits of another script": ("0 0.5 0.5 ٠.٢ 0.1\n", "line 1: not numbers"),
    "a class that is a fraction": ("0 .5 .5 .1 .1\n1.5 .5 .5 .1 .1\n", "line 2: class 1.5 is no"),
    "percent": ("0 .5 .5 .1 .1 87.5\n", "line 1: the box has a score that is not"),
    "words": ("0 a b c d\n", "line 1: not numbers"),
    "class": ("0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n", "line 2: class 7 of 2 (car, bus)"),
    "short": ("0 0.5 0.5\n", "line 1: 3 numbers"),
    "pixels": ("0 50 25 20 20\n", "these look like pixels"),
    "NaN": ("0 nan 0.5 0.1 0.1\n", "line 1"),
    "inverted": ("0 0.5 0.5 -0.1 0.1\n", "is inverted"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(layout, text, said):
    with pytest.raises(QuorateError) as caught:
        read(layout(text))
    assert said in str(caught.value)


def test_data_yaml_is_plain_data(layout):
    path = layout()
    command = f"touch {path / 'made'}"
    (path / "data.yaml").write_text(f"names: !!python/object/apply:os.system ['{command}', b]\n")
    assert read(path).labels.names == (command, "b")
    assert not (path / "made").exists()
    (path / "data.yaml").write_text("names: [a, b\n")
    with pytest.raises(QuorateError, match=r"data\.yaml: not YAML"):
        read(path)
    with pytest.raises(QuorateError, match="not numbered from 0"):
        read(layout(names={0: "a", 2: "b"}))


def test_a_damaged_picture_costs_its_own_boxes(layout):
    path = layout()
    (path / "images/val/sub/a.jpg").write_bytes(b"not a picture")
    found = read(path)
    assert len(found.images) == 2
    assert len(found.annotations) == 1
    assert "1 pictures cannot be read" in found.notes[0]
