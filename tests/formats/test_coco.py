import json

import numpy as np
import pytest
from hypothesis import given, settings

from quorate.annotations import Annotations, Kind
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.errors import FormatError, QuorateError
from quorate.formats import read, write
from quorate.labels import Labels
from quorate.masks import shapes as masks
from quorate.storage import open_tree
from tests.formats.oracle import boxes_by_datumaro
from tests.formats.samples import datasets, read_summaries, same, sample, summary, truth

COCO = {
    "info": {"year": 2026},
    "licenses": [{"id": 1, "name": "CC0"}],
    "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 80}],
    "categories": [{"id": 3, "name": "car", "supercategory": "thing"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}],
}


@pytest.fixture
def parse(tmp_path):
    def parse(what, **changes):
        data = json.dumps({**what, **changes}) if isinstance(what, dict) else what
        path = tmp_path / "instances.json"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(path)

    return parse


def test_a_bare_file_keeps_ids_licences_and_what_is_missing(parse):
    found = parse(COCO)
    assert found.images == (Image(id=7, file_name="a.jpg", width=100, height=80),)
    assert found.labels == Labels(names=("car",), ids=(3,))
    assert found.annotations.xyxy.tolist() == [[1, 2, 4, 6]]
    assert np.isnan(found.annotations.area).all()
    assert found.info["licenses"] == COCO["licenses"]
    assert found.label_info["car"].supercategory == "thing"


def test_ids_that_are_text_are_numbered_and_kept(parse):
    images = [{"id": f"im-{i}", "file_name": f"{i}.jpg"} for i in (5, 3)]
    shapes = [{"id": 1, "image_id": "im-3", "category_id": 3, "bbox": [1, 2, 3, 4]}]
    found = parse(COCO, images=images, annotations=shapes)
    assert [(i.id, i.source_id) for i in found.images] == [(1, "im-5"), (2, "im-3")]
    assert found.annotations.image_id.tolist() == [2]


def test_an_export_of_cvat_is_what_was_put_into_it():
    found = read(sample("task-a.cvat-2.15.coco-1.0"))
    put = {
        name: {summary(s | {"z_order": 0, "source": "file"}) for s in shapes if not s.get("group")}
        for name, shapes in truth("task-a").items()
    }

    def plain(shapes):  # COCO turns the checkbox into a boolean and the score into a number
        return {
            (*shape[:-1], tuple((k, str(v).lower()) for k, v in shape[-1] if k != "score"))
            for shape in shapes
            if shape[1] in (Kind.BOX, Kind.MASK)
        }

    missing = {
        name: plain(shapes) - plain(read_summaries(found)[name]) for name, shapes in put.items()
    }
    unsent = missing.pop("cam1/front gate 01.jpg")  # the box that was sent without attributes
    assert {shape[-1] for shape in unsent} == {()}
    assert not any(missing.values())
    score = found.annotations.numbers("score")
    assert np.nanmax(score) == 1.0


def test_the_subsets_of_a_project_are_one_data_set():
    found = read(sample("project-b.cvat-2.15.coco-1.0.images"))
    assert [image.subset for image in found.images] == ["Train"] * 3 + ["Validation"] * 3
    assert len({image.id for image in found.images}) == 6
    assert "'images/shared.jpg'" in found.notes[0]


def test_segmentations_become_polygons_and_masks(parse):
    runs = {"counts": [0, 2, 8, 2, 18], "size": [10, 3]}
    from pycocotools import mask as oracle

    packed = oracle.frPyObjects(runs, 10, 3)
    found = parse(
        COCO,
        images=[{"id": 7, "file_name": "a.jpg"}],
        annotations=[
            {"image_id": 7, "category_id": 3, "segmentation": s}
            for s in (
                [[1, 1, 5, 1, 5, 6]],
                [[1, 1, 5, 1, 5, 6], [10, 10, 12, 10, 12, 12]],
                runs,
                {"counts": packed["counts"].decode(), "size": [10, 3]},
            )
        ],
    ).annotations
    assert found.kind.tolist() == [Kind.POLYGON] * 2 + [Kind.MASK] * 2
    assert found.xyxy.tolist() == [[1, 1, 5, 6], [1, 1, 12, 12], [0, 0, 2, 2], [0, 0, 2, 2]]
    assert np.isnan(found.points[1][6:8]).all()
    assert found.points[2].tolist() == found.points[3].tolist() == [0, 4]


@given(datasets(kinds=(Kind.BOX, Kind.POLYGON, Kind.MASK)))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, dataset):
    target = tmp_path_factory.mktemp("coco") / "out.json"
    result = write(dataset, dataset.annotations, target, format="coco")
    assert result.notes == []
    found = read(target)
    same(dataset.annotations, found.annotations, but=("z_order",))
    assert [i.name for i in found.images] == [i.name for i in dataset.images]
    assert np.allclose(
        dataset.annotations.numbers("score"), found.annotations.numbers("score"), equal_nan=True
    )


@given(datasets(kinds=(Kind.MASK,), attributes=False))
@settings(max_examples=20, deadline=None)
def test_masks_are_those_of_pycocotools(dataset):
    from pycocotools import mask as oracle

    sizes = dict.fromkeys(dataset.annotations.image_id.tolist(), (640, 480))
    drawn = dataset.annotations.to_masks(sizes)
    for row in range(len(dataset.annotations)):
        counts = drawn.runs[drawn.offsets[row] : drawn.offsets[row + 1]].tolist()
        packed = oracle.frPyObjects({"counts": counts, "size": [480, 640]}, 480, 640)
        box, runs = masks.from_coco(packed["counts"].decode(), [480, 640], place="here")
        assert runs.tolist() == dataset.annotations.points[row].tolist()
        x, y, w, h = oracle.toBbox(packed).tolist()
        assert box == (x, y, x + w, y + h)


def test_cvats_seven_keys_are_there(tmp_path):
    shapes = Annotations.build(
        image_id=[1, 1, 1],
        category_id=[1, 1, 1],
        kind=[Kind.BOX, Kind.ELLIPSE, Kind.TAG],
        xyxy=[[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 0, 0]],
        sources=("auto",),
        attributes={"score": np.array([0.5, 1, 1], dtype=np.float32)},
    )
    dataset = Dataset("", (Image(1, "a.jpg", 8, 8),), Labels.from_names(("car",)))
    result = write(dataset, shapes, tmp_path, format="coco")
    told = json.loads((tmp_path / "annotations/instances_default.json").read_text())
    assert {"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"} <= set(
        told["annotations"][0]
    )
    assert told["annotations"][0]["score"] == 0.5
    assert told["annotations"][0]["attributes"]["source"] == "auto"
    assert told["annotations"][1]["iscrowd"] == 0  # an object, though its pixels are run lengths
    assert sum(told["annotations"][1]["segmentation"]["counts"]) == 64
    assert len(told["annotations"]) == 2
    assert result.notes[0].startswith("COCO: 1 tags")


def test_datumaro_reads_the_same_boxes(tmp_path):
    source = read(sample("project-b.cvat-2.15.cvat-for-images-1.1.images"))
    write(source, source.annotations, tmp_path, format="coco")
    with open_tree(source.root) as tree:
        for image in source.images:  # datumaro reads no COCO without pictures
            path = tmp_path / "images" / image.subset / image.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tree.read(image.file_name))
    names = {image.id: image.name[:-4] for image in source.images}
    labels = {i: n for n, i in zip(source.labels.names, source.labels.ids, strict=True)}
    shapes = source.annotations
    assert boxes_by_datumaro(tmp_path, "coco_instances") == {
        (names[i], labels[c], *box)
        for i, c, box in zip(
            shapes.image_id.tolist(), shapes.category_id.tolist(), shapes.xyxy.tolist(), strict=True
        )
    }


SHAPE = COCO["annotations"][0]
BAD = {
    "dangling": ({"annotations": [{**SHAPE, "image_id": 99}]}, "annotation 1 is of picture 99"),
    "category": ({"annotations": [{**SHAPE, "category_id": 9}]}, "annotation 1 is of category 9"),
    "inverted": ({"annotations": [{**SHAPE, "bbox": [9, 9, -4, 2]}]}, "is inverted"),
    "short box": ({"annotations": [{**SHAPE, "bbox": [9, 9, 4]}]}, "bbox of 3 numbers"),
    "same id": ({"images": COCO["images"] * 2}, "two pictures have the id 7"),
    "same name": (
        {"images": [*COCO["images"], {"id": 8, "file_name": "a.jpg"}]},
        "two pictures are named 'a.jpg'",
    ),
    "outside": ({"images": [{"id": 7, "file_name": "../../etc/passwd"}]}, "outside its root"),
    "no name": ({"images": [{"id": 7}]}, "file_name"),
    "odd polygon": ({"annotations": [{**SHAPE, "segmentation": [[1, 2, 3]]}]}, "odd number"),
    "huge mask": (
        {"annotations": [{**SHAPE, "segmentation": {"counts": [1], "size": [1 << 20, 1 << 20]}}]},
        "a mask of size",
    ),
    "runs": (
        {"annotations": [{**SHAPE, "segmentation": {"counts": [3], "size": [2, 2]}}]},
        "add up to 3, not to the 4",
    ),
}


@pytest.mark.parametrize(("changes", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(parse, changes, said):
    with pytest.raises(QuorateError) as caught:
        parse(COCO, **changes)
    assert said in str(caught.value)
    assert "instances.json" in str(caught.value)


def test_nan_is_not_json_and_a_truncated_file_says_where(parse):
    with pytest.raises(FormatError, match=r"not JSON .*byte"):
        parse(json.dumps({**COCO, "annotations": [{**SHAPE, "bbox": [float("nan")] * 4}]}))
    text = json.dumps(COCO)[:-30]
    with pytest.raises(FormatError, match=f"truncated: it ends at byte {len(text)}"):
        parse(text)
    with pytest.raises(FormatError):
        parse(b"")


def test_the_area_of_a_polygon_is_its_own(tmp_path):
    shape = Annotations.build(
        image_id=[1],
        category_id=[1],
        kind=Kind.POLYGON,
        xyxy=[[0, 0, 4, 4]],
        points=Ragged.of([[0, 0, 4, 0, 4, 4]]),
    )
    dataset = Dataset("", (Image(1, "a.jpg"),), Labels.from_names(("car",)))
    write(dataset, shape, tmp_path / "o.json", format="coco")
    assert read(tmp_path / "o.json").annotations.area.tolist() == [8]


def scored(path, *annotations):
    told = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], **one} for one in annotations
        ],
    }
    path.write_text(json.dumps(told))
    return read(path)


def test_the_score_is_written_as_confidence_too_and_read_once(tmp_path):
    found = scored(tmp_path / "a.json", {"score": 0.25}, {})
    write(found, found.annotations, tmp_path / "b.json", format="coco")
    first, second = json.loads((tmp_path / "b.json").read_text())["annotations"]
    assert first["score"] == first["attributes"]["confidence"] == 0.25
    assert "score" not in first["attributes"]
    assert "score" not in second
    assert "confidence" not in second["attributes"]
    again = read(tmp_path / "b.json").annotations
    assert list(again.attributes) == ["score"]
    assert again.numbers("score").tolist()[0] == 0.25


def test_the_confidence_counts_where_cvat_keeps_a_score_of_its_own(tmp_path):
    found = scored(tmp_path / "a.json", {"score": 1.0, "attributes": {"confidence": "0.25"}})
    assert found.annotations.numbers("score").tolist() == [0.25]
    assert list(found.annotations.attributes) == ["score"]


@pytest.mark.parametrize(
    ("one", "score"),
    [
        ({"attributes": {"score": "0.9"}}, 0.9),  # as files of earlier versions have it
        ({"score": 0.9, "attributes": {"confidence": "high"}}, 0.9),
        ({"score": 0.9, "attributes": {"confidence": 0.4}}, 0.9),
        ({"score": 0.9, "attributes": {"confidence": 7}}, 0.9),
    ],
)
def test_an_attribute_of_somebody_elses_stays(tmp_path, one, score):
    shapes = scored(tmp_path / "a.json", one).annotations
    assert shapes.numbers("score").tolist() == [score]
    others = {"confidence"} if "confidence" in one["attributes"] else set()
    assert set(shapes.attributes) == {"score"} | others
    found = read(tmp_path / "a.json")
    write(found, shapes, tmp_path / "b.json", format="coco")
    told = json.loads((tmp_path / "b.json").read_text())["annotations"][0]
    if others:
        assert told["attributes"]["confidence"] == one["attributes"]["confidence"]


@pytest.mark.parametrize("keypoints", [None, 2, 0])
def test_keypoints_alone_are_told(tmp_path, keypoints):
    """As CVAT writes a task of boxes into 'COCO Keypoints 1.0': all pictures, no annotation."""
    objects = [] if keypoints is None else [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4],
                                             "num_keypoints": keypoints}]  # fmt: skip
    whole = {"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}],
             "categories": [{"id": 1, "name": "car", "keypoints": [], "skeleton": []}],
             "annotations": objects}  # fmt: skip
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/person_keypoints_default.json").write_text(json.dumps(whole))
    told = [note for note in read(tmp_path).notes if "skeletons and nothing else" in note]
    assert bool(told) == (keypoints != 0)
    if told:
        assert f"holds {len(objects)} skeletons" in told[0]
        assert "they are in 'COCO 1.0'" in told[0]
