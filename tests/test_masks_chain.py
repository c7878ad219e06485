"""Masks through the whole chain: an ONNX model's pixels, to what a labeller edits."""

import json

import numpy as np
import pytest

from quorate.annotations import Kind
from quorate.detections import Detections
from quorate.detectors.onnx.spec import OnnxDetector
from quorate.ensemble import DetectionEnsemble
from quorate.formats import read
from quorate.spec import Consensus, Publish
from quorate.steps import Work
from tests.detectors import models
from tests.spots import Spots, pool, rectangles

SIZES = dict.fromkeys(range(100), (64, 48))


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return tuple(
        OnnxDetector(
            name=name, kind="onnx",
            weights=models.segments(folder / f"{name}.onnx", level=level, score=score),
        )
        for name, level, score in (("a", -0.2, 0.9), ("b", 0.0, 0.8), ("c", 0.4, 0.7))
    )  # fmt: skip


def run(tmp_path, detectors, out="out", **more):
    if not (tmp_path / "pool").exists():
        pool(tmp_path / "pool", 4)
    ensemble = DetectionEnsemble(
        name="masks", data=str(tmp_path / "pool"), detectors=detectors, **more
    )
    return ensemble.run(out=tmp_path / out)


def truth(name):
    """The red and the green pixels of a picture of the pool."""
    pixels = np.zeros((2, 48, 64), dtype=bool)
    for label, (x1, y1, x2, y2) in enumerate(rectangles(int(name[-8:-4]), 64, 48)):
        pixels[label, y1:y2, x1:x2] = True
    return pixels


def overlaps(dataset):
    """IoU of every published shape with what was painted."""
    masks = dataset.annotations.to_masks(SIZES)
    names = {image.id: image.name for image in dataset.images}
    words = dataset.labels.name_of
    found = []
    for row, (image_id, category) in enumerate(
        zip(dataset.annotations.image_id, dataset.annotations.category_id, strict=True)
    ):
        painted = truth(names[int(image_id)])[("red", "green").index(words(int(category)))]
        drawn = masks.bitmap(row)
        found.append((drawn & painted).sum() / (drawn | painted).sum())
    return found


@pytest.mark.parametrize("form", ["mask", "polygon"])
def test_masks_reach_every_format(tmp_path, detectors, form):
    publish = Publish(formats=("cvat", "coco", "voc", "yolo"), masks=form, report=False)
    summary = run(tmp_path, detectors, publish=publish)
    assert summary.published == 8
    kind = Kind.MASK if form == "mask" else Kind.POLYGON
    for name in ("cvat", "coco"):
        back = read(tmp_path / "out" / name)
        assert (back.annotations.kind == kind).all()
        assert min(overlaps(back)) > 0.75
        assert back.annotations.numbers("score") == pytest.approx([0.8] * 8, abs=1e-6)
        assert back.annotations.numbers("votes").tolist() == [3.0] * 8
    xml = (tmp_path / "out/cvat/annotations.xml").read_text()
    assert xml.count(f"<{form} ") == 8
    assert xml.count('<attribute name="votes">3</attribute>') == 8
    coco = json.loads((tmp_path / "out/coco/annotations/instances_default.json").read_text())
    for one in coco["annotations"]:
        assert one["iscrowd"] == 0
        assert one["area"] > 50
    lines = (tmp_path / "out/yolo/labels/north/0001.txt").read_text().split("\n")
    assert (len(lines[0].split()) == 5) == (form == "mask")


def test_a_polygon_has_no_more_corners_than_a_person_can_edit(tmp_path, detectors):
    for tolerance, most in ((0.0, 60), (1.5, 12)):
        publish = Publish(formats=("cvat",), masks="polygon", tolerance=tolerance, report=False)
        run(tmp_path, detectors, out=f"out-{tolerance}", publish=publish)
        shapes = read(tmp_path / f"out-{tolerance}/cvat").annotations
        assert shapes.points.lengths.max() / 2 <= most


def test_the_order_of_detectors_and_shards_changes_no_byte(tmp_path, detectors):
    publish = Publish(report=False)
    run(tmp_path, detectors, out="one", publish=publish)
    run(tmp_path, detectors[::-1], out="two", publish=publish)
    for name in ("cvat/annotations.xml", "coco/annotations/instances_default.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_fused_mask_lies_between_the_smallest_and_the_largest(tmp_path, detectors):
    area = {}
    for rule in ("intersection", "majority", "union"):
        fusion = Consensus(masks=rule)
        publish = Publish(formats=("cvat",), report=False)
        run(tmp_path, detectors, out=rule, fusion=fusion, publish=publish)
        area[rule] = read(tmp_path / rule / "cvat").annotations.to_masks(SIZES).measured().area
    assert (area["intersection"] < area["majority"]).all()
    assert (area["majority"] < area["union"]).all()


def test_detectors_of_boxes_and_of_masks_vote_together(tmp_path, detectors):
    boxes = Spots(name="boxes", kind="spots")  # its boxes fit; the model's are the whole frame
    summary = run(
        tmp_path, (*detectors[:1], boxes), fusion=Consensus(iou=0.01), publish=Publish(report=False)
    )
    assert summary.votes == {"2": 8}
    assert (read(tmp_path / "out/cvat").annotations.kind == Kind.MASK).all()
    run(tmp_path, detectors[:1], out="boxed", publish=Publish(masks="box", report=False))
    assert (read(tmp_path / "boxed/cvat").annotations.kind == Kind.BOX).all()


def test_one_picture_has_the_masks_of_a_run(tmp_path, detectors):
    run(tmp_path, detectors, publish=Publish(report=False))
    work = Work(tmp_path / "out/work")
    fused = Detections.from_parquet(work.fused(0) / "detections.parquet")
    ensemble = DetectionEnsemble(
        name="masks", data=str(tmp_path / "pool"), detectors=detectors, labels=("red", "green")
    )
    images = work.images(0).images
    with ensemble.load(labels=work.images(0).labels) as loaded:
        found = loaded.look_many([tmp_path / "pool" / image.file_name for image in images])
    assert sum(map(len, found)) == len(fused) == 8
    for image, one in zip(images, found, strict=True):
        expected = fused.take(fused.image_id == image.id)
        drop = [boxes.to_arrow().drop_columns(["image_id"]) for boxes in (one, expected)]
        assert drop[0].equals(drop[1])
