"""Detectors behind a server that speaks the Open Inference Protocol, version 2: `kind: remote`.

    url ──rest│rpc──▶ client: metadata, ready, models, infer
                        └──network──▶ a `Network`, as onnxruntime's sessions are

KServe, Triton, OpenVINO Model Server and MLServer speak it. The server runs the graph; what its
tensors mean, and how a picture becomes one, is settled here, as for `kind: onnx`.
"""

from quorate.detectors.remote.spec import RemoteDetector

__all__ = ["RemoteDetector"]
