"""darknet's three files for the tests: small cfgs, and weights made up for them."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quorate.detectors.darknet import DarknetDetector
from quorate.detectors.darknet.network import read_network

# `thresh` and `nms_threshold` are for OpenCV's layers, which else leave out rows.
SHOW_ALL = "thresh=0\nnms_threshold=0"


def net(width=64, height=64):
    return f"[net]\nbatch=1\nwidth={width}\nheight={height}\nchannels=3\nmomentum=0.9\n"


def conv(filters, size=3, stride=1, activation="leaky", normalised=1, **options):
    extra = "".join(f"{key}={value}\n" for key, value in options.items())
    return (
        f"\n[convolutional]\nbatch_normalize={normalised}\nfilters={filters}\nsize={size}\n"
        f"stride={stride}\npad=1\nactivation={activation}\n{extra}"
    )


def section(name, **options):
    return f"\n[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())


def yolo(anchors, mask, classes=3, **options):
    sides = ",  ".join(f"{w},{h}" for w, h in anchors)
    return section(
        "yolo", mask=mask, anchors=sides, classes=classes, num=len(anchors), **options
    ) + (SHOW_ALL + "\n")


ANCHORS = [(10, 14), (23, 27), (37, 58), (81, 82), (35, 69), (44, 19)]

V2 = (
    net(96, 64)
    + conv(8)
    + section("maxpool", size=2, stride=2)
    + conv(16, activation="relu")
    + conv(16, stride=2)
    + conv(8, 1)
    + section("route", layers=-2)
    + section("maxpool", size=2, stride=2)
    + conv(24)
    + section("route", layers=-4)
    + conv(8, 1)
    + section("reorg", stride=2)
    + section("route", layers="-1,-4")
    + section("dropout", probability=0.5)
    + conv(24, size=1, activation="linear", normalised=0)
    + section(
        "region",
        anchors="0.57273, 0.677385, 1.87446, 2.06253,1.9,0.8,",
        bias_match=1,
        classes=3,
        coords=4,
        num=3,
        softmax=1,
    )
    + SHOW_ALL
)

V3_TINY = (
    net(96, 64)
    + conv(8)
    + section("maxpool", size=2, stride=2)
    + conv(12, padding=1)
    + section("maxpool", size=2, stride=2)
    + conv(16)
    + section("maxpool", size=2, stride=2)
    + conv(24)
    + section("maxpool", size=2, stride=1)
    + conv(24, size=1)
    + conv(24, size=1, activation="linear", normalised=0)
    + yolo(ANCHORS, "3,4,5")
    + section("route", layers=-3)
    + conv(8, size=1)
    + section("upsample", stride=2)
    + section("route", layers="-1, 4")
    + conv(24, size=1, activation="linear", normalised=0)
    + yolo(ANCHORS, "1,2,3")
)

V3 = (
    "# YOLOv3 in small\r\n; another comment\r\n"
    + net(64, 96)
    + conv(8)
    + conv(16, stride=2)
    + conv(8, size=1)
    + conv(16)
    + section("shortcut", **{"from": -3}, activation="linear")
    + conv(24, stride=2)
    + conv(16, size=5, groups=2)
    + conv(16)
    + section("shortcut", **{"from": -2}, activation="leaky")
    + section("shortcut", **{"from": -4})  # 24 channels onto 16
    + conv(32, stride=2, activation="swish")
    + section("maxpool", size=5, stride=1)
    + section("route", layers="-2")
    + section("maxpool", size=3, stride=1)
    + section("route", layers="-1,-3,-4")
    + conv(24, size=1, activation="linear", normalised=0)
    + yolo(ANCHORS, "3,4,5")
    + section("route", layers=10)
    + conv(8, size=1, activation="logistic")
    + section("upsample", stride=2)
    + section("route", layers="-1, 9")
    + conv(24, size=1, activation="linear", normalised=0)
    + yolo(ANCHORS, "0,1,2")
)

V4 = (
    net(64, 64)
    + conv(8, activation="mish")
    + conv(16, stride=2, activation="mish")
    + section("route", layers=-1, groups=2, group_id=1)
    + conv(8, activation="mish")
    + conv(8, activation="mish")
    + section("route", layers="-1,-2")
    + conv(16, size=1, activation="mish")
    + section("shortcut", **{"from": -6}, activation="mish")
    + section("maxpool", size=2, stride=2)
    + conv(24, stride=2)
    + conv(24, size=1, activation="linear", normalised=0)
    + yolo(ANCHORS, "0,1,2", scale_x_y=1.2, iou_loss="ciou", beta_nms=0.6)
)

V4_CSP = (
    net(64, 64)
    + conv(8, stride=2, activation="swish")
    + conv(16, stride=2, activation="mish")
    + conv(24, size=1, activation="logistic", normalised=0)
    + yolo(ANCHORS, "0,1,2", scale_x_y=2.0, new_coords=1)
)

CFGS = {"v2": V2, "v3-tiny": V3_TINY, "v3": V3, "v4": V4, "v4-csp": V4_CSP}


def header(major=0, minor=2, revision=5, seen=32013312):
    kind = "q" if major * 10 + minor >= 2 else "i"
    return struct.pack(f"<iii{kind}", major, minor, revision, seen)


def numbers(cfg, seed=0):
    """float32 (n,): sensible numbers for every convolution, in the order of the file."""
    random = np.random.default_rng(seed)
    parts = []
    for layer in read_network(cfg.encode(), origin="cfg").convolutions.values():
        filters, *rest = layer.kernel
        parts.append(random.normal(0, 0.3, filters))
        if layer.normalised:
            parts += [
                random.uniform(0.5, 1.5, filters),
                random.normal(0, 0.3, filters),
                random.uniform(1.0, 4.0, filters),
            ]
        # What ends in a head stays small there: its exponential makes sizes of it.
        gain = 2.0 if layer.normalised else 0.5
        parts.append(random.normal(0, gain / np.sqrt(np.prod(rest)), layer.kernel).reshape(-1))
    return np.concatenate(parts).astype("<f4")


@dataclass
class Files:
    """Where the three files of one model are."""

    cfg: Path
    weights: Path
    names: Path

    def detector(self, **options):
        paths = {key: str(getattr(self, key)) for key in ("cfg", "weights", "names")}
        return DarknetDetector(name="d", **(paths | options))


def write(folder, cfg, *, weights=None, names="ant\nbee\nbig cat\n", seed=0):
    """Write a model's files; `weights` is the whole file in place of one made up."""
    files = Files(folder / "m.cfg", folder / "m.weights", folder / "m.names")
    files.cfg.write_bytes(cfg.encode())
    if weights is None:
        weights = header() + numbers(cfg, seed).tobytes()
    files.weights.write_bytes(weights)
    files.names.write_text(names)
    return files
