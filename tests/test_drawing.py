"""Boxes drawn on pixels."""

import numpy as np
import pytest

from quorate import drawing
from quorate.drawing import colour, draw_boxes
from quorate.masks import Masks

GREY = np.full((600, 800, 3), 90, np.uint8)


def test_a_box_is_drawn_in_its_colour_and_the_picture_given_stays():
    drawn = draw_boxes(GREY, np.array([[100, 200, 300, 400]]), [""], [1])
    assert drawn.shape == GREY.shape
    assert (GREY == 90).all()
    changed = np.argwhere((drawn != GREY).any(2))
    assert changed.min(0).tolist() == [199, 99]  # with the dark line around
    assert changed.max(0).tolist() == [400, 300]
    assert tuple(drawn[200, 200]) == colour(1)
    assert (drawn[300, 200] == 90).all()


def test_dashes_have_gaps():
    whole, dashed = (
        draw_boxes(GREY, np.array([[100, 200, 300, 400]]), [""], [1], dashed=[d])
        for d in (False, True)
    )
    seen = [(one[200, 100:300] == colour(1)).all(1).sum() for one in (whole, dashed)]
    assert 0.3 * seen[0] < seen[1] < 0.8 * seen[0]


def test_labels_of_neighbours_do_not_cover_each_other(monkeypatch):
    places = []
    placed = drawing._places
    monkeypatch.setattr(drawing, "_places", lambda *a: places.extend(placed(*a)) or places)
    boxes = np.array([[x, y, x + 40, y + 40] for x in (100, 110, 400) for y in (100, 108, 300)])
    draw_boxes(GREY, boxes, ["screw 0.87"] * len(boxes), [0] * len(boxes))
    assert len(places) == len(boxes)
    for i, (a, b, c, d) in enumerate(places):
        assert 0 <= a < c <= 800
        assert 0 <= b < d <= 600
        for e, f, g, h in places[:i]:
            assert min(c, g) <= max(a, e) or min(d, h) <= max(b, f)


@pytest.mark.parametrize("box", [[-50, -50, 20, 20], [790, 590, 900, 700], [5, 5, 5, 5]])
def test_boxes_at_and_beyond_the_border_and_without_area_are_drawn(box):
    assert (draw_boxes(GREY, np.array([box]), ["bolt 0.50"], [0]) != GREY).any()


def test_a_small_picture_is_enlarged_and_its_boxes_with_it():
    drawn = draw_boxes(GREY[:100, :200], np.array([[10, 10, 50, 50]]), [""], [3])
    assert drawn.shape == (300, 600, 3)
    assert tuple(drawn[30, 60]) == colour(3)


def test_masks_are_filled_lightly():
    pixels = np.zeros((600, 800), bool)
    pixels[250:350, 150:250] = True
    masks = Masks.from_bitmaps(pixels[None])
    drawn = draw_boxes(GREY, np.array([[100, 200, 300, 400]]), [""], [1], masks=masks)
    assert not (drawn[300, 200] == 90).all()
    assert (drawn[220, 120] == 90).all()


def test_colours_of_many_labels_differ():
    assert len({colour(i) for i in range(60)}) == 60
