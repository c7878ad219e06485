"""Views that change colours and leave coordinates alone, by OpenCV and Pillow.

What depends on one value alone is a table of 256 levels. Noise is seeded by the picture's own
pixels, so the same picture always has the same noise. Filters take a picture to go on beyond its
border with its outermost pixels.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from quorate.tta.opencv import cv2

Picture = NDArray[Any]  # uint8 (height, width, 3); OpenCV's stubs do not say so much
Levels = NDArray[np.float64]

LEVELS = np.arange(256, dtype=np.float64)
ORDERS = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Of `channel-shuffle-1` to `-5`: which channel is shown as red, as green, as blue."""


def toned(picture: Picture, name: str, *numbers: float) -> NDArray[np.uint8]:
    """The view of a picture, of the same shape and type; the picture is not changed.

    `name` is one of `quorate.spec.tta.PHOTOMETRIC`, with all of its numbers.
    """
    view: NDArray[np.uint8] = _DONE[name](np.ascontiguousarray(picture), *numbers)
    return view


def _replaced(picture: Picture, *tables: Levels) -> Picture:
    """Every value by its level in a table: one table for all channels, or one for each."""
    levels = np.clip(np.rint(np.stack(tables, axis=-1)), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, levels[:, None])


def _by_table(table: Callable[..., Levels]) -> Callable[..., Picture]:
    return lambda picture, *numbers: _replaced(picture, table(*numbers))


def _contrast(picture: Picture, factor: float) -> Picture:
    """Away from the mean grey level, or towards it."""
    mean = round(float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).mean()))
    return _replaced(picture, mean + (LEVELS - mean) * factor)


def _grey(picture: Picture) -> Picture:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _away(picture: Picture, other: Picture, factor: float) -> Picture:
    """Factor 0 is the other picture, 1 the picture, more is further away from the other."""
    return cv2.addWeighted(picture, factor, other, 1 - factor, 0)


def _hue(picture: Picture, degrees: float) -> Picture:
    """Turn the circle of colours; a full circle has 256 levels."""
    return _in_hsv(picture, (LEVELS + round(degrees * 256 / 360)) % 256, LEVELS, LEVELS)


def _in_hsv(picture: Picture, *tables: Levels) -> Picture:
    changed = _replaced(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL), *tables)
    return cv2.cvtColor(changed, cv2.COLOR_HSV2RGB_FULL)


def _raised(
    channel: int, change: Callable[..., Picture] = _replaced
) -> Callable[[Picture, float], Picture]:
    """(value / 255) ^ power in one channel: a power below 1 raises it."""

    def raised(picture: Picture, power: float) -> Picture:
        tables = [LEVELS, LEVELS, LEVELS]
        tables[channel] = 255 * (LEVELS / 255) ** power
        return change(picture, *tables)

    return raised


def _by_brightness(picture: Picture, change: Callable[[Picture], Picture]) -> Picture:
    """Change Y of YCrCb alone, so that colours keep their hue."""
    channels = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    channels[..., 0] = change(channels[..., 0])
    return cv2.cvtColor(channels, cv2.COLOR_YCrCb2RGB)


def _clahe(picture: Picture, limit: float, tiles: float) -> Picture:
    """Contrast limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    The picture is cut into tiles x tiles; each has a table of its own from its histogram, no
    level counting more than `limit` times the mean; a pixel is between its four nearest tables.
    """
    height, width = picture.shape[:2]
    grid = (min(int(tiles), width), min(int(tiles), height))
    return _by_brightness(picture, cv2.createCLAHE(limit, grid).apply)


def _average_blur(picture: Picture, radius: float) -> Picture:
    """Pillow's, for the radius may be a fraction."""
    return np.array(Image.fromarray(picture).filter(ImageFilter.BoxBlur(radius)))


def _gaussian_blur(picture: Picture, sigma: float) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _bilateral_blur(picture: Picture, radius: float, sigma: float) -> Picture:
    """`sigma` is in grey levels; the weight by distance is a Gaussian of half the radius."""
    return cv2.bilateralFilter(
        picture, 2 * int(radius) + 1, sigma, radius / 2, borderType=cv2.BORDER_REPLICATE
    )


def _motion_blur(picture: Picture, length: float, degrees: float) -> Picture:
    """The mean along a line of so many pixels, as when the camera moves."""
    reach = int(length) // 2
    line = np.zeros((2 * reach + 1, 2 * reach + 1))
    across, down = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
    for step in range(-reach, int(length) - reach):
        line[reach + round(step * down), reach + round(step * across)] += 1 / int(length)
    return cv2.filter2D(picture, -1, line, borderType=cv2.BORDER_REPLICATE)


def _sharpen(picture: Picture, factor: float) -> Picture:
    near = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = cv2.filter2D(picture, -1, near, borderType=cv2.BORDER_REPLICATE)
    return _away(picture, smooth, factor)


def _gaussian_noise(picture: Picture, sigma: float) -> Picture:
    cv2.setRNGSeed(zlib.crc32(picture.data) & 0x7FFFFFFF)  # of this thread alone
    noise = cv2.randn(np.empty(picture.shape, np.int16), np.zeros(3), np.full(3, sigma))
    return cv2.add(picture, noise, dtype=cv2.CV_8U)


def _with_pixels(*levels: int) -> Callable[[Picture, float], Picture]:
    """A share of the pixels, at least one, at grey levels that take turns."""

    def changed(picture: Picture, share: float) -> Picture:
        view = picture.copy()
        flat = view.reshape(-1, 3)
        random = np.random.default_rng(zlib.crc32(picture.data))
        places = random.integers(0, len(flat), max(round(len(flat) * share), 1))
        for number, level in enumerate(levels):
            flat[places[number :: len(levels)]] = level
        return view

    return changed


def _jpeg(picture: Picture, quality: float) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    return np.array(Image.open(file))


def _posterise(bits: float) -> Levels:
    step = float(2 ** (8 - int(bits)))
    return np.floor(LEVELS / step) * step


_DONE: dict[str, Callable[..., Picture]] = {
    "average-blur": _average_blur,
    "gaussian-blur": _gaussian_blur,
    "median-blur": lambda picture, side: cv2.medianBlur(picture, int(side)),
    "bilateral-blur": _bilateral_blur,
    "motion-blur": _motion_blur,
    "sharpen": _sharpen,
    "gaussian-noise": _gaussian_noise,
    "salt-and-pepper": _with_pixels(0, 255),
    "dropout": _with_pixels(0),
    "jpeg": _jpeg,
    "brightness": _by_table(lambda factor: LEVELS * factor),
    "contrast": _contrast,
    "gamma": _by_table(lambda gamma: 255 * (LEVELS / 255) ** (1 / gamma)),
    "autocontrast": lambda picture, percent: np.array(
        ImageOps.autocontrast(Image.fromarray(picture), cutoff=percent)
    ),
    "equalise": lambda picture: _by_brightness(
        picture, lambda levels: np.asarray(ImageOps.equalize(Image.fromarray(levels)))
    ),
    "clahe": _clahe,
    "saturation": lambda picture, factor: _away(picture, _grey(picture), factor),
    "hue": _hue,
    "raise-red": _raised(0),
    "raise-green": _raised(1),
    "raise-blue": _raised(2),
    "raise-hue": _raised(0, _in_hsv),
    "raise-saturation": _raised(1, _in_hsv),
    "raise-value": _raised(2, _in_hsv),
    "channel-shift": lambda picture, *shifts: _replaced(picture, *(LEVELS + s for s in shifts)),
    "channel-shuffle": lambda picture, order: picture[..., ORDERS[int(order) - 1]].copy("C"),
    "hsv": lambda picture: cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL),
    "lab": lambda picture: cv2.cvtColor(picture, cv2.COLOR_RGB2LAB),
    "grey": _grey,
    "invert": _by_table(lambda: 255 - LEVELS),
    "posterise": _by_table(_posterise),
    "solarise": _by_table(lambda least: np.where(least <= LEVELS, 255 - LEVELS, LEVELS)),
}
