"""Run lengths against pycocotools, bit for bit, and against plain bitmaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from quorate.errors import FormatError, InputError
from quorate.masks import Masks
from quorate.masks.fusion import INTERSECTION, MAJORITY, UNION, merge


@st.composite
def bitmaps(draw, *, most: int = 5):
    """A few masks of one picture: noise, rectangles, nothing, everything."""
    n = draw(st.integers(1, most))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    found = draw(arrays.arrays(np.bool_, (n, height, width)))
    for i in range(n):
        kind = draw(st.sampled_from(["noise", "noise", "box", "empty", "full"]))
        if kind == "box":
            x1, x2 = sorted((draw(st.integers(0, width)), draw(st.integers(0, width))))
            y1, y2 = sorted((draw(st.integers(0, height)), draw(st.integers(0, height))))
            found[i] = False
            found[i, y1:y2, x1:x2] = True
        elif kind != "noise":
            found[i] = kind == "full"
    return found


def theirs(pixels):
    """pycocotools' masks of the same pixels."""
    return coco.encode(np.asfortranarray(pixels.transpose(1, 2, 0).astype(np.uint8)))


def united(masks, how, votes=None, sure=None):
    n = len(masks)
    offsets, runs = merge(
        np.array([0, n]),
        np.arange(n),
        *masks.columns(),
        np.ones(n) if votes is None else votes,
        np.zeros(n) if sure is None else sure,
        how,
    )
    return Masks(offsets, runs, masks.size[:1].copy())


@settings(deadline=None)
@given(bitmaps())
def test_encode_decode_area_and_box_are_those_of_pycocotools(pixels):
    masks, rles = Masks.from_bitmaps(pixels), theirs(pixels)
    assert masks.counts() == [rle["counts"].decode() for rle in rles]
    for row in range(len(masks)):
        assert np.array_equal(masks.bitmap(row), pixels[row])
    area, box = masks.measured()
    assert area.tolist() == coco.area(rles).tolist()
    box[:, 2:] -= box[:, :2]
    assert box.tolist() == coco.toBbox(rles).tolist()
    again = Masks.from_counts(masks.counts(), masks.size)
    assert np.array_equal(again.runs, masks.runs)
    assert np.array_equal(again.offsets, masks.offsets)


@settings(deadline=None)
@given(bitmaps(), st.data())
def test_a_window_of_a_mask(pixels, data):
    masks = Masks.from_bitmaps(pixels)
    height, width = pixels.shape[1:]
    x1, x2 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    y1, y2 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    assert np.array_equal(masks.bitmap(0, (x1, y1, x2, y2)), pixels[0, y1:y2, x1:x2])


@settings(deadline=None)
@given(bitmaps())
def test_union_and_intersection_are_those_of_pycocotools(pixels):
    masks, rles = Masks.from_bitmaps(pixels), theirs(pixels)
    for how, intersect in ((UNION, False), (INTERSECTION, True)):
        ours = united(masks, how)
        assert ours.counts()[0] == coco.merge(rles, intersect=intersect)["counts"].decode()


@settings(deadline=None)
@given(bitmaps(most=6), st.data())
def test_a_majority_is_counted_pixel_by_pixel(pixels, data):
    n = len(pixels)
    whole = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    votes, sure = (np.array(data.draw(whole), dtype=float) for _ in range(2))
    ours = united(Masks.from_bitmaps(pixels), MAJORITY, votes, sure)
    inside, outside = ((votes[:, None, None] * p).sum(0) for p in (pixels, ~pixels))
    surer, less = ((sure[:, None, None] * p).sum(0) for p in (pixels, ~pixels))
    expected = (inside > outside) | ((inside == outside) & (surer > less))
    if n == 1:  # a lone mask is its own majority, however little it counts
        expected = pixels[0]
    assert np.array_equal(ours.bitmap(0), expected)
    assert ours.counts() == Masks.from_bitmaps(expected[None]).counts()


@settings(deadline=None)
@given(bitmaps(), st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_a_window_s_mask_in_its_picture(pixels, left, top, right, bottom):
    n, height, width = pixels.shape
    whole = np.zeros((n, top + height + bottom, left + width + right), dtype=bool)
    whole[:, top : top + height, left : left + width] = pixels
    moved = Masks.from_bitmaps(pixels).moved(left, top, *whole.shape[1:])
    assert moved.counts() == Masks.from_bitmaps(whole).counts()


def test_a_large_picture_costs_no_more_than_its_runs():
    side = 60_000  # 3.6 thousand million pixels
    masks = Masks.from_runs(
        [[5, 7, side * side - 12], [0, 10, side * side - 10]], [[side, side]] * 2
    )
    assert united(masks, UNION).runs.tolist() == [0, 12, side * side - 12]
    assert united(masks, INTERSECTION).runs.tolist() == [5, 5, side * side - 10]
    assert masks.measured().area.tolist() == [7, 10]
    assert Masks.from_counts(masks.counts(), masks.size).runs.tolist() == masks.runs.tolist()


def test_rows_without_a_mask_stay_so():
    some = Masks.from_bitmaps(np.eye(3, dtype=bool)[None])
    both = Masks.concat([2, some, 1])
    assert both.there.tolist() == [False, False, True, False]
    assert both.counts()[2] == some.counts()[0]
    assert both.take(np.array([3, 2])).there.tolist() == [False, True]
    assert both.measured().area.tolist() == [0, 0, 3, 0]
    assert not Masks.nothing(1).bitmap(0).any()


def test_what_is_no_mask_is_refused():
    with pytest.raises(InputError, match="add up to 5, not to the 6 pixels of a picture of 3x2"):
        Masks.from_runs([[2, 3]], [[2, 3]])
    with pytest.raises(InputError, match="below 0"):
        Masks.from_runs([[-1, 7]], [[2, 3]])
    with pytest.raises(FormatError, match="Mask 1: its compressed run lengths end in the middle"):
        Masks.from_counts(["\x7fo"[1:]], [[2, 3]])
    with pytest.raises(FormatError, match="a letter that is none"):
        Masks.from_counts(["6\x01"], [[2, 3]])
    with pytest.raises(InputError, match="bitmaps of shape"):
        Masks.from_bitmaps(np.zeros((2, 3)))
