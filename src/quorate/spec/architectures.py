"""What a spec calls by the names of torch's libraries: devices, precisions, architectures."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from quorate.spec.words import patterned

Device = Annotated[str, patterned(r"^(auto|cpu|cuda(:\d+)?)$", "auto, cpu, cuda or cuda:1")]
Precision = Literal["float32", "float16", "bfloat16"]

TorchvisionArchitecture = Literal[
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
]
TORCHVISION: tuple[str, ...] = get_args(TorchvisionArchitecture)

TransformersArchitecture = Literal[
    "detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2", "d_fine"
]
"""The `model_type` of their config.json: those whose loss is in the library."""
