"""Which file is the picture that a name means."""

import json

import pytest

from quorate.errors import InputError
from quorate.formats import read


def coco(tmp_path, names, files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    images = [{"id": i, "file_name": name} for i, name in enumerate(names, start=1)]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "categories": []}))
    return read(tmp_path)


def found_in(tmp_path, dataset):
    root = dataset.root.removeprefix(str(tmp_path)).strip("/")
    return [f"{root}/{image.file_name}".strip("/") for image in dataset.images]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cam1\\a.jpg", "cam1/a.jpg"),
        (".\\a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("a.jpg", "pics/cam1/a.jpg"),  # fewer folders than the file has
        ("home/me/cam1/a.jpg", "cam1/a.jpg"),  # more
        ("C:\\data\\cam1\\a.jpg", "cam1/a.jpg"),
        ("/data/cam1/a.jpg", "cam1/a.jpg"),
        ("../images/a.jpg", "images/a.jpg"),
        ("old/a.jpg", "new/a.jpg"),  # by the base name, which no other has
        ("frame_000004", "images/frame_000004.PNG"),  # as CVAT exports a video
    ],
)
def test_a_name_means_the_file_whose_path_agrees(tmp_path, name, file):
    found = coco(tmp_path, [name], [file, "pics/b.jpg"])
    assert found_in(tmp_path, found) == [file]


def test_the_file_that_agrees_with_more_folders_is_meant(tmp_path):
    files = ["pics/cam1/a.jpg", "pics/cam2/a.jpg"]
    found = coco(tmp_path, ["data/cam2/a.jpg", "data/cam1/a.jpg"], files)
    assert found_in(tmp_path, found) == files[::-1]
    assert "2 pictures are found by the end of their names" in found.notes[0]


def test_several_files_of_the_name_are_listed_and_none_is_taken(tmp_path):
    found = coco(tmp_path, ["a.jpg", "b.jpg"], ["x/a.jpg", "y/a.jpg", "b.jpg"])
    assert found_in(tmp_path, found)[0] == "a.jpg"
    assert any("'a.jpg' may be 'x/a.jpg' or 'y/a.jpg'" in note for note in found.notes)
    assert any("1 of 2 pictures are not there" in note for note in found.notes)


def test_a_base_name_that_two_pictures_share_is_taken_for_neither(tmp_path):
    found = coco(tmp_path, ["cam1/a.jpg", "cam2/a.jpg", "b.jpg"], ["other/a.jpg", "b.jpg"])
    assert found_in(tmp_path, found)[:2] == ["cam1/a.jpg", "cam2/a.jpg"]
    assert any("2 of 3 pictures are not there" in note for note in found.notes)


def test_an_absolute_name_without_its_picture_loses_its_root_and_is_told(tmp_path):
    found = coco(tmp_path, ["/data/a.jpg"], [])
    assert found.images[0].file_name == "data/a.jpg"
    assert "1 names of pictures are absolute" in found.notes[0]
    with pytest.raises(InputError, match="outside its root"):
        coco(tmp_path, ["/data/../../a.jpg"], [])


def test_a_name_without_an_ending_is_taken_for_one_file_alone(tmp_path):
    found = coco(tmp_path, ["a", "b"], ["images/a.png", "images/a.jpg", "images/b.png"])
    assert [image.file_name for image in found.images] == ["a", "b.png"]
    assert [image.name for image in found.images] == ["a", "b"]
