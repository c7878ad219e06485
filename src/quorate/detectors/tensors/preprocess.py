"""From a picture's pixels to a network's input, in one pass.

One compiled kernel resizes, normalises, reorders channels and pads: uint8 (height, width, 3) in,
float32 planes out. It works row by row, so no whole picture is stored between.

Interpolation is linear with half-pixel centres, and gives the very grey levels that the libraries
give whose networks see them: plain those of OpenCV's INTER_LINEAR, antialiased those of Pillow's
BILINEAR, where every pixel counts when a picture shrinks. Both reckon in whole numbers, and round
as is done here: a single grey level moves the boxes of a network of 8 bits. (A picture more than a
hundred times as high as wide Pillow resizes down before across: a level of difference, at most.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.detectors.tensors.geometry import Placement

Floats = tuple[float, float, float]
Taps = tuple[NDArray[np.int32], NDArray[np.int32]]
PLAIN_BITS = 11
"""OpenCV's weights are of 2048."""
SMOOTH_BITS = 22
"""Pillow's are of 4,194,304."""
STEP = np.uint64(1)
"""An index without a sign: numba need not ask whether it counts from the end."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a network wants of a pixel: `(value * scale - mean) / std`, channel by channel.

    scale     1/255 for 0..1, 1 for 0..255
    mean, std in the order of the network's channels
    channels  "rgb" or "bgr"
    pad       grey level, 0..255, around the picture; it is normalised like a pixel
    """

    scale: float = 1 / 255
    mean: Floats = (0.0, 0.0, 0.0)
    std: Floats = (1.0, 1.0, 1.0)
    channels: Literal["rgb", "bgr"] = "rgb"
    pad: int = 114

    @property
    def told(self) -> str:
        """In words, what becomes of a pixel's values."""
        levels = {1 / 255: "0..1", 1.0: "0..255"}.get(self.scale, f"0..{255 * self.scale:g}")
        if any(self.mean) or set(self.std) != {1.0}:
            mean, std = (", ".join(f"{x:g}" for x in three) for three in (self.mean, self.std))
            levels = f"({levels} - [{mean}]) / [{std}]"
        return f"{self.channels.upper()} {levels}"


def fill(
    planes: NDArray[np.float32],
    picture: NDArray[np.uint8],
    placement: Placement,
    normalisation: Normalisation,
    *,
    antialias: bool,
) -> None:
    """Put a picture, uint8 (height, width, 3) in RGB, into a network's input.

    `planes` are float32 (3, height, width) of the placement's frame; any strides, so a transposed
    view of (height, width, 3) will do. All of it is written. With `antialias` pixels are averaged
    when shrinking, as Pillow does; else sampled, as OpenCV does.
    """
    (height, width), (inner_height, inner_width) = placement.picture, placement.inner
    frame_height, frame_width = placement.frame
    mean, std = np.array(normalisation.mean), np.array(normalisation.std)
    levels = np.array([normalisation.scale / std, -mean / std], dtype=np.float32)
    top, left = max(placement.top, 0), max(placement.left, 0)
    bottom = min(placement.top + inner_height, frame_height)
    right = min(placement.left + inner_width, frame_width)
    padding = (np.float32(normalisation.pad) * levels[0] + levels[1])[:, None, None]
    planes[:, :top], planes[:, bottom:] = padding, padding
    planes[:, top:bottom, :left], planes[:, top:bottom, right:] = padding, padding
    # One type of each for the compiler: pixels that cannot be written to, planes upside down.
    source = np.ascontiguousarray(picture).reshape(height, 3 * width)
    source.flags.writeable = False
    target = planes[::-1, top:bottom, left:right]
    if antialias:
        rows, columns = smooth_taps(height, inner_height), smooth_taps(width, inner_width)
    else:
        rows = plain_taps(height, inner_height, inside=False)
        columns = plain_taps(width, inner_width, inside=True)
    rows = _shown(rows, top - placement.top, bottom - top)
    columns = _shown(columns, left - placement.left, right - left)
    columns = 3 * columns[0], columns[1]  # of pixels that lie beside each other
    _resize(source, target, rows, columns, levels, normalisation.channels == "bgr", antialias)


def _shown(taps: Taps, first: int, count: int) -> Taps:
    """The taps of the pixels that lie in the frame."""
    index, weights = taps
    return index[first : first + count], weights[first : first + count]


@lru_cache(maxsize=256)
def plain_taps(source: int, target: int, *, inside: bool) -> Taps:
    """Which two of a row's `source` pixels make each of its `target` ones, and how much of each.

    A pixel beyond the row counts nothing where `inside`; else it is the last one's twin. OpenCV
    does the one across and the other down. Returns int32 (target, 2), the pixels, and likewise
    their weights, of 2048 in all.
    """
    place = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    part = (place - first).astype(np.float32)
    if inside:
        part[(first < 0) | (first >= source - 1)] = 0
    index = np.clip(np.maximum(first, 0 if inside else -1)[:, None] + [0, 1], 0, source - 1)
    whole = np.float32(1 << PLAIN_BITS)
    weights = np.rint(np.stack([(np.float32(1) - part) * whole, part * whole], axis=1))
    return _frozen(index, weights)


@lru_cache(maxsize=256)
def smooth_taps(source: int, target: int) -> Taps:
    """Likewise (target, k), of all pixels that a triangle as wide as the shrinkage covers."""
    scale = source / target
    support = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), source)
    index = first[:, None] + np.arange(int((last - first).max()))
    weights = np.maximum(0.0, 1.0 - np.abs((index - centre[:, None] + 0.5) * (1.0 / support)))
    weights[index >= last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return _frozen(index.clip(max=source - 1), np.trunc(weights * (1 << SMOOTH_BITS) + 0.5))


def _frozen(index: NDArray[np.int64], weights: NDArray[np.floating]) -> Taps:
    made = index.astype(np.int32), weights.astype(np.int32)
    for array in made:
        array.flags.writeable = False
    return made


@kernel
def _resize(
    source: NDArray[np.uint8],
    target: NDArray[np.float32],
    rows: Taps,
    columns: Taps,
    levels: NDArray[np.float32],
    reverse: bool,
    smooth: bool,
) -> None:  # pragma: no cover - compiled
    """Pixels (height, 3 * width) to (3, inner height, inner width), the last channel first.

    `levels` (2, 3) is what a value of each channel is multiplied with, and what is added.
    """
    row_index, row_weights = rows
    column_index, column_weights = columns
    (width, across), down = column_weights.shape, row_weights.shape[1]
    # Rows are resized across when they are first needed, and the last few are kept. All is reckoned
    # in 32 bits, which processors do several of at once; numba alone would take 64.
    lines = np.empty((down, 3, width), dtype=np.int32)
    held = np.full(down, -1, dtype=np.int32)
    line, done = np.empty(width, dtype=np.int32), np.empty(width, dtype=np.float32)
    half = np.int32(1 << (SMOOTH_BITS - 1))
    for y in range(len(row_index)):
        for step in range(down):
            row = row_index[y, step]
            slot = row % down
            if held[slot] == row:
                continue
            held[slot] = row
            pixels = source[row]
            red, green, blue = lines[slot, 0], lines[slot, 1], lines[slot, 2]
            if across == 2:  # a loop of its own is several times as fast
                for x in range(width):
                    i, j = np.uint64(column_index[x, 0]), np.uint64(column_index[x, 1])
                    one, two = column_weights[x, 0], column_weights[x, 1]
                    red[x] = np.int32(pixels[i] * one + pixels[j] * two)
                    i, j = i + STEP, j + STEP
                    green[x] = np.int32(pixels[i] * one + pixels[j] * two)
                    i, j = i + STEP, j + STEP
                    blue[x] = np.int32(pixels[i] * one + pixels[j] * two)
            else:
                for x in range(width):
                    r, g, b = np.int32(0), np.int32(0), np.int32(0)
                    for k in range(across):
                        i, weight = np.uint64(column_index[x, k]), column_weights[x, k]
                        r = np.int32(r + pixels[i] * weight)
                        g = np.int32(g + pixels[i + STEP] * weight)
                        b = np.int32(b + pixels[i + STEP + STEP] * weight)
                    red[x], green[x], blue[x] = r, g, b
            if smooth:
                for channel in range(3):
                    made = lines[slot, channel]
                    for x in range(width):
                        made[x] = np.int32(np.int32(made[x] + half) >> SMOOTH_BITS)
        for channel in range(3):
            plane, offset = 2 - channel, 2 - channel if reverse else channel
            gain, bias = levels[0, channel], levels[1, channel]
            if smooth:
                line[:] = half
                for k in range(down):
                    made, weight = lines[row_index[y, k] % down, offset], row_weights[y, k]
                    if weight != 0:
                        for x in range(width):
                            line[x] = np.int32(line[x] + np.int32(made[x] * weight))
                for x in range(width):
                    done[x] = np.float32(np.int32(line[x] >> SMOOTH_BITS)) * gain + bias
            else:
                above = lines[row_index[y, 0] % down, offset]
                below = lines[row_index[y, 1] % down, offset]
                more, less = row_weights[y, 0], row_weights[y, 1]
                for x in range(width):
                    over = np.int32(np.int32(more * np.int32(above[x] >> 4)) >> 16)
                    under = np.int32(np.int32(less * np.int32(below[x] >> 4)) >> 16)
                    level = np.int32(np.int32(over + under + 2) >> 2)
                    done[x] = np.float32(level) * gain + bias
            for x in range(width):
                target[plane, y, x] = done[x]
