"""Views that mix neighbouring pixels: blurs, sharpening, noise, compression.

Noise is seeded by the picture's own pixels, so the same picture always has the same noise.
Beyond the border a picture is taken to go on with its outermost pixels.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from quorate.tta import kernels

Picture = NDArray[np.uint8]

BAND = 1 << 14
"""Pixels at once of the views that need many numbers for each."""


def average_blur(picture: Picture, radius: float) -> Picture:
    """The mean of a square of 2 · radius + 1 pixels."""
    return np.array(Image.fromarray(picture).filter(ImageFilter.BoxBlur(radius)))


def gaussian_blur(picture: Picture, sigma: float) -> Picture:
    """The mean weighted by a Gaussian of so many pixels (as three box blurs, Pillow's way).

    Source of the boxes' radius: Gwosdek et al., Theoretical Foundations of Gaussian Convolution
    by Extended Box Filtering, SSVM 2011.
    """
    variance = np.float32(sigma) * np.float32(sigma) / np.float32(3)
    if math.sqrt(12 * variance + 1) < 3:  # boxes of one pixel and a share of those beside it
        radius = np.float32(-3) * variance / (np.float32(6) * (variance - np.float32(1)))
        middle = int(np.float32(1 << 24) / (radius * np.float32(2) + np.float32(1)))
        view = np.empty(picture.shape, np.uint8)
        kernels.thrice(kernels.plain(picture), view, middle, ((1 << 24) - middle) // 2)
        return view
    return np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def median_blur(picture: Picture, side: float) -> Picture:
    """The median of a square of 3 or 5 pixels, channel by channel.

    Whole pictures go through a sorting network; only its comparisons that bear on the middle
    are made. Several times as fast as picking pixel by pixel.
    """
    size = int(side)
    height, width = picture.shape[:2]
    around = _extended(picture, size // 2)
    view = np.empty_like(picture)
    for rows in bands(height, width):
        values = [
            around[rows.start + j : rows.stop + j, i : i + width]
            for j in range(size)
            for i in range(size)
        ]
        for low, high in _median_network(size * size):
            values[low], values[high] = (
                np.minimum(values[low], values[high]),
                np.maximum(values[low], values[high]),
            )
        view[rows] = values[len(values) // 2]
    return view


@cache
def _median_network(count: int) -> tuple[tuple[int, int], ...]:
    """Comparisons of Batcher's odd-even mergesort that the middle of `count` values needs."""
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                pairs += [
                    (i, i + k)
                    for i in range(j, j + min(k, count - j - k))
                    if i // (2 * p) == (i + k) // (2 * p)
                ]
            k //= 2
        p *= 2
    needed = {count // 2}
    kept = []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    return tuple(reversed(kept))


def bilateral_blur(picture: Picture, radius: float, sigma: float) -> Picture:
    """The mean of a disc of pixels, weighted by how near and how like they are.

    `sigma` is in grey levels, of the sum of the differences of the three channels; the weight by
    distance is a Gaussian of half the radius (OpenCV's rule, with its sigmas tied).
    """
    size = int(radius)
    like = np.exp(-((np.arange(766) / sigma) ** 2) / 2).astype(np.float32)
    steps = np.arange(-size, size + 1)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    disc = np.hypot(x, y) <= size
    near = np.exp(-(x**2 + y**2) / (2 * (max(size, 1) / 2) ** 2))[disc].astype(np.float32)
    view = np.empty(picture.shape, np.uint8)
    offsets = np.stack([y[disc], x[disc]], axis=1).astype(np.int64) + size
    around = np.ascontiguousarray(_extended(picture, size).transpose(2, 0, 1))
    kernels.bilateral(around, view, offsets, near, like, size)
    return view


def motion_blur(picture: Picture, length: float, degrees: float) -> Picture:
    """The mean along a line of so many pixels, as when the camera moves."""
    reach = int(length) // 2
    around = _extended(picture, reach)
    height, width = picture.shape[:2]
    total = np.zeros(picture.shape, dtype=np.uint16)
    x, y = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
    steps = range(-reach, int(length) - reach)
    for step in steps:
        right, down = round(step * x), round(step * y)
        total += around[reach + down : reach + down + height, reach + right : reach + right + width]
    return ((total + len(steps) // 2) // len(steps)).astype(np.uint8)


def sharpen(picture: Picture, factor: float) -> Picture:
    """Away from a smoothed picture: 0 is smoothed, 1 the picture, more is sharper."""
    return np.array(ImageEnhance.Sharpness(Image.fromarray(picture)).enhance(factor))


def gaussian_noise(picture: Picture, sigma: float) -> Picture:
    """Normal noise of so many grey levels on each value, each level as often as in 2 ^ 16 draws."""
    draws = np.frombuffer(_random(picture).bytes(2 * picture.size), np.uint16)
    noise = np.take(_normal(sigma), draws).reshape(picture.shape)
    noise += picture
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


@cache
def _normal(sigma: float) -> NDArray[np.int16]:
    """2 ^ 16 whole numbers, rising, that are normally distributed."""
    most = math.ceil(5 * sigma)
    levels = np.arange(-most, most + 1, dtype=np.int16)
    below = [math.erf((level - 0.5) / sigma / math.sqrt(2)) for level in levels.tolist()]
    ends = np.rint((np.array([*below[1:], 1]) + 1) * (1 << 15)).astype(np.int64)
    return np.repeat(levels, np.diff(ends, prepend=0))


def salt_and_pepper(picture: Picture, share: float) -> Picture:
    """A share of the pixels white or black."""
    return _with_pixels(picture, share, (0, 255))


def dropout(picture: Picture, share: float) -> Picture:
    """A share of the pixels black."""
    return _with_pixels(picture, share, (0,))


def jpeg(picture: Picture, quality: float) -> Picture:
    """Compressed and read again."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    return np.array(Image.open(file))


def _with_pixels(picture: Picture, share: float, levels: tuple[int, ...]) -> Picture:
    """Some pixels, at least one, at grey levels that take turns."""
    height, width = picture.shape[:2]
    random = _random(picture)
    count = max(round(height * width * share), 1)
    places = random.integers(0, height * width, count)
    view = picture.copy()
    flat = view.reshape(-1, 3)
    for number, level in enumerate(levels):
        flat[places[number :: len(levels)]] = level
    return view


def _random(picture: Picture) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(picture).data))


def bands(height: int, width: int) -> Iterator[slice]:
    """A picture's rows, so many at once that what is made of them stays in the cache."""
    step = max(BAND // max(width, 1), 1)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _extended(picture: Picture, by: int) -> Picture:
    return np.pad(picture, ((by, by), (by, by), (0, 0)), mode="edge")


FILTERS: dict[str, Callable[..., Picture]] = {
    "average-blur": average_blur,
    "gaussian-blur": gaussian_blur,
    "median-blur": median_blur,
    "bilateral-blur": bilateral_blur,
    "motion-blur": motion_blur,
    "sharpen": sharpen,
    "gaussian-noise": gaussian_noise,
    "salt-and-pepper": salt_and_pepper,
    "dropout": dropout,
    "jpeg": jpeg,
}
