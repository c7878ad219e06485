from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from quorate.detectors import compile_kernels
from quorate.detectors.tensors import preprocess
from quorate.detectors.tensors.geometry import letterbox, shortest_edge, stretch
from quorate.detectors.tensors.preprocess import (
    PLAIN_BITS,
    SMOOTH_BITS,
    Normalisation,
    fill,
    plain_taps,
    smooth_taps,
)

GREY = Normalisation(scale=1.0)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def filled(pixels, placement, normalisation=GREY, antialias=False):
    planes = np.full((3, *placement.frame), np.nan, dtype=np.float32)
    fill(planes, pixels, placement, normalisation, antialias=antialias)
    assert np.isfinite(planes).all(), "every place of the frame is written"
    return planes


def inside(planes, placement):
    top, left = placement.top, placement.left
    return planes[:, top : top + placement.inner[0], left : left + placement.inner[1]]


SIDES = st.integers(1, 90)


@settings(max_examples=150, deadline=None)
@given(size=st.tuples(SIDES, SIDES), frame=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_plain_resizing_is_opencvs_linear_one(size, frame, seed):
    pixels = picture(*size, seed)
    placement = stretch(size, frame)
    expected = cv2.resize(pixels, frame[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(filled(pixels, placement).transpose(1, 2, 0), expected)


@settings(max_examples=150, deadline=None)
@given(size=st.tuples(SIDES, SIDES), frame=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_antialiased_resizing_is_pillows_bilinear_one(size, frame, seed):
    pixels = picture(*size, seed)
    expected = Image.fromarray(pixels).resize(frame[::-1], Image.Resampling.BILINEAR)
    got = filled(pixels, stretch(size, frame), antialias=True).transpose(1, 2, 0)
    assert np.array_equal(got, np.asarray(expected))


@pytest.mark.parametrize("size", [(1080, 1920), (333, 217), (480, 640), (1, 1), (2000, 3)])
def test_realistic_sizes_too(size):
    pixels = picture(*size)
    placement = letterbox(size, (640, 640))
    got = inside(filled(pixels, placement), placement).transpose(1, 2, 0)
    inner = placement.inner[::-1]
    plain = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(got, plain)
    smooth = Image.fromarray(pixels).resize(inner, Image.Resampling.BILINEAR)
    got = inside(filled(pixels, placement, antialias=True), placement).transpose(1, 2, 0)
    # Pillow resizes a picture of more than 100 to 1 down before across.
    assert np.abs(got - np.asarray(smooth)).max() <= (1 if size == (2000, 3) else 0)


@given(st.integers(1, 3000), st.integers(1, 3000), st.booleans())
def test_weights_sum_to_one_and_stay_in_the_row(source, target, antialias):
    made = [smooth_taps(source, target)] if antialias else []
    made = made or [plain_taps(source, target, inside=inside) for inside in (False, True)]
    for index, weights in made:
        whole = 1 << (SMOOTH_BITS if antialias else PLAIN_BITS)
        assert np.abs(weights.sum(axis=1, dtype=np.int64) - whole).max() <= weights.shape[1]
        assert 0 <= index.min() <= index.max() < source
        assert (weights >= 0).all()


def test_a_picture_of_the_frames_own_size_is_untouched():
    pixels = picture(37, 53)
    for antialias in (False, True):
        planes = filled(pixels, stretch((37, 53), (37, 53)), antialias=antialias)
        assert np.array_equal(planes.transpose(1, 2, 0), pixels)


def test_padding_is_grey_and_normalised_like_a_pixel():
    placement = letterbox((20, 40), (50, 50))
    wanted = Normalisation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    planes = filled(picture(20, 40), placement, wanted)
    for channel, (mean, std) in enumerate(zip(wanted.mean, wanted.std, strict=True)):
        grey = (114 / 255 - mean) / std
        assert np.allclose(planes[channel, : placement.top], grey, atol=1e-6)
        assert np.allclose(planes[channel, -1], grey, atol=1e-6)
    black = filled(picture(20, 40), placement, replace(GREY, pad=0))
    assert not black[:, 0].any()


def test_normalisation_is_scale_then_mean_then_deviation():
    pixels = picture(9, 7)
    wanted = Normalisation(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    planes = filled(pixels, stretch((9, 7), (9, 7)), wanted)
    expected = (pixels / 255 - wanted.mean) / wanted.std
    assert np.allclose(planes.transpose(1, 2, 0), expected, atol=1e-5)


def test_blue_first_reverses_pixels_but_not_mean_and_deviation():
    pixels = picture(9, 7)
    wanted = Normalisation(1.0, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), channels="bgr")
    planes = filled(pixels, stretch((9, 7), (9, 7)), wanted)
    expected = (pixels[..., ::-1] - np.array(wanted.mean)) / wanted.std
    assert np.allclose(planes.transpose(1, 2, 0), expected, atol=1e-4)


def test_the_frame_may_be_a_view_of_any_strides():
    pixels = picture(30, 41)
    placement = letterbox((30, 41), (64, 48))
    rows = np.empty((64, 48, 3), dtype=np.float32)
    fill(rows.transpose(2, 0, 1), pixels, placement, GREY, antialias=False)
    assert np.array_equal(rows.transpose(2, 0, 1), filled(pixels, placement))


def test_pictures_that_are_read_only_or_views_are_as_good():
    pixels = picture(60, 50)
    view = pixels[::2, 5:45]
    placement = shortest_edge((30, 40), 24, 99)
    expected = filled(np.ascontiguousarray(view), placement)
    assert np.array_equal(filled(view, placement), expected)
    frozen = np.ascontiguousarray(view)
    frozen.flags.writeable = False
    assert np.array_equal(filled(frozen, placement), expected)


def test_every_picture_and_network_takes_the_kernel_that_was_compiled_ahead():
    compile_kernels()
    for planes in (np.zeros((3, 64, 64), np.float32), np.zeros((64, 64, 3), np.float32)):
        planes = planes if len(planes) == 3 else planes.transpose(2, 0, 1)
        for placement in (letterbox((30, 50), (64, 64)), stretch((30, 50), (64, 64))):
            for channels in ("rgb", "bgr"):
                normalisation = replace(GREY, channels=channels)
                fill(planes, picture(30, 50), placement, normalisation, antialias=True)
    assert len(preprocess._resize.signatures) == 1
