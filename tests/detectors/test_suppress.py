import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detectors.tensors.suppress import suppress


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
