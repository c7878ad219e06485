"""The masks of fused boxes: by which rule, whose, and in no order but their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detections import Detections
from quorate.errors import InputError
from quorate.fusion import fuse
from quorate.masks import Masks
from quorate.spec import (
    Affirmative,
    Consensus,
    Nms,
    NonMaximumMerging,
    SoftNms,
    WeightedBoxesFusion,
)
from tests import strategies

SIDE = 8


@st.composite
def masked(draw):
    """Boxes with masks that need not fit them; some without, some alike in all but the mask."""
    found = draw(strategies.detections(most=10))
    n = len(found)
    patterns = draw(st.lists(st.integers(0, 2 ** (SIDE * SIDE) - 1), min_size=n, max_size=n))
    pixels = np.array(
        [[(p >> k) & 1 for k in range(SIDE * SIDE)] for p in patterns], dtype=bool
    ).reshape(n, SIDE, SIDE)
    masks = Masks.from_bitmaps(pixels)
    rows = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    parts = [masks.take(slice(i, i + 1)) if there else 1 for i, there in enumerate(rows)]
    return Detections.build(
        image_id=found.image_id,
        category_id=found.category_id,
        xyxy=found.xyxy,
        score=found.score,
        detector=found.detector,
        detectors=found.detectors,
        masks=Masks.concat(parts),
    )


METHODS = [
    Affirmative(),
    Affirmative(masks="union", iou=0.2),
    Consensus(masks="intersection", weights={"ash": 3.0}),
    Affirmative(weights={"ash": 3.0, "elm": 0.5}, classes="majority"),
    WeightedBoxesFusion(iou=0.3),
    Nms(),
    NonMaximumMerging(iou=0.2),
    SoftNms(),
]


@settings(deadline=None)
@given(masked(), st.sampled_from(METHODS), st.randoms())
def test_the_order_of_the_input_decides_nothing(found, method, random):
    rows = list(range(len(found)))
    random.shuffle(rows)
    known = sorted(set(found.image_id.tolist()))
    one = fuse(found, method, image_order=known)
    other = fuse(found.take(np.array(rows, dtype=np.int64)), method, image_order=known)
    assert one.to_arrow().equals(other.to_arrow(), check_metadata=True)


def example(pixels, scores, **columns):
    """One object that each detector sees in the same place."""
    n = len(pixels)
    given_ = {"detector": np.arange(n), "detectors": strategies.NAMES[:n]}
    return Detections.build(
        image_id=np.ones(n),
        category_id=1,
        xyxy=np.tile([0, 0, SIDE, SIDE], (n, 1)),
        score=scores,
        masks=Masks.from_bitmaps(np.array(pixels)),
        **(given_ | columns),
    )


def columns_upto(*ends):
    """Masks that cover the first columns of a picture."""
    return [np.tile(np.arange(SIDE) < end, (SIDE, 1)) for end in ends]


def widths(fused):
    assert fused.masks is not None
    return (fused.masks.measured().box[:, 2]).tolist()


@pytest.mark.parametrize(
    ("method", "width"),
    [
        (Consensus(), 4),
        (Consensus(masks="union"), 6),
        (Consensus(masks="intersection"), 2),
        (Consensus(masks="best"), 2),
        (Consensus(weights={"cedar": 3.0}), 6),
        (WeightedBoxesFusion(), 4),
        (Nms(), 2),
        (NonMaximumMerging(), 6),
    ],
)
def test_three_members_by_each_rule(method, width):
    assert widths(fuse(example(columns_upto(2, 4, 6), [0.9, 0.8, 0.7]), method)) == [width]


def test_an_even_split_is_settled_by_the_surer_half():
    assert widths(fuse(example(columns_upto(2, 6), [0.9, 0.3]), Consensus())) == [2]
    assert widths(fuse(example(columns_upto(2, 6), [0.3, 0.9]), Consensus())) == [6]
    # As sure as each other: what both cover.
    assert widths(fuse(example(columns_upto(2, 6), [0.5, 0.5]), Consensus())) == [2]
    # Two of four, the two that are surer together.
    four = example(columns_upto(6, 6, 2, 2), [0.9, 0.3, 0.5, 0.5])
    assert widths(fuse(four, Affirmative())) == [6]


def test_a_weight_of_a_label_counts_for_its_masks():
    from quorate.labels import Labels
    from quorate.spec import CategoryFusion

    method = Consensus(categories={"cat": CategoryFusion(weights={"cedar": 3.0})})
    boxes = example(columns_upto(2, 4, 6), [0.9, 0.8, 0.7])
    assert widths(fuse(boxes, method, labels=Labels.from_names(["cat", "dog"]))) == [6]
    assert widths(fuse(boxes, method, labels=Labels.from_names(["dog", "cat"]))) == [4]


def test_boxes_without_masks_take_no_part_in_the_mask():
    pair = example(columns_upto(4, 6), [0.9, 0.8])
    third = Detections.build(
        image_id=[1, 2], category_id=1, xyxy=[[0, 0, SIDE, SIDE]] * 2, score=0.9, detectors=("box",)
    )
    fused = fuse(Detections.concat([pair, third]), Affirmative())
    assert fused.votes.tolist() == [3, 1]
    assert widths(fused) == [4, 0]
    assert fused.masks is not None
    assert fused.masks.there.tolist() == [True, False]
    assert fuse(third, Affirmative()).masks is None


def test_masks_of_different_pictures_are_no_one_object():
    boxes = example(columns_upto(4), [0.9])
    larger = Masks.from_bitmaps(np.ones((1, 9, 8), dtype=bool))
    other = Detections.build(
        image_id=[1], category_id=1, xyxy=boxes.xyxy, score=0.8, detectors=("x",), masks=larger
    )
    with pytest.raises(InputError, match="of pictures of 8x8 and of 8x9 pixels"):
        fuse(Detections.concat([boxes, other]), Affirmative())
