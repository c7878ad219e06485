"""darknet detectors (YOLOv2, v3, v4 and their tiny variants): `kind: darknet`.

    cfg text ──config──▶ sections ──network──▶ layers with shapes ─┐
    weights file ──weights──▶ kernels and biases ──────────────────┴──model──▶ ONNX, cached

A .cfg with its .weights becomes an ONNX file once, which runs as any other ONNX detector does.
The file is written by `protobuf`, some hundred lines on a wire format that has not changed since
2008, rather than by the `onnx` package: so darknet needs nothing that is not installed anyway.
"""

from quorate.detectors.darknet.spec import DarknetDetector

__all__ = ["DarknetDetector"]
