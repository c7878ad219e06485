import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from PIL import Image as Pillow

from quorate.annotations import Kind
from quorate.errors import QuorateError
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


BAD = {
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
