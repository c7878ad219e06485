"""The network, what it is taught, and what its numbers mean.

FCOS (Tian et al., 2019, arXiv:1904.01355) made small: a residual network with a feature pyramid of
strides 8, 16 and 32, and one head for all three. Each cell of a map is one anchor. Unlike FCOS a
cell gives the centre and the size of a box, so that a box smaller than a cell can be learnt too,
and there is no centre-ness.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

STRIDES = (8, 16, 32)
LONGEST = {8: 64.0, 16: 128.0, 32: float("inf")}
"""The longest side of a box that is learnt at a stride, in pixels of the network."""
RADIUS = 1.5
"""How many strides a cell may be from a box's centre to be taught that box."""
UNIT = 4.0
"""A size of 0 is a box of so many strides."""


def _conv(x, channels: int, name: str, *, stride: int = 1, kernel: int = 3):
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(
        x
    )
    x = layers.GroupNormalization(max(1, channels // 8), name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _stage(x, channels: int, name: str):
    """Half the size; one residual block."""
    x = _conv(x, channels, f"{name}_down", stride=2)
    y = _conv(_conv(x, channels, f"{name}_a"), channels, f"{name}_b")
    return layers.Add(name=f"{name}_sum")([x, y])


def network(labels: int, side: int, width: int) -> keras.Model:
    """float32 (n, side, side, 3) RGB 0..1 -> (n, anchors, 4 + labels).

    The first four are dx, dy (in strides, from the cell's centre) and the logarithms of width and
    height (over `UNIT` strides); the rest are logits.
    """
    x = images = keras.Input((side, side, 3), name="images")
    x = _conv(x, width, "stem", stride=2)
    x = _stage(x, 2 * width, "s4")
    maps = []
    for stride, channels in zip(STRIDES, (4 * width, 4 * width, 4 * width), strict=True):
        x = _stage(x, channels, f"s{stride}")
        maps.append(x)
    channels = 4 * width
    for at in (1, 0):
        above = layers.UpSampling2D(2, name=f"up{STRIDES[at]}")(maps[at + 1])
        joined = layers.Add(name=f"join{STRIDES[at]}")([maps[at], above])
        maps[at] = _conv(joined, channels, f"pyramid{STRIDES[at]}")
    towers = {
        name: [
            (
                layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}{i}"),
                layers.GroupNormalization(max(1, channels // 8), name=f"{name}{i}_norm"),
            )
            for i in range(2)
        ]
        for name in ("box", "label")
    }
    # One box in a hundred anchors is the guess to begin with (Lin et al., 2017, arXiv:1708.02002).
    prior = keras.initializers.Constant(-np.log(99.0))
    last = {
        "box": layers.Conv2D(4, 3, padding="same", name="boxes"),
        "label": layers.Conv2D(labels, 3, padding="same", bias_initializer=prior, name="labels"),
    }
    levels = []
    for one in maps:
        parts = []
        for name in ("box", "label"):
            y = one
            for conv, norm in towers[name]:
                y = layers.Activation("relu")(norm(conv(y)))
            parts.append(last[name](y))
        levels.append(layers.Reshape((-1, 4 + labels))(layers.Concatenate()(parts)))
    return keras.Model(images, layers.Concatenate(axis=1, name="anchors")(levels), name="detector")


def cells(side: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (anchors, 2) centres and (anchors,) strides, in the order of the network's rows."""
    centres, strides = [], []
    for stride in STRIDES:
        at = (np.arange(side // stride, dtype="f4") + 0.5) * stride
        x, y = np.meshgrid(at, at)
        centres.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(len(at) ** 2, stride, "f4"))
    return np.concatenate(centres), np.concatenate(strides)


def decoded(values, side: int):
    """The network's numbers as centre, size (pixels of the network) and scores 0..1."""
    centres, strides = cells(side)
    middle = values[..., :2] * strides[:, None] + centres
    size = ops.exp(ops.clip(values[..., 2:4], -6.0, 6.0)) * (UNIT * strides[:, None])
    return ops.concatenate([middle, size, ops.sigmoid(values[..., 4:])], axis=-1)


def exported(model: keras.Model, side: int) -> keras.Model:
    """The model whose outputs are boxes and scores, (n, 4 + labels, anchors): Ultralytics' v8."""

    class Decode(layers.Layer):
        def call(self, values):
            return ops.transpose(decoded(values, side), (0, 2, 1))

        def compute_output_shape(self, shape):
            return (shape[0], shape[2], shape[1])

    return keras.Model(model.input, Decode(name="output0")(model.output), name="detector")


def taught(boxes: np.ndarray, labels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Which box each cell is taught: float32 (anchors, 4) x1, y1, x2, y2, and int32 label or -1.

    A cell is taught the smallest box whose centre is near and which holds the cell's own centre;
    the cell nearest to a box's centre is taught it in any case.
    """
    centres, strides = cells(side)
    target = np.zeros((len(centres), 4), "f4")
    label = np.full(len(centres), -1, "i4")
    sizes = boxes[:, 2:] - boxes[:, :2]
    for at in np.argsort(-sizes.prod(axis=1), kind="stable"):
        box, longest = boxes[at], float(sizes[at].max())
        stride = next(one for one in STRIDES if longest <= LONGEST[one])
        level = strides == stride
        offset = np.abs(centres - (box[:2] + box[2:]) / 2).max(axis=1)
        inside = ((centres >= box[:2]) & (centres <= box[2:])).all(axis=1)
        mine = level & inside & (offset < RADIUS * stride)
        mine[np.where(level, offset, np.inf).argmin()] = True
        target[mine], label[mine] = box, labels[at]
    return target, label


def losses(values, boxes, labels, side: int):
    """Focal loss of the labels and GIoU loss of the boxes, each per taught cell of the batch."""
    count = values.shape[-1] - 4
    positive = tf.cast(labels >= 0, tf.float32)
    each = tf.maximum(tf.reduce_sum(positive), 1.0)
    wanted = tf.one_hot(labels, count)
    logits = values[..., 4:]
    cross = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
    likely = tf.sigmoid(logits)
    missed = wanted * (1 - likely) + (1 - wanted) * likely
    weight = (wanted * 0.25 + (1 - wanted) * 0.75) * missed**2
    found = decoded(values, side)
    low, high = found[..., :2] - found[..., 2:4] / 2, found[..., :2] + found[..., 2:4] / 2
    giou = _giou(tf.concat([low, high], axis=-1), boxes)
    return {
        "labels": tf.reduce_sum(weight * cross) / each,
        "boxes": tf.reduce_sum((1 - giou) * positive) / each,
    }


def _giou(a, b):
    """Generalised IoU (Rezatofighi et al., 2019, arXiv:1902.09630) of boxes, pair by pair."""

    def area(low, high):
        return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)

    both = area(tf.maximum(a[..., :2], b[..., :2]), tf.minimum(a[..., 2:], b[..., 2:]))
    either = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - both
    hull = area(tf.minimum(a[..., :2], b[..., :2]), tf.maximum(a[..., 2:], b[..., 2:]))
    tiny = 1e-7
    return both / (either + tiny) - (hull - either) / (hull + tiny)


def best(rows: np.ndarray, *, least: float, iou: float, most: int) -> np.ndarray:
    """What a picture's rows (4 + labels, anchors) find: (k, 6) x1, y1, x2, y2, score, label.

    An anchor gives its best label; a box goes when it overlaps a better one of its label by more
    than `iou`.
    """
    scores, label = rows[4:].max(axis=0), rows[4:].argmax(axis=0)
    keep = scores >= least
    middle, size = rows[:2, keep].T, rows[2:4, keep].T
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    scores, label = scores[keep], label[keep]
    if not len(boxes):
        return np.zeros((0, 6), "f4")
    # Boxes of different labels never meet where each label has a plane of its own.
    apart = (label[:, None] * (boxes.max() - boxes.min() + 1)).astype("f4")
    chosen = tf.image.non_max_suppression(boxes + apart, scores, most, iou).numpy()
    return np.column_stack([boxes, scores, label])[chosen]
