"""Views that move pixels: what is drawn in the picture is found in the view, and led back."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quorate.spec.tta import GEOMETRIC, View
from quorate.tta.geometric import GREY, moved
from quorate.tta.maps import AffineMap, cut_sides

EXACT = ["hflip", "vflip", "hvflip", "transpose", "transverse", "rotate-90", "rotate-180",
         "rotate-270", "rotate--90", "translate-0.1-0.1", "translate--0.2-0.05", "crop-0.7",
         "crop-0.8-0-0", "crop-0.5-1-1"]  # fmt: skip
RESIZED = ["scale-0.8", "scale-0.5", "scale-1.25", "scale-2", "scale-0.37"]
BENT = ["rotate-10", "rotate--7", "rotate-135", "shear-x-10", "shear-x--20", "shear-y-15"]


def seen(picture: np.ndarray, text: str):
    view = View.parse(text)
    return moved(picture, view.name, *view.numbers)


def found(picture: np.ndarray) -> np.ndarray:
    """The red pixels' box, at least half of each pixel red."""
    ys, xs = np.nonzero((picture[..., 0] > 127) & (picture[..., 1] < 128))
    if not len(xs):
        return np.empty((0, 4))
    return np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=np.float64)


@st.composite
def drawn(draw: st.DrawFn, least: int = 1, most: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A black picture of any size, often odd, with one red rectangle; and its box."""
    height, width = draw(st.integers(least, most)), draw(st.integers(least, most))
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[y1:y2, x1:x2, 0] = 255
    return picture, np.array([x1, y1, x2, y2], dtype=np.float64)


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", EXACT)
@given(drawn())
@example((np.full((1, 1, 3), (255, 0, 0), dtype=np.uint8), np.array([0.0, 0, 1, 1])))
def test_copied_pixels_lead_back_to_just_their_place(text, scene):
    picture, box = scene
    before = picture.copy()
    view, back = seen(picture, text)
    assert (picture == before).all()
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    assert (back.picture, back.view) == (picture.shape[:2], view.shape[:2])
    x1, y1, x2, y2 = back.window
    shown = np.array([max(box[0], x1), max(box[1], y1), min(box[2], x2), min(box[3], y2)])
    mapped = back.boxes_to_picture(found(view))
    if (shown[2:] > shown[:2]).all():
        assert mapped.tolist() == [shown.tolist()]
    else:
        assert len(mapped) == 0


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", RESIZED)
@given(drawn(least=8))
def test_resized_views_lead_back_to_within_a_pixel(text, scene):
    picture, box = scene
    view, back = seen(picture, text)
    mapped = back.boxes_to_picture(found(view))
    pixel = max(back.matrix[0, 0], back.matrix[1, 1], 1)
    if (box[2:] - box[:2]).min() > 2 * pixel:  # thinner ones are less than half of their pixels
        assert np.abs(mapped - box).max() <= pixel


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", BENT)
@given(drawn(least=8))
def test_the_box_around_mapped_corners_holds_a_bent_rectangle(text, scene):
    picture, box = scene
    if (box[2:] - box[:2]).min() < 4:
        return
    view, back = seen(picture, text)
    assert isinstance(back, AffineMap)
    enclosing = back.enclosing_boxes(found(view))[0]
    assert (enclosing[:2] <= box[:2] + 1.5).all()
    assert (enclosing[2:] >= box[2:] - 1.5).all()
    ellipse = back.boxes_to_picture(found(view))[0]
    assert area(ellipse) <= area(enclosing) + 1e-6
    assert np.abs((ellipse[:2] + ellipse[2:]) - (box[:2] + box[2:])).max() / 2 <= 1


def area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("text", ["rotate-10", "rotate-33", "rotate--45"])
def test_a_disc_comes_back_to_within_a_pixel_however_it_is_turned(text):
    y, x = np.mgrid[:120, :160] + 0.5
    picture = np.zeros((120, 160, 3), dtype=np.uint8)
    picture[np.hypot(x - 60, y - 50) < 30, 0] = 255
    view, back = seen(picture, text)
    mapped = back.boxes_to_picture(found(view))
    assert np.abs(mapped - [[30, 20, 90, 80]]).max() <= 1


@settings(max_examples=30, deadline=None)
@given(drawn(least=12), st.sampled_from([0.005, 0.02, 0.05]))
def test_the_box_around_an_elastic_outline_holds_the_object(scene, share):
    picture, box = scene
    view, back = moved(picture, "elastic", share)
    assert view.shape == picture.shape
    if (box[2:] - box[:2]).min() < 4:
        return
    mapped = back.boxes_to_picture(found(view))[0]
    assert (mapped[:2] <= box[:2] + 1).all()
    assert (mapped[2:] >= box[2:] - 1).all()
    grown = 4 * share * min(picture.shape[:2]) + 1
    assert np.abs(mapped - box).max() <= grown


def test_turns_are_counter_clockwise():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (seen(picture, "rotate-90")[0] == np.rot90(picture)).all()
    smooth = np.zeros((40, 60, 3), dtype=np.uint8)
    smooth[5:15, 40:55, 0] = 255
    almost, _ = seen(smooth, "rotate-89.99")
    exact = np.rot90(smooth)
    assert np.abs(found(almost) - found(exact)).max() <= 1


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_picture_of_one_pixel_has_every_view(name):
    picture = np.full((1, 1, 3), 200, dtype=np.uint8)
    view, back = seen(picture, name)
    assert view.shape == (*back.view, 3)
    assert np.isfinite(back.boxes_to_picture(np.array([[0, 0, 1, 1]]))).all()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_points_and_boxes_go_the_same_way(name):
    """A mask can be led back point by point: its outline's box is within the outline's."""
    picture = np.zeros((61, 83, 3), dtype=np.uint8)
    _, back = seen(picture, name)
    corners = np.array([[10, 12], [30, 12], [10, 40], [30, 40]], dtype=np.float64)
    points = back.to_picture(corners)
    box = (back.enclosing_boxes if isinstance(back, AffineMap) else back.boxes_to_picture)(
        np.array([[10, 12, 30, 40]])
    )[0]
    assert (box[:2] <= points.min(axis=0) + 1e-9).all()
    assert (box[2:] >= points.max(axis=0) - 1e-9).all()


def test_only_edges_within_the_picture_cut():
    boxes = np.array([[0, 0, 20, 20], [30, 30, 50, 49.5], [10, 10, 47, 47]])
    cut = cut_sides(boxes, (0, 0, 50, 50), (100, 50))
    assert cut.tolist() == [[False] * 4, [False, False, False, True], [False] * 4]


def sampled(picture: np.ndarray, back, grey: bool) -> np.ndarray:
    """The view by its map alone: each pixel between its four neighbours, computed in float64."""
    rows, columns = back.view
    centres = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), axis=-1)
    x, y = back.to_picture(centres.reshape(-1, 2)).T.reshape(2, rows, columns) - 0.5
    around = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    if grey:
        around = np.full((picture.shape[0] + 2, picture.shape[1] + 2, 3), float(GREY))
        around[1:-1, 1:-1] = picture
    height, width = picture.shape[:2]
    x, y = np.clip(x + 1, 0, width + 1), np.clip(y + 1, 0, height + 1)
    left, top = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    right, down = (x - left)[..., None], (y - top)[..., None]
    upper = around[top, left] * (1 - right) + around[top, left + 1] * right
    lower = around[top + 1, left] * (1 - right) + around[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("text", [*BENT, "rotate-45", "shear-y--60", "elastic-0.05"])
@pytest.mark.parametrize("shape", [(47, 93), (1, 1), (2, 9), (5, 3), (120, 64)])
def test_pixels_are_fetched_from_where_the_map_leads(text, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.stack([60 + x, 40 + y, 128 + 60 * np.sin(x / 9)], axis=2).astype(np.uint8)
    view, back = seen(picture, text)
    expected = sampled(picture, back, grey=not text.startswith("elastic"))
    # A place is rounded to a 32nd of a pixel; at the border that is a 32nd of the step to grey.
    assert np.abs(view - expected).max() <= 6
    assert np.abs(view - expected).mean() < 0.6


@pytest.mark.parametrize("text", ["rotate-10", "elastic-0.05"])
def test_blocks_do_not_show(text, monkeypatch):
    picture = np.random.default_rng(2).integers(0, 256, (67, 93, 3)).astype(np.uint8)
    whole, _ = seen(picture, text)
    monkeypatch.setattr("quorate.tta.geometric.BLOCK", 16)
    parts, _ = seen(picture, text)
    assert np.abs(whole.astype(int) - parts).max() <= 8  # places are rounded within a block


@pytest.mark.parametrize("text", ["rotate-0.01", "elastic-0.01"])
def test_a_picture_longer_than_opencv_takes_has_its_view(text):
    picture = np.zeros((40, 33000, 3), dtype=np.uint8)
    picture[10:30, 32800:32900, 0] = 255
    view, back = seen(picture, text)
    assert np.abs(back.boxes_to_picture(found(view)) - [[32800, 10, 32900, 30]]).max() <= 2
