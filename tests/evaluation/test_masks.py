"""AP of masks: hotcoco's numbers, which are those of pycocotools."""

from dataclasses import replace

import numpy as np
import pytest

from quorate.annotations import Annotations, Kind
from quorate.cli import main
from quorate.columns import Ragged
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.evaluation.coco import evaluate
from quorate.formats import write
from quorate.formats.coco.results_writing import write_results
from quorate.labels import Labels
from quorate.masks import Masks

SIZE = (150, 200)  # height, width


def disc(x, y, radius):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def case(seed):
    """Discs as truth, told in every way; found are some of them, moved and resized, and others."""
    random = np.random.default_rng(seed)
    n = 30
    places = np.column_stack([random.uniform(0, SIZE[1], n), random.uniform(0, SIZE[0], n),
                              random.uniform(3, 70, n)])  # fmt: skip
    image, category = random.integers(1, 5, n), random.integers(1, 3, n)
    dataset = Dataset(
        "",
        tuple(Image(i, f"{i}.jpg", SIZE[1], SIZE[0]) for i in range(1, 6)),
        Labels.from_names(("cat", "dog")),
    )
    masks = Masks.from_bitmaps(np.array([disc(*place) for place in places]))
    found = Detections.build(
        image_id=image, category_id=category, xyxy=masks.measured().box, score=1,
        detectors=("truth",), masks=masks,
    )  # fmt: skip
    forms = ("mask", "polygon", "box")
    part = random.integers(0, 3, n)
    truth = Annotations.concat(
        [
            Annotations.from_detections(found.take(part == i), masks=form, attributes=())
            for i, form in enumerate(forms)
        ]
    )
    crowd = random.random(n) < 0.1
    area = np.where(random.random(n) < 0.5, np.nan, truth.area)
    truth = replace(truth, iscrowd=crowd, area=area)
    some = random.random(n) < 0.8
    moved = [disc(*(place + random.normal(0, 3, 3))) for place in places[some]]
    moved += [disc(*place[[1, 0, 2]]) for place in places[::5]]
    pixels = Masks.from_bitmaps(np.array(moved))
    score = random.random(len(moved)).round(2)
    kinds = np.concatenate([category[some], category[::5]])
    where = np.concatenate([image[some], image[::5]])
    without = random.random(len(moved)) < 0.2  # a detector of boxes may be among them
    order = np.where(without, len(moved), np.arange(len(moved)))
    result = Detections.build(
        image_id=where, category_id=kinds, xyxy=pixels.measured().box, score=score,
        detectors=("a",), masks=Masks.concat([pixels, 1]).take(order),
    )  # fmt: skip
    return replace(dataset, annotations=truth), result


@pytest.mark.parametrize("seed", range(6))
def test_all_numbers_are_those_of_pycocotools(seed):
    truth, found = case(seed)
    ours = evaluate(found, truth, iou_type="segm")
    theirs = evaluate(found, truth, iou_type="segm", backend="pycocotools")
    assert 0 < ours.ap < 1
    assert ours.statistics() == theirs.statistics()
    assert ours.categories == theirs.categories
    assert ours.ap != evaluate(found, truth).ap


def test_nothing_found_and_nothing_to_find():
    truth, found = case(0)
    for boxes in (found.take(slice(0)), Detections.empty(("a",))):
        ours = evaluate(boxes, truth, iou_type="segm")
        assert ours.ap == 0
        assert (
            ours.statistics()
            == evaluate(boxes, truth, iou_type="segm", backend="pycocotools").statistics()
        )


def test_a_picture_of_unknown_size_is_named():
    truth, found = case(0)
    unknown = replace(truth, images=tuple(Image(i, f"{i}.jpg") for i in range(1, 6)))
    with pytest.raises(InputError, match="the size of 4 pictures is not known"):
        evaluate(found, unknown, iou_type="segm")
    other = replace(
        found, masks=Masks.concat([Masks.from_bitmaps(np.ones((1, 2, 2))), len(found) - 1])
    )
    with pytest.raises(InputError, match="is of 2x2 pixels, the picture of 200x150"):
        evaluate(other, truth, iou_type="segm")


def test_the_command_compares_masks(tmp_path, capsys):
    truth, found = case(1)
    truth = replace(truth, annotations=replace(truth.annotations, iscrowd=np.zeros(30, bool)))
    write(truth, truth.annotations, tmp_path / "truth", format="cvat")
    write_results(found, str(tmp_path / "found.json"))
    seen = {}
    for kind in ("bbox", "segm"):
        out = tmp_path / f"{kind}.json"
        main(["evaluate", str(tmp_path / "found.json"), "--truth", str(tmp_path / "truth"),
              "--iou-type", kind, "--out", str(out)])  # fmt: skip
        seen[kind] = out.read_text()
    assert seen["bbox"] != seen["segm"]


def test_shapes_without_pixels_are_their_boxes():
    truth = Dataset(
        "",
        (Image(1, "1.jpg", 20, 20),),
        Labels.from_names(("cat",)),
        annotations=Annotations.build(
            image_id=[1, 1], category_id=1, kind=[Kind.MASK, Kind.BOX],
            xyxy=[[0, 0, 10, 10], [10, 10, 20, 20]], points=Ragged.nothing(2),
        ),
    )  # fmt: skip
    found = Detections.build(
        image_id=[1, 1], category_id=1, xyxy=[[0, 0, 10, 10], [10, 10, 20, 20]], score=[1, 0.5],
        detectors=("a",),
    )  # fmt: skip
    assert evaluate(found, truth, iou_type="segm").ap == 1
