"""The layers of a cfg one after another, and the shapes between them, checked.

A layer takes the output of the one before unless it says otherwise; layers are numbered from 0,
which is the first section after [net].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quorate.detectors.darknet.config import Section, read_config
from quorate.detectors.darknet.layers import (
    ACTIVATIONS,
    Convolution,
    Dropout,
    Head,
    Layer,
    MaxPool,
    Pair,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Upsample,
)
from quorate.errors import DetectorError

MAX_SIDE = 8192
MAX_CHANNELS = 1 << 16
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
    """The layers of a .cfg.

    Args:
        data: the file.
        origin: its name, for errors.
        frame: (height, width) in place of the cfg's.

    Raises:
        DetectorError: it is no cfg, has a layer that is not known here, layers that do not fit
            each other, or sizes beyond all measure. It names section and line.
    """
    net, *sections = read_config(data, origin=origin)
    if net.integer("channels", 3, least=1, most=MAX_CHANNELS) != 3:
        raise net.error("only networks for pictures of three channels are known", key="channels")
    given = tuple(net.integer(key, 0, least=1, most=MAX_SIDE) for key in ("height", "width"))
    height, width = frame or given
    if not (height and width):
        raise net.error("width and height are missing")
    letterbox = bool(net.integer("letter_box", 0, least=0, most=1))
    builder = _Builder((height, width))
    for section in sections:
        builder.add(section)
    network = Network(origin, (height, width), letterbox, tuple(builder.layers))
    counts = {head.classes for head in network.heads.values()}
    if len(counts) != 1:
        raise DetectorError(
            f"{origin}: its [yolo] layers have different numbers of classes: {sorted(counts)}."
            if counts
            else f"{origin}: there is no [yolo] or [region] layer, so it finds no boxes.",
        )
    return network


class _Builder:
    """Layer after layer, each checked against those before it."""

    def __init__(self, frame: Pair) -> None:
        self.frame = frame
        self.layers: list[Layer] = []

    def add(self, section: Section) -> None:
        known = {
            "convolutional": self._convolution,
            "conv": self._convolution,
            "maxpool": self._maxpool,
            "max": self._maxpool,
            "upsample": self._upsample,
            "route": self._route,
            "shortcut": self._shortcut,
            "reorg": self._reorg,
            "dropout": self._dropout,
            "region": self._region,
            "yolo": self._yolo,
        }
        if section.name not in known:
            raise section.error(
                "layers of this kind are not supported",
                hint=f"supported are {', '.join(f'[{name}]' for name in known)}",
            )
        layer = known[section.name](section)
        if min(layer.shape) < 1:
            raise section.error(f"its output would be empty: {_sizes(layer.shape)}")
        if max(layer.shape) > MAX_CHANNELS or math.prod(layer.shape) > MAX_ELEMENTS:
            raise section.error(f"its output would be too large: {_sizes(layer.shape)}")
        self.layers.append(layer)

    def _shape(self, number: int) -> Shape:
        return (3, *self.frame) if number < 0 else self.layers[number].shape

    def _before(self, section: Section) -> tuple[int, Shape]:
        number = len(self.layers) - 1
        if number >= 0 and isinstance(self.layers[number], Head):
            raise section.error("stands after a layer that gives boxes, and cannot take those")
        return number, self._shape(number)

    def _numbered(self, section: Section, key: str) -> tuple[int, ...]:
        """Layers named by their number, or counted back from here when negative."""
        here = len(self.layers)
        given = section.integers(key, least=-here, most=here - 1)
        if not given:
            raise section.error(f"{key} is missing")
        numbers = tuple(n if n >= 0 else here + n for n in given)
        if any(isinstance(self.layers[n], Head) for n in numbers):
            raise section.error("names a layer that gives boxes, and cannot take those", key=key)
        return numbers

    def _convolution(self, section: Section) -> Layer:
        before, (channels, height, width) = self._before(section)
        section.refuse("dilation", harmless="1")
        section.refuse("binary", "xnor", "bin_output", "antialiasing", "assisted_excitation")
        section.refuse("sway", "rotate", "stretch", "stretch_sway", "reverse", "flipped")
        section.refuse("dontload", "dontloadscales", "numload")
        section.refuse("share_index", harmless="-1000000000")  # darknet's own for "none"
        filters = section.integer("filters", 1, least=1, most=MAX_CHANNELS)
        size = section.integer("size", 1, least=1, most=64)
        padding = section.integer("padding", 0, least=0, most=64)
        if section.integer("pad", 0, least=0, most=64):
            padding = size // 2
        groups = section.integer("groups", 1, least=1, most=MAX_CHANNELS)
        if filters % groups or channels % groups:
            raise section.error(
                f"{channels} channels and {filters} filters cannot be had in {groups} groups",
                key="groups",
            )
        stride = _stride(section)
        normalised = [
            section.integer(key, 0, least=0, most=2) for key in ("batch_normalize", "cbn")
        ]
        return Convolution(
            section,
            (before,),
            (
                filters,
                (height + 2 * padding - size) // stride[0] + 1,
                (width + 2 * padding - size) // stride[1] + 1,
            ),
            channels=channels,
            size=size,
            stride=stride,
            padding=padding,
            groups=groups,
            normalised=any(normalised),
            activation=section.word("activation", "logistic", ACTIVATIONS),
        )

    def _maxpool(self, section: Section) -> Layer:
        before, (channels, height, width) = self._before(section)
        section.refuse("maxpool_depth", "antialiasing")
        stride = _stride(section)
        size = section.integer("size", stride[1], least=1, most=64)
        padding = section.integer("padding", size - 1, least=0, most=2 * size - 2)
        shape = (
            channels,
            (height + padding - size) // stride[0] + 1,
            (width + padding - size) // stride[1] + 1,
        )
        return MaxPool(section, (before,), shape, size=size, stride=stride, padding=padding)

    def _upsample(self, section: Section) -> Layer:
        before, (channels, height, width) = self._before(section)
        stride = section.integer("stride", 2, least=1, most=32)
        scale = section.number("scale", 1, least=-1e6, most=1e6)
        shape = (channels, height * stride, width * stride)
        return Upsample(section, (before,), shape, stride=stride, scale=scale)

    def _route(self, section: Section) -> Layer:
        inputs = self._numbered(section, "layers")
        groups = section.integer("groups", 1, least=1, most=MAX_CHANNELS)
        group = section.integer("group_id", 0, least=0, most=groups - 1)
        shapes = [self._shape(number) for number in inputs]
        if len({shape[1:] for shape in shapes}) > 1:
            raise section.error(
                f"joins layers of different sizes: {' and '.join(map(_sizes, shapes))}",
                key="layers",
                hint="width and height should be multiples of 32",
            )
        for shape in shapes:
            if shape[0] % groups:
                raise section.error(
                    f"{shape[0]} channels cannot be had in {groups} groups", key="groups"
                )
        channels = sum(shape[0] // groups for shape in shapes)
        return Route(section, inputs, (channels, *shapes[0][1:]), groups=groups, group=group)

    def _shortcut(self, section: Section) -> Layer:
        before, shape = self._before(section)
        section.refuse("weights_type", harmless="none")
        inputs = self._numbered(section, "from")
        if len(inputs) > 1:
            raise section.error("more than one layer to add is not supported", key="from")
        other = self._shape(inputs[0])
        if other[1:] != shape[1:]:
            raise section.error(
                f"adds layers of different sizes: {_sizes(shape)} and {_sizes(other)}",
                key="from",
                hint="width and height should be multiples of 32",
            )
        activation = section.word("activation", "linear", ACTIVATIONS)
        return Shortcut(section, (before, *inputs), shape, others=other[0], activation=activation)

    def _reorg(self, section: Section) -> Layer:
        before, (channels, height, width) = self._before(section)
        section.refuse("reverse", "flatten", "extra")
        stride = section.integer("stride", 1, least=1, most=32)
        area = stride * stride
        if channels % area or height % stride or width % stride:
            raise section.error(
                f"stride={stride} does not divide {_sizes((channels, height, width))}",
                key="stride",
                hint="width and height should be multiples of 32",
            )
        shape = (channels * area, height // stride, width // stride)
        return Reorg(section, (before,), shape, stride=stride, given=(channels, height, width))

    def _dropout(self, section: Section) -> Layer:
        before, shape = self._before(section)
        return Dropout(section, (before,), shape)

    def _region(self, section: Section) -> Layer:
        _, (_, rows, columns) = self._before(section)
        section.refuse("background")
        section.refuse("coords", harmless="4")
        if section.has("tree"):
            raise section.error("a tree of labels (YOLO9000) is not supported", key="tree")
        cell = self.frame[1] / columns, self.frame[0] / rows  # anchors are in cells
        anchors = tuple((w * cell[0], h * cell[1]) for w, h in _anchors(section))
        softmax = bool(section.integer("softmax", 0, least=0, most=1))
        return self._head(section, anchors, xy_scale=1.0, softmax=softmax, decoded=False)

    def _yolo(self, section: Section) -> Layer:
        self._before(section)
        anchors = _anchors(section)
        if mask := section.integers("mask", least=0, most=len(anchors) - 1):
            anchors = tuple(anchors[n] for n in mask)
        return self._head(
            section,
            anchors,
            xy_scale=section.number("scale_x_y", 1.0, least=0.0, most=100.0),
            softmax=False,
            decoded=bool(section.integer("new_coords", 0, least=0, most=1)),
        )

    def _head(
        self,
        section: Section,
        anchors: tuple[tuple[float, float], ...],
        *,
        xy_scale: float,
        softmax: bool,
        decoded: bool,
    ) -> Layer:
        before, shape = self._before(section)
        classes = section.integer("classes", 20, least=1, most=MAX_CHANNELS)
        wanted = len(anchors) * (5 + classes)
        if shape[0] != wanted:
            raise section.error(
                f"{len(anchors)} anchors of {classes} classes need {wanted} channels, but the "
                f"layer before gives {shape[0]}",
                key="classes",
                hint="filters of the layer before must be (classes + 5) * anchors",
            )
        return Head(
            section,
            (before,),
            shape,
            anchors=anchors,
            classes=classes,
            xy_scale=xy_scale,
            softmax=softmax,
            decoded=decoded,
        )


def _stride(section: Section) -> Pair:
    both = section.integer("stride", 1, least=1, most=64)
    x = section.integer("stride_x", both, least=1, most=64)
    return section.integer("stride_y", both, least=1, most=64), x


def _anchors(section: Section) -> tuple[tuple[float, float], ...]:
    """(width, height) of every anchor of the section, `num` of them."""
    number = section.integer("num", 1, least=1, most=500)
    sides = section.numbers("anchors", least=0.0, most=1e6)
    if len(sides) != 2 * number:
        raise section.error(
            f"num={number} needs {2 * number} numbers under anchors, found {len(sides)}",
            key="anchors",
        )
    return tuple(zip(sides[::2], sides[1::2], strict=True))


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape))
