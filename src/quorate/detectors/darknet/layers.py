"""The layers that darknet's detectors are made of, as its parser.c understands them.

Shapes are (channels, height, width).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quorate.detectors.darknet.config import Section

Shape = tuple[int, int, int]
Pair = tuple[int, int]  # (y, x)

ACTIVATIONS = ("linear", "leaky", "relu", "mish", "swish", "logistic")


@dataclass(frozen=True)
class Layer:
    """What every layer has.

    inputs  numbers of the layers it takes, -1 for the picture
    shape   of its output
    """

    section: Section
    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class Convolution(Layer):
    """[convolutional]; `channels` is those of its input."""

    channels: int
    size: int
    stride: Pair
    padding: int
    groups: int
    normalised: bool
    activation: str

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """The shape of its kernels: (filters, channels of a group, size, size)."""
        return self.shape[0], self.channels // self.groups, self.size, self.size

    @property
    def floats(self) -> int:
        """How many numbers it takes of the .weights file."""
        return (4 if self.normalised else 1) * self.shape[0] + math.prod(self.kernel)


@dataclass(frozen=True)
class MaxPool(Layer):
    """[maxpool]; `padding` is the sum of both sides, the odd one right and below."""

    size: int
    stride: Pair
    padding: int


@dataclass(frozen=True)
class Upsample(Layer):
    """[upsample]: each pixel `stride` times across and down, times `scale`."""

    stride: int
    scale: float


@dataclass(frozen=True)
class Route(Layer):
    """[route]: its inputs' channels one after another; of each, part `group` of `groups`."""

    groups: int
    group: int


@dataclass(frozen=True)
class Shortcut(Layer):
    """[shortcut]: the layer before, and added to it as many of the other's channels as fit."""

    others: int  # channels of the other
    activation: str


@dataclass(frozen=True)
class Reorg(Layer):
    """[reorg]: from height and width into channels, in darknet's order, see `model`."""

    stride: int
    given: Shape


@dataclass(frozen=True)
class Dropout(Layer):
    """[dropout]: nothing, but when training."""


@dataclass(frozen=True)
class Head(Layer):
    """[region] or [yolo]: boxes.

    anchors  (width, height) of each, in pixels of the network's input
    xy_scale darknet's scale_x_y: how far a centre may lie outside its cell
    softmax  over the categories, else a sigmoid for each
    decoded  darknet's new_coords: the layer before ends in a sigmoid, sizes are squares
    """

    anchors: tuple[tuple[float, float], ...]
    classes: int
    xy_scale: float
    softmax: bool
    decoded: bool
