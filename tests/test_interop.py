"""Boxes of other libraries, with supervision itself."""

import numpy as np
import pytest

from quorate import (  # fmt: skip
    Consensus,
    Detections,
    Labels,
    from_supervision,
    fuse,
    fuse_boxes,
    to_supervision,
)
from quorate.errors import InputError
from quorate.interop import array_of
from quorate.spec import WeightedBoxesFusion

supervision = pytest.importorskip("supervision")

A = np.array([[10, 10, 30, 30], [100, 100, 120, 130]], dtype=np.float32)
B = np.array([[11, 10, 31, 30]], dtype=np.float32)


class Tensor:
    """What torch's tensors ask for: no array before detach and cpu."""

    def __init__(self, values, ready=()):
        self.values, self.ready = values, ready

    def detach(self):
        return Tensor(self.values, ("detach",))

    def cpu(self):
        return Tensor(self.values, (*self.ready, "cpu"))

    def __array__(self, dtype=None, copy=None):
        assert self.ready == ("detach", "cpu"), "torch raises here"
        return np.asarray(self.values, dtype=dtype)


def two():
    return {
        "a": supervision.Detections(A, confidence=np.array([0.9, 0.6]), class_id=np.array([3, 5])),
        "b": supervision.Detections(B, confidence=np.array([0.8]), class_id=np.array([3])),
    }


def test_supervision_in_and_out():
    fused = fuse(from_supervision(two()), Consensus())
    back = to_supervision(fused, labels=Labels(names=("car", "bus"), ids=(3, 5)))
    assert isinstance(back, supervision.Detections)
    assert back.class_id.tolist() == [3]
    assert back.data["votes"].tolist() == [2]
    assert back.data["class_name"].tolist() == ["car"]
    assert 10 < back.xyxy[0, 0] < 11
    assert back.confidence[0] == pytest.approx(0.85)


def test_a_list_numbers_the_detectors_and_empty_ones_still_count():
    found = from_supervision([*two().values(), supervision.Detections.empty()], image_id=7)
    assert found.detectors == ("0", "1", "2")
    assert found.image_id.tolist() == [7, 7, 7]
    assert fuse(found, Consensus()).votes.tolist() == [2]


def test_a_picture_on_which_nothing_was_found_has_the_same_data():
    labels = Labels(names=("car", "bus"), ids=(3, 5))
    nothing = {"a": supervision.Detections.empty(), "b": supervision.Detections.empty()}
    fused = [fuse(from_supervision(found), Consensus()) for found in (two(), nothing)]
    own = from_supervision(two(), image_id=7)  # of the detectors, not fused
    for some in ({}, {"labels": labels}):
        full, empty, plain = (to_supervision(one, **some) for one in (*fused, own))
        assert len(empty) == 0
        assert full.data.keys() == empty.data.keys() == plain.data.keys()
        assert {k: v.dtype.kind for k, v in full.data.items()} == {
            k: v.dtype.kind for k, v in empty.data.items()
        }
        assert len(supervision.Detections.merge([full, empty, plain])) == 1 + 3
        assert plain.data["votes"].tolist() == [1, 1, 1]


def test_which_picture_must_be_said():
    boxes = Detections.build(
        image_id=[1, 2], category_id=0, xyxy=A, score=[0.5, 0.25], detectors=("a",)
    )
    with pytest.raises(InputError, match="several pictures"):
        to_supervision(boxes)
    assert to_supervision(boxes, image_id=2).confidence.tolist() == [0.25]
    assert len(to_supervision(boxes, image_id=3)) == 0


@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist, Tensor])
def test_arrays_lists_and_tensors_are_one(kind):
    boxes, scores, categories = fuse_boxes(
        [kind(A), kind(B)],
        [kind(np.array([0.9, 0.6])), kind(np.array([0.8]))],
        [kind(np.array([3, 5])), kind(np.array([3]))],
        WeightedBoxesFusion(weights={"0": 2}),
    )
    assert boxes.shape == (2, 4)
    assert scores[0] == pytest.approx((2 * 0.9 + 0.8) / 3, abs=1e-6)
    assert categories.tolist() == [3, 5]
    assert 10 < boxes[0, 0] < 10.5


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="1 arrays of scores for 2 detectors"):
        fuse_boxes([A, B], [[0.5, 0.5]], [[1, 1], [1]], Consensus())
    with pytest.raises(InputError, match="2 boxes for 1"):
        fuse_boxes([A, B], [[0.5], [0.5]], [[1], [1]], Consensus())


def test_dlpack_is_enough():
    class Capsule:
        def __dlpack__(self, **options):
            return A.__dlpack__(**options)

        def __dlpack_device__(self):
            return A.__dlpack_device__()

    assert np.array_equal(array_of(Capsule()), A)


def test_masks_of_supervision_in_and_out():
    pixels = np.zeros((2, 60, 80), dtype=bool)
    pixels[0, 10:50, 10:50], pixels[1, :5] = True, True
    given = two()
    given["a"].mask = pixels
    fused = fuse(from_supervision(given), Consensus())
    assert fused.votes.tolist() == [2]
    back = to_supervision(fused)
    assert np.array_equal(back.mask, pixels[:1])
    assert to_supervision(fuse(from_supervision(two()), Consensus())).mask is None
