import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.detectors.tensors.geometry import corner, letterbox, shortest_edge, stretch, untouched

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)
FRAMES = st.tuples(st.integers(16, 1600), st.integers(16, 1600))
PLACERS = {
    "letterbox": letterbox,
    "corner": corner,
    "stretch": stretch,
    "shortest_edge": lambda picture, frame: shortest_edge(picture, min(frame), max(frame)),
    "none": lambda picture, frame: untouched(picture),
}


@pytest.mark.parametrize("placer", PLACERS)
@given(picture=SIZES, frame=FRAMES, box=st.tuples(*[st.floats(0, 1)] * 4))
def test_a_box_goes_to_the_network_and_back_unchanged(placer, picture, frame, box):
    height, width = picture
    placement = PLACERS[placer](picture, frame)
    xyxy = np.array([box], dtype=np.float32) * np.float32([width, height, width, height])
    there = placement.to_frame(xyxy)
    # The network answers in single precision.
    back = placement.to_picture(there.astype(np.float32))
    assert np.abs(placement.to_picture(there) - xyxy).max() < 1e-6 * max(picture)
    pixel = max(height / placement.inner[0], width / placement.inner[1], 1)
    assert np.abs(back - xyxy).max() < 1e-3 * pixel


@pytest.mark.parametrize("placer", PLACERS)
@given(picture=SIZES, frame=FRAMES)
def test_the_whole_picture_lies_in_the_frame(placer, picture, frame):
    height, width = picture
    placement = PLACERS[placer](picture, frame)
    assert min(placement.inner) >= 1
    top, left = placement.top, placement.left
    assert top >= 0
    assert left >= 0
    assert top + placement.inner[0] <= placement.frame[0]
    assert left + placement.inner[1] <= placement.frame[1]
    corners = placement.to_frame(np.array([[0, 0, width, height]], dtype=np.float64))[0]
    expected = [left, top, left + placement.inner[1], top + placement.inner[0]]
    assert np.allclose(corners, expected)
    if placer in ("letterbox", "corner", "stretch"):
        assert placement.frame == frame


def ultralytics(picture, frame):
    """Size and padding as `LetterBox.__call__` of Ultralytics 8 works them out."""
    ratio = min(frame[0] / picture[0], frame[1] / picture[1])
    unpadded = round(picture[1] * ratio), round(picture[0] * ratio)
    dw, dh = frame[1] - unpadded[0], frame[0] - unpadded[1]
    dw /= 2
    dh /= 2
    top, bottom = round(dh - 0.1), round(dh + 0.1)
    left, right = round(dw - 0.1), round(dw + 0.1)
    return unpadded, top, bottom, left, right


@given(picture=SIZES, frame=FRAMES)
def test_letterbox_rounds_as_ultralytics_does(picture, frame):
    unpadded, top, bottom, left, right = ultralytics(picture, frame)
    placement = letterbox(picture, frame)
    if min(unpadded) < 1:
        return  # there Ultralytics fails
    assert placement.inner == unpadded[::-1]
    assert (placement.top, placement.left) == (top, left)
    assert placement.frame[0] - placement.top - placement.inner[0] == bottom
    assert placement.frame[1] - placement.left - placement.inner[1] == right


def test_letterbox_puts_the_odd_pixel_right_and_below():
    placement = letterbox((100, 75), (100, 100))
    assert (placement.left, placement.inner) == (12, (100, 75))
    assert letterbox((75, 100), (100, 100)).top == 12


@pytest.mark.parametrize(
    ("picture", "inner"),
    [
        ((480, 640), (800, 1066)),  # transformers: int(800 * 640 / 480)
        ((640, 480), (1066, 800)),
        ((500, 2000), (333, 1333)),  # the longer side is bounded
        ((800, 800), (800, 800)),
        ((800, 1000), (800, 1000)),
        ((333, 500), (800, 1201)),
    ],
)
def test_shortest_edge_is_that_of_detr(picture, inner):
    assert shortest_edge(picture, 800, 1333).inner == inner


def test_corner_rounds_down_as_yolox_does():
    placement = corner((333, 500), (640, 640))
    assert placement.inner == (int(333 * 1.28), 640)
    assert (placement.top, placement.left) == (0, 0)


@pytest.mark.parametrize(
    ("picture", "frame"),
    [((480, 640), (480, 640)), ((2, 32), (2, 32)), ((3000, 2), (3000, 188)), ((1, 33), (3, 33))],
)
def test_a_strip_is_padded_for_a_network_that_resizes_by_itself(picture, frame):
    placement = untouched(picture)
    assert (placement.inner, placement.frame) == (picture, frame)
