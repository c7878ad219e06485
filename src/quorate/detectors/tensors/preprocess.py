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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quorate.compiled import kernel
from quorate.detectors.tensors.geometry import Placement

Floats = tuple[float, float, float]


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
    first_row, row_weights = taps(height, inner_height, antialias)
    first_column, column_weights = taps(width, inner_width, antialias)
    gain, bias = _gain_and_bias(normalisation)
    # One type of picture for the compiler, whether it may be written to or not.
    source = np.ascontiguousarray(picture).view()
    source.flags.writeable = False
    _resize(
        source,
        planes,
        placement.top,
        placement.left,
        first_row,
        row_weights,
        first_column,
        column_weights,
        gain,
        bias,
        np.float32(normalisation.pad),
        normalisation.channels == "bgr",
        width == inner_width,
    )


@lru_cache(maxsize=256)
def taps(source: int, target: int, antialias: bool) -> tuple[NDArray[np.int32], NDArray[Any]]:
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


@lru_cache(maxsize=64)
def _gain_and_bias(wanted: Normalisation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = np.array(wanted.mean), np.array(wanted.std)
    return (wanted.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


@kernel
def _resize(
    source: NDArray[np.uint8],
    planes: NDArray[np.float32],
    top: int,
    left: int,
    first_row: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_column: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
    pad: np.float32,
    reverse: bool,
    same_width: bool,
) -> None:  # pragma: no cover - compiled
    inner_height, inner_width = len(first_row), len(first_column)
    bottom, right = top + inner_height, left + inner_width
    for channel in range(3):
        padding = pad * gain[channel] + bias[channel]
        planes[channel, :top] = padding
        planes[channel, bottom:] = padding
        planes[channel, top:bottom, :left] = padding
        planes[channel, top:bottom, right:] = padding
    samples = source.shape[1] * 3
    flat = source.reshape(source.shape[0], samples)
    line = np.empty(samples, dtype=np.float32)
    for y in range(inner_height):
        # Down first: whole rows are contiguous, so this is the cheap direction.
        row = first_row[y]
        weight = row_weights[y, 0]
        for i in range(samples):
            line[i] = flat[row, i] * weight
        for k in range(1, row_weights.shape[1]):
            weight = row_weights[y, k]
            if weight != 0:
                for i in range(samples):
                    line[i] += flat[row + k, i] * weight
        for channel in range(3):
            offset = 2 - channel if reverse else channel
            a, b = gain[channel], bias[channel]
            if same_width:
                for x in range(inner_width):
                    planes[channel, top + y, left + x] = line[3 * x + offset] * a + b
            elif column_weights.shape[1] == 2:
                for x in range(inner_width):
                    i = 3 * first_column[x] + offset
                    value = line[i] * column_weights[x, 0] + line[i + 3] * column_weights[x, 1]
                    planes[channel, top + y, left + x] = value * a + b
            else:
                for x in range(inner_width):
                    i = 3 * first_column[x] + offset
                    value = np.float32(0)
                    for k in range(column_weights.shape[1]):
                        value += line[i + 3 * k] * column_weights[x, k]
                    planes[channel, top + y, left + x] = value * a + b
