"""The layers of darknet's detectors: each is read from its section as darknet's parser.c reads it.

A layer also knows how it is written into an ONNX graph, so one function holds all of a kind.
Shapes are (channels, height, width); layers are numbered from 0, the first section after [net].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quorate.detectors.darknet.config import Section

if TYPE_CHECKING:
    from quorate.detectors.darknet.graph import Graph

Shape = tuple[int, int, int]
Pair = tuple[int, int]  # (y, x)
Write = Callable[["Graph", str, Sequence[str]], str]

MAX_CHANNELS = 1 << 16
ACTIVATIONS = ("linear", "leaky", "relu", "mish", "swish", "logistic")
OTHER_SIZES = "width and height should be multiples of 32"


@dataclass(frozen=True)
class Layer:
    """What every layer has.

    inputs  numbers of the layers it takes, -1 for the picture
    shape   of its output
    write   (graph, name, names of the inputs) -> the name of the output
    """

    section: Section
    inputs: tuple[int, ...]
    shape: Shape
    write: Write = field(repr=False)


@dataclass(frozen=True)
class Convolution(Layer):
    """[convolutional]; it is written with its kernels and its biases as further inputs.

    `kernel` is (filters, channels of a group, size, size).
    """

    kernel: tuple[int, int, int, int]
    normalised: bool

    @property
    def floats(self) -> int:
        """How many numbers it takes of the .weights file."""
        return (4 if self.normalised else 1) * self.shape[0] + math.prod(self.kernel)


@dataclass(frozen=True)
class Head(Layer):
    """[region] or [yolo]: boxes, one for each anchor of each cell."""

    anchors: int
    classes: int

    @property
    def rows(self) -> int:
        """How many boxes it gives."""
        return self.anchors * self.shape[1] * self.shape[2]


@dataclass(frozen=True)
class Layers:
    """The layers read so far, for an input of `frame`, (height, width)."""

    frame: Pair
    read: list[Layer] = field(default_factory=list)

    def shape(self, number: int) -> Shape:
        """The shape of a layer's output; -1 is the picture."""
        return (3, *self.frame) if number < 0 else self.read[number].shape

    def before(self, section: Section) -> tuple[int, Shape]:
        """The number and the shape of the layer before this section."""
        number = len(self.read) - 1
        if number >= 0 and isinstance(self.read[number], Head):
            raise section.error("stands after a layer that gives boxes, and cannot take those")
        return number, self.shape(number)

    def named(self, section: Section, key: str) -> tuple[int, ...]:
        """The layers that a key names by number, or counts back from here when negative."""
        here = len(self.read)
        given = section.integers(key, least=-here, most=here - 1)
        if not given:
            raise section.error(f"{key} is missing")
        numbers = tuple(n if n >= 0 else here + n for n in given)
        if any(isinstance(self.read[n], Head) for n in numbers):
            raise section.error("names a layer that gives boxes, and cannot take those", key=key)
        return numbers


def _convolution(section: Section, layers: Layers) -> Layer:
    before, (channels, height, width) = layers.before(section)
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
            f"{channels} channels and {filters} filters cannot be split into {groups} groups",
            key="groups",
        )
    stride = _stride(section)
    normalised = [section.integer(key, 0, least=0, most=2) for key in ("batch_normalize", "cbn")]
    activation = section.word("activation", "logistic", ACTIVATIONS)

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        result = graph.node(
            "Conv",
            given,
            f"{name}_sum",
            kernel_shape=[size] * 2,
            strides=stride,
            pads=[padding] * 4,
            group=groups,
        )
        return graph.activation(activation, name, result)

    shape = (filters, *_slid((height, width), size - 2 * padding, stride))
    kernel = (filters, channels // groups, size, size)
    return Convolution(section, (before,), shape, write, kernel, any(normalised))


def _maxpool(section: Section, layers: Layers) -> Layer:
    """`padding` is the sum of both sides; an odd pixel of it lies right and below."""
    before, (channels, height, width) = layers.before(section)
    section.refuse("maxpool_depth", "antialiasing")
    stride = _stride(section)
    size = section.integer("size", stride[1], least=1, most=64)
    padding = section.integer("padding", size - 1, least=0, most=2 * size - 2)
    pads = [padding // 2] * 2 + [padding - padding // 2] * 2

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        return graph.node(
            "MaxPool", given, name, kernel_shape=[size] * 2, strides=stride, pads=pads
        )

    shape = (channels, *_slid((height, width), size - padding, stride))
    return Layer(section, (before,), shape, write)


def _upsample(section: Section, layers: Layers) -> Layer:
    """Each pixel `stride` times across and down, times `scale`."""
    before, (channels, height, width) = layers.before(section)
    stride = section.integer("stride", 2, least=1, most=32)
    scale = section.number("scale", 1, least=-1e6, most=1e6)

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        factors = graph.constant(f"{name}_factors", np.array([1, 1, stride, stride], np.float32))
        result = graph.node(
            "Resize",
            [*given, "", factors],
            f"{name}_larger",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        if scale == 1:
            return result
        return graph.node("Mul", [result, graph.constant(f"{name}_scale", scale)], name)

    return Layer(section, (before,), (channels, height * stride, width * stride), write)


def _route(section: Section, layers: Layers) -> Layer:
    """The channels of its inputs one after another; of each, one group of several."""
    inputs = layers.named(section, "layers")
    groups = section.integer("groups", 1, least=1, most=MAX_CHANNELS)
    group = section.integer("group_id", 0, least=0, most=groups - 1)
    shapes = [layers.shape(number) for number in inputs]
    if len({shape[1:] for shape in shapes}) > 1:
        raise section.error(
            f"joins layers of different sizes: {' and '.join(map(sizes, shapes))}",
            key="layers",
            hint=OTHER_SIZES,
        )
    for shape in shapes:
        if shape[0] % groups:
            raise section.error(
                f"{shape[0]} channels cannot be split into {groups} groups", key="groups"
            )
    parts = [shape[0] // groups for shape in shapes]

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        if groups > 1:
            given = [
                graph.channels(f"{name}_{position}", one, part * group, part * (group + 1))
                for position, (one, part) in enumerate(zip(given, parts, strict=True))
            ]
        return given[0] if len(given) == 1 else graph.node("Concat", given, name, axis=1)

    return Layer(section, inputs, (sum(parts), *shapes[0][1:]), write)


def _shortcut(section: Section, layers: Layers) -> Layer:
    """The layer before, and added to it as many of the other's channels as fit."""
    before, shape = layers.before(section)
    section.refuse("weights_type", harmless="none")
    inputs = layers.named(section, "from")
    if len(inputs) > 1:
        raise section.error("more than one layer to add is not supported", key="from")
    others = layers.shape(inputs[0])
    if others[1:] != shape[1:]:
        raise section.error(
            f"adds layers of different sizes: {sizes(shape)} and {sizes(others)}",
            key="from",
            hint=OTHER_SIZES,
        )
    activation = section.word("activation", "linear", ACTIVATIONS)
    missing = shape[0] - others[0]

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        first, other = given
        if missing < 0:
            other = graph.channels(f"{name}_few", other, 0, shape[0])
        elif missing > 0:
            pads = graph.constant(f"{name}_pads", [0, 0, 0, 0, 0, missing, 0, 0])
            other = graph.node("Pad", [other, pads], f"{name}_many")
        result = graph.node("Add", [first, other], f"{name}_sum")
        return graph.activation(activation, name, result)

    return Layer(section, (before, *inputs), shape, write)


def _reorg(section: Section, layers: Layers) -> Layer:
    """From height and width into channels by darknet's reorg_cpu, as YOLOv2 was trained with it.

    It reads the input (c, h, w) as if it were (c/s², h*s, w*s), whatever its real lines are:
    (c/s² * h, s, w, s). Then the steps inside a cell become the first channels.
    """
    before, (channels, height, width) = layers.before(section)
    section.refuse("reverse", "flatten", "extra")
    stride = section.integer("stride", 1, least=1, most=32)
    area = stride * stride
    if channels % area or height % stride or width % stride:
        raise section.error(
            f"stride={stride} does not divide {sizes((channels, height, width))}",
            key="stride",
            hint=OTHER_SIZES,
        )
    shape = (channels * area, height // stride, width // stride)

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        cell = [0, channels // area * height, stride, width, stride]
        cells = graph.reshaped(f"{name}_cells", given[0], cell)
        turned = graph.node("Transpose", [cells], f"{name}_turned", perm=[0, 2, 4, 1, 3])
        return graph.reshaped(name, turned, [0, *shape])

    return Layer(section, (before,), shape, write)


def _dropout(section: Section, layers: Layers) -> Layer:
    """Nothing, but when training."""
    before, shape = layers.before(section)
    return Layer(section, (before,), shape, lambda graph, name, given: given[0])


def _region(section: Section, layers: Layers) -> Layer:
    _, (_, rows, columns) = layers.before(section)
    section.refuse("background")
    section.refuse("coords", harmless="4")
    if "tree" in section.options:
        raise section.error("a tree of labels (YOLO9000) is not supported", key="tree")
    cell = np.array([layers.frame[1] / columns, layers.frame[0] / rows])  # anchors are in cells
    softmax = bool(section.integer("softmax", 0, least=0, most=1))
    return _head(section, layers, _anchors(section) * cell, softmax=softmax)


def _yolo(section: Section, layers: Layers) -> Layer:
    layers.before(section)
    anchors = _anchors(section)
    if mask := section.integers("mask", least=0, most=len(anchors) - 1):
        anchors = anchors[list(mask)]
    reach = section.number("scale_x_y", 1.0, least=0.0, most=100.0)
    decoded = bool(section.integer("new_coords", 0, least=0, most=1))
    return _head(section, layers, anchors, reach=reach, decoded=decoded)


def _head(
    section: Section,
    layers: Layers,
    anchors: NDArray[np.float64],
    *,
    reach: float = 1.0,
    softmax: bool = False,
    decoded: bool = False,
) -> Layer:
    """get_yolo_box and get_region_box of darknet, in pixels of the network's input.

    anchors  float64 (n, 2): the width and height of each
    reach    darknet's scale_x_y: how far a centre may lie outside its cell
    softmax  over the categories, else a sigmoid for each
    decoded  darknet's new_coords: the layer before ends in a sigmoid, sizes are squares
    """
    before, shape = layers.before(section)
    classes = section.integer("classes", 20, least=1, most=MAX_CHANNELS)
    count, row = len(anchors), 5 + classes
    if shape[0] != count * row:
        raise section.error(
            f"{count} anchors of {classes} classes need {count * row} channels, but the "
            f"layer before gives {shape[0]}",
            key="classes",
            hint="filters of the layer before must be (classes + 5) * anchors",
        )
    _, rows, columns = shape
    cell = np.array([layers.frame[1] / columns, layers.frame[0] / rows])

    def write(graph: Graph, name: str, given: Sequence[str]) -> str:
        cells = graph.reshaped(f"{name}_cells", given[0], [0, count, row, rows * columns])
        turned = graph.node("Transpose", [cells], f"{name}_turned", perm=[0, 3, 1, 2])
        parts = [f"{name}_{part}" for part in ("centre", "size", "objectness", "categories")]
        lengths = graph.constant(f"{name}_parts", [2, 2, 1, classes])
        graph.node("Split", [turned, lengths], *parts, axis=3)
        centre, size, objectness, categories = parts
        if decoded:
            size = graph.node("Mul", [size, size], f"{size}_factor")
        else:
            centre = graph.node("Sigmoid", [centre], f"{centre}_unit")
            size = graph.node("Exp", [size], f"{size}_factor")
            objectness = graph.node("Sigmoid", [objectness], f"{objectness}_unit")
            kind, axis = ("Softmax", {"axis": 3}) if softmax else ("Sigmoid", {})
            categories = graph.node(kind, [categories], f"{categories}_unit", **axis)
        y, x = np.mgrid[:rows, :columns]
        corner = np.stack([x, y], axis=-1).reshape(1, -1, 1, 2) - (reach - 1) / 2
        sides = (4.0 if decoded else 1.0) * anchors[None, None]
        factor = graph.constant(f"{name}_reach", reach * cell)
        shift = graph.constant(f"{name}_corner", corner * cell)
        anchor = graph.constant(f"{name}_anchors", sides)
        moved = graph.node("Mul", [centre, factor], f"{name}_moved")
        placed = graph.node("Add", [moved, shift], f"{name}_placed")
        sized = graph.node("Mul", [size, anchor], f"{name}_sized")
        joined = [placed, sized, objectness, categories]
        boxes = graph.node("Concat", joined, f"{name}_boxes", axis=3)
        return graph.reshaped(name, boxes, [0, rows * columns * count, row])

    return Head(section, (before,), shape, write, count, classes)


KINDS: dict[str, Callable[[Section, Layers], Layer]] = {
    "convolutional": _convolution,
    "conv": _convolution,
    "maxpool": _maxpool,
    "max": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "reorg": _reorg,
    "dropout": _dropout,
    "region": _region,
    "yolo": _yolo,
}


def _slid(size: Pair, window: int, stride: Pair) -> Pair:
    """How many places a window has along each side, its padding taken off."""
    return (size[0] - window) // stride[0] + 1, (size[1] - window) // stride[1] + 1


def _stride(section: Section) -> Pair:
    both = section.integer("stride", 1, least=1, most=64)
    x = section.integer("stride_x", both, least=1, most=64)
    return section.integer("stride_y", both, least=1, most=64), x


def _anchors(section: Section) -> NDArray[np.float64]:
    """float64 (num, 2): width and height of every anchor of the section."""
    number = section.integer("num", 1, least=1, most=500)
    sides = section.numbers("anchors", least=0.0, most=1e6)
    if len(sides) != 2 * number:
        raise section.error(
            f"num={number} needs {2 * number} numbers under anchors, found {len(sides)}",
            key="anchors",
        )
    return np.array(sides).reshape(number, 2)


def sizes(shape: Shape) -> str:
    """A shape as errors show it."""
    return " x ".join(map(str, shape))
