"""Data sets in formats that are not read: each is named, with what helps."""

import json

import pytest

from quorate.errors import FormatError
from quorate.formats import read

CLASSES = {"a": {"labels": ["car"], "path": "car/a.png"}}


@pytest.mark.parametrize(
    ("name", "files", "helps"),
    [
        ("Cityscapes", ["label_colors.txt", "gtFine/default/a_gtFine_color.png"], None),
        ("KITTI", ["default/label_2/a.txt", "default/image_2/a.png"], "kitti"),
        ("CamVid", ["label_colors.txt", "default/a.png", "defaultannot/cam/a.png"], "camvid"),
        ("MOTS PNG", ["default/instances/labels.txt", "default/images/a.png"], None),
        ("ICDAR", ["default/gt.txt", "default/images/a.png"], None),
        ("ICDAR", ["default/cam/gt_a.txt"], None),
        ("LFW", ["default/annotations/pairs.txt", "default/images/x/a.png"], None),
        ("ImageNet", ["synsets.txt", "default.txt"], None),
        ("Market-1501", ["images_default.txt", "bounding_box_default/a.png"], None),
        ("Market-1501", [("images_Train.txt", "bounding_box_Train/a b.jpg\n"), "notes.txt"], None),
        ("Open Images", ["annotations/Train-annotations-bbox.csv"], "open_images"),
        ("Segmentation mask", ["labelmap.txt", "SegmentationClass/a.png"], "voc_segmentation"),
        ("VGGFace2", ["labels.txt", "bb_landmark/loose_bb_default.csv"], "vgg_face2"),
        ("WIDER FACE", ["WIDER_x/images/a.png", "wider_face_split/x.txt"], "wider_face"),
        (
            "Ultralytics YOLO Classification",
            [("train/labels.json", CLASSES), "train/car/a.png"],
            None,
        ),
    ],
)
def test_what_is_not_read_is_named(tmp_path, name, files, helps):
    for file in files:
        file, told = file if isinstance(file, tuple) else (file, "")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(FormatError, match=f"is in the format '{name}', which is not read") as error:
        read(tmp_path)
    assert "export it as 'CVAT for images 1.1' or 'COCO 1.0'" in error.value.hint
    assert (f"'datumaro:{helps}'" in error.value.hint) == bool(helps)


def test_where_the_pictures_are_is_told(tmp_path):
    for file in ("instances/labels.txt", "images/a.png"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    with pytest.raises(FormatError) as error:
        read(tmp_path)
    assert error.value.hint.endswith(f"its pictures without labels are in {tmp_path}/images")
    assert [image.file_name for image in read(tmp_path / "images").images] == ["a.png"]


def test_files_that_are_called_alike_are_pictures_with_something_beside(tmp_path):
    for file in ("a.png", "labels.txt", "notes.json", "annotations/readme.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    assert [image.file_name for image in read(tmp_path).images] == ["a.png"]
