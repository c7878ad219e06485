"""Loops over pixels, compiled: what neither a table nor Pillow does quickly.

Each fills `view`, uint8 (height, width, 3) unless it says otherwise; all arrays are contiguous.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quorate.compiled import kernel

Picture = NDArray[np.uint8]
Table = NDArray[np.uint8]
Floats = NDArray[np.float32]


def plain(picture: Picture) -> Picture:
    """In the one memory layout that kernels are compiled for."""
    return np.require(picture, np.uint8, ("C", "W"))


@kernel
def hsv_changed(
    picture: Picture,
    view: Picture,
    tables: Table,
    sector: NDArray[np.int64],
    within: NDArray[np.float64],
    share: NDArray[np.float64],
) -> None:
    """Take hue, saturation and value through (3, 256) tables; both ways in Pillow's arithmetic.

    Of each hue, `sector` has which sixth of the circle it is in, and `within` how far; `share` has
    each saturation in 0..1.
    """
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            red, green, blue = picture[y, x, 0], picture[y, x, 1], picture[y, x, 2]
            before = _hsv(int(red), int(green), int(blue))
            hue, saturation = tables[0, before[0]], tables[1, before[1]]
            most = tables[2, before[2]]
            if saturation == 0:
                view[y, x, 0], view[y, x, 1], view[y, x, 2] = most, most, most
                continue
            part, place = share[saturation], within[hue]
            least = np.uint8(most * (1.0 - part) + 0.5)
            falling = np.uint8(most * (1.0 - part * place) + 0.5)
            rising = np.uint8(most * (1.0 - part * (1.0 - place)) + 0.5)
            sixth = sector[hue]
            if sixth == 0:
                red, green, blue = most, rising, least
            elif sixth == 1:
                red, green, blue = falling, most, least
            elif sixth == 2:
                red, green, blue = least, most, rising
            elif sixth == 3:
                red, green, blue = least, falling, most
            elif sixth == 4:
                red, green, blue = rising, least, most
            else:
                red, green, blue = most, least, falling
            view[y, x, 0], view[y, x, 1], view[y, x, 2] = red, green, blue


@kernel
def hsv(picture: Picture, view: Picture) -> None:
    """Hue, saturation and value, as Pillow computes them."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            red, green, blue = picture[y, x, 0], picture[y, x, 1], picture[y, x, 2]
            hue, saturation, value = _hsv(int(red), int(green), int(blue))
            view[y, x, 0], view[y, x, 1], view[y, x, 2] = hue, saturation, value


@njit(error_model="numpy")
def _hsv(red: int, green: int, blue: int) -> tuple[int, int, int]:
    most, least = max(red, green, blue), min(red, green, blue)
    if most == least:
        return 0, 0, most
    span = np.float32(most - least)
    from_red = np.float32(most - red) / span
    from_green = np.float32(most - green) / span
    from_blue = np.float32(most - blue) / span
    if red == most:
        place = from_blue - from_green
    elif green == most:
        place = np.float32(2.0 + np.float64(from_red) - np.float64(from_blue))
    else:
        place = np.float32(4.0 + np.float64(from_green) - np.float64(from_red))
    turn = np.float64(place) / 6.0 + 1.0
    if turn >= 1.0:
        turn -= 1.0
    saturation = np.float64(span / np.float32(most)) * 255.0
    return int(np.float64(np.float32(turn)) * 255.0), int(saturation), most


@kernel
def lab(picture: Picture, view: Picture, linear: Floats, to_xyz: Floats, roots: Floats) -> None:
    """CIE L*a*b* in 8 bits; `linear` has the light of each level, `roots` f(t) of t in 0..1."""
    last = len(roots) - 2
    f = np.empty(3, np.float32)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            red, green = linear[picture[y, x, 0]], linear[picture[y, x, 1]]
            blue = linear[picture[y, x, 2]]
            for k in range(3):
                t = to_xyz[k, 0] * red + to_xyz[k, 1] * green + to_xyz[k, 2] * blue
                if t <= np.float32(0.008856):
                    f[k] = np.float32(7.787) * t + np.float32(16 / 116)
                else:
                    place = t * np.float32(last)
                    cell = min(int(place), last)
                    f[k] = roots[cell] + (place - cell) * (roots[cell + 1] - roots[cell])
            view[y, x, 0] = _level((116 * f[1] - 16) * np.float32(2.55))
            view[y, x, 1] = _level(500 * (f[0] - f[1]) + 128)
            view[y, x, 2] = _level(200 * (f[1] - f[2]) + 128)


@njit(error_model="numpy")
def _level(value: float) -> np.uint8:
    return np.uint8(min(max(value, 0), 255) + np.float32(0.5))


@kernel
def between_tables(
    levels: NDArray[np.uint8],
    view: NDArray[np.uint8],
    tables: Floats,
    rows: NDArray[np.int64],
    down: Floats,
    columns: NDArray[np.int64],
    across: Floats,
) -> None:
    """Each of (height, width) `levels` between the (256,) tables of its four nearest tiles.

    rows, columns  (2, height), (2, width): the tile before, the tile after
    down, across   how far towards the one after
    """
    mixed = np.empty((tables.shape[1], 256), np.float32)
    for y in range(levels.shape[0]):
        share = down[y]
        upper, lower = tables[rows[0, y]], tables[rows[1, y]]
        for i in range(mixed.shape[0]):
            for level in range(256):
                mixed[i, level] = upper[i, level] * (1 - share) + lower[i, level] * share
        for x in range(levels.shape[1]):
            level = levels[y, x]
            left, right = mixed[columns[0, x], level], mixed[columns[1, x], level]
            view[y, x] = np.uint8(left * (1 - across[x]) + right * across[x] + np.float32(0.5))


@kernel
def bilateral(
    around: NDArray[np.uint8],
    view: Picture,
    offsets: NDArray[np.int64],
    near: Floats,
    like: Floats,
    size: int,
) -> None:
    """The mean of the pixels at `offsets`, by how near they are and how like.

    around  uint8 (3, height + 2 size, width + 2 size), channel by channel
    like    the weight of each sum of differences

    Row by row and one neighbour after another, so that all but the look-up is done many at once.
    """
    height, width = view.shape[:2]
    apart = np.empty(width, np.uint16)
    weight, total = np.empty(width, np.float32), np.empty(width, np.float32)
    sums = np.empty((3, width), np.float32)
    for y in range(height):
        total[:] = 0
        sums[:] = 0
        for k in range(len(near)):
            row, left = y + offsets[k, 0], offsets[k, 1]
            apart[:] = 0
            for channel in range(3):
                here = around[channel, y + size, size : size + width]
                there = around[channel, row, left : left + width]
                for x in range(width):
                    apart[x] += max(here[x], there[x]) - min(here[x], there[x])
            for x in range(width):
                weight[x] = near[k] * like[apart[x]]
            for x in range(width):
                total[x] += weight[x]
            for channel in range(3):
                there, summed = around[channel, row, left : left + width], sums[channel]
                for x in range(width):
                    summed[x] += weight[x] * np.float32(there[x])
        for x in range(width):
            for channel in range(3):
                view[y, x, channel] = np.uint8(sums[channel, x] / total[x] + np.float32(0.5))


@kernel
def thrice(picture: Picture, view: Picture, middle: int, beside: int) -> None:
    """Three times a mean of three pixels along rows, then down columns; each rounds, as Pillow's.

    `middle` and twice `beside` add up to 2 ^ 24.
    """
    height, width = picture.shape[:2]
    inner, outer, half = np.uint32(middle), np.uint32(beside), np.uint32(1 << 23)
    flat, out = picture.reshape(height, width * 3), view.reshape(height, width * 3)
    row = np.empty(width * 3 + 6, np.uint8)
    for y in range(height):
        for k in range(width * 3):
            out[y, k] = flat[y, k]
        for _ in range(3):
            for k in range(3):
                row[k], row[width * 3 + 3 + k] = out[y, k], out[y, width * 3 - 3 + k]
            for k in range(width * 3):
                row[k + 3] = out[y, k]
            for k in range(width * 3):
                sides = np.uint32(row[k]) + np.uint32(row[k + 6])
                out[y, k] = (np.uint32(row[k + 3]) * inner + sides * outer + half) >> np.uint32(24)
    before = np.empty(width * 3, np.uint8)
    for _ in range(3):
        for k in range(width * 3):
            before[k] = out[0, k]
        for y in range(height):
            below = out[min(y + 1, height - 1)]
            for k in range(width * 3):
                now = out[y, k]
                sides = np.uint32(before[k]) + np.uint32(below[k])
                out[y, k] = (np.uint32(now) * inner + sides * outer + half) >> np.uint32(24)
                before[k] = now


@kernel
def bent(
    picture: Picture, view: Picture, boxes: NDArray[np.int64], numbers: NDArray[np.float64]
) -> None:
    """Fill each box of the view from the picture, linear between pixels, in Pillow's arithmetic.

    boxes    int64 (n, 4)    x1, y1, x2, y2, within the view
    numbers  float64 (n, 8)  x of the picture is a + b x + c y + d x y of the place within the box,
                             y likewise; what lies outside of the picture is left as it is
    """
    height, width = picture.shape[:2]
    pixels, out = picture.reshape(-1), view.reshape(-1)
    for k in range(len(boxes)):
        a, b, c, d, e, f, g, h = numbers[k]
        straight = d == 0 and h == 0
        for row in range(boxes[k, 1], boxes[k, 3]):
            y = row - boxes[k, 1] + 0.5
            for column in range(boxes[k, 0], boxes[k, 2]):
                x = column - boxes[k, 0] + 0.5
                if straight:  # an affine map's terms, in their own order
                    across, down = b * x + c * y + a, f * x + g * y + e
                else:
                    across = a + b * x + c * y + d * x * y
                    down = e + f * x + g * y + h * x * y
                if across < 0 or across >= width or down < 0 or down >= height:
                    continue
                left, right, rightwards = _beside(across - 0.5, width)
                above, below, downwards = _beside(down - 0.5, height)
                upper, lower = above * np.uint64(width), below * np.uint64(width)
                at = np.uint64(3) * np.uint64(row * view.shape[1] + column)
                for channel in range(np.uint64(3)):
                    one = np.float64(pixels[(upper + left) * np.uint64(3) + channel])
                    two = np.float64(pixels[(upper + right) * np.uint64(3) + channel])
                    three = np.float64(pixels[(lower + left) * np.uint64(3) + channel])
                    four = np.float64(pixels[(lower + right) * np.uint64(3) + channel])
                    first = one + (two - one) * rightwards
                    second = three + (four - three) * rightwards
                    out[at + channel] = np.uint8(np.int32(first + (second - first) * downwards))


@njit(error_model="numpy")
def _beside(place: float, length: int) -> tuple[np.uint64, np.uint64, float]:
    """Of a place from -0.5 on: the pixels before and after it, and how far to the one after."""
    if place < 0:
        return np.uint64(0), np.uint64(0), place + 1
    before = int(place)
    return np.uint64(before), np.uint64(min(before + 1, length - 1)), place - before
