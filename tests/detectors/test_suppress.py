import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detectors.tensors.suppress import best_column, best_plane, suppress


def random_boxes(seed, count):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(1, 30, (count, 2))], axis=1)
    return xyxy.astype(np.float32), rng.integers(0, 3, count).astype(np.int32)


def greedy(xyxy, label, iou, most):
    keep = []
    for i in range(len(xyxy)):
        for j in keep:
            width = min(xyxy[i, 2], xyxy[j, 2]) - max(xyxy[i, 0], xyxy[j, 0])
            height = min(xyxy[i, 3], xyxy[j, 3]) - max(xyxy[i, 1], xyxy[j, 1])
            both = max(width, 0) * max(height, 0)
            areas = sum((xyxy[k, 2] - xyxy[k, 0]) * (xyxy[k, 3] - xyxy[k, 1]) for k in (i, j))
            if label[i] == label[j] and both / (areas - both) > iou:
                break
        else:
            keep.append(i)
    return keep[:most]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_the_best_of_overlapping_boxes_of_a_label_stays(seed, count, iou):
    xyxy, label = random_boxes(seed, count)
    assert suppress(xyxy, label, iou, 1000).tolist() == greedy(xyxy, label, iou, 1000)
    assert suppress(xyxy, label, iou, 5).tolist() == greedy(xyxy, label, iou, 5)


def test_opencv_keeps_the_same():
    xyxy, label = random_boxes(3, 200)
    score = np.linspace(1, 0.1, 200).astype(np.float32)
    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    theirs = cv2.dnn.NMSBoxesBatched(xywh.tolist(), score.tolist(), label.tolist(), 0.0, 0.45)
    assert suppress(xyxy, label, 0.45, 200).tolist() == sorted(np.ravel(theirs).tolist())


def test_an_overlap_just_at_the_threshold_stays():
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], dtype=np.float32)
    label = np.zeros(2, dtype=np.int32)
    assert suppress(xyxy, label, 0.5, 9).tolist() == [0, 1]
    assert suppress(xyxy, label, 0.49, 9).tolist() == [0]


def test_nothing_gives_nothing():
    nothing = np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.int32)
    assert suppress(*nothing, 0.5, 300).tolist() == []


def rows(scores, objectness):
    """As YOLOv5 writes them, with something after the scores."""
    written = np.zeros((len(scores), 5 + scores.shape[1] + 2), dtype=np.float32)
    written[:, 4] = objectness
    written[:, 5:-2] = scores
    written[:, -2:] = 9
    return written


@pytest.mark.parametrize("categories", [1, 2, 80])
def test_the_best_category_is_the_first_of_the_highest(categories):
    scores = np.random.default_rng(0).integers(0, 9, (categories, 100)).astype(np.float32) / 9
    best, label = best_plane(scores)
    assert np.array_equal(best, scores.max(axis=0))
    assert np.array_equal(label, scores.argmax(axis=0))
    best, label = best_column(rows(scores.T, 0.5), categories, 0.0)
    assert np.array_equal(best, scores.max(axis=0) * np.float32(0.5))
    assert np.array_equal(label, scores.argmax(axis=0))


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_score_that_is_no_number_is_not_passed_over(where):
    scores = np.full((3, 4), 0.3, dtype=np.float32)
    scores[where, 2] = np.nan
    for best, _ in (best_plane(scores), best_column(rows(scores.T, 1.0), 3, 0.1)):
        assert np.isnan(best).tolist() == [False, False, True, False]


def test_an_anchor_that_sees_no_object_is_not_looked_at():
    best, _ = best_column(rows(np.ones((2, 3)), [0.01, 0.6]), 3, 0.25)
    assert np.allclose(best, [0.01, 0.6])
