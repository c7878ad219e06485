"""Views that change colours: deterministic, of the same shape, and really changed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

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


def disc(radius: int) -> list[tuple[int, int]]:
    steps = range(-radius, radius + 1)
    return [(y, x) for y in steps for x in steps if np.hypot(y, x) <= radius]


def around(picture: np.ndarray, places) -> np.ndarray:
    """(n, height, width, 3) the picture shifted by each place, its border going on."""
    reach = max(max(abs(y), abs(x)) for y, x in places)
    wide = np.pad(picture.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = picture.shape[:2]
    return np.stack([wide[reach + y :, reach + x :][:height, :width] for y, x in places])


SQUARE = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
NINE = [(y, x) for y in range(-1, 2) for x in range(-1, 2)]
ROW, COLUMN = [(0, x) for x in range(-2, 3)], [(y, 0) for y in range(-1, 3)]


def bilateral(picture: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    near = around(picture, disc(radius))
    apart = np.abs(near - picture).sum(axis=-1, keepdims=True)
    far = np.array([y * y + x * x for y, x in disc(radius)])[:, None, None, None]
    weight = np.exp(-((apart / sigma) ** 2) / 2 - far / (radius / 2) ** 2 / 2)
    return (near * weight).sum(axis=0) / weight.sum(axis=0)


def gaussian(picture: np.ndarray, sigma: float) -> np.ndarray:
    steps = range(-8, 9)
    weight = np.exp(-((np.array(steps) / sigma) ** 2) / 2)
    weight = (weight / weight.sum())[:, None, None, None]
    down = (around(picture, [(step, 0) for step in steps]) * weight).sum(axis=0)
    return (around(down, [(0, step) for step in steps]) * weight).sum(axis=0)


def in_hsv(picture: np.ndarray, channel: int, change) -> np.ndarray:
    """By Pillow, whose HSV is not OpenCV's code."""
    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., channel] = change(hsv[..., channel].astype(float))
    return np.array(
        Image.merge("HSV", [Image.fromarray(hsv[..., k]) for k in range(3)]).convert("RGB")
    )


def grey(picture: np.ndarray) -> np.ndarray:
    return (picture @ [0.299, 0.587, 0.114])[..., None]


@pytest.mark.parametrize(
    ("text", "expected", "most"),
    [
        ("average-blur-2", lambda p: around(p, SQUARE).mean(axis=0), 1),
        ("median-blur-5", lambda p: np.median(around(p, SQUARE), axis=0), 0),
        ("bilateral-blur-2-40", lambda p: bilateral(p, 2, 40), 1),
        ("gaussian-blur-1.5", lambda p: gaussian(p, 1.5), 2),
        ("motion-blur-5", lambda p: around(p, ROW).mean(axis=0), 1),
        ("motion-blur-4-90", lambda p: around(p, COLUMN).mean(axis=0), 1),
        ("brightness-1.2", lambda p: p * 1.2, 0.5),
        ("invert", lambda p: 255 - p.astype(int), 0),
        ("channel-shuffle-4", lambda p: p[..., (2, 0, 1)], 0),
        ("channel-shift-20--20-5", lambda p: p.astype(int) + np.array([20, -20, 5]), 0),
        ("solarise-100", lambda p: np.where(p < 100, p, 255 - p), 0),
        ("posterise-3", lambda p: p // 32 * 32, 0),
        ("gamma-2", lambda p: 255 * (p / 255) ** 0.5, 0.5),
        ("raise-green-2", lambda p: np.where([False, True, False], p**2.0 / 255, p), 0.5),
        ("grey", lambda p: np.tile(grey(p), 3), 1),
        ("saturation-1.4", lambda p: grey(p) + (p - grey(p)) * 1.4, 1),
        ("contrast-1.3", lambda p: grey(p).mean() + (p - grey(p).mean()) * 1.3, 1),
        ("sharpen-0", lambda p: (around(p, NINE).sum(axis=0) + 4.0 * p) / 13, 1),
        ("hue-90", lambda p: in_hsv(p, 0, lambda hue: (hue + 64) % 256), 9),
        ("raise-saturation-0.5", lambda p: in_hsv(p, 1, lambda s: np.rint((255 * s) ** 0.5)), 9),
        ("raise-value-2", lambda p: in_hsv(p, 2, lambda v: np.rint(v**2 / 255)), 9),
    ],
)  # fmt: skip
def test_a_view_is_what_its_words_say(text, expected, most):
    """Computed from the definition, to what 8 bits round."""
    picture = scene()
    wanted = np.clip(expected(picture), 0, 255)
    assert np.abs(of(picture, text).astype(float) - wanted).max() <= most


def test_hsv_is_pillows_around_the_circle():
    apart = of(scene(), "hsv").astype(int) - np.array(Image.fromarray(scene()).convert("HSV"))
    apart[..., 0] = (apart[..., 0] + 128) % 256 - 128
    assert np.abs(apart).max() <= 2


def test_lab_is_that_of_colours_whose_values_are_known():
    """sRGB at D65; L from 0..100 to 0..255, a and b moved by 128."""
    colours = np.array([[[255, 0, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    known = [[53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [100, 0, 0], [0, 0, 0]]
    expected = np.array(known) * [2.55, 1, 1] + [0, 128, 128]
    assert np.abs(of(colours, "lab")[0] - expected).max() <= 1


def test_threads_do_not_share_their_noise():
    pictures = [scene(seed=seed) for seed in range(8)] * 4
    alone = [of(picture, "gaussian-noise") for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda picture: of(picture, "gaussian-noise"), pictures))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


def test_equalised_brightness_is_spread_and_keeps_its_order():
    ramp = np.repeat(np.arange(100, 140, dtype=np.uint8), 10)[None, :, None].repeat(3, axis=2)
    for text in ("equalise", "clahe-4-1"):
        view = of(ramp, text)[0, :, 0].astype(int)
        assert (np.diff(view) >= 0).all()
        assert np.ptp(view) > np.ptp(ramp[0, :, 0])


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
