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

from quorate.compiled import kernel

Picture = NDArray[np.uint8]

BAND = 1 << 14
"""Pixels at once of the views that need many numbers for each."""


def average_blur(picture: Picture, radius: float) -> Picture:
    """The mean of a square of 2 · radius + 1 pixels."""
    return np.array(Image.fromarray(picture).filter(ImageFilter.BoxBlur(radius)))


def gaussian_blur(picture: Picture, sigma: float) -> Picture:
    """The mean weighted by a Gaussian of so many pixels (as three box blurs, Pillow's way)."""
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
    view = np.empty_like(picture)
    offsets = np.stack([y[disc], x[disc]], axis=1).astype(np.int64) + size
    _bilateral(_extended(picture, size), view, offsets, near, like, size)
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
    """Normal noise of so many grey levels on each value."""
    noise = _random(picture).standard_normal(picture.shape, dtype=np.float32)
    noise *= np.float32(sigma)
    noise += picture
    np.rint(noise, out=noise)
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


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


@kernel
def _bilateral(
    around: NDArray[np.uint8],
    view: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    near: NDArray[np.float32],
    like: NDArray[np.float32],
    size: int,
) -> None:  # pragma: no cover - compiled
    height, width = view.shape[:2]
    for y in range(height):
        for x in range(width):
            red = np.int64(around[y + size, x + size, 0])
            green = np.int64(around[y + size, x + size, 1])
            blue = np.int64(around[y + size, x + size, 2])
            weights = r = g = b = np.float32(0)
            for k in range(len(near)):
                j, i = y + offsets[k, 0], x + offsets[k, 1]
                one = np.int64(around[j, i, 0])
                two = np.int64(around[j, i, 1])
                three = np.int64(around[j, i, 2])
                weight = near[k] * like[abs(one - red) + abs(two - green) + abs(three - blue)]
                weights += weight
                r += weight * one
                g += weight * two
                b += weight * three
            view[y, x, 0] = np.uint8(r / weights + np.float32(0.5))
            view[y, x, 1] = np.uint8(g / weights + np.float32(0.5))
            view[y, x, 2] = np.uint8(b / weights + np.float32(0.5))


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
