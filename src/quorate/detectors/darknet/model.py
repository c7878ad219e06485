"""A darknet network as an ONNX graph that ends in rows of boxes.

Input `images` float32 (n, 3, height, width), RGB in 0..1; output `boxes` float32 (n, rows,
5 + classes): centre x and y, width and height in pixels of the input, objectness, and what is
said for each category if there is an object: YOLOv5's layout. Rows are those of OpenCV's region
layer: head after head, in each line after line of cells, in each cell its anchors.
"""

from __future__ import annotations

from collections.abc import Mapping

from quorate.detectors.darknet.graph import Graph
from quorate.detectors.darknet.network import Network
from quorate.detectors.darknet.weights import Filters


def onnx_model(network: Network, filters: Mapping[int, Filters]) -> bytes:
    """The ONNX file of a network with these filters."""
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
