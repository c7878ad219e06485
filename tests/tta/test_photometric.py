"""Views that change colours: deterministic, of the same shape, and really changed."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from quorate.spec.tta import PHOTOMETRIC, View
from quorate.tta.photometric import toned


def scene(height: int = 53, width: int = 77, seed: int = 0) -> np.ndarray:
    """Smooth colours with edges and a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([60 + x, 40 + 2 * y, 200 - x], axis=2).astype(np.float64)
    picture[10:30, 20:50] = (200, 60, 40)
    picture += random.normal(0, 6, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def of(picture: np.ndarray, text: str) -> np.ndarray:
    view = View.parse(text)
    return toned(picture, view.name, *view.numbers)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_a_view_has_the_pictures_shape_and_other_colours(name):
    picture = scene()
    before = picture.copy()
    picture.flags.writeable = False
    view = of(picture, name)
    assert view.shape == picture.shape
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    assert view.flags.writeable
    assert (picture == before).all()
    assert (view != picture).any()
    assert not np.shares_memory(view, picture)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_the_same_picture_has_the_same_view(name):
    view = of(scene(), name)
    assert (of(scene(), name) == view).all()
    assert (of(np.asfortranarray(scene()), name) == view).all()


@pytest.mark.parametrize("name", ["gaussian-noise", "salt-and-pepper", "dropout"])
def test_another_picture_has_other_noise(name):
    one, other = np.full((20, 30, 3), 100, np.uint8), np.full((20, 30, 3), 101, np.uint8)
    changed = [(of(p, name) != p).sum(axis=2) for p in (one, other)]
    assert (changed[0] != changed[1]).any()


@pytest.mark.parametrize("name", PHOTOMETRIC)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (3, 2)])
def test_the_smallest_pictures_have_every_view(name, shape):
    assert of(np.full((*shape, 3), 77, dtype=np.uint8), name).shape == (*shape, 3)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_the_ends_of_every_range_work(name):
    picture = scene(20, 30)
    for end in ("low", "high"):
        numbers = [getattr(number, end) for number in PHOTOMETRIC[name]]
        assert toned(picture, name, *numbers).shape == picture.shape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("average-blur-2", lambda p: cv2.blur(p, (5, 5), borderType=cv2.BORDER_REPLICATE)),
        ("median-blur-3", lambda p: cv2.medianBlur(p, 3)),
        ("median-blur-5", lambda p: cv2.medianBlur(p, 5)),
        (
            "bilateral-blur-2-40",
            lambda p: cv2.bilateralFilter(p, 5, 40, 1, borderType=cv2.BORDER_REPLICATE),
        ),
        ("lab", lambda p: cv2.cvtColor(p, cv2.COLOR_RGB2LAB)),
        ("invert", lambda p: 255 - p),
        ("channel-shuffle-5", lambda p: p[..., ::-1]),
        ("brightness-1.2", lambda p: cv2.convertScaleAbs(p, alpha=1.2)),
    ],
)
def test_views_are_what_opencv_computes(text, expected):
    picture = scene()
    most = {"lab": 3, "average-blur-2": 1, "bilateral-blur-2-40": 1, "brightness-1.2": 1}
    difference = np.abs(of(picture, text).astype(int) - expected(picture))
    assert difference.max() <= most.get(text, 0)


def in_hsv(picture: np.ndarray, channel: int, change) -> np.ndarray:
    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., channel] = change(hsv[..., channel].astype(float))
    return np.array(
        Image.merge("HSV", [Image.fromarray(hsv[..., k]) for k in range(3)]).convert("RGB")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hsv", lambda p: np.array(Image.fromarray(p).convert("HSV"))),
        ("hue-90", lambda p: in_hsv(p, 0, lambda hue: (hue + 64) % 256)),
        ("raise-saturation-0.5", lambda p: in_hsv(p, 1, lambda s: np.rint((255 * s) ** 0.5))),
        ("raise-value-2", lambda p: in_hsv(p, 2, lambda v: np.rint(v**2 / 255))),
        *(
            (f"gaussian-blur-{s}", lambda p, s=s: np.array(
                Image.fromarray(p).filter(ImageFilter.GaussianBlur(s))))
            for s in (0.1, 0.7, 1.1, 1.4, 1.41, 1.42, 3)
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(256, 768), (1, 9), (2, 2), (7, 1)])
def test_views_are_what_pillow_computes_to_the_last_bit(text, expected, shape):
    picture = np.random.default_rng(5).integers(0, 256, (*shape, 3)).astype(np.uint8)
    if len(picture) > 2:
        picture[::2] = picture[::2, :, :1]  # greys, and two equal channels
        picture[1::4, :, 1] = picture[1::4, :, 2]
    assert np.array_equal(of(picture, text), expected(picture))


def test_noise_is_normal():
    grey = np.full((300, 400, 3), 128, np.uint8)
    for sigma in (2, 10, 30):
        noise = of(grey, f"gaussian-noise-{sigma}").astype(float) - 128
        assert abs(noise.mean()) < 0.02 * sigma
        assert noise.std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.01)


def test_what_a_number_does():
    picture = scene()
    grey = picture.mean()
    assert of(picture, "brightness-0.5").mean() < grey < of(picture, "brightness-1.5").mean()
    assert of(picture, "gamma-0.5").mean() < grey < of(picture, "gamma-2").mean()
    assert of(picture, "contrast-0.5").std() < picture.std() < of(picture, "contrast-1.5").std()
    assert of(picture, "raise-red-0.5")[..., 0].mean() > picture[..., 0].mean()
    assert (of(picture, "raise-red-0.5")[..., 1:] == picture[..., 1:]).all()
    assert len(np.unique(of(picture, "posterise-2"))) <= 4
    flat = of(picture, "grey")
    assert (flat == flat[..., :1]).all()
    spread = of(scene() // 4, "clahe")
    assert spread.std() > (scene() // 4).std()


def test_a_large_picture_is_done_in_bands(monkeypatch):
    whole = of(scene(), "median-blur-5")
    monkeypatch.setattr("quorate.tta.filters.BAND", 77 * 7)
    assert (of(scene(), "median-blur-5") == whole).all()
