from dataclasses import replace

import numpy as np
import pytest

from quorate.annotations import Annotations, Kind
from quorate.dataset import Dataset, Image
from quorate.detections import Detections
from quorate.errors import InputError
from quorate.evaluation.coco import RECALLS, STATISTICS, CocoMetrics, evaluate
from quorate.labels import Labels
from tests.evaluation.made import dataset, random_case


def boxes(image_id, category_id, xyxy, score) -> Detections:
    return Detections.build(
        image_id=image_id, category_id=category_id, xyxy=xyxy, score=score, detectors=["one"]
    )


def assert_same(ours: CocoMetrics, reference: CocoMetrics) -> None:
    assert ours.statistics() == reference.statistics()
    assert ours.categories == reference.categories
    for name in ("precision50", "precision", "score50"):
        np.testing.assert_array_equal(
            getattr(ours.curves, name), getattr(reference.curves, name), err_msg=name
        )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_all_numbers_are_those_of_pycocotools(seed, ties):
    truth, found = random_case(seed, ties=ties)
    ours = evaluate(found, truth)
    assert 0 < ours.ap < 1
    assert_same(ours, evaluate(found, truth, backend="pycocotools"))


ADVERSARIAL = {
    "nothing found": ([], [], [], [], None),
    "zero-area boxes": ([1, 1], [1, 1], [[5, 5, 5, 9], [0, 0, 10, 10]], [0.9, 0.8], None),
    "touching edges": ([1], [1], [[10, 0, 20, 10]], [0.9], None),
    "the same box often": ([1] * 5, [1] * 5, [[0, 0, 10, 10]] * 5, [0.5] * 5, None),
    "only in a crowd": ([1, 1], [1, 1], [[0, 0, 10, 10], [2, 2, 9, 9]], [0.9, 0.9], [True, True]),
    "IoU of exactly .5": ([1], [1], [[0, 0, 10, 5]], [0.9], None),
    "outside the picture": ([1], [1], [[-50, -50, 10, 10]], [0.9], None),
    "more than a hundred": (
        [1] * 150,
        [1] * 150,
        [[i, 0, i + 10, 10] for i in range(150, 0, -1)],
        [0.5] * 150,
        None,
    ),
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_input_gives_the_numbers_of_pycocotools(case, capfd):
    *columns, crowd = ADVERSARIAL[case]
    truth = dataset([1, 2], [1, 2], [[0, 0, 10, 10]] * 2, images=[1, 2, 3], iscrowd=crowd)
    found = boxes(*columns)
    assert_same(evaluate(found, truth), evaluate(found, truth, backend="pycocotools"))
    assert capfd.readouterr() == ("", "")


def test_a_perfect_detector_scores_one_and_says_so_per_label():
    truth = dataset([1, 1, 2], [1, 2, 1], [[0, 0, 10, 10], [20, 20, 60, 60], [5, 5, 200, 200]])
    found = boxes([1, 1, 2], [1, 2, 1], truth.annotations.xyxy, [0.9, 0.8, 0.7])
    metrics = evaluate(found, truth)
    assert metrics.ap == pytest.approx(1.0)
    bolt, nut, washer = metrics.categories
    assert (bolt.ap, bolt.f1, bolt.objects, bolt.boxes) == pytest.approx((1, 1, 2, 2))
    assert bolt.score == pytest.approx(0.7)  # keeping less would lose a bolt
    assert nut.score == pytest.approx(0.8)
    assert (washer.ap, washer.f1, washer.score, washer.objects) == (None, None, None, 0)
    assert np.isnan(metrics.curves.precision50[2]).all()
    np.testing.assert_allclose(metrics.curves.mean50(), np.ones_like(RECALLS))


def test_areas_without_objects_have_no_figure():
    truth = dataset([1], [1], [[0, 0, 10, 10]])
    metrics = evaluate(boxes([1], [1], [[0, 0, 10, 10]], [1]), truth)
    assert metrics.ap_small == pytest.approx(1.0)
    assert metrics.ap_medium is None
    assert metrics.to_dict()["ap_large"] is None


def test_labels_keep_the_vocabularys_order_whatever_their_ids():
    labels = Labels(("second", "first"), (9, 2))
    truth = dataset([1, 1], [9, 2], [[0, 0, 10, 10], [50, 50, 70, 70]], labels=labels)
    metrics = evaluate(boxes([1], [2], [[50, 50, 70, 70]], [1]), truth)
    assert [(c.label, c.category_id) for c in metrics.categories] == [("second", 9), ("first", 2)]
    assert [c.ap for c in metrics.categories] == pytest.approx([0, 1])
    assert metrics.curves.precision50[1].max() == pytest.approx(1)


def test_a_picture_without_annotations_counts_as_one_without_objects():
    truth = dataset([1], [1], [[0, 0, 10, 10]], images=[1, 2])
    right = ([1, 2], [1, 1], [[0, 0, 10, 10], [0, 0, 10, 10]])
    assert evaluate(boxes(*right, [0.5, 0.9]), truth).ap < 1  # a sure box where nothing is
    assert evaluate(boxes(*right, [0.9, 0.5]), truth).ap == pytest.approx(1)


def test_nothing_at_all_has_no_figures():
    metrics = evaluate(Detections.empty(["one"]), dataset([], [], [], images=[]))
    assert set(metrics.statistics().values()) == {None}
    assert list(metrics.statistics()) == list(STATISTICS)


@pytest.mark.parametrize(
    ("image_id", "category_id", "words"),
    [(9, 1, "1 of 1 boxes have an image id"), (1, 9, "category id that the data set has not")],
)
def test_boxes_from_elsewhere_are_refused(image_id, category_id, words):
    with pytest.raises(InputError, match=words):
        evaluate(
            boxes([image_id], [category_id], [[0, 0, 1, 1]], [1]), dataset([1], [1], [[0, 0, 1, 1]])
        )


def test_shapes_count_with_the_box_around_them_and_tags_and_points_do_not():
    shapes = Annotations.build(
        image_id=[1, 1, 1],
        category_id=[1, 1, 1],
        kind=[Kind.TAG, Kind.BOX, Kind.POINTS],
        xyxy=[[0, 0, 0, 0], [10, 0, 30, 20], [5, 5, 6, 6]],
        rotation=[0, 45, 0],
    )
    truth = replace(dataset([1], [1], [[0, 0, 1, 1]]), annotations=shapes)
    half = 20 / np.sqrt(2)
    turned = [[20 - half, 10 - half, 20 + half, 10 + half]]
    metrics = evaluate(boxes([1], [1], turned, [1]), truth)
    assert metrics.objects == 1
    assert metrics.ap == pytest.approx(1)


def test_a_data_set_without_truth_is_refused():
    bare = Dataset("here", (Image(id=1, file_name="a.jpg"),), Labels.from_names(["bolt"]))
    with pytest.raises(InputError, match="no annotations"):
        evaluate(Detections.empty(), bare)
