"""Outlines give their masks back; polygons are drawn as pycocotools draws them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from quorate.columns import Ragged
from quorate.errors import InputError
from quorate.masks import Masks
from quorate.masks.outlines import polygons
from quorate.masks.shapes import drawn
from tests.masks.test_runs import bitmaps


def rings(points):
    parted = np.flatnonzero(np.isnan(points[::2])) * 2
    return [part[~np.isnan(part)] for part in np.split(points, parted)]


def disc(side, x, y, radius):
    rows, columns = np.mgrid[:side, :side] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


@settings(deadline=None)
@given(bitmaps())
def test_an_outline_gives_its_mask_back(pixels):
    masks = Masks.from_bitmaps(pixels)
    offsets, points = polygons(masks)
    again = drawn(offsets, points, masks.size)
    filled = pixels.any(axis=(1, 2))
    assert np.array_equal(again.there, filled)
    assert again.take(filled).counts() == masks.take(filled).counts()
    # So does pycocotools, which knows no holes either.
    for i in np.flatnonzero(filled):
        parts = [r.tolist() for r in rings(points[offsets[i] : offsets[i + 1]])]
        if all(len(part) > 4 for part in parts):
            rle = coco.merge(coco.frPyObjects(parts, *pixels.shape[1:]))
            assert rle["counts"].decode() == masks.counts()[i]


coordinates = st.one_of(
    st.floats(-4, 16, width=32), st.integers(-3, 15).map(float), st.sampled_from([0.5, 2.1, 7.9])
)
polygon = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8).map(
    lambda xy: [value for pair in xy for value in pair]
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.lists(polygon, min_size=1, max_size=3), min_size=1, max_size=3),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_polygons_are_drawn_as_pycocotools_does(shapes, height, width):
    parted = [
        np.concatenate([part for ring in shape for part in ([np.nan, np.nan], ring)])[2:]
        for shape in shapes
    ]
    ragged = Ragged.of(parted)
    masks = drawn(ragged.offsets, ragged.values, np.tile([[height, width]], (len(shapes), 1)))
    for shape, counts in zip(shapes, masks.counts(), strict=True):
        rle = coco.merge(coco.frPyObjects(shape, height, width))
        assert counts == rle["counts"].decode()


@pytest.mark.parametrize("tolerance", [1.0, 1.5, 4.0])
def test_a_simpler_outline_is_near_and_has_few_corners(tolerance):
    pixels = disc(200, 90, 110, 70) & ~disc(200, 100, 100, 25)
    masks = Masks.from_bitmaps(pixels[None])
    exact, few = polygons(masks)[1], polygons(masks, tolerance)[1]
    assert len(few) < len(exact) / 5
    assert len(rings(few)) == 1  # the hole is opened
    again = drawn(np.array([0, len(few)]), few, masks.size).bitmap(0)
    wrong = again != pixels
    # Nothing further from the outline than the tolerance, and half a pixel for drawing it.
    from PIL import Image, ImageFilter

    size = 2 * int(np.ceil(tolerance + 0.5)) + 1
    image = Image.fromarray(pixels.astype(np.uint8) * 255)
    low = np.asarray(image.filter(ImageFilter.MinFilter(size))) > 0
    high = np.asarray(image.filter(ImageFilter.MaxFilter(size))) > 0
    assert not (wrong & (low == high)).any()


def test_specks_go_but_never_the_whole_mask():
    pixels = np.zeros((2, 40, 40), dtype=bool)
    pixels[0, 5:30, 5:30] = True
    pixels[0, 12, 12] = False  # a hole of one pixel
    pixels[0, 35, 35] = True  # and a speck
    pixels[1, 3, 3] = True
    offsets, points = polygons(Masks.from_bitmaps(pixels), 1.5)
    assert points[: offsets[1]].tolist() == [30, 5, 30, 30, 5, 30, 5, 5]
    assert points[offsets[1] :].tolist() == [4, 3, 4, 4, 3, 4, 3, 3]


def test_a_thin_mask_stays_a_polygon():
    pixels = np.zeros((1, 60, 60), dtype=bool)
    for x in range(50):
        pixels[0, 5 + x // 3, x] = True
    masks = Masks.from_bitmaps(pixels)
    offsets, points = polygons(masks, 8.0)
    assert len(rings(points)) == 1
    assert drawn(offsets, points, masks.size).measured().area[0] > 0


def test_parts_come_by_falling_area():
    pixels = np.zeros((1, 20, 20), dtype=bool)
    pixels[0, 0:3, 0:3] = pixels[0, 10:18, 5:15] = True
    parts = rings(polygons(Masks.from_bitmaps(pixels))[1])
    assert [part.max() for part in parts] == [18, 3]


def test_a_polygon_beyond_all_bounds_is_refused():
    with pytest.raises(InputError, match="further than any picture"):
        drawn(np.array([0, 6]), np.array([0, 0, 5e9, 0, 5, 5.0]), np.array([[5, 5]]))
