"""Masks of views and of tiles lead back to the picture's own pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.detectors import Boxes
from quorate.masks import Masks
from quorate.spec.tta import GEOMETRIC, NUMBERS, PHOTOMETRIC, Tiles, View
from quorate.tta import Augmented, Tiled
from quorate.tta.masks import masks_led_back
from tests.tta.test_geometric import BENT, EXACT, RESIZED, seen


class Reds:
    """Finds one object, all that is red, with its exact mask."""

    labels = ("red",)

    def predict(self, pictures):
        return [self.one(picture) for picture in pictures]

    def one(self, picture):
        red = (picture[..., 0] > 127) & (picture[..., 1] < 128)
        if not red.any():
            return Boxes.nothing()
        masks = Masks.from_bitmaps(red[None])
        box = masks.measured().box.astype(np.float32)
        return Boxes(box, np.array([0.9], np.float32), np.zeros(1, np.int32), masks)


def painted(pixels):
    picture = np.zeros((*pixels.shape, 3), dtype=np.uint8)
    picture[pixels, 0] = 255
    return picture


def noise(draw, least, most):
    height, width = draw(st.integers(least, most)), draw(st.integers(least, most))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    return random.random((height, width)) < 0.6


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", EXACT)
@given(st.data())
def test_copied_pixels_lead_back_to_just_themselves(text, data):
    pixels = noise(data.draw, 1, 30)
    view, back = seen(painted(pixels), text)
    shown = np.zeros_like(pixels)
    x1, y1, x2, y2 = map(round, back.window)
    shown[y1:y2, x1:x2] = pixels[y1:y2, x1:x2]
    found = Masks.from_bitmaps((view[..., 0] > 127)[None] & (view[..., 1] < 128)[None])
    led = masks_led_back(Masks.concat([1, found]), back)
    assert led.there.tolist() == [False, True]
    led.check()
    assert np.array_equal(led.bitmap(1), shown)


RESAMPLED = [*RESIZED, *BENT, "elastic-0.02", "elastic-0.05"]


@pytest.mark.parametrize("text", RESAMPLED)
def test_resampled_views_lead_back_to_nearly_themselves(text):
    rows, columns = np.mgrid[:120, :97] + 0.5
    pixels = (columns - 45) ** 2 / 900 + (rows - 60) ** 2 / 1600 < 1
    pixels &= (columns - 40) ** 2 + (rows - 55) ** 2 > 100  # with a hole
    view, back = seen(painted(pixels), text)
    found = Reds().one(view)
    led = masks_led_back(found.masks, back).bitmap(0)
    overlap = (led & pixels).sum() / (led | pixels).sum()
    assert overlap > (0.9 if text in ("scale-0.37", "scale-0.5") else 0.95)


def test_every_view_has_its_way_back_tested():
    """Those that move pixels above, for boxes in test_geometric; the others leave all in place."""
    assert {View.parse(text).name for text in [*EXACT, *RESAMPLED]} == GEOMETRIC.keys()
    assert len(NUMBERS) >= 33


class Fixed:
    """Finds the same boxes and masks whatever it is shown."""

    labels = ("any",)

    def __init__(self, boxes):
        self.boxes = boxes

    def predict(self, pictures):
        return [self.boxes] * len(pictures)


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", PHOTOMETRIC)
@given(st.data())
def test_views_of_colours_leave_boxes_and_masks_in_place(name, data):
    pixels = noise(data.draw, 1, 30)
    pixels[0, 0] = True
    masks = Masks.from_bitmaps(pixels[None])
    box = masks.measured().box.astype(np.float32)
    boxes = Boxes(box, np.array([0.9], np.float32), np.zeros(1, np.int32), masks)
    [views] = Augmented(Fixed(boxes), (View.parse(name),), 300).look([painted(pixels)])
    assert len(views) == 2
    for found in views:
        assert found.xyxy.tolist() == box.tolist()
        assert np.array_equal(found.masks.bitmap(0), pixels)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_tiles_leave_no_seam_in_a_mask(data, whole):
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    sides = data.draw(st.tuples(st.integers(16, 60), st.integers(16, 60)))
    rows, columns = np.mgrid[:height, :width]
    slope = data.draw(st.floats(-0.5, 0.5))
    middle = data.draw(st.integers(0, height - 1))
    band = np.abs(rows - middle - slope * columns) < data.draw(st.integers(4, 12))
    if not band.any():
        return
    tiled = Tiled(Reds(), Tiles(size=sides, overlap=0.5, whole=whole), 300)
    (found,) = tiled.predict([painted(band)])
    united = np.any([found.masks.bitmap(i) for i in range(len(found.score))], axis=0)
    assert np.array_equal(united, band)
    if len(found.score) == 1:
        assert found.masks.counts() == Masks.from_bitmaps(band[None]).counts()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_fused_mask_of_exact_views_is_the_mask(data):
    pixels = noise(data.draw, 2, 25)
    views = tuple(View.parse(v) for v in ("hflip", "rotate-90", "transpose"))
    augmented = Augmented(Reds(), views, 300)
    (found,) = augmented.predict([painted(pixels)])
    assert np.array_equal(found.masks.bitmap(0) if len(found.score) else pixels & False, pixels)
