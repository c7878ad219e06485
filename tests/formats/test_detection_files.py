import json

import numpy as np
import pytest

from quorate.annotations import Annotations
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import FormatError, InputError, LabelError
from quorate.formats import read_detections, write, write_results
from quorate.labels import Labels

DATASET = Dataset(
    root=".",
    images=(
        Image(10, "cam/a.jpg", 100, 50),
        Image(20, "cam/000042.jpg", 200, 100),
        Image(30, "other/a.jpg", 100, 50),
    ),
    labels=Labels(names=("car", "bus"), ids=(3, 8)),
)


def row(image_id, category_id=3, bbox=(10, 20, 30, 10), score=0.5):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


@pytest.fixture
def put(tmp_path):
    def put(rows):
        path = tmp_path / "yolo.json"
        path.write_text(json.dumps(rows))
        return path

    return put


def test_pictures_and_categories_by_number_or_name(put):
    rows = [row(10), row("cam/a.jpg", "bus"), row("cam/000042"), row("000042.jpg"), row("20", "8")]
    rows[4]["category_id"] = 8
    found = read_detections(put(rows), dataset=DATASET)
    assert found.detections.image_id.tolist() == [10, 10, 20, 20, 20]
    assert found.detections.category_id.tolist() == [3, 8, 3, 3, 8]
    assert found.detections.xyxy[0].tolist() == [10, 20, 40, 30]
    assert found.detections.detectors == ("yolo",)
    assert found.coordinates == "pixel"
    assert found.notes == ()


def test_a_name_that_means_two_pictures_means_none(put):
    with pytest.raises(FormatError, match=r"'a\.jpg' may be 'cam/a\.jpg' or 'other/a\.jpg'"):
        read_detections(put([row("a.jpg")]), dataset=DATASET)


def test_pictures_of_two_folders_are_not_one_picture(put):
    alone = Dataset(root=".", images=(Image(1, "b.jpg", 100, 50),), labels=DATASET.labels)
    said = r"its pictures 'cam1/b\.jpg' and 'cam2/b\.jpg' would both be 'b\.jpg'"
    with pytest.raises(FormatError, match=said):
        read_detections(put([row("cam1/b.jpg"), row("cam2/b.jpg")]), dataset=alone)
    same = [row("/pool/cam1/b.jpg"), row("cam1\\b.png"), row("b")]
    assert len(read_detections(put(same), dataset=alone).detections) == 3


def test_unknown_pictures_and_categories_are_named(put):
    with pytest.raises(FormatError, match=r"yolo\.json: its picture 99 is not"):
        read_detections(put([row(99)]), dataset=DATASET)
    with pytest.raises(
        LabelError, match=r"category 'buss' .*3: car, 8: bus.*\n.*did you mean 'bus'"
    ):
        read_detections(put([row(10, "buss")]), dataset=DATASET)
    with pytest.raises(LabelError, match="category 0 is not"):
        read_detections(put([row(10, 0)]), dataset=DATASET)


NUMBERED = Dataset(
    root=".",
    images=tuple(Image(i, f"{i - 1:04d}.jpg", 100, 50) for i in range(1, 6)),
    labels=Labels.from_names(("car", "bus", "van")),
)


def test_a_number_that_is_no_id_makes_all_numbers_names_as_ultralytics_has_them(put):
    found = read_detections(put([row(0, 1), row(3, 1), row(4, 1)]), dataset=NUMBERED)
    assert found.detections.image_id.tolist() == [1, 4, 5]  # 0000.jpg, 0003.jpg, 0004.jpg
    assert found.notes == ()


def test_numbers_that_are_ids_and_names_of_others_are_ids_and_it_is_said(put):
    found = read_detections(put([row(1, 1), row(4, 1)]), dataset=NUMBERED)
    assert found.detections.image_id.tolist() == [1, 4]
    (said,) = found.notes
    assert "its picture 1 is taken for the one with that id, 0000.jpg, though 0001.jpg" in said
    with pytest.raises(FormatError, match="picture 98 is not"):
        read_detections(put([row(98, 1), row(99, 1)]), dataset=NUMBERED)


def test_a_file_name_goes_before_a_number_that_is_another_pictures(put):
    rows = [row(2, 1) | {"file_name": "0000.jpg"}, row(1, 1) | {"file_name": "0001.jpg"}]
    found = read_detections(put(rows), dataset=NUMBERED)
    assert found.detections.image_id.tolist() == [1, 2]
    assert found.notes == ()
    alone = read_detections(put(rows))
    assert [(image.id, image.name) for image in alone.images] == [(2, "0000.jpg"), (1, "0001.jpg")]
    assert not alone.named_images


def test_the_number_counts_where_no_file_name_is_known_or_it_means_several(put):
    rows = [row(3, 1) | {"file_name": "x.jpg"}, row(1, 1) | {"file_name": "y.jpg"}]
    assert read_detections(put(rows), dataset=NUMBERED).detections.image_id.tolist() == [3, 1]
    rows = [row(30) | {"file_name": "a.jpg"}, row(10) | {"file_name": "a.jpg"}]
    assert read_detections(put(rows), dataset=DATASET).detections.image_id.tolist() == [30, 10]


PART = Dataset(
    root=".",
    images=tuple(Image(i, f"{i + 9:06d}.jpg", 100, 50) for i in range(1, 4)),
    labels=Labels.from_names(("car", "bus")),
)
"""A part of a pool: 000010.jpg to 000012.jpg, whose ids are other pictures' names."""


@pytest.mark.parametrize(
    "rows",
    [
        [row(n, 1) | {"file_name": f"{n:06d}.jpg"} for n in (2, 10, 11)],  # Ultralytics' val
        [row(f"{n:06d}", 1) for n in (2, 10, 11)],  # a folder of text files is so
    ],
    ids=["beside file_name", "as text"],
)
def test_where_numbers_are_names_those_of_other_pictures_are_no_ids(put, rows):
    found = read_detections(put(rows), dataset=PART)
    assert found.detections.image_id.tolist() == [1, 2]
    (said,) = found.notes
    assert "1 boxes of 1 pictures that are not in the data set are left out" in said


def test_where_numbers_are_ids_those_of_other_pictures_are_no_names(put):
    names = tuple(Image(i, f"{i + 9}.jpg", 100, 50) for i in range(1, 4))
    part = Dataset(root=".", images=names, labels=PART.labels)
    found = read_detections(put([row(n, 1) for n in (1, 2, 3, 10)]), dataset=part)
    assert found.detections.image_id.tolist() == [1, 2, 3]
    assert any("the first is of 10" in note for note in found.notes)


def test_pictures_counted_from_0_are_not_their_neighbours(put):
    found = read_detections(put([row(0, 1), row(2, 1)]), dataset=PART)
    assert found.detections.image_id.tolist() == [1, 3]
    assert found.notes[0].endswith(
        "its pictures are counted from 0, the data set's from 1: its 0 is taken for '000010.jpg'."
    )
    other = tuple(Image(i, f"x{i}.jpg", 100, 50) for i in range(3))
    found = read_detections(
        put([row(1, 1), row(3, 1)]), dataset=Dataset(root=".", images=other, labels=PART.labels)
    )
    assert found.detections.image_id.tolist() == [0, 2]
    assert "counted from 1, the data set's from 0: its 1 is taken for 'x0.jpg'" in found.notes[0]
    found = read_detections(put([row(0, 1), row(3, 1)]), dataset=PART)  # 0 to 3, of another pool
    assert found.detections.image_id.tolist() == [3]


@pytest.mark.parametrize(
    "name",
    ["cam\\a.jpg", "./cam/a.jpg", "/data/pool/cam/a.png", "C:\\pool\\cam\\a.jpg", "pool/cam/a"],
)
def test_a_name_may_have_more_folders_and_other_separators(put, name):
    assert read_detections(put([row(name)]), dataset=DATASET).detections.image_id.tolist() == [10]


def test_numbers_of_a_data_set_that_was_numbered_anew_are_its_files_own(put):
    def split(*own):
        return Dataset(
            "",
            tuple(
                Image(
                    n,
                    f"{subset}/x{i}.jpg",
                    9,
                    9,
                    subset,
                    source_id=str(i),
                    published_as=f"x{i}.jpg",
                )
                for n, (subset, i) in enumerate(own, start=1)
            ),
            DATASET.labels,
        )

    pool = split(("train", 5), ("valid", 2), ("valid", 0))
    found = read_detections(put([row(2), row(0)]), dataset=pool)  # not the second and none
    assert found.detections.image_id.tolist() == [2, 3]
    twice = split(("train", 1), ("valid", 1))
    with pytest.raises(FormatError, match="its picture 1 may be one of several") as caught:
        read_detections(put([row(1)]), dataset=twice)
    assert "one split" in caught.value.hint
    with pytest.raises(FormatError, match=r"may be 'train/x1\.jpg' or 'valid/x1\.jpg'"):
        read_detections(put([row("x1.jpg")]), dataset=twice)
    found = read_detections(put([row("valid/x1.jpg")]), dataset=twice)
    assert found.detections.image_id.tolist() == [2]


def test_names_of_other_folders_are_matched_by_base_name_only_where_all_are(put):
    pool = Dataset("", (Image(1, "x/a.jpg", 9, 9), Image(2, "x/b.jpg", 9, 9)), DATASET.labels)
    found = read_detections(put([row("old/b.jpg"), row("old/a.jpg")]), dataset=pool)
    assert found.detections.image_id.tolist() == [2, 1]
    assert "'old/b.jpg' is 'x/b.jpg'" in found.notes[0]
    part = read_detections(put([row("x/b.jpg"), row("old/a.jpg"), row("old/c.jpg")]), dataset=pool)
    assert part.detections.image_id.tolist() == [2]
    assert "2 boxes of 2 pictures that are not in the data set" in part.notes[0]


def test_boxes_of_other_pictures_are_left_out_and_counted(put, tmp_path):
    mask = {"segmentation": {"size": [100, 200], "counts": [0, 9, 19991]}}
    other = {"segmentation": {"size": [7, 7], "counts": [0, 9, 40]}}
    rows = [row(77, "lamp") | other, row(20) | mask, row(78) | other, row(10, 8)]
    found = read_detections(put(rows), dataset=DATASET)
    assert found.detections.image_id.tolist() == [20, 10]
    assert found.detections.masks.there.tolist() == [True, False]
    assert "2 boxes of 2 pictures" in found.notes[0]
    assert "first is of 77" in found.notes[0]
    boxes = Detections.build(
        image_id=[10, 99], category_id=[3, 3], xyxy=[[1, 2, 3, 4]] * 2, score=1, detectors=("d",)
    )
    boxes.to_parquet(tmp_path / "d.parquet")
    found = read_detections(tmp_path / "d.parquet", dataset=DATASET)
    assert found.detections.image_id.tolist() == [10]
    assert "1 boxes of 1 pictures" in found.notes[0]


def test_ids_may_be_floats_but_no_fractions(put):
    rows = [row(20.0, 8.0), row(20, 8)]
    found = read_detections(put(rows), dataset=DATASET)
    assert found.detections.image_id.tolist() == [20, 20]
    assert found.detections.category_id.tolist() == [8, 8]
    with pytest.raises(FormatError, match=r"the id 20\.5"):
        read_detections(put([row(20.5)]), dataset=DATASET)


def test_a_score_a_little_over_1_is_1_and_percent_are_asked_about(put):
    rows = [row(20, score=1.0000001), row(20, score=-1e-9), row(20, score=0.5)]
    found = read_detections(put(rows), dataset=DATASET)
    assert found.detections.score.tolist() == [1, 0, 0.5]
    with pytest.raises(FormatError, match=r"score .*87\.5") as caught:
        read_detections(put([row(20, score=87.5)]), dataset=DATASET)
    assert "percent" in caught.value.hint
    with pytest.raises(FormatError, match=r"score .*1\.0021"):
        read_detections(put([row(20, score=1.0021)]), dataset=DATASET)


def test_categories_counted_from_0_are_moved_where_the_labels_are_counted_from_1(put):
    found = read_detections(put([row(5, 0), row(5, 2)]), dataset=NUMBERED)
    assert found.detections.category_id.tolist() == [1, 3]
    assert any("its 0 is taken for 'car'" in note for note in found.notes)
    with pytest.raises(LabelError, match="category 0 is not"):
        read_detections(put([row(5, 0), row(5, 3)]), dataset=NUMBERED)
    without = read_detections(put([row(5, 1), row(5, 2)]), dataset=NUMBERED)
    assert without.detections.category_id.tolist() == [1, 2]


def test_classes_txt_beside_yolo_text_says_what_its_numbers_are(tmp_path):
    (tmp_path / "classes.txt").write_text("bus\ncar\n")
    (tmp_path / "000042.txt").write_text("0 0.5 0.5 0.2 0.4 0.9\n")
    found = read_detections(tmp_path, dataset=DATASET)
    assert found.detections.category_id.tolist() == [8]
    assert len(found.notes) == 1  # normalised


def test_normalised_boxes_of_any_kind_of_file_are_scaled(put, tmp_path):
    beyond = row(20, 8, (0.5, 0.5, 0.6, 0.25))  # nobody clipped it
    found = read_detections(put([row(10, bbox=(0.1, 0.2, 0.3, 0.4)), beyond]), dataset=DATASET)
    assert found.detections.xyxy.round(3).tolist() == [[10, 10, 40, 30], [100, 50, 220, 75]]
    place = tmp_path / "fused.parquet"
    kept = read_detections(put([row(10, bbox=(0.1, 0.2, 0.3, 0.4))]), scale=False)
    kept.detections.to_parquet(place)
    found = read_detections(place, dataset=DATASET)
    assert found.detections.xyxy.round(3).tolist() == [[10, 10, 40, 30]]
    voc = tmp_path / "voc"
    voc.mkdir()
    (voc / "000042.xml").write_text(
        "<annotation><object><name>car</name><confidence>0.5</confidence><bndbox><xmin>0.1</xmin>"
        "<ymin>0.2</ymin><xmax>0.4</xmax><ymax>0.6</ymax></bndbox></object></annotation>"
    )
    found = read_detections(voc, dataset=DATASET)
    assert found.detections.xyxy.round(3).tolist() == [[20, 20, 80, 60]]
    assert found.notes[-1] == f"{voc}: its boxes are normalised; they were scaled to pixels."


def test_normalised_boxes_are_found_out_and_scaled(put):
    path = put([row(20, bbox=(0.1, 0.2, 0.3, 0.4)), row(10, bbox=(0, 0, 1, 1))])
    found = read_detections(path, dataset=DATASET)
    assert np.allclose(found.detections.xyxy, [[20, 20, 80, 60], [0, 0, 100, 50]])
    assert found.coordinates == "normalised"
    assert found.notes == (f"{path}: its boxes are normalised; they were scaled to pixels.",)
    with pytest.raises(InputError, match="size of its pictures is not known"):
        read_detections(path)
    told = read_detections(path, coordinates="pixel")
    assert told.detections.xyxy[1].tolist() == [0, 0, 1, 1]


def test_a_file_alone_brings_its_own_vocabulary(put):
    found = read_detections(put([row("b", "bus"), row("a", "car"), row("b", "car")]))
    assert [(i.id, i.name) for i in found.images] == [(1, "b"), (2, "a")]
    assert found.detections.image_id.tolist() == [1, 2, 1]
    assert found.labels == Labels.from_names(("bus", "car"))
    found = read_detections(put([row(7, 5), row(3, 0)]), detector="other")
    assert [i.id for i in found.images] == [7, 3]
    assert found.labels.ids == (0, 5)
    assert found.detections.detectors == ("other",)


def test_votes_and_members_survive(put):
    more = {"votes": 2, "agreement": 0.75, "detectors": ["x", "y"]}
    found = read_detections(put([row(10) | more, row(10)]), dataset=DATASET).detections
    assert found.votes.tolist() == [2, 1]
    assert found.agreement.tolist() == [0.75, 1]
    assert [found.detectors[i] for i in found.members.take(np.array([0])).detector] == ["x", "y"]


@pytest.mark.parametrize("format", ["cvat", "voc", "coco"])
def test_boxes_of_annotation_files_are_detections(tmp_path, format):
    shapes = Annotations.build(
        image_id=[10, 30],
        category_id=[3, 8],
        xyxy=[[1, 2, 3, 4], [5, 6, 7, 8]],
        attributes={"score": np.array([0.25, 0.75], dtype=np.float32)},
    )
    write(DATASET, shapes, tmp_path / "retina", format=format)
    found = read_detections(tmp_path / "retina", dataset=DATASET).detections
    assert sorted(zip(found.image_id, found.category_id, found.score, strict=True)) == [
        (10, 3, 0.25), (30, 8, 0.75),
    ]  # fmt: skip
    assert found.detectors == ("retina",)


def test_yolo_text_alone_takes_sizes_and_labels_from_the_data_set(tmp_path):
    for name, text in (("cam/a", "1 0.5 0.5 0.2 0.4 0.9\n"), ("other/a", "")):
        path = tmp_path / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = read_detections(tmp_path / "labels", dataset=DATASET, detector="v8")
    assert np.allclose(found.detections.xyxy, [[40, 15, 60, 35]])
    assert found.detections.score.tolist() == [np.float32(0.9)]
    assert found.detections.category_id.tolist() == [8]
    assert len(found.notes) == 1
    (tmp_path / "labels/cam/a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    bare = read_detections(tmp_path / "labels", dataset=DATASET)
    assert bare.notes[1].endswith("tells no scores; each box counts 1.")
    (tmp_path / "labels/stray.txt").write_text("")
    (tmp_path / "labels/stray.txt").write_text("1 0.5 0.5 0.2 0.4\n" * 2)
    (said,) = [
        note
        for note in read_detections(tmp_path / "labels", dataset=DATASET).notes
        if "left out" in note
    ]
    assert "2 boxes of 1 pictures that are not in the data set" in said


def test_parquet_and_results_tell_the_same(tmp_path):
    boxes = Detections.build(
        image_id=[10, 20], category_id=[3, 8], xyxy=[[1, 2, 3, 4], [5, 6, 70, 8]],
        score=[0.5, 0.25], detectors=("d",),
    )  # fmt: skip
    boxes.to_parquet(tmp_path / "d.parquet")
    write_results(boxes, str(tmp_path / "d.json"))
    one = read_detections(tmp_path / "d.parquet", dataset=DATASET).detections
    other = read_detections(tmp_path / "d.json", dataset=DATASET).detections
    for name in ("image_id", "category_id", "xyxy", "score", "detectors"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    with pytest.raises(InputError, match="no such file"):
        read_detections(tmp_path / "missing.parquet")


def test_parquet_of_other_tools_is_checked_as_results_are(tmp_path):
    def put(**columns):
        boxes = Detections.build(xyxy=[[1, 2, 3, 4]] * 2, detectors=("d",), **columns)
        boxes.to_parquet(tmp_path / "d.parquet")
        return tmp_path / "d.parquet"

    path = put(image_id=[1, 2], category_id=[0, 1], score=[1.0000001, 0.5])
    found = read_detections(path, dataset=NUMBERED)
    assert found.detections.category_id.tolist() == [1, 2]
    assert any("its 0 is taken for 'car'" in note for note in found.notes)
    assert found.detections.score.tolist() == [1, 0.5]
    with pytest.raises(FormatError, match=r"detection 2 has a score .*\(87.5\)"):
        read_detections(put(image_id=[1, 2], category_id=[1, 2], score=[0.5, 87.5]))


def test_a_file_without_scores_says_so(tmp_path):
    shapes = Annotations.build(image_id=[10], category_id=[3], xyxy=[[1, 2, 3, 4]])
    write(DATASET, shapes, tmp_path / "drawn.xml", format="cvat")
    found = read_detections(tmp_path / "drawn.xml", dataset=DATASET)
    assert found.detections.score.tolist() == [1]
    assert "tells no scores" in found.notes[-1]


def test_words_in_parquet_go_before_its_numbers(tmp_path):
    boxes = Detections.build(
        image_id=[10, 30], category_id=[3, 8], xyxy=[[10, 20, 40, 30]] * 2, score=0.5,
        detectors=["d"],
    )  # fmt: skip
    words = {image.id: image.file_name for image in DATASET.images}
    boxes.to_parquet(tmp_path / "d.parquet", labels=DATASET.labels, pictures=words)
    anew = Dataset(
        root=".",
        images=(Image(1, "other/a.jpg"), Image(2, "cam/a.jpg"), Image(10, "cam/b.jpg")),
        labels=Labels(names=("bus", "car"), ids=(3, 8)),
    )
    there = read_detections(tmp_path / "d.parquet", dataset=anew).detections
    assert there.image_id.tolist() == [2, 1]
    assert there.category_id.tolist() == [8, 3]
    alone = read_detections(tmp_path / "d.parquet")
    assert alone.detections.image_id.tolist() == [10, 30]
    assert [image.name for image in alone.images] == ["cam/a.jpg", "other/a.jpg"]
    assert alone.labels == DATASET.labels
