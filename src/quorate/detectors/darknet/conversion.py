"""From the three files of a darknet detector to a predictor, by way of an ONNX file that is kept.

It lies in the user's cache folder, or in `QUORATE_CACHE`. Its name is a digest of all that it is
made from, so it is never stale, and may be deleted at any time. It appears whole or not at all; two
processes that make the same one put the same bytes in its place.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quorate._version import __version__
from quorate.detectors.darknet.network import Network, read_network
from quorate.detectors.darknet.weights import Filters, read_filters, read_floats
from quorate.detectors.files import read_file
from quorate.detectors.names import given_names
from quorate.detectors.onnx.session import open_session
from quorate.detectors.tensors.predictor import TensorPredictor
from quorate.detectors.tensors.spec import TensorDetector
from quorate.errors import DetectorError, QuorateError
from quorate.storage import write_bytes

if TYPE_CHECKING:
    from quorate.detectors.darknet.spec import DarknetDetector

VARIABLE = "QUORATE_CACHE"
REVISION = 2
"""Raised when the same files make another graph, so that none is taken from the cache."""
MAX_WEIGHTS_BYTES = 2 << 30
MAX_TEXT_BYTES = 1 << 20
GREY = 128  # darknet's letterbox is 0.5 where there is no picture


def load(spec: DarknetDetector) -> TensorPredictor:
    """Check the files against each other, and open their ONNX; see `DarknetDetector.load`.

    A kept file that cannot be opened is made anew, for a disk may have damaged it. Where nothing
    can be kept, it is made for this one use.
    """
    cfg = read_file(spec.cfg, most=MAX_TEXT_BYTES, what="what it should be")
    side = spec.image_size
    frame = (side, side) if isinstance(side, int) else side
    network = read_network(cfg, origin=spec.cfg, frame=frame)
    names = _names(spec, network)
    weights = read_file(spec.weights, most=MAX_WEIGHTS_BYTES, what="what it should be")
    floats = read_floats(weights, network, origin=spec.weights)
    digest = hashlib.sha256(f"{__version__} {REVISION} {network.frame} {len(cfg)} ".encode())
    digest.update(cfg)
    digest.update(weights)
    folder = cache_folder()
    kept = None if folder is None else folder / "darknet" / f"{digest.hexdigest()}.onnx"
    if kept is not None:
        with suppress(OSError, DetectorError):
            return _opened(kept.read_bytes(), spec, network, names)
    model = onnx_model(network, read_filters(floats, network, origin=spec.weights))
    if kept is not None:
        with suppress(QuorateError):  # a full or read-only disk
            write_bytes(kept, model)
    return _opened(model, spec, network, names)


def cache_folder() -> Path | None:
    """Where files are kept; None where there is no home to keep them in."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    otherwise = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or otherwise) / "quorate"


def _opened(
    model: bytes, spec: DarknetDetector, network: Network, names: tuple[str, ...]
) -> TensorPredictor:
    session = open_session(
        spec.weights, threads=spec.threads, providers=spec.providers, model=model
    )
    described = TensorDetector(
        name=spec.name,
        kind=spec.kind,
        layout="yolov5",
        names=names,
        resize=spec.resize or ("letterbox" if network.letterbox else "stretch"),
        pad=GREY,
        nms_iou=spec.nms_iou,
        min_score=spec.min_score,
        max_detections=spec.max_detections,
        batch=spec.batch,
    )
    predictor = TensorPredictor.of(described, session, origin=spec.weights)
    return replace(predictor, layout=replace(predictor.layout, name="darknet", why="its .cfg"))


def onnx_model(network: Network, filters: Mapping[int, Filters]) -> bytes:
    """The ONNX file of a network with these filters, which ends in rows of boxes.

    Input `images` float32 (n, 3, height, width), RGB in 0..1; output `boxes` float32 (n, rows,
    5 + classes): centre x and y, width and height in pixels of the input, objectness, and what is
    said for each category if there is an object: YOLOv5's layout. Rows are those of OpenCV's region
    layer: head after head, in each line after line of cells, in each cell its anchors.
    """
    # A model that is in the cache needs no package to make it.
    from quorate.detectors.darknet.graph import Graph

    graph = Graph()
    names: list[str] = []  # the tensor that each layer gives
    for number, layer in enumerate(network.layers):
        name = f"{number}_{layer.section.name}"
        given = ["images" if i < 0 else names[i] for i in layer.inputs]
        if number in filters:
            given.append(graph.constant(f"{name}_kernels", filters[number].kernels))
            given.append(graph.constant(f"{name}_biases", filters[number].biases))
        names.append(layer.write(graph, name, given))
    graph.node("Concat", [names[number] for number in network.heads], "boxes", axis=1)
    rows = sum(head.rows for head in network.heads.values())
    return graph.model(
        ("images", ("n", 3, *network.frame)), ("boxes", ("n", rows, 5 + network.classes))
    )


def _names(spec: DarknetDetector, network: Network) -> tuple[str, ...]:
    """The labels, as many as the cfg has classes."""
    names = given_names(spec.names)
    if len(names) != network.classes:
        origin = f"`names` of the detector '{spec.name}'"
        raise DetectorError(
            f"{spec.names if isinstance(spec.names, str) else origin}: {len(names)} labels, but "
            f"{network.origin} has classes={network.classes}.",
            hint="a .names file has one label a line, in the order of their numbers",
        )
    return names
