"""The layers of a cfg one after another, and the shapes between them, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quorate.detectors.darknet.config import read_config
from quorate.detectors.darknet.layers import (
    KINDS,
    MAX_CHANNELS,
    Convolution,
    Head,
    Layer,
    Layers,
    Pair,
    sizes,
)
from quorate.errors import DetectorError

MAX_SIDE = 8192
MAX_ELEMENTS = 1 << 28
"""Numbers in one layer's output: a GiB. YOLOv4 at 608 pixels has 12 million at most."""


@dataclass(frozen=True)
class Network:
    """A whole cfg.

    frame      (height, width) of the input
    letterbox  whether the cfg asks that pictures keep their aspect (AlexeyAB's letter_box)
    """

    origin: str
    frame: Pair
    letterbox: bool
    layers: tuple[Layer, ...]

    @property
    def convolutions(self) -> dict[int, Convolution]:
        """The layers that have weights, by number."""
        return {i: layer for i, layer in enumerate(self.layers) if isinstance(layer, Convolution)}

    @property
    def heads(self) -> dict[int, Head]:
        """The layers that give boxes, by number."""
        return {i: layer for i, layer in enumerate(self.layers) if isinstance(layer, Head)}

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return next(iter(self.heads.values())).classes


def read_network(data: bytes | bytearray, *, origin: str, frame: Pair | None = None) -> Network:
    """The layers of a .cfg; `frame` is the (height, width) in place of the cfg's.

    DetectorError, with section and line, where it is no cfg, has a layer that is not known here,
    layers that do not fit each other, or sizes beyond all measure.
    """
    net, *sections = read_config(data, origin=origin)
    if net.integer("channels", 3, least=1, most=MAX_CHANNELS) != 3:
        raise net.error("only networks for pictures of three channels are known", key="channels")
    given = tuple(net.integer(key, 0, least=1, most=MAX_SIDE) for key in ("height", "width"))
    height, width = frame or given
    if not (height and width):
        raise net.error("width and height are missing")
    letterbox = bool(net.integer("letter_box", 0, least=0, most=1))
    layers = Layers((height, width))
    for section in sections:
        if section.name not in KINDS:
            raise section.error(
                "layers of this kind are not supported",
                hint=f"supported are {', '.join(f'[{name}]' for name in KINDS)}",
            )
        layer = KINDS[section.name](section, layers)
        if min(layer.shape) < 1:
            raise section.error(f"its output would be empty: {sizes(layer.shape)}")
        if max(layer.shape) > MAX_CHANNELS or math.prod(layer.shape) > MAX_ELEMENTS:
            raise section.error(f"its output would be too large: {sizes(layer.shape)}")
        layers.read.append(layer)
    network = Network(origin, (height, width), letterbox, tuple(layers.read))
    counts = {head.classes for head in network.heads.values()}
    if len(counts) != 1:
        raise DetectorError(
            f"{origin}: its [yolo] layers have different numbers of classes: {sorted(counts)}."
            if counts
            else f"{origin}: there is no [yolo] or [region] layer, so it finds no boxes.",
        )
    return network
