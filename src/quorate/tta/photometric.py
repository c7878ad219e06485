"""Views that change colours where they are: tone, contrast, channels, colour spaces.

What depends on one value alone is a table of 256 entries. Coordinates stay, so boxes do too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from quorate.tta import kernels
from quorate.tta.filters import FILTERS

Picture = NDArray[np.uint8]
Table = NDArray[np.uint8]

LEVELS = np.arange(256, dtype=np.float64)
ORDERS = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Of `channel-shuffle-1` to `-5`: which channel is shown as red, as green, as blue."""
_CHANNELS = {"red": 0, "green": 1, "blue": 2, "hue": 0, "saturation": 1, "value": 2}


def toned(picture: Picture, name: str, *numbers: float) -> Picture:
    """The view of a picture; shape and type are the picture's, which is not changed.

    Args:
        picture: uint8 (height, width, 3).
        name: one of `quorate.spec.tta.PHOTOMETRIC`.
        numbers: all of its numbers.
    """
    view: Picture = _DONE[name](picture, *numbers)
    return view


def _table(levels: NDArray[np.floating]) -> Table:
    table: Table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return table


def _through(table: Callable[..., NDArray[np.floating]]) -> Callable[..., Picture]:
    """A view that takes every value of every channel through one table."""
    return lambda picture, *numbers: np.take(_table(table(*numbers)), picture)


def _with_channel(picture: Picture, channel: int, table: Table) -> Picture:
    view = picture.copy()
    view[..., channel] = np.take(table, picture[..., channel])
    return view


def _contrast(picture: Picture, factor: float) -> Picture:
    """Away from the mean grey level, or towards it."""
    mean = round(float(np.asarray(Image.fromarray(picture).convert("L")).mean()))
    return np.take(_table(mean + (LEVELS - mean) * factor), picture)


def _saturation(picture: Picture, factor: float) -> Picture:
    return np.array(ImageEnhance.Color(Image.fromarray(picture)).enhance(factor))


def _in_hsv(picture: Picture, channel: int, table: Table) -> Picture:
    """Change one channel of HSV; the way there and back is Pillow's, to the last bit."""
    tables = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    tables[channel] = table
    view = np.empty(picture.shape, np.uint8)
    place = LEVELS * 6 / 255
    within, share = (
        value.astype(np.float32).astype(np.float64) for value in (place % 1, LEVELS / 255)
    )
    kernels.hsv_changed(
        kernels.plain(picture), view, tables, place.astype(np.int64) % 6, within, share
    )
    return view


def _hsv(picture: Picture) -> Picture:
    view = np.empty(picture.shape, np.uint8)
    kernels.hsv(kernels.plain(picture), view)
    return view


def _hue(picture: Picture, degrees: float) -> Picture:
    """Turn the circle of colours."""
    return _in_hsv(picture, 0, ((LEVELS + round(degrees * 256 / 360)) % 256).astype(np.uint8))


def _raised(picture: Picture, what: str, power: float) -> Picture:
    """(value / 255) ^ power: a power below 1 raises a channel of RGB or HSV."""
    table = _table(255 * (LEVELS / 255) ** power)
    change = _with_channel if what in ("red", "green", "blue") else _in_hsv
    return change(picture, _CHANNELS[what], table)


def _shifted(picture: Picture, red: float, green: float, blue: float) -> Picture:
    view = np.empty_like(picture)
    for channel, levels in enumerate((red, green, blue)):
        view[..., channel] = np.take(_table(LEVELS + levels), picture[..., channel])
    return view


def _shuffled(picture: Picture, order: float) -> Picture:
    return np.ascontiguousarray(picture[..., ORDERS[int(order) - 1]])


def _grey(picture: Picture) -> Picture:
    return np.array(Image.fromarray(picture).convert("L").convert("RGB"))


def _autocontrast(picture: Picture, percent: float) -> Picture:
    """Stretch each channel, the darkest and lightest so many percent left out."""
    return np.array(ImageOps.autocontrast(Image.fromarray(picture), cutoff=percent))


def _by_brightness(
    picture: Picture, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> Picture:
    """Change Y of YCbCr alone, so that colours keep their hue."""
    ycc = np.array(Image.fromarray(picture).convert("YCbCr"))
    ycc[..., 0] = change(ycc[..., 0])
    return np.array(Image.fromarray(ycc, "YCbCr").convert("RGB"))


def _equalise(picture: Picture) -> Picture:
    """Spread the brightness so that every level is as frequent."""
    return _by_brightness(picture, lambda y: np.asarray(ImageOps.equalize(Image.fromarray(y))))


def _clahe(picture: Picture, limit: float, tiles: float) -> Picture:
    """Contrast limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    The picture is cut into tiles x tiles; each has a table of its own from its histogram, no
    level counting more than `limit` times the mean; a pixel is between its four nearest tables.
    """

    def change(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = levels.shape
        down, across = min(int(tiles), height), min(int(tiles), width)
        y_edges = np.linspace(0, height, down + 1).round().astype(int)
        x_edges = np.linspace(0, width, across + 1).round().astype(int)
        tables = np.empty((down, across, 256), dtype=np.float32)
        for j in range(down):
            for i in range(across):
                tile = levels[y_edges[j] : y_edges[j + 1], x_edges[i] : x_edges[i + 1]]
                tables[j, i] = _limited(np.bincount(tile.ravel(), minlength=256), limit)
        upper, lower, y_share = _between(y_edges, height)
        left, right, x_share = _between(x_edges, width)
        view = np.empty(levels.shape, np.uint8)
        kernels.between_tables(
            kernels.plain(levels),
            view,
            tables,
            np.stack([upper, lower]),
            y_share,
            np.stack([left, right]),
            x_share,
        )
        return view

    return _by_brightness(picture, change)


def _limited(histogram: NDArray[np.intp], limit: float) -> NDArray[np.float64]:
    most = max(limit * histogram.sum() / 256, 1)
    capped = np.minimum(histogram, most)
    capped = capped + (histogram.sum() - capped.sum()) / 256
    table: NDArray[np.float64] = np.cumsum(capped) * (255 / histogram.sum())
    return np.minimum(table, 255)


def _between(
    edges: NDArray[np.int_], pixels: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Of each pixel: the tile before, the tile after, and how far towards the one after."""
    centres = (edges[1:] + edges[:-1]) / 2
    place = np.interp(np.arange(pixels) + 0.5, centres, np.arange(len(centres)))
    before = np.floor(place).astype(np.intp)
    after = np.minimum(before + 1, len(centres) - 1)
    return before, after, (place - before).astype(np.float32)


def _lab(picture: Picture) -> Picture:
    """CIE L*a*b* of sRGB at D65, in OpenCV's 8 bits: L · 255 / 100, a + 128, b + 128."""
    view = np.empty(picture.shape, np.uint8)
    kernels.lab(kernels.plain(picture), view, *_lab_tables())
    return view


@cache
def _lab_tables() -> tuple[NDArray[np.float32], ...]:
    """The light of each level, the matrix to XYZ, f(t) of 2 ^ 14 steps of t and one beyond."""
    linear = np.where(LEVELS <= 10.31475, LEVELS / 3294.6, ((LEVELS / 255 + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
    to_xyz /= to_xyz.sum(axis=1, keepdims=True)
    roots = np.cbrt(np.arange((1 << 14) + 2) / (1 << 14))
    return linear.astype(np.float32), to_xyz.astype(np.float32), roots.astype(np.float32)


def _posterise(bits: float) -> NDArray[np.floating]:
    step = 2 ** (8 - int(bits))
    levels: NDArray[np.float64] = np.floor(LEVELS / step) * step
    return levels


_DONE: dict[str, Callable[..., Picture]] = {
    **FILTERS,
    "brightness": _through(lambda factor: LEVELS * factor),
    "contrast": _contrast,
    "gamma": _through(lambda gamma: 255 * (LEVELS / 255) ** (1 / gamma)),
    "autocontrast": _autocontrast,
    "equalise": _equalise,
    "clahe": _clahe,
    "saturation": _saturation,
    "hue": _hue,
    **{
        f"raise-{what}": lambda picture, power, what=what: _raised(picture, what, power)
        for what in _CHANNELS
    },
    "channel-shift": _shifted,
    "channel-shuffle": _shuffled,
    "hsv": _hsv,
    "lab": _lab,
    "grey": _grey,
    "invert": _through(lambda: 255 - LEVELS),
    "posterise": _through(_posterise),
    "solarise": _through(lambda threshold: np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS)),
}
