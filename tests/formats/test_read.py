"""Finding out the format, folders of pictures, and the formats of datumaro."""

import json
import sys
import zipfile

import numpy as np
import pytest

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, MissingExtraError
from quorate.formats import FORMATS, read, write
from quorate.labels import Labels
from tests.formats.samples import read_summaries, sample

LABELS = Labels.from_names(("car", "person"))


def dataset(*names):
    images = tuple(Image(i, name, 64, 48) for i, name in enumerate(names, start=1))
    return Dataset("", images, LABELS)


BOXES = Annotations.build(image_id=[1, 2], category_id=[1, 2], xyxy=[[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("task-a.cvat-2.15.cvat-for-images-1.1.images", "cvat"),
        ("task-a.cvat-2.15.coco-1.0", "coco"),
        ("task-a.cvat-2.15.pascal-voc-1.1", "voc"),
        ("task-a.cvat-2.15.yolo-1.1.images", "yolo"),
        ("task-a.cvat-2.15.mot-1.1.images", "mot"),
        ("task-a.cvat-2.15.labelme-3.0", "labelme"),
        ("task-a.cvat-2.15.datumaro-1.0", "datumaro"),
    ],
)
def test_a_format_is_recognised(name, format):
    found = read(sample(name))
    assert len(found.images) == 7
    with zipfile.ZipFile(sample(name)) as archive:
        names = archive.namelist()
    assert names
    assert read(sample(name), format=format).images == found.images


def test_an_unpacked_export_and_a_zipped_folder_are_read_alike(tmp_path):
    name = "project-b.cvat-2.15.cvat-for-images-1.1.images"
    with zipfile.ZipFile(sample(name)) as archive:
        archive.extractall(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as again:
        for path in sorted((tmp_path / "folder").rglob("*")):
            again.write(path, f"my export/{path.relative_to(tmp_path / 'folder')}")
    expected = read(sample(name))
    for place in (
        tmp_path / "folder", tmp_path / "again.zip", tmp_path / "folder" / "annotations.xml",
    ):  # fmt: skip
        found = read(place)
        assert found.images == expected.images
        assert read_summaries(found) == read_summaries(expected)
        assert found.root.endswith("/images")


def test_a_folder_of_pictures_in_cvats_order(tmp_path):
    for name in ("b.jpg", "a/2.PNG", "a/10.png", "a-1.tiff", "notes.txt", ".hidden.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = read(tmp_path)
    # lexicographical, as CVAT's sorting_method is by default: '-' before '/', '1' before '2'
    assert [i.file_name for i in found.images] == ["a-1.tiff", "a/10.png", "a/2.PNG", "b.jpg"]
    assert [i.id for i in found.images] == [1, 2, 3, 4]
    assert found.annotations is None
    assert len(found.labels) == 0


@pytest.mark.parametrize(
    ("tool", "file"),
    [
        ("labelme", {"version": "5.2", "flags": {}, "shapes": [{"label": "a", "points": []}]}),
        ("VIA", {"_via_settings": {}, "_via_img_metadata": {}}),
        ("VIA", {"a.jpg100": {"filename": "a.jpg", "size": 100, "regions": []}}),
        ("CreateML", [{"image": "a.jpg", "annotations": [{"coordinates": {"x": 1}}]}]),
    ],
)
def test_annotations_of_other_tools_beside_pictures_are_told(tmp_path, tool, file):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.json").write_text(json.dumps(file))
    note = read(tmp_path).notes[0]
    assert f"annotations of {tool}, which are not read (1 JSON files, the first 'a.json')" in note
    (tmp_path / "a.json").write_text('{"weather": "fine"}')
    assert not any("annotations of" in note for note in read(tmp_path).notes)


def test_places_without_a_data_set_are_named(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FormatError, match=r"no known format \(one file, 'notes\.txt'\)") as caught:
        read(tmp_path)
    assert "annotations/instances_*.json" in str(caught.value)
    (tmp_path / "list.json").write_text('{"predictions": []}')
    with pytest.raises(
        FormatError, match=r"list\.json: of no known format \(an object with 'predictions'\)"
    ) as caught:
        read(tmp_path / "list.json")
    assert "of detections, a list" in str(caught.value)
    (tmp_path / "list.json").unlink()
    with pytest.raises(InputError, match="no such folder"):
        read(tmp_path / "missing")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "missing.json")
    with pytest.raises(InputError, match="did you mean 'coco'"):
        read(tmp_path, format="koco")
    with pytest.raises(InputError, match="holds no picture"):
        read(tmp_path, format="folder")
    with pytest.raises(InputError, match="is only read"):
        write(dataset("a.jpg"), Annotations.empty(), tmp_path, format="folder")
    (tmp_path / "x.zip").write_bytes(b"PK\x05 not really")
    with pytest.raises(FormatError, match=r"x\.zip: not a readable ZIP"):
        read(tmp_path / "x.zip")


@pytest.mark.parametrize("format", [name for name, entry in FORMATS.items() if entry.write])
@pytest.mark.parametrize("target", ["folder", "archive.zip"])
def test_every_format_is_written_to_folders_and_archives(tmp_path, format, target):
    data = dataset("sub/a.jpg", "ü b.jpg")
    result = write(data, BOXES, tmp_path / target, format=format)
    assert all(file.startswith(str(tmp_path / target)) for file in result.files)
    first = (tmp_path / target).read_bytes() if target.endswith(".zip") else None
    again = write(data, BOXES, tmp_path / target, format=format)
    assert again == result
    if first is not None:
        assert (tmp_path / target).read_bytes() == first
    if format not in ("yolo", "mot"):  # which need the pictures themselves
        found = read(tmp_path / target)
        assert {i.name for i in found.images} == {"sub/a.jpg", "ü b.jpg"}
        assert sorted(found.annotations.xyxy.tolist()) == BOXES.xyxy.tolist()


def test_pictures_that_are_missing_are_counted(tmp_path):
    (tmp_path / "a.jpg").touch()
    write(dataset("a.jpg", "b.jpg"), BOXES, tmp_path, format="coco")
    assert "1 of 2 pictures are not there, the first 'b.jpg'" in read(tmp_path).notes[0]


@pytest.mark.parametrize("format", ["datumaro", "label_me", "coco_instances"])
def test_formats_of_datumaro_go_there_and_back(tmp_path, format):
    from PIL import Image as Pillow

    data = dataset("a.jpg", "b.jpg")
    for image in data.images:
        Pillow.new("RGB", (64, 48)).save(tmp_path / image.file_name)
    data = Dataset(str(tmp_path), data.images, LABELS)
    result = write(data, BOXES, tmp_path / "out", format=f"datumaro:{format}")
    assert result.files
    for image in data.images:
        for place in ("out/images/default", "out/default", "out/images"):
            if (tmp_path / place).exists() or place == "out/images/default":
                (tmp_path / place).mkdir(parents=True, exist_ok=True)
                Pillow.new("RGB", (64, 48)).save(tmp_path / place / image.file_name)
    found = read(tmp_path / "out", format=f"datumaro:{format}")
    names = {image.id: image.name.rsplit("/", 1)[-1] for image in found.images}
    shapes = found.annotations
    assert {
        (names[i], found.labels.name_of(c), *np.round(box).tolist())
        for i, c, box in zip(
            shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy, strict=True
        )
    } == {("a.jpg", "car", 1, 2, 3, 4), ("b.jpg", "person", 5, 6, 7, 8)}


def test_without_datumaro_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datumaro", None)
    (tmp_path / "a.txt").touch()
    with pytest.raises(MissingExtraError, match=r"pip install 'quorate\[datumaro\]'"):
        read(tmp_path, format="datumaro:label_me")


def test_an_unknown_format_of_datumaro_is_named(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="did you mean 'label_me'"):
        read(tmp_path, format="datumaro:labelme")
