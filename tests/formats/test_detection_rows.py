"""Rows of CSV and JSON, and mmdetection's file for each picture."""

import json

import numpy as np
import pytest
import supervision

from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, InputError, LabelError
from quorate.formats import read_detections
from quorate.labels import Labels

POOL = Dataset(
    root=".",
    images=(Image(10, "cam/a.jpg", 100, 50), Image(20, "cam/b.jpg", 200, 100)),
    labels=Labels(names=("car", "bus"), ids=(3, 8)),
)
BOX = [10.0, 20.0, 40.0, 30.0]


@pytest.fixture
def csv(tmp_path):
    def csv(text, name="r.csv", encoding="utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        return tmp_path / name

    return csv


@pytest.mark.parametrize(
    "text",
    [
        "file_name,label,score,xmin,ymin,xmax,ymax\ncam/a.jpg,bus,0.5,10,20,40,30\n",
        # TensorFlow's order, with the picture's size
        "filename,width,height,class,xmin,ymin,xmax,ymax,score\na.jpg,100,50,bus,10,20,40,30,.5\n",
        "image_id;category_id;bbox_x;bbox_y;bbox_w;bbox_h;confidence\n10;8;10;20;30;10;0.5\n",
        "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,file_name\n10,20,40,30,1,0.5,,a.jpg\n",
        # YOLOv5's table: the word tells more than the number, which is another data set's
        ",xmin,ymin,xmax,ymax,confidence,class,name,image\n0,10,20,40,30,0.5,0,bus,a.jpg\n",
        # Roboflow's predictions, by their centre
        "image,x,y,width,height,confidence,class,class_id,detection_id\na.jpg,25,25,30,10,0.5,bus,0,q\n",
        "image,cx,cy,w,h,label,score\na.jpg,25,25,30,10,bus,0.5\n",
        "image,x_center,y_center,width,height,label,score\na.jpg,.25,.5,.3,.2,bus,0.5\n",
        "image,left,top,width,height,label,score\na.jpg,10,20,30,10,bus,0.5\n",
        "Image,Class,Conf,X,Y,Width,Height\n\na,bus,5e-1,10,20,30,10\n",
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\na,x,bus,0.5,0.1,0.4,0.4,0.6\n",
    ],
)
def test_columns_are_found_by_their_names(csv, text):
    found = read_detections(csv(text), dataset=POOL, detector="d").detections
    assert found.image_id.tolist() == [10]
    assert found.category_id.tolist() == [8]
    assert np.allclose(found.xyxy, [BOX])
    assert found.score.tolist() == [0.5]
    assert found.detectors == ("d",)


def test_x_and_y_are_corners_or_centres_by_which_boxes_leave_their_pictures(csv):
    head = "image,label,score,x,y,w,h\n"
    centre = read_detections(csv(head + "a.jpg,bus,.5,25,25,30,10\na.jpg,bus,.5,80,25,40,10"),
                             dataset=POOL)  # fmt: skip
    assert centre.detections.xyxy.tolist() == [BOX, [60, 20, 100, 30]]
    assert "centres of boxes: as corners, 1 boxes would leave their pictures" in centre.notes[0]
    corner = read_detections(csv(head + "a.jpg,bus,.5,10,20,30,10\n"), dataset=POOL)
    assert (corner.detections.xyxy.tolist(), corner.notes) == ([BOX], ())
    either = read_detections(csv(head + "a.jpg,bus,.5,30,20,30,10\n"), dataset=POOL)
    assert either.detections.xyxy.tolist() == [[30, 20, 60, 30]]
    assert "call them cx and cy if they are centres" in either.notes[0]


ULTRALYTICS = {"name": "bus", "class": 5, "confidence": 0.5,
               "box": {"x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 30.0}}  # fmt: skip
PIPELINE = {"score": 0.5, "label": "bus", "box": {"xmin": 10, "ymin": 20, "xmax": 40, "ymax": 30}}


@pytest.mark.parametrize("row", [ULTRALYTICS, PIPELINE])
def test_lists_of_objects_with_a_box_are_of_the_picture_that_the_file_is_called_like(tmp_path, row):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.json").write_text(json.dumps([row], indent=2))
    (tmp_path / "d/b.json").write_text("[]")
    for place in ("d", "d/a.json"):
        found = read_detections(tmp_path / place, dataset=POOL).detections
        assert (found.image_id.tolist(), found.category_id.tolist()) == ([10], [8])
        assert (found.xyxy.tolist(), found.score.tolist()) == ([BOX], [0.5])
    turned = row | {"box": {f"{axis}{i}": 1.0 for axis in "xy" for i in range(1, 5)}}
    (tmp_path / "d/a.json").write_text(json.dumps([turned]))
    with pytest.raises(FormatError, match="detection 1 has no corners") as caught:
        read_detections(tmp_path / "d/a.json", dataset=POOL)
    assert "turned" in caught.value.hint


def test_a_table_without_scores_is_told_and_ids_may_be_floats(csv):
    text = "image_id,category_id,{}xmin,ymin,xmax,ymax\n10.0,8.0,{}10,20,40,30\n"
    found = read_detections(csv(text.format("", "")), dataset=POOL)
    assert found.detections.image_id.tolist() == [10]
    assert found.detections.category_id.tolist() == [8]
    assert found.notes[0].endswith("r.csv: tells no scores; each box counts 1.")
    found = read_detections(csv(text.format("probability,", "0.5,")), dataset=POOL)
    assert found.detections.score.tolist() == [0.5]
    assert not found.notes


def test_a_name_beside_a_class_may_be_the_pictures(csv):
    text = "image_id,name,class,xmin,ymin,xmax,ymax\n10,a.jpg,1,10,20,40,30\n"
    assert read_detections(csv(text), dataset=POOL).detections.category_id.tolist() == [8]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_passed_over(csv, encoding):
    text = "file_name,label,xmin,ymin,xmax,ymax\na.jpg,car,1,2,3,4\n"
    assert len(read_detections(csv(text, encoding=encoding), dataset=POOL).detections) == 1


def test_what_supervision_writes(tmp_path):
    found = supervision.Detections(
        np.array([BOX], np.float32), class_id=np.array([1]), confidence=np.array([0.5])
    )
    for sink, name in ((supervision.CSVSink, "s.csv"), (supervision.JSONSink, "s.json")):
        path = tmp_path / name
        with sink(str(path)) as out:
            out.append(found, custom_data={"file_name": "a.jpg"})
        read = read_detections(path, dataset=POOL)
        assert read.detections.category_id.tolist() == [8]
        assert np.allclose(read.detections.xyxy, [BOX])
        assert read.detections.image_id.tolist() == [10]
        assert "counted from 0: 0 is 'car'" in read.notes[0]
        with sink(str(path)) as out:
            out.append(found, custom_data={})
        with pytest.raises(FormatError, match="no column tells the picture"):
            read_detections(path, dataset=POOL)


HEAD = "file_name,label,score,xmin,ymin,xmax,ymax\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.jpg,car,0.5,1,2,3,4\n", "no column tells the picture"),
        ("file_name,xmin,ymin,xmax,ymax\n", "no column tells the label"),
        ("file_name,label,xmin\n", "no column tells the box"),
        (HEAD + "a.jpg,car,87.5,1,2,3,4\n", "row 1 has a score that is not within 0..1"),
        (HEAD + "a.jpg,car,0.5,1,2,3,4\na.jpg,car,0.5,9,2,3,4\n", "row 2 is no box"),
        (HEAD + "a.jpg,car,0.5,1,2,3,1_0\n", "row 1: its ymax '1_0' is no number"),
        (HEAD + "a.jpg,car,0.5,1,2,3\n", "row 1: its ymax 'None' is no number"),
        (HEAD + "a.jpg,car,0.5,1,2,3,4,5\n", "line 2: more fields"),
        (HEAD + ",car,0.5,1,2,3,4\n", "a row without filename"),
        ("", "no column"),
        (HEAD + "a.jpg,c\rar,0.5,1,2,3,4\n", "a row without|no number|not CSV"),
        (HEAD.replace("score", "label"), "two columns are called 'label'"),
    ],
)
def test_bad_rows_are_named(csv, text, said):
    with pytest.raises(FormatError, match=said):
        read_detections(csv(text), dataset=POOL)


def mmdet(root, name="a", **changes):
    root.mkdir(parents=True, exist_ok=True)
    told = {"labels": [1, 0], "scores": [0.9, 0.8], "bboxes": [BOX, [1, 2, 3, 4]]} | changes
    (root / f"{name}.json").write_text(json.dumps(told))
    return root


def test_mmdetections_files_for_each_picture(tmp_path):
    (tmp_path / "out/vis").mkdir(parents=True)
    (tmp_path / "out/vis/a.jpg").touch()
    mmdet(mmdet(tmp_path / "out/preds"), "b", labels=[0], scores=[1.0000001], bboxes=[BOX])
    mmdet(tmp_path / "out/preds", "c", labels=[], scores=[], bboxes=[])
    for place in ("out/preds", "out"):
        found = read_detections(tmp_path / place, dataset=POOL)
        assert found.detections.image_id.tolist() == [10, 10, 20]
        assert found.detections.category_id.tolist() == [8, 3, 3]
        assert found.detections.score.tolist()[2] == 1
        assert np.allclose(found.detections.xyxy[0], BOX)
        assert any("counted from 0: 0 is 'car'" in note for note in found.notes)
        assert any("0 boxes of 1 pictures" in note for note in found.notes)
    alone = read_detections(tmp_path / "out/preds/a.json")
    assert [image.name for image in alone.images] == ["a"]
    assert alone.labels.names == ("0", "1")


def test_masks_of_mmdetection_are_kept(tmp_path):
    runs = {"size": [50, 100], "counts": [0, 9, 4991]}
    mmdet(mmdet(tmp_path / "preds", masks=[runs, runs]), "b")
    found = read_detections(tmp_path / "preds", dataset=POOL).detections
    assert found.masks.there.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"scores": [0.9]}, FormatError, "not a score and four corners"),
        ({"bboxes": [[1, 2, 3, 4, 0.5]] * 2}, FormatError, "not a score and four corners"),
        ({"labels": ["car", "bus"]}, FormatError, "not the detections of a picture"),
        ({"labels": [0, 2]}, LabelError, "its classes are 0 to 2, counted from 0, but"),
        ({"scores": [0.9, 87.5]}, FormatError, "score that is not within"),
    ],
)
def test_bad_files_of_pictures_are_named(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        read_detections(mmdet(tmp_path / "preds", **changes), dataset=POOL)


def test_normalised_rows_need_sizes(csv):
    path = csv(HEAD + "a.jpg,car,0.5,0.1,0.2,0.3,0.4\n")
    assert np.allclose(read_detections(path, dataset=POOL).detections.xyxy, [[10, 10, 30, 20]])
    with pytest.raises(InputError, match="size of its pictures is not known"):
        read_detections(path)
