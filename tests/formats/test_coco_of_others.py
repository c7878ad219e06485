"""COCO as other tools and people's scripts write it: read right, or refused with what is meant."""

import json

import pytest

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, LabelError
from quorate.formats import read, write
from quorate.labels import Labels

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
    "categories": [{"id": 1, "name": "bird"}],
}
BOX = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 30]}
RUNS = {"counts": [810, 30, 50, 30, 7080], "size": [80, 100]}


@pytest.fixture
def parse(tmp_path):
    def parse(**changes):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps({**COCO, "annotations": [BOX], **changes}))
        return read(path)

    return parse


def put(root, **files):
    for name, told in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(told if isinstance(told, str) else json.dumps(told))


@pytest.mark.parametrize(
    ("image", "annotation"),
    [(42.0, 42), (42, 42.0), (42, "42"), ("42", 42), ("42", 42.0), ("a7", "a7"), (42.0, "42")],
)
def test_an_id_may_be_a_float_or_text(parse, image, annotation):
    found = parse(
        images=[{**COCO["images"][0], "id": image}],
        annotations=[{**BOX, "image_id": annotation}],
    )
    assert found.annotations.image_id.tolist() == [found.images[0].id]


def test_text_that_is_an_id_of_its_own_is_meant_as_it_stands(parse):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": "7", "file_name": "b.jpg"}]
    found = parse(images=images, annotations=[{**BOX, "image_id": "7"}, {**BOX, "image_id": 7}])
    assert found.annotations.image_id.tolist() == [2, 1]


@pytest.mark.parametrize("given", [3.0, "3"])
def test_a_category_id_may_be_a_float_or_text(parse, given):
    for categories, used in (([given], 3), ([3], given)):
        found = parse(
            categories=[{"id": i, "name": "bird"} for i in categories],
            annotations=[{**BOX, "category_id": used}],
        )
        assert found.labels.ids == (3,)
        assert found.annotations.category_id.tolist() == [3]


def test_an_id_that_is_no_whole_number_is_refused(parse):
    with pytest.raises(FormatError, match=r"has the id 4\.5, which is no whole number"):
        parse(images=[{"id": 4.5, "file_name": "a.jpg"}])
    with pytest.raises(LabelError, match=r"'bird' has the id 'x'"):
        parse(categories=[{"id": "x", "name": "bird"}])


def test_null_is_as_if_it_were_not_there(parse):
    found = parse(
        info=None,
        images=[{"id": 1, "file_name": "a.jpg", "width": None, "height": "80"}],
        annotations=[
            {**BOX, "segmentation": None, "area": None, "iscrowd": None, "attributes": None,
             "score": None}
        ],
    )  # fmt: skip
    assert (found.images[0].width, found.images[0].height) == (0, 80)
    assert found.annotations.kind.tolist() == [Kind.BOX]
    assert not found.annotations.iscrowd.any()
    assert parse(annotations=None).annotations.image_id.tolist() == []


def test_a_flat_polygon_is_one_polygon_and_told(parse):
    found = parse(annotations=[{**BOX, "segmentation": [10, 10, 30, 10, 30, 40, 10, 40]}] * 2)
    assert found.annotations.points[1].tolist() == [10, 10, 30, 10, 30, 40, 10, 40]
    assert "2 segmentations are one flat list" in found.notes[0]
    with pytest.raises(FormatError) as caught:
        parse(annotations=[{**BOX, "segmentation": [{"x": 1}]}])
    assert "[[x, y" in caught.value.hint


def test_rings_that_enclose_nothing_are_left_out_and_counted(parse):
    found = parse(
        annotations=[
            {**BOX, "segmentation": [[1, 1, 5, 1, 5, 6], [2, 2]]},
            {**BOX, "segmentation": [[10, 10, 30, 40]]},
        ]
    )
    assert found.annotations.kind.tolist() == [Kind.POLYGON, Kind.BOX]
    assert found.annotations.points[0].tolist() == [1, 1, 5, 1, 5, 6]
    assert any("2 polygons have rings of fewer than three points" in note for note in found.notes)


def test_what_has_no_place_is_left_out_and_counted(parse):
    found = parse(annotations=[BOX, {**BOX, "bbox": []}, {**BOX, "bbox": None}])
    assert len(found.annotations) == 1
    assert any("2 annotations have neither bbox nor segmentation" in note for note in found.notes)


def test_keypoints_are_counted_and_their_files_are_subsets(tmp_path):
    person = {**BOX, "keypoints": [10, 10, 2, 30, 40, 2], "num_keypoints": 2}
    unseen = {**BOX, "keypoints": [0, 0, 0, 0, 0, 0], "num_keypoints": 0}
    told = {**COCO, "annotations": [person, unseen]}
    put(
        tmp_path,
        **{f"annotations__person_keypoints_{s}.json": told for s in ("Train", "My set")},
    )
    found = read(tmp_path)
    assert {image.subset for image in found.images} == {"Train", "My set"}
    assert len(found.annotations) == 4
    assert any("2 annotations have keypoints, which are left out" in n for n in found.notes)


def test_points_as_lists_of_two_are_one_polygon(parse):
    points = [[10, 10], [30, 10], [30, 40]]
    found = parse(
        annotations=[{**BOX, "segmentation": points}, {**BOX, "segmentation": [points, points]}]
    )
    assert found.annotations.kind.tolist() == [Kind.POLYGON] * 2
    assert found.annotations.points[0].tolist() == [10, 10, 30, 10, 30, 40]
    assert len(found.notes) == 2


def test_names_may_stand_for_ids(parse):
    found = parse(annotations=[{**BOX, "image_id": "a.jpg", "category_id": "bird"}])
    assert found.annotations.image_id.tolist() == [1]
    assert found.annotations.category_id.tolist() == [1]


def test_a_mask_of_another_size_than_its_picture_is_refused(parse):
    for size in ([100, 80], [10, 10]):
        mask = {"counts": [0, size[0] * size[1]], "size": size}
        with pytest.raises(FormatError, match="its picture of 100x80"):
            parse(annotations=[{**BOX, "segmentation": mask}])


def test_annotations_that_stand_twice_are_counted_and_kept(parse):
    other = {**BOX, "bbox": [10, 10, 20, 31]}
    found = parse(annotations=[BOX, other, BOX, BOX])
    assert len(found.annotations) == 4
    assert "2 annotations stand twice" in found.notes[0]
    polygons = [{**BOX, "segmentation": [[10, 10, 30, 10, 30, y, 10, y + 1]]} for y in (39, 38)]
    assert parse(annotations=polygons).notes == ()


def test_boxes_within_one_pixel_are_asked_about(parse):
    found = parse(annotations=[{**BOX, "bbox": [0.1, 0.1, 0.5, 0.5]}])
    assert "are they relative to the pictures' sizes?" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('{"images": [], "images": []}', "the key 'images' stands twice", "keep the right one"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "a"}],'
         '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4],'
         '"bbox": [5, 6, 7, 8]}]}', "the key 'bbox' stands twice", "keep the right one"),
        ('{"images": [{"id": 1, "file_name": null}]}', "picture 1 has no file_name", ""),
        ('{"images": [{"id": 1, "file_name": "a", "width": "9px"}]}', "a side of '9px'", "whole"),
        ('{"images": [], "annotations": {}}', "annotations: a list belongs here, not an", "keys"),
        ('{"images": [{"id": 1, "file_name": "a", "width": NaN}]}', "not JSON", "no NaN"),
        ("{'images': []}", "not JSON", "double quotes"),
        ('{"a": 1}\n{"a": 2}', "not JSON", "in one list"),
        ('{"predictions": []}', "of no known format (an object with 'predictions')", "a list"),
    ],
)  # fmt: skip
def test_faults_are_told_in_words(tmp_path, text, said, hint):
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "instances.json")
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_annotation_with_another_iscrowd_and_without_categories_is_told(parse):
    with pytest.raises(FormatError, match="has the iscrowd 2"):
        parse(annotations=[{**BOX, "iscrowd": 2}])
    with pytest.raises(LabelError) as caught:
        parse(categories=[])
    assert '"categories": [{"id": 1' in caught.value.hint


# Crowds


def test_masks_of_cvat_are_objects(parse):
    mask = {**BOX, "segmentation": RUNS, "iscrowd": 1, "attributes": {"occluded": False}}
    found = parse(annotations=[BOX, BOX, mask])
    assert not found.annotations.iscrowd.any()
    assert any("1 masks are marked as crowds" in note for note in found.notes)


def test_a_crowd_of_coco_stays_one_and_many_are_told(parse):
    crowd = {**BOX, "segmentation": RUNS, "iscrowd": 1}
    found = parse(annotations=[BOX] * 99 + [crowd])
    assert found.annotations.iscrowd.sum() == 1
    assert not any("marked as crowds" in note for note in found.notes)
    found = parse(annotations=[BOX, crowd])
    assert found.annotations.iscrowd.tolist() == [False, True]
    assert "1 of 2 annotations are marked as crowds" in found.notes[0]


@pytest.mark.parametrize("crowd", [1, 1.0, True, "1", "true"])
def test_where_all_are_crowds_none_is(parse, crowd):
    found = parse(annotations=[{**BOX, "segmentation": RUNS, "iscrowd": crowd}] * 2)
    assert not found.annotations.iscrowd.any()
    assert "2 annotations, all there are, are marked as crowds" in found.notes[0]


@pytest.mark.parametrize("crowd", [False, True])
def test_run_lengths_are_a_crowd_only_where_they_were(tmp_path, parse, crowd):
    mask = {**BOX, "segmentation": RUNS, "iscrowd": int(crowd)}
    first = parse(annotations=[BOX, mask])
    for number in range(2):  # written and read, twice
        target = tmp_path / f"{number}.json"
        write(first, first.annotations, target, format="coco")
        told = json.loads(target.read_text())["annotations"]
        assert [one["iscrowd"] for one in told] == [0, int(crowd)]
        first = read(target)
        assert first.annotations.iscrowd.tolist() == [False, crowd]


# Categories


def test_pictures_of_lvis_are_called_as_their_address_ends(parse):
    image = {**COCO["images"][0], "coco_url": "http://images.cocodataset.org/val2017/000042.jpg"}
    del image["file_name"]
    found = parse(images=[image])
    assert found.images[0].file_name == "val2017/000042.jpg"
    assert any("1 pictures have no file_name" in note for note in found.notes)
    del image["coco_url"]
    with pytest.raises(FormatError, match="has no file_name"):
        parse(images=[image])


def test_two_ids_of_one_name_are_one_label(parse):
    categories = [{"id": i, "name": name} for i, name in enumerate(("crab", "crab", "net pot"))]
    found = parse(categories=categories, annotations=[{**BOX, "category_id": i} for i in (2, 1)])
    assert found.labels == Labels(("crab", "net pot"), (1, 2))
    assert found.annotations.category_id.tolist() == [2, 1]
    assert "categories 1 and 0 are both called 'crab'" in found.notes[0]


def test_boxes_of_either_id_of_one_name_are_kept(parse):
    categories = [{"id": 4, "name": "crab"}, {"id": 9, "name": "crab"}]
    found = parse(categories=categories, annotations=[{**BOX, "category_id": i} for i in (9, 4)])
    assert found.labels == Labels(("crab",), (4,))
    assert found.annotations.category_id.tolist() == [4, 4]


def test_the_group_that_roboflow_writes_as_category_0_is_no_label(parse):
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "bird", "supercategory": "animals"},
    ]
    found = parse(categories=categories)
    assert found.labels == Labels(("bird",), (1,))
    assert "'animals', is the group" in found.notes[0]
    used = parse(categories=categories, annotations=[{**BOX, "category_id": 0}])
    assert used.labels.ids == (0, 1)


def labelled(*ids):
    labels = Labels(tuple(f"label {i}" for i in ids), ids)
    shapes = Annotations.build(
        image_id=[1] * len(ids), category_id=ids, xyxy=[[1, 2, 3, 4]] * len(ids)
    )
    return Dataset("", (Image(1, "a.jpg", 8, 8),), labels), shapes


@pytest.mark.parametrize(
    ("ids", "asked", "written"),
    [((0, 1), False, (1, 2)), ((-3, 7), False, (1, 2)), ((2, 7), False, (2, 7)),
     ((2, 7), True, (1, 2))],
)  # fmt: skip
def test_categories_are_numbered_from_1_where_cvat_or_the_user_asks(tmp_path, ids, asked, written):
    data, shapes = labelled(*ids)
    result = write(data, shapes, tmp_path / "o.json", format="coco", renumber=asked)
    told = json.loads((tmp_path / "o.json").read_text())
    assert [category["id"] for category in told["categories"]] == list(written)
    assert [one["category_id"] for one in told["annotations"]] == list(written)
    assert [category["name"] for category in told["categories"]] == list(data.labels.names)
    assert bool(result.notes) == (written != ids)


# Folders


def test_roboflows_splits_are_subsets(tmp_path):
    one = {"images": [{"id": 0, "file_name": "x.jpg"}], "categories": COCO["categories"],
           "annotations": [{**BOX, "image_id": 0}]}  # fmt: skip
    put(tmp_path, **{f"{split}___annotations.coco.json": one for split in ("train", "valid")})
    for split in ("train", "valid"):
        (tmp_path / split / "x.jpg").touch()
    found = read(tmp_path)
    assert [(i.subset, i.name, i.file_name) for i in found.images] == [
        ("train", "x.jpg", "train/x.jpg"), ("valid", "x.jpg", "valid/x.jpg"),
    ]  # fmt: skip
    assert found.annotations.image_id.tolist() == [1, 2]


def test_fiftyones_splits_are_subsets(tmp_path):
    one = {**COCO, "annotations": [BOX]}
    put(tmp_path, train__labels=one, val__labels=one)
    for split in ("train", "val"):
        (tmp_path / split / "labels").rename(tmp_path / split / "labels.json")
        (tmp_path / split / "data").mkdir()
        (tmp_path / split / "data" / "a.jpg").touch()
    found = read(tmp_path)
    assert [(i.subset, i.file_name) for i in found.images] == [
        ("train", "train/data/a.jpg"), ("val", "val/data/a.jpg"),
    ]  # fmt: skip
    single = read(tmp_path / "train")
    assert single.root.endswith("train/data")
    assert single.images[0].file_name == "a.jpg"


def test_files_of_one_folder_are_subsets_by_name(tmp_path):
    put(tmp_path, **{"annotations__train.json": COCO, "annotations__val.json": COCO})
    assert [image.subset for image in read(tmp_path).images] == ["train", "val"]


def test_boxes_that_look_normalised_are_told(parse):
    (said,) = parse(annotations=[{**BOX, "bbox": [0.1, 0.1, 0.2, 0.3]}]).notes
    assert "no annotation reaches beyond the first pixel or two" in said


def test_where_none_of_the_pictures_is_there_it_is_told(parse, tmp_path):
    (tmp_path / "b.jpg").touch()
    assert "1 of 1 pictures are not there, the first 'a.jpg'" in parse().notes[0]
    (tmp_path / "b.jpg").unlink()
    assert not parse().notes


def test_many_files_are_all_read_whatever_lies_beside_each_picture(tmp_path):
    for n in range(10):
        image = {"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 80}
        fold = {**COCO, "images": [image], "annotations": [{**BOX, "image_id": n}]}
        put(tmp_path, **{f"annotations__fold{n}.json": fold, f"images__{n}.json": {"shapes": []}})
        (tmp_path / f"images/{n}.jpg").touch()
    found = read(tmp_path)
    assert len(found.annotations) == 10
    assert {image.subset for image in found.images} == {f"fold{n}" for n in range(10)}
