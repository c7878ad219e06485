"""darknet detectors (YOLOv2, v3, v4 and their tiny variants): `kind: darknet`.

    cfg text ──config──▶ sections ──layers, network──▶ shapes ─────┐
    weights file ──weights──▶ kernels and biases ──────────────────┴──graph──▶ ONNX, cached

A .cfg with its .weights becomes an ONNX file once, which runs as any other ONNX detector does.
Making it needs the `onnx` package, of the extra `darknet`; a file in the cache needs nothing.
"""

from quorate.detectors.darknet.spec import DarknetDetector

__all__ = ["DarknetDetector"]
