"""Do scores mean what they say: against hotcoco's figures, and on boxes with a known answer."""

import numpy as np
import pytest

from quorate.detections import Detections
from quorate.evaluation.coco import _hotcoco
from quorate.evaluation.reliability import Judged, Reliability, log_loss
from quorate.evaluation.truth import Frame, ScoredBoxes, TruthBoxes
from tests.evaluation import example, made


@pytest.mark.parametrize("seed", range(4))
def test_ece_is_hotcocos(seed):
    truth, found = made.random_case(seed, crowds=False)
    frame = Frame.of(truth)
    theirs = _hotcoco(ScoredBoxes.of(found, frame), TruthBoxes.of(truth, frame), frame)
    theirs.evaluate()
    expected = theirs.calibration(n_bins=10, iou_threshold=0.5)
    judged = Judged.of(found, truth)
    ours = Reliability.of(judged.score, judged.right)
    assert ours.boxes == expected["num_detections"]
    assert ours.ece == pytest.approx(expected["ece"], abs=1e-6)
    for mine, other in zip(ours.bins, [b for b in expected["bins"] if b["count"]], strict=True):
        assert mine.boxes == other["count"]
        assert mine.score == pytest.approx(other["avg_confidence"], abs=1e-6)
        assert mine.right == pytest.approx(other["avg_accuracy"])


def test_one_object_makes_one_box_right():
    truth = made.dataset([1], [1], [[0, 0, 10, 10]], images=[1, 2])
    found = Detections.build(
        image_id=[1, 1, 1, 2],
        category_id=[1, 1, 2, 1],
        xyxy=[[0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]],
        score=[0.9, 0.8, 0.7, 0.6],
        detectors=["made"],
    )
    judged = Judged.of(found, truth)
    assert judged.score.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert judged.right.tolist() == [True, False, False, False]


def test_boxes_on_crowds_are_not_judged():
    truth = made.dataset([1], [1], [[0, 0, 10, 10]], iscrowd=[True])
    found = Detections.build(
        image_id=[1], category_id=1, xyxy=[[0, 0, 10, 10]], score=0.9, detectors=["made"]
    )
    assert not len(Judged.of(found, truth))


def test_perfect_and_empty():
    score = np.array([0.0, 1.0, 1.0])
    assert Reliability.of(score, score > 0.5).ece == 0
    nothing = Reliability.of(np.zeros(0), np.zeros(0, dtype=bool))
    assert nothing.ece is None
    assert nothing.bins == ()
    assert log_loss(np.array([0.0]), np.array([True]))[0] < 20  # finite


def test_the_report_has_a_curve_for_each_detector():
    page = example.rendered(example.report(12, on_the_wall=0))
    assert page.count('class="chart reliability"') == 4
    assert "What scores mean" in page
    assert "What scores mean" not in example.rendered(example.report(4, on_the_wall=0, bare=True))
