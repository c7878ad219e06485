"""Masks of COCO results, as frameworks write them, in and out."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import FormatError
from quorate.formats import read_detections
from quorate.formats.coco.results_writing import write_results
from quorate.labels import Labels
from quorate.masks import Masks

PIXELS = np.random.default_rng(0).random((3, 12, 17)) < 0.5


def segmentation(pixels):
    rle = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def plain(pixels):
    return {"size": list(pixels.shape), "counts": Masks.from_bitmaps(pixels[None]).runs.tolist()}


def rows(*segmentations, **more):
    return [
        {"image_id": 7, "category_id": 2, "score": 0.5, "bbox": [1, 2, 3, 4], "segmentation": one}
        | more
        for one in segmentations
    ]


def put(path, found):
    path.write_text(json.dumps(found))
    return str(path)


def test_run_lengths_of_every_kind_are_read(tmp_path):
    # mmdetection's `.segm.json` and detectron2's `coco_instances_results.json` have bbox and
    # compressed counts; a detector beside them may have boxes alone.
    found = rows(segmentation(PIXELS[0]), plain(PIXELS[1]), None, [], segmentation(PIXELS[2]))
    file = read_detections(put(tmp_path / "a.segm.json", found))
    masks = file.detections.masks
    assert masks.there.tolist() == [True, True, False, False, True]
    for row, pixels in zip((0, 1, 4), PIXELS, strict=True):
        assert np.array_equal(masks.bitmap(row), pixels)
    assert file.notes == ()


def test_a_mask_stands_for_a_bbox_that_is_missing(tmp_path):
    found = rows(segmentation(PIXELS[0]))
    del found[0]["bbox"]
    file = read_detections(put(tmp_path / "a.json", found))
    x, y, w, h = coco.toBbox(segmentation(PIXELS[0])).tolist()
    assert file.detections.xyxy.tolist() == [[x, y, x + w, y + h]]
    del found[0]["segmentation"]
    with pytest.raises(FormatError, match="detection 1 has neither bbox nor mask"):
        read_detections(put(tmp_path / "b.json", found))


def test_polygons_are_counted(tmp_path):
    file = read_detections(put(tmp_path / "a.json", rows([[0, 0, 4, 0, 4, 4]], None)))
    assert file.detections.masks is None
    assert "1 segmentations are polygons, left out" in file.notes[0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "detection 2, its mask: its run lengths add up to 3"),
        ({"size": [2, 2], "counts": "o"}, "detection 2, its mask: its compressed run lengths end"),
        ({"size": [2, 2], "counts": 5}, "detection 2 has a segmentation that is none"),
        ({"counts": "4"}, "detection 2 has a segmentation that is none"),
    ],
)
def test_a_mask_that_is_none_is_named(tmp_path, bad, said):
    with pytest.raises(FormatError, match=said):
        read_detections(put(tmp_path / "a.json", rows(plain(PIXELS[0]), bad)))


def test_a_mask_of_another_size_than_its_picture_is_named(tmp_path):
    dataset = Dataset("", (Image(7, "a.jpg", 17, 13),), Labels(("cat",), (2,)))
    with pytest.raises(FormatError, match="detection 1 is of 17x12 pixels, its picture of 17x13"):
        read_detections(put(tmp_path / "a.json", rows(plain(PIXELS[0]))), dataset=dataset)


def test_what_is_written_is_read_by_pycocotools_and_by_us(tmp_path):
    masks = Masks.concat([Masks.from_bitmaps(PIXELS), 1])
    detections = Detections.build(
        image_id=[1, 1, 2, 2],
        category_id=3,
        xyxy=np.tile([0, 0, 5, 5], (4, 1)),
        score=[0.9, 0.8, 0.7, 0.6],
        detectors=("a",),
        masks=masks,
    )
    path = tmp_path / "out.json"
    write_results(detections, str(path))
    told = json.loads(path.read_text())
    for row in range(3):
        assert told[row]["segmentation"] == segmentation(PIXELS[row])
    assert "segmentation" not in told[3]
    again = read_detections(str(path), detector="a").detections
    assert again.to_arrow().equals(detections.to_arrow(), check_metadata=True)


SHOWN = Dataset("", (Image(7, "a.jpg", 30, 20), Image(8, "b.jpg", 0, 0)), Labels(("cat",), (2,)))
TRIANGLE, FLAT = [1.5, 2, 20, 3.2, 9, 18], [3, 1, 25, 1, 25, 7.5, 3, 7.5]


def pixels_of(*rings, height=20, width=30):
    rle = coco.merge(coco.frPyObjects(list(rings), height, width))
    return Masks.from_counts([rle["counts"]], [rle["size"]]).bitmap(0)


def test_polygons_are_drawn_as_pycocotools_does(tmp_path):
    random = np.random.default_rng(3)
    shapes = [
        [random.uniform(-9, 40, 2 * random.integers(3, 9)).round(2).tolist() for _ in range(rings)]
        for rings in (1, 1, 2, 3, 1)
    ]
    found = rows(*shapes, TRIANGLE, plain(pixels_of(FLAT)))  # one ring alone; run lengths
    file = read_detections(put(tmp_path / "a.json", found), dataset=SHOWN)
    assert file.notes == ()
    masks = file.detections.masks
    assert masks.size.tolist() == [[20, 30]] * 7
    for row, shape in enumerate([*shapes, [TRIANGLE], [FLAT]]):
        assert np.array_equal(masks.bitmap(row), pixels_of(*shape))


def test_a_mask_tells_how_large_its_picture_is(tmp_path):
    found = rows([TRIANGLE], plain(pixels_of(FLAT)), None)
    found += rows([TRIANGLE], image_id=8)
    file = read_detections(put(tmp_path / "a.json", found))
    assert np.array_equal(file.detections.masks.bitmap(0), pixels_of(TRIANGLE))
    assert file.detections.masks.there.tolist() == [True, True, False, False]
    assert "1 segmentations are polygons, left out because the size" in file.notes[0]
    assert "--images" in file.notes[0]


def test_a_polygon_stands_for_a_bbox_that_is_missing(tmp_path):
    found = rows([TRIANGLE, FLAT], plain(PIXELS[0]), bbox=None)
    file = read_detections(put(tmp_path / "a.json", found))
    x, y, w, h = coco.toBbox(segmentation(PIXELS[0])).tolist()
    assert file.detections.xyxy.tolist() == [[1.5, 1, 25, 18], [x, y, x + w, y + h]]


def test_polygons_of_normalised_boxes_are_left_out(tmp_path):
    found = rows([[0, 0, 0.5, 0, 0.5, 0.5]], bbox=[0, 0, 0.5, 0.5])
    file = read_detections(put(tmp_path / "a.json", found), dataset=SHOWN)
    assert file.detections.masks is None
    assert (
        "1 segmentations are polygons, left out because its boxes are normalised" in (file.notes[0])
    )


def test_a_ring_of_two_points_encloses_nothing(tmp_path):
    found = rows([[1, 2, 3, 4]], [[1, 2, 3, 4], TRIANGLE], [[], []])
    file = read_detections(put(tmp_path / "a.json", found), dataset=SHOWN)
    assert file.detections.masks.there.tolist() == [False, True, False]
    assert np.array_equal(file.detections.masks.bitmap(1), pixels_of(TRIANGLE))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "detection 2 has a polygon with an odd number"),
        ([[1, 2, 3, 4, 5e6, 6]], "detection 2 has a polygon that reaches further than any"),
        ([[1, 2, 3, 4, 1e400, 6]], "detection 2 has a segmentation that is none"),
        ([[1, 2, None, 4, 5, 6]], "detection 2 has a segmentation that is none"),
        ("polygon", "detection 2 has a segmentation that is none"),
    ],
)
def test_a_polygon_that_is_none_is_named(tmp_path, bad, said):
    text = json.dumps(rows(TRIANGLE, bad)).replace("Infinity", "1e400")
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        read_detections(str(path))


def test_polygons_of_a_large_file_keep_their_rows(tmp_path):
    found = [{"image_id": 7, "category_id": 2, "score": 0.5, "bbox": [1, 2, 3, 4]}] * 30_000
    found = [*found, *rows([TRIANGLE]), *found, *rows([FLAT])]
    file = read_detections(put(tmp_path / "a.json", found), dataset=SHOWN)
    assert np.flatnonzero(file.detections.masks.there).tolist() == [30_000, 60_001]
    assert np.array_equal(file.detections.masks.bitmap(60_001), pixels_of(FLAT))
