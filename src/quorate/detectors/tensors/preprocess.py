"""From a picture's pixels to a network's input, in one pass.

One compiled kernel resizes, normalises, reorders channels and pads: uint8 (height, width, 3) in,
float32 planes out. It works row by row, so nothing larger than two rows is stored between.

Interpolation is linear with half-pixel centres. Plain, it equals OpenCV's INTER_LINEAR to within
1/255 (which rounds to whole grey levels in between; this does not). Antialiased, it equals
Pillow's BILINEAR, likewise torchvision's: when a picture shrinks, every pixel counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.detectors.tensors.geometry import Placement

Floats = tuple[float, float, float]
Taps = tuple[NDArray[np.int32], NDArray[np.float32]]


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


def fill(
    planes: NDArray[np.float32],
    picture: NDArray[np.uint8],
    placement: Placement,
    normalisation: Normalisation,
    *,
    antialias: bool,
) -> None:
    """Put a picture into a network's input.

    Args:
        planes: float32 (3, height, width) of the placement's frame; any strides, so a transposed
            view of (height, width, 3) will do. All of it is written.
        picture: uint8 (height, width, 3), RGB.
        placement: where the picture goes.
        normalisation: what becomes of a pixel's value.
        antialias: average when shrinking, as Pillow does; else sample, as OpenCV does.
    """
    (height, width), (inner_height, inner_width) = placement.picture, placement.inner
    mean, std = np.array(normalisation.mean), np.array(normalisation.std)
    levels = np.array([normalisation.scale / std, -mean / std], dtype=np.float32)
    top, left = placement.top, placement.left
    bottom, right = top + inner_height, left + inner_width
    padding = (np.float32(normalisation.pad) * levels[0] + levels[1])[:, None, None]
    planes[:, :top], planes[:, bottom:] = padding, padding
    planes[:, top:bottom, :left], planes[:, top:bottom, right:] = padding, padding
    # One type of each for the compiler: pixels that cannot be written to, planes upside down.
    source = np.ascontiguousarray(picture).reshape(height, 3 * width)
    source.flags.writeable = False
    target = planes[::-1, top:bottom, left:right]
    rows, columns = taps(height, inner_height, antialias), taps(width, inner_width, antialias)
    _resize(source, target, rows, columns, levels, normalisation.channels == "bgr")


@lru_cache(maxsize=256)
def taps(source: int, target: int, antialias: bool) -> Taps:
    """Which pixels of a row make each pixel of the resized row, and how much of each.

    Returns:
        first: int32 (target,), the first source pixel.
        weights: float32 (target, k), of `k` pixels from there on, that sum to 1.
    """
    scale = source / target
    support = max(scale, 1.0) if antialias else 1.0
    size = min(max(2, math.ceil(2 * support) + 1 if antialias and scale > 1 else 2), source)
    centre = (np.arange(target) + 0.5) * scale
    first = np.clip(np.floor(centre - support + 0.5), 0, source - size).astype(np.int32)
    distance = first[:, None] + np.arange(size) + 0.5 - centre[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(distance) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    result = weights.astype(np.float32)
    first.flags.writeable = result.flags.writeable = False
    return first, result


@kernel
def _resize(
    source: NDArray[np.uint8],
    target: NDArray[np.float32],
    rows: Taps,
    columns: Taps,
    levels: NDArray[np.float32],
    reverse: bool,
) -> None:  # pragma: no cover - compiled
    """Pixels (height, 3 * width) to (3, inner height, inner width), the last channel first.

    `levels` (2, 3) is what a value of each channel is multiplied with, and what is added.
    """
    first_row, row_weights = rows
    first_column, column_weights = columns
    line = np.empty(source.shape[1], dtype=np.float32)
    for y in range(len(first_row)):
        # Down first: whole rows are contiguous, so this is the cheap direction.
        row, weight = first_row[y], row_weights[y, 0]
        for i in range(len(line)):
            line[i] = source[row, i] * weight
        for k in range(1, row_weights.shape[1]):
            weight = row_weights[y, k]
            if weight != 0:
                for i in range(len(line)):
                    line[i] += source[row + k, i] * weight
        for channel in range(3):
            plane, offset = 2 - channel, 2 - channel if reverse else channel
            gain, bias = levels[0, channel], levels[1, channel]
            if column_weights.shape[1] == 2:  # a loop of its own is four times as fast
                for x in range(len(first_column)):
                    i = 3 * first_column[x] + offset
                    value = line[i] * column_weights[x, 0] + line[i + 3] * column_weights[x, 1]
                    target[plane, y, x] = value * gain + bias
            else:
                for x in range(len(first_column)):
                    i = 3 * first_column[x] + offset
                    value = line[i] * column_weights[x, 0]
                    for k in range(1, column_weights.shape[1]):
                        value += line[i + 3 * k] * column_weights[x, k]
                    target[plane, y, x] = value * gain + bias
