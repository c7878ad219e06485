"""What is odd about a detector's first boxes, and what is not."""

import numpy as np
import pytest

from quorate.detectors import Boxes
from quorate.detectors.sanity import causes, suspicions

SIZE = (100, 200)
LABELS = ("ant", "bee")
RNG = np.random.default_rng(0)


def boxes(xyxy, score=None, label=None):
    xyxy = np.asarray(xyxy, np.float32)
    score = RNG.uniform(0.1, 0.9, len(xyxy)) if score is None else np.full(len(xyxy), score)
    label = np.arange(len(xyxy)) % 2 if label is None else np.full(len(xyxy), label)
    return Boxes(xyxy, score.astype(np.float32), label.astype(np.int32))


def scattered(count=5):
    corner = RNG.uniform(5, 40, (count, 2))
    return np.concatenate([corner, corner + RNG.uniform(5, 40, (count, 2))], axis=1)


def seen(made, pictures=8):
    return suspicions([made() for _ in range(pictures)], [SIZE] * pictures, LABELS)


def test_boxes_of_all_kinds_are_nothing_to_speak_of():
    assert seen(lambda: boxes(scattered())) == []


@pytest.mark.parametrize("pictures", [1, 8])
def test_no_box_at_all(pictures):
    assert seen(Boxes.nothing, pictures) == ["it found no box"]
    assert suspicions([], [], LABELS) == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: boxes(scattered(), label=1), "have one label of 2"),
        (lambda: boxes(np.tile([[10, 10, 30, 30]], (5, 1))), "are of one size"),
        (lambda: boxes(scattered() * [0, 1, 1, 1]), "touch the picture's border"),
        (lambda: boxes(scattered(), score=1), "scores are 0 or 1"),
    ],
)
def test_each_oddity_is_said_once_there_are_enough_boxes(made, said):
    (sentence,) = seen(made)
    assert said in sentence
    assert seen(made, pictures=3) == []


def test_a_detector_of_one_label_finds_one_label():
    found = [boxes(scattered(), label=0) for _ in range(8)]
    assert suspicions(found, [SIZE] * 8, ("ant",)) == []


def test_causes_come_in_order():
    said = causes({"colours": "BGR 0..1", "input": "64x64, stretch", "layout": "yolox"})
    places = [said.index(word) for word in ("BGR 0..1", "`resize`", "`layout`")]
    assert places == sorted(places)
    assert "trained" in causes({})
